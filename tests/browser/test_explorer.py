"""The clip explorer in a browser: moving between clips, runs and frames, hearing, and loading no more than is shown."""

import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

from avsbench.paths import Scored
from avsbench.report.explorer.build import explore
from avsbench.report.explorer.scripts import read_script
from tests.browser.conftest import address, overflow
from tests.unit.explorer_runs import add_negative, add_run, build

WIDTHS = (360, 768, 1280)


def built(root: Path, name: str, rights=(0.95, 0.7)):
    """Seeds on a data set, of S4 three with a submission and negatives; paths, card and the folders of the runs."""
    paths, card = build(root, name)
    folders = [add_run(paths, card, str(seed), right=right) for seed, right in enumerate(rights)]
    if len(rights) > 2:
        folders.append(add_run(paths, card, source="theirs"))
        add_negative(paths, card, "silence")
        add_negative(paths, card, "offscreen", without=1)
    for folder in folders:
        explore(folder, paths)
    return paths, card, folders


@pytest.fixture(scope="module")
def s4(tmp_path_factory):
    return built(tmp_path_factory.mktemp("s4"), "s4", (0.95, 0.7, 0.8))


@pytest.fixture(scope="module")
def avss(tmp_path_factory):
    return built(tmp_path_factory.mktemp("avss"), "avss")


@pytest.fixture(scope="module")
def vpo(tmp_path_factory):
    return built(tmp_path_factory.mktemp("vpo"), "vpo_msmi")


def show(page, folder: str, about: str = "") -> None:
    page.goto(f"{address(Scored(folder).explorer)}{'#' if about else ''}{about}")
    page.wait_for_selector("#panels canvas")


def settled(page, clip: str) -> None:
    page.wait_for_function("clip => document.getElementById('title').textContent === clip", arg=clip)


def ids(page) -> list[str]:
    return page.locator(".clips .id").all_text_contents()


def shown(page) -> list[str]:
    """Names of the panels."""
    return page.locator("#panels figcaption strong").all_text_contents()


def loaded(watch) -> list[str]:
    """What was asked for since the last time, from the folder of the data set on."""
    found = [unquote(file.split("/s4/", 1)[1]) for file in watch.files if "/s4/" in file]
    watch.files.clear()
    return found


def test_a_page_loads_the_clip_shown_and_no_other(page, watch, s4):
    show(page, s4[2][0])
    page.wait_for_timeout(200)
    first = loaded(watch)
    media = {file.rpartition("/")[0] for file in first if file.startswith("explorer/media")}
    assert media == {"explorer/media/0"}
    assert {file for file in first if "/clips/" in file} == {
        f"tpavi-r50/0/explorer/clips/0.{end}" for end in ("png", "js")
    }
    page.keyboard.press("ArrowRight")
    settled(page, ids(page)[1])
    page.wait_for_timeout(200)
    second = set(loaded(watch))
    pictures = {f"explorer/media/1/{name}" for name in ("frames.jpg", "truth.png", "spectrogram.png")}
    own = {f"tpavi-r50/0/explorer/clips/1.{end}" for end in ("png", "js")}
    assert pictures | own <= second <= pictures | own | {"explorer/media/1/sound.flac"}


def test_clips_follow_each_other_by_button_key_list_and_address(page, s4):
    show(page, s4[2][0])
    names = ids(page)
    assert len(names) == 4
    assert page.locator("#previous").is_disabled()
    page.click("#next")
    settled(page, names[1])
    page.keyboard.press("ArrowRight")
    settled(page, names[2])
    page.locator(".clips button").nth(3).click()
    settled(page, names[3])
    assert page.locator("#next").is_disabled()
    assert page.locator(".clips [aria-current]").get_attribute("data-clip") == "3"
    page.go_back()
    settled(page, names[2])
    page.keyboard.press("ArrowLeft")
    settled(page, names[1])
    assert page.text_content("#place") == "2 of 4"
    assert "clip=-a.test_1" in page.url


def test_the_address_names_clip_runs_view_and_frame(page, s4):
    show(page, s4[2][0], "clip=-a.test_2&runs=tpavi-r50/1,external/theirs&view=errors&frame=3")
    settled(page, "-a.test_2")
    assert shown(page) == ["Ground truth", "tpavi-r50, seed 1", "theirs (external)"]
    assert page.locator("input[name=view]:checked").get_attribute("value") == "errors"
    assert "frame 3 of 5" in page.text_content("#panels")
    assert page.locator(".thumb.current").first.get_attribute("data-frame") == "2"


def test_an_address_of_something_unknown_shows_what_there_is(page, s4):
    show(page, s4[2][0], "clip=gone&runs=gone/0&view=gone&frame=99")
    settled(page, "-a.test_0")
    assert shown(page) == ["Ground truth", "tpavi-r50, seed 0"]


def test_any_runs_stand_side_by_side(page, s4):
    show(page, s4[2][0])
    assert page.locator("#runs input").count() == 4
    for number in (3, 2):
        page.locator("#runs input").nth(number).check()
    page.wait_for_function("() => document.querySelectorAll('#panels figure').length === 4")
    assert shown(page) == ["Ground truth", "tpavi-r50, seed 0", "tpavi-r50, seed 2", "tpavi-r50, seed 1"]
    assert page.locator(".clips li").first.locator(".scores span").count() == 3
    page.locator("#runs input").first.uncheck()
    page.wait_for_function("() => document.querySelectorAll('#panels figure').length === 3")
    assert shown(page)[1:] == ["tpavi-r50, seed 2", "tpavi-r50, seed 1"]


def test_a_hard_mask_has_no_probability_and_says_so(page, s4):
    show(page, s4[2][0], "runs=tpavi-r50/0,external/theirs&view=probability")
    captions = page.locator("#panels figcaption").all_text_contents()
    assert "hard masks, no probability" in captions[2]
    assert "hard masks" not in captions[1]


def test_negatives_show_what_is_marked_without_the_sound(page, s4):
    show(page, s4[2][0], "view=offscreen")
    assert "no such sound for this clip" in page.text_content("#panels")
    page.keyboard.press("ArrowRight")
    settled(page, "-a.test_1")
    assert "marks 6.3 % of the pixels" in page.text_content("#panels")


def test_clips_are_ordered_by_score_and_difference(page, s4):
    scores = [read_script(Path(Scored(folder).explorer).with_name("scores.js"))["scores"] for folder in s4[2][:2]]
    show(page, s4[2][0], "runs=tpavi-r50/0,tpavi-r50/1")
    names = ids(page)

    def order(by: str) -> list[str]:
        page.select_option("select[name=order]", by)
        return ids(page)

    ranked = sorted(range(4), key=lambda n: scores[0][n])
    assert order("worst") == [names[n] for n in ranked]
    assert order("best") == [names[n] for n in reversed(ranked)]
    assert order("difference") == [names[n] for n in sorted(range(4), key=lambda n: -abs(scores[0][n] - scores[1][n]))]
    page.click("#next")
    assert order("table") == names


def test_clips_are_filtered_by_class_sources_silence_and_name(page, s4, avss):
    clips = read_script(s4[0].explorer("s4"))["clips"]
    show(page, s4[2][0])
    page.select_option("select[name=silence]", "all")
    assert ids(page) == [clip["id"] for clip in clips if clip["empty"]]
    page.select_option("select[name=silence]", "")
    count = clips[1]["sources"]
    page.select_option("select[name=sources]", str(count))
    assert ids(page) == [clip["id"] for clip in clips if clip["sources"] == count]
    page.select_option("select[name=sources]", "")
    page.fill("input[type=search]", "test_3")
    assert ids(page) == ["-a.test_3"]
    assert "1 of 4 clips" in page.text_content(".count")
    assert page.text_content("#place") == "not in the list"

    shared = read_script(avss[0].explorer("avss"))
    show(page, avss[2][0])
    number = shared["clips"][0]["present"][0]
    page.select_option("select[name=subject]", shared["classes"][number])
    assert ids(page) == [clip["id"] for clip in shared["clips"] if number in clip["present"]]


def test_frames_and_sound_move_together(page, s4):
    show(page, s4[2][0])
    page.locator("button.thumb").nth(3).click()
    page.wait_for_selector("button.thumb[data-frame='3'][aria-pressed=true]")
    assert page.evaluate("document.querySelector('audio').currentTime") == pytest.approx(3)
    page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_selector("button.thumb[data-frame='2'][aria-pressed=true]")
    box = page.locator(".spectrogram").bounding_box()
    page.mouse.click(box["x"] + 0.95 * box["width"], box["y"] + 10)
    page.wait_for_selector("button.thumb[data-frame='4'][aria-pressed=true]")
    assert "frame=5" in page.url


def test_the_sound_plays(page, s4):
    show(page, s4[2][0])
    page.locator("h2").click()
    page.keyboard.press(" ")
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0.1")
    state = page.evaluate("(a => [a.readyState, a.duration, a.error, a.paused])(document.querySelector('audio'))")
    assert state == [4, 5, None, False]
    page.keyboard.press(" ")
    page.wait_for_function("() => document.querySelector('audio').paused")


def test_classes_are_named_with_their_scores(page, avss):
    show(page, avss[2][0], "runs=cavp-r50/0,cavp-r50/1&frame=2")
    table = page.locator("#numbers table").last
    assert "frame 2" in table.locator("caption").text_content()
    frame = read_script(Path(Scored(avss[2][0]).explorer).parent / "clips/0.js")["frames"][1]
    shared = read_script(avss[0].explorer("avss"))
    rows = {row.split("\t")[0]: row.split("\t")[1:] for row in table.locator("tbody").inner_text().splitlines()}
    for number, iou, labelled in frame["classes"]:
        cells = rows[shared["classes"][number].replace("_", " ")]
        assert cells[:2] == ["yes" if labelled else "no", f"{100 * iou:.1f}"]
    assert page.locator("#legend li").count() >= len([n for n, _, _ in frame["classes"] if n])


def test_a_still_picture_has_no_strip(page, vpo):
    show(page, vpo[2][0])
    assert page.locator(".thumb").count() == 0
    assert "a still picture" in page.text_content("#about")
    assert page.locator("#panels canvas").count() == 2


def test_a_run_that_is_gone_does_not_break_the_page(page, watch, tmp_path):
    _, _, folders = built(tmp_path, "s4")
    shutil.rmtree(Path(folders[1]) / "explorer")
    show(page, folders[0], "runs=tpavi-r50/0,tpavi-r50/1")
    assert "tpavi-r50/1 cannot be shown" in page.text_content("#problems")
    assert shown(page) == ["Ground truth", "tpavi-r50, seed 0"]
    assert page.locator("#runs input").count() == 1
    page.keyboard.press("ArrowRight")
    settled(page, "-a.test_1")
    assert all("FILE_NOT_FOUND" in error for error in watch.errors)
    watch.errors.clear()


def test_a_page_of_other_clips_says_so(page, watch, tmp_path):
    paths, card, folders = built(tmp_path, "s4")
    file = Path(paths.explorer(card.name))
    file.write_text(file.read_text().replace('"digest":"', '"digest":"other', 1))
    page.goto(address(Scored(folders[0]).explorer))
    page.wait_for_selector("#problems p")
    assert "build this page again" in page.text_content("#problems")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(page, axe, s4, avss, vpo, scheme):
    page.emulate_media(color_scheme=scheme)
    for built_set, about in (
        (s4, "runs=tpavi-r50/0,external/theirs&view=errors"),
        (avss, "view=prediction"),
        (vpo, ""),
    ):
        show(page, built_set[2][0], about)
        assert axe(page) == []


def test_nothing_is_wider_than_a_phone(page, s4, avss, vpo):
    for built_set in (s4, avss, vpo):
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 740})
            show(page, built_set[2][0], "view=errors")
            assert overflow(page) <= 0, f"{width} pixels"
