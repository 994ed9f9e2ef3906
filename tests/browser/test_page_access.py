"""Who can read the page: by keyboard, by screen reader, on a phone, in the dark, on paper."""

import pytest

from tests.browser.boards import board, show
from tests.browser.conftest import overflow

OPEN = "protocol=B&reference=set0/row-2&open=set0/row-2~set0/row-1"
LONG = "a-method-with-a-name-that-is-rather-longer-than-most+felzenszwalb (top-3 ensemble)"
VIEWS = ("", OPEN, "data=does-it-listen")


@pytest.fixture(scope="module")
def data():
    made = board(rows=10, partial=True, first_failure="results/mini/s4/tpavi-r50/0/weights.safetensors: " + "x" * 90)
    made["datasets"][0]["rows"][1]["name"] = LONG
    made["datasets"][0]["absent"][0]["reason"] = "train: " + "/a/long/path" * 20
    return made


@pytest.mark.parametrize("view", VIEWS[1:], ids=["open", "robust"])
def test_axe_finds_nothing_in_light_or_dark(page, tmp_path, data, axe, view):
    show(page, tmp_path, data, view)
    page.evaluate("document.querySelectorAll('main details').forEach((each) => { each.open = true; })")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert axe(page) == [], scheme


def test_axe_finds_nothing_on_an_empty_board(page, tmp_path, axe):
    show(page, tmp_path, board(datasets=0))
    assert axe(page) == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_only_tables_scroll_sideways(page, tmp_path, data, width):
    page.set_viewport_size({"width": width, "height": 800})
    for view in VIEWS:
        show(page, tmp_path, data, view)
        page.evaluate("document.querySelectorAll('main details').forEach((each) => { each.open = true; })")
        assert overflow(page) <= 0, view
    show(page, tmp_path, data, "protocol=D")
    assert page.locator(".find").is_visible() == (width > 640)  # on a phone the table comes first
    region = page.locator(".ranking .scroll")
    inside = region.evaluate("(each) => { each.scrollLeft = 300; return [each.scrollWidth, each.clientWidth]; }")
    assert inside[0] > inside[1] or width == 1280
    name = page.get_by_role("button", name=LONG, exact=True)
    assert name.bounding_box()["x"] >= region.bounding_box()["x"]  # it stays while the rest scrolls


def test_a_wider_window_gets_wider_drawings(page, tmp_path, data):
    page.set_viewport_size({"width": 400, "height": 800})
    show(page, tmp_path, data)
    before = page.locator(".pareto").bounding_box()["width"]
    page.set_viewport_size({"width": 900, "height": 800})
    wider = "least => document.querySelector('.pareto').getBoundingClientRect().width > least"
    page.wait_for_function(wider, arg=before + 200)
    assert overflow(page) <= 0


def focused(page, key: str = "") -> str:
    """Text of what has the focus, after a key."""
    if key:
        page.keyboard.press(key)
    return page.evaluate("document.activeElement.textContent")


def test_all_is_done_by_keyboard(page, tmp_path, data):
    show(page, tmp_path, data, "data=set1&find=row")
    assert focused(page, "Tab") == "Skip to the tables"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.url.endswith("#data=set1&find=row")  # to skip is no other view
    show(page, tmp_path, data)
    page.locator(".protocols input[value=A]").focus()
    page.keyboard.press("ArrowRight")
    assert "protocol=B" in page.url
    page.keyboard.press("ArrowRight")
    assert "protocol=D" in page.url
    page.locator(".ranking [data-focus='sort name']").focus()
    for order in ("ascending", "descending"):
        page.keyboard.press("Enter")
        assert page.locator(".ranking [aria-sort]").get_attribute("aria-sort") == order
        assert focused(page).startswith("method")  # the focus stays where it was
    page.get_by_role("button", name="row-2", exact=True).focus()
    page.keyboard.press("Space")
    assert page.locator(".detail").count() == 1
    assert focused(page) == "row-2"
    page.locator(".menu summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert "without=method_0" in page.url
    page.keyboard.press("Escape")
    assert not page.locator(".menu").evaluate("(each) => each.open")
    assert focused(page).startswith("Methods 4 of 5")


def test_points_are_walked_by_arrow_keys_and_open_their_row(page, tmp_path, data):
    show(page, tmp_path, data)
    page.locator(".pareto-host input:checked").focus()
    page.keyboard.press("Tab")
    words = [spot.get_attribute("aria-label") for spot in page.locator(".pareto .spot").all()]

    def label():
        return page.evaluate("document.activeElement.getAttribute('aria-label')")

    assert label() == words[0]
    walk = {"ArrowRight": 1, "ArrowDown": 2, "ArrowLeft": 1, "ArrowUp": 0, "End": -1, "Home": 0}
    for key, at in walk.items():
        page.keyboard.press(key)
        assert label() == words[at], key
    page.keyboard.press("Enter")
    assert page.locator(".detail").count() == 1
    assert words[0].startswith(focused(page))
    page.locator(".pareto-host input:checked").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.pareto')") is None  # one stop for all points


def test_a_choice_of_cost_keeps_the_focus(page, tmp_path, data):
    show(page, tmp_path, data)
    page.locator(".pareto-host input:checked").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.value") == "parameters"
    assert page.locator("#status").inner_text() == "Cost is parameters, M."


def test_on_paper_there_is_the_table_and_nothing_to_click(page, tmp_path, data):
    page.set_viewport_size({"width": 700, "height": 900})
    page.emulate_media(media="print", color_scheme="dark")
    show(page, tmp_path, data, OPEN)
    for gone in ("nav", ".controls", ".skip", ".actions"):
        assert not page.locator(gone).first.is_visible(), gone
    for stays in (".ranking table >> nth=0", ".slopes >> nth=0", ".pareto", ".detail >> nth=0"):
        assert page.locator(stays).is_visible(), stays
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert overflow(page) <= 0
    assert page.evaluate("getComputedStyle(document.querySelector('.detail a')).color") == "rgb(10, 90, 156)"
    assert len(page.pdf()) > 10_000


def test_nothing_moves_where_the_reader_wants_no_motion(page, tmp_path, data):
    show(page, tmp_path, data)
    assert page.evaluate("getComputedStyle(document.querySelector('.pareto .hint')).transitionDuration") == "0s"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate("getComputedStyle(document.querySelector('.pareto .hint')).transitionDuration") != "0s"
