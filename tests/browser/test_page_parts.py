"""What stands around the ranked table: head, runs of a row, drawings, published numbers, what has no score."""

from pathlib import Path

import pytest

from avsbench.plan import Run
from avsbench.report.leaderboard import write_leaderboard
from avsbench.report.web.embed import read_embedded
from tests.browser.boards import board, show
from tests.browser.conftest import address
from tests.unit.report_runs import make_run, paths_in


def test_the_head_says_what_this_is_and_how_complete(page, tmp_path, watch):
    failure = "S4, tpavi-r50, seed 0: out of memory"
    show(page, tmp_path, board(rows=4, partial=True, first_failure=failure))
    head = page.locator("#head").inner_text()
    assert "This page is partial." in head
    assert f"First failure: {failure}" in head
    assert "Scale mini is a diagnostic." in head
    assert "24 of 27 planned runs are complete: 1 failed, 1 not run, 1 skipped." in head
    assert page.locator("nav a").all_inner_texts() == ["SET0", "SET1", "Does it listen?"]
    assert watch.files == [address(tmp_path / "leaderboard.html")]


def test_a_complete_page_at_full_scale_warns_of_nothing(page, tmp_path):
    show(page, tmp_path, board(rows=4, scale="full", problems="", notes=["Scores are percent."]))
    assert page.locator(".banner").count() == 0
    page.get_by_text("How to read these numbers").click()
    assert page.locator("#head .notes li").all_inner_texts() == ["Scores are percent."]


def test_a_row_opens_to_its_runs_notes_and_curves(page, tmp_path):
    data = board(rows=4, seeds=2)
    show(page, tmp_path, data)
    opener = page.get_by_role("button", name="row-2", exact=True)
    opener.click()
    assert opener.get_attribute("aria-expanded") == "true"
    detail = page.locator(f"[id='{opener.get_attribute('aria-controls')}']")
    text = detail.inner_text()
    row = next(row for row in data["datasets"][0]["rows"] if row["name"] == "row-2")
    assert all(part in text for part in (row["title"], row["paper"], row["init"], "Saw maskige of another generator."))
    table = detail.locator("tbody tr")
    for run, value, line in zip(row["runs"], row["grids"]["common"]["miou"]["each"], table.all(), strict=True):
        assert line.inner_text().split("\t")[:2] == [run["seed"], f"{value:.2f}"]
        links = dict((link.inner_text(), link.get_attribute("href")) for link in line.locator("a").all())
        assert links.pop("per frame") == run["frames"]
        assert links == {name: run[name] for name in ("explorer", "record", "log")}
    loss, score = (figure.get_attribute("aria-label") for figure in detail.locator("figure svg").all())
    curve = row["runs"][0]["curve"]
    assert loss.startswith("training loss by epoch: seed 0 from")
    assert f"chosen epoch 56 with {curve['score'][55]:.2f}" in score
    detail.get_by_role("button", name="Compare all rows with this one").click()
    assert page.get_by_label("Compare with").input_value() == row["id"]
    opener.click()
    assert page.locator(".detail").count() == 0


def test_the_cost_front_is_what_nothing_beats(page, tmp_path):
    data = board(rows=12)
    show(page, tmp_path, data, "axis=memory_mb&protocol=D")
    known = [row for row in data["datasets"][0]["rows"] if row["cost"]]
    points = {row["name"]: (row["cost"]["memory_mb"], row["grids"]["common"]["dataset_miou"]["mean"]) for row in known}
    best = {
        name for name, (cost, score) in points.items()
        if not any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points.values())
    }  # fmt: skip
    spots = page.locator(".pareto .spot")
    assert spots.count() == len(known)
    words = [spot.get_attribute("aria-label") for spot in spots.all()]
    assert {each.split(":")[0] for each in words if each.endswith("on the front")} == best
    page.get_by_role("radio", name="frames/s").check()
    assert page.locator(".pareto .title").first.text_content() == "frames/s (log), more is faster"
    page.get_by_text("What every row costs").click()
    assert page.locator(".costs tbody th[scope=row]").count() == len(known)


def test_the_slope_plot_has_a_table_with_every_rank(page, tmp_path):
    data = board(rows=12)
    show(page, tmp_path, data)
    page.get_by_text("Ranks as a table").first.click()
    rows = [row for row in data["datasets"][0]["rows"] if row["setting"] == "supervised"]
    shown = page.locator(".slope-host tbody tr").all_inner_texts()
    expected = ["\t".join([row["name"], *(str(row["places"][name]) for name in "ABD")]) for row in rows]
    assert sorted(shown) == sorted(expected)


def test_published_numbers_and_unknown_protocols_stand_apart(page, tmp_path):
    show(page, tmp_path, board(rows=3, scale="full"))
    gap = page.get_by_role("region", name="Ours minus published")
    cells = gap.locator("tbody tr").inner_text().replace("\n", "").split("\t")
    assert cells[:5] == ["row-0", "miou (A)", "71.50", "72.79", "−1.29"]
    for summary in page.locator(".fold summary", has_text="Scored").all():
        summary.click()
    heads = {
        name: page.get_by_role("region", name=name).locator("thead th").all_inner_texts()
        for name in ("Scored per image", "Scored over pooled pixels")
    }
    assert {"mIoU (A)", "F (B)"} <= set(heads["Scored per image"])
    assert page.get_by_role("region", name="Scored per image").locator("tbody tr").count() == 1  # with and without ours
    assert "mIoU (D)" in heads["Scored over pooled pixels"]
    assert "mIoU (A)" not in heads["Scored over pooled pixels"]
    unknown = page.locator("section.unknown")
    unknown.locator("summary").click()
    assert "AV-SAM\t40.47" in unknown.locator("tbody").inner_text()
    assert "gap" not in unknown.locator("thead").inner_text()


def test_runs_without_a_score_have_a_reason_and_a_log(page, tmp_path):
    show(page, tmp_path, board(rows=3))
    lines = page.get_by_role("region", name="runs without a score").locator("tbody tr")
    assert [line.split("\t")[2:4] for line in lines.all_inner_texts()] == [
        [status, f"{status}: a reason"] for status in ("failed", "not run", "skipped")
    ]
    assert lines.first.locator("a").get_attribute("href") == "mini/log.txt"


def test_does_it_listen_has_every_sound(page, tmp_path):
    data = board(rows=4)
    show(page, tmp_path, data, "data=does-it-listen")
    assert page.locator("h2").inner_text() == "Does it listen? · mini"
    assert page.locator(".areas rect").count() == 3 * 4
    page.get_by_text("All sounds, all components").click()
    assert page.get_by_role("region", name="components").locator("tbody tr").count() == 4 * 4
    assert "sees heatmap" in page.get_by_role("region", name="not heard").inner_text()


@pytest.mark.parametrize("data", [board(datasets=0), board(rows=0), board(rows=1, datasets=1)],
                         ids=["no data set", "no row", "one row"])  # fmt: skip
def test_little_data_make_a_page_too(page, tmp_path, data):
    show(page, tmp_path, data)
    assert page.locator("h2").count() == 1
    if not any(each["rows"] for each in data["datasets"]):
        assert page.locator(".empty").count() >= 1


def test_text_is_never_markup(page, tmp_path):
    data = board(rows=3, datasets=1, first_failure="<b>bold</b>", partial=True)
    dataset = data["datasets"][0]
    evil = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    first = dataset["rows"][0]
    first |= {"name": evil, "title": evil, "paper": evil, "url": "javascript:alert(3)", "init": evil, "notes": [evil]}
    first["runs"][0] |= {"log": "\x01 Java\tScript:alert(4)", "code": evil, "device": evil}
    dataset["absent"][0] |= {"reason": evil, "name": evil, "log": "data:text/html,x"}
    dataset["title"] = dataset["about"][0] = evil
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    show(page, tmp_path, data)
    page.get_by_role("button", name=evil).first.click()
    assert page.locator("img, #main script, #head b").count() == 0
    schemes = page.evaluate("[...document.querySelectorAll('a[href]:not(svg *)')].map((a) => a.protocol)")
    assert set(schemes) <= {"file:", "https:"}
    assert evil in page.locator("h2").inner_text()
    assert evil in page.locator(".detail").inner_text()


def test_without_scripts_the_page_points_to_the_markdown(browser, tmp_path, page):
    show(page, tmp_path, board(rows=2))
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(address(tmp_path / "leaderboard.html"))
    assert plain.locator("noscript a, main a").first.get_attribute("href") == "leaderboard.md"
    assert "switched off" in plain.locator("main").inner_text()
    context.close()


def keys(data: object, name: str = "") -> dict[str, set]:
    """Keys of every kind of dict in a page's data, but of those whose keys are names."""
    found: dict[str, set] = {}
    if isinstance(data, dict):
        if name not in {"metrics", "badges", "other_sets", "grids", "common", "512", "pairs", "places", "conditions"}:
            found[name] = set(data)
        items = data.items()
    else:
        items = [(name, each) for each in data] if isinstance(data, list) else []
    for key, value in items:
        for kind, inside in keys(value, key).items():
            found[kind] = found.get(kind, inside) | inside
    return found


def test_a_real_leaderboard_becomes_a_page(page, tmp_path):
    paths = paths_in(tmp_path)
    runs = [Run("s4", "tpavi-r50", seed) for seed in ("0", "1")] + [Run("ms3", "etavs-r50", "0")]
    for n, run in enumerate(runs):
        make_run(paths, run, values={"miou": 0.5 + n / 100})
    write_leaderboard(runs=[*runs, Run("ms3", "tpavi-r50", "0")], paths=paths)
    file = paths.leaderboard("html")
    made_up, real = keys(board(rows=2, datasets=1, robustness=None)), keys(read_embedded(Path(file).read_text()))
    for kind in ("", "datasets", "settings", "protocols", "rows", "cost", "runs", "absent", "published", "unknown"):
        assert made_up[kind] == real[kind], f"tests make up other data than the leaderboard gives: {kind}"
    page.goto(address(file))
    assert page.locator("nav a").all_inner_texts() == ["S4", "MS3"]
    assert page.locator(".ranking tbody th[scope=row] .opener").all_inner_texts() == ["tpavi-r50"]
    assert "50.50 ± 0.71" in page.locator(".ranking").inner_text()
    page.get_by_role("link", name="MS3").click()
    assert "does not exist" in page.get_by_role("region", name="runs without a score").inner_text()
