"""The ranked table: order, filters, protocols, differences, and the address that keeps them."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser.boards import board, show

NAMES = ".ranking tbody th[scope=row] .opener"


@pytest.fixture
def data():
    return board(rows=12, datasets=2)


@pytest.fixture
def shown(page, tmp_path, data):
    """The page of `data` at its first data set."""
    show(page, tmp_path, data)
    return page


def names(page) -> list[str]:
    return page.locator(NAMES).all_inner_texts()


def choices(page) -> dict:
    return parse_qs(urlsplit(page.url).fragment)


def order(rows: list[dict], key, reverse: bool) -> list[str]:
    """Names as Python sorts them: each setting apart, rows without a value last."""
    found = []
    for setting in ("supervised", "zero-shot"):
        inside = [row for row in rows if row["setting"] == setting]
        known = sorted((row for row in inside if key(row) is not None), key=key, reverse=reverse)
        found += [row["name"] for row in [*known, *(row for row in inside if key(row) is None)]]
    return found


def mean(metric):
    return lambda row: row["grids"]["common"].get(metric, {}).get("mean")


def cell(page, name: str, column: str):
    """A cell of the ranked table by row and header."""
    heads = page.locator(".ranking thead th").all_inner_texts()
    at = next(i for i, head in enumerate(heads) if head.startswith(column))
    row = page.locator(".ranking tbody tr", has=page.get_by_role("button", name=name, exact=True)).first
    return row.locator("> *").nth(at)


def protocol_of(page, name: str):
    return page.locator(f".protocols input[value={name}]")


def test_rows_stand_in_the_order_of_their_ranks(shown, data):
    rows = data["datasets"][0]["rows"]
    assert names(shown) == order(rows, lambda row: row["places"]["A"], reverse=False)
    assert shown.locator(".ranking th[aria-sort]").inner_text().startswith("rank")


def test_a_click_on_a_header_sorts_and_another_one_turns_it_round(page, tmp_path, data):
    rows = data["datasets"][0]["rows"]
    rows[3]["grids"]["common"].pop("f_at_0.5")  # undefined: last either way
    show(page, tmp_path, data)
    button = page.locator(".ranking thead").get_by_role("button", name="f_at_0.5")
    button.click()
    assert names(page) == order(rows, mean("f_at_0.5"), reverse=True)
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("f_at_0.5")
    assert page.locator("#status").inner_text() == "Sorted by f_at_0.5 ↑, descending."
    button.click()
    assert names(page) == order(rows, mean("f_at_0.5"), reverse=False)
    assert choices(page) == {"sort": ["f_at_0.5"]}


def test_filters_leave_rows_out_and_ranks_as_they_are(shown, data):
    rows = data["datasets"][0]["rows"]
    shown.get_by_label("Find").fill("METHOD_2 paper")
    wanted = [row for row in rows if row["method"] == "method_2"]
    shown.locator(".summary", has_text=f"{len(wanted)} of {len(rows)} rows shown").wait_for()
    assert sorted(names(shown)) == sorted(row["name"] for row in wanted)
    assert cell(shown, wanted[-1]["name"], "rank").inner_text() == str(wanted[-1]["places"]["A"])
    shown.get_by_label("Find").fill("nothing like it")
    shown.get_by_text("No row is left by these filters.").wait_for()
    shown.get_by_label("Find").fill("")
    shown.get_by_role("button", name=rows[0]["name"], exact=True).wait_for()
    assert len(names(shown)) == len(rows)
    for kind in ("zero-shot", "external"):
        shown.get_by_role("checkbox", name=kind).uncheck()
    left = {row["name"] for row in rows if not {"zero-shot", "external"} & set(row["badges"])}
    assert set(names(shown)) == left
    shown.locator(".menu summary").click()
    shown.get_by_role("checkbox", name="method_1").uncheck()
    assert set(names(shown)) == left - {row["name"] for row in rows if row["method"] == "method_1"}
    assert choices(shown) == {"hide": ["zero-shot~external"], "without": ["method_1"]}


@pytest.mark.parametrize("protocol", ["B", "D"])
def test_another_protocol_ranks_anew_and_says_who_moved(shown, data, protocol):
    rows = data["datasets"][0]["rows"]
    protocol_of(shown, protocol).check()
    assert names(shown) == order(rows, lambda row: row["places"][protocol], reverse=False)
    moved = 0
    for setting in ("supervised", "zero-shot"):
        both = [row for row in rows if row["setting"] == setting and row["places"][protocol]]
        before, after = (sorted(both, key=lambda row: row["places"][name]) for name in ("A", protocol))
        for row in both:
            places = before.index(row) - after.index(row)
            moved += places != 0
            sign = f"▲{places}" if places > 0 else f"▼{-places}" if places < 0 else "="
            text = cell(shown, row["name"], "rank").inner_text()
            assert text.split()[:2] == [str(row["places"][protocol]), f"{sign}"], row["name"]
    words = shown.locator(".summary").inner_text()
    assert f"{moved} row" in words
    assert shown.locator("#status").inner_text() in words
    if protocol == "B":  # hard masks leave it no threshold to choose
        hard = next(row for row in rows if "hard" in row["badges"])
        assert cell(shown, hard["name"], "rank").inner_text() == "–"
    assert choices(shown) == {"protocol": [protocol]}


def test_differences_to_a_row_have_its_paired_interval(shown, data):
    dataset = data["datasets"][0]
    rows = dataset["rows"]
    at = 4
    shown.get_by_label("Compare with").select_option(rows[at]["name"])
    assert cell(shown, rows[at]["name"], "minus").inner_text() == "reference"
    bounds = {(i, j): (low, high) for i, j, low, high in dataset["pairs"]["miou"]}
    bounds |= {(j, i): (-high, -low) for (i, j), (low, high) in bounds.items()}
    verdicts = set()
    for i, row in enumerate(rows):
        if i == at:
            continue
        text = cell(shown, row["name"], "minus").inner_text().replace("−", "-")
        assert float(text.split()[0]) == pytest.approx(mean("miou")(row) - mean("miou")(rows[at]), abs=0.006)
        if (i, at) in bounds:
            low, high = bounds[i, at]
            verdict = "clearly better" if low > 0 else "clearly worse" if high < 0 else "not clear"
            assert verdict in text
            assert f"{low:+.1f} to {high:+.1f}".replace("+0.0", "0.0") in text.replace("+0.0", "0.0")
        else:
            verdict = "scored on other clips"
            assert verdict in text
            assert "incomplete" in row["badges"]
        verdicts.add(verdict)
    assert len(verdicts) == 4


def test_hard_masks_are_compared_with_nothing_where_they_have_no_place(page, tmp_path):
    """Made the best and the cheapest of all under B, they are neither on the front nor clearly better."""
    data = board(rows=5, datasets=1)
    hard, other = data["datasets"][0]["rows"][:2]
    hard["badges"], hard["places"]["B"] = ["hard"], None
    hard["grids"]["common"]["fscore_b1"]["mean"] = 99.0
    hard["cost"]["gflops_per_frame"] = 0.01
    show(page, tmp_path, data, f"protocol=B&reference={other['id']}")
    assert cell(page, hard["name"], "minus").inner_text() == "–"
    assert hard["name"] not in page.locator(".pareto-host figcaption").inner_text()
    assert page.locator(".pareto .spot").count() == 4
    protocol_of(page, "A").check()
    assert cell(page, hard["name"], "minus").inner_text() != "–"
    assert page.locator(".pareto .spot").count() == 5


def test_who_shares_the_first_place_is_first(page, tmp_path):
    data = board(rows=3, datasets=1)
    for row in data["datasets"][0]["rows"][:2]:
        row["places"]["A"], row["grids"]["common"]["miou"]["mean"] = 1, 70.0
    names = [row["name"] for row in data["datasets"][0]["rows"]]
    data["datasets"][0]["pairs"]["miou"] = [[0, 1, -0.04, 0.04], [0, 2, 1, 2], [1, 2, 1, 2]]
    show(page, tmp_path, data, f"reference={data['datasets'][0]['rows'][1]['id']}")
    assert f"First: {names[0]} and {names[1]}, 70.00." in page.locator(".summary").inner_text()
    assert "0.00\n0.0 to 0.0, not clear" in cell(page, names[0], "minus").inner_text()  # no −0.0


def test_the_address_brings_a_view_back(page, tmp_path, data):
    wanted = (
        "data=set1&protocol=D&sort=-name&find=row&hide=external&reference=set1/row-2&axis=memory_mb&open=set1/row-1"
    )
    show(page, tmp_path, data, wanted)
    assert page.locator("h2").inner_text() == data["datasets"][1]["title"]
    assert protocol_of(page, "D").is_checked()
    assert page.get_by_role("radio", name="peak memory").is_checked()
    assert page.get_by_label("Find").input_value() == "row"
    assert not page.get_by_role("checkbox", name="external").is_checked()
    assert page.get_by_label("Compare with").input_value() == "set1/row-2"
    assert page.locator(".detail").count() == 1
    supervised = [row["name"] for row in data["datasets"][1]["rows"] if row["setting"] == "supervised"]
    expected = sorted((n for n in supervised if n != "row-7"), key=lambda n: int(n[4:]), reverse=True)
    assert names(page)[: len(expected)] == expected
    page.evaluate("location.hash = 'data=nowhere&protocol=Z&sort=nothing&reference=none'")
    page.get_by_role("heading", level=2, name=data["datasets"][0]["title"]).wait_for()
    assert names(page) == order(data["datasets"][0]["rows"], lambda row: row["places"]["A"], reverse=False)


def test_the_only_method_of_a_data_set_can_be_brought_back(page, tmp_path):
    data = board(rows=1)
    show(page, tmp_path, data, "data=set1&without=method_0")
    assert page.locator(".ranking .empty").count() == 1
    page.locator(".menu summary").click()
    page.get_by_role("checkbox", name="method_0").check()
    assert names(page) == ["row-0"]


def test_another_data_set_keeps_protocol_and_filters(shown, data):
    protocol_of(shown, "D").check()
    shown.get_by_role("checkbox", name="official").uncheck()
    shown.get_by_role("link", name="SET1").click()
    shown.get_by_role("heading", level=2, name=data["datasets"][1]["title"]).wait_for()
    assert choices(shown) == {"data": ["set1"], "protocol": ["D"], "hide": ["official"]}
    assert shown.locator("nav [aria-current]").inner_text() == "SET1"
    shown.go_back()
    shown.get_by_role("heading", level=2, name=data["datasets"][0]["title"]).wait_for()
