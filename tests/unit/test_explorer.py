"""The clip explorer's files: pictures, sounds, numbers, and what may be missing."""

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from avsbench import cards
from avsbench.cli import main
from avsbench.errors import AvsbenchError
from avsbench.evaluation.frames import read_frames
from avsbench.evaluation.resample import clip_sums
from avsbench.media.sound import Sound
from avsbench.paths import Scored
from avsbench.report.explorer import pictures, sounds
from avsbench.report.explorer.build import explore
from avsbench.report.explorer.links import refresh_links
from avsbench.report.explorer.scripts import read_script
from avsbench.report.explorer.shared import list_runs, share
from avsbench.report.web.embed import embedded, read_embedded
from tests.unit.explorer_runs import add_negative, add_run, build
from tests.unit.report_runs import paths_in, write


def opened(png: bytes) -> np.ndarray:
    """RGBA of a picture."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


@pytest.fixture(scope="module")
def s4(tmp_path_factory):
    """A run under two negatives, its ensemble, a submission, and their explorers."""
    paths, card = build(tmp_path_factory.mktemp("s4"), "s4")
    folders = [add_run(paths, card), add_run(paths, card, right=0.9, ensemble=True)]
    folders.append(add_run(paths, card, source="theirs", right=0.7))
    add_negative(paths, card, "silence")
    add_negative(paths, card, "offscreen", without=1)
    for folder in folders:
        explore(folder, paths)
    return paths, card, folders


def of_clip(folder: str, number: int, end: str) -> Path:
    return Path(Scored(folder).explorer).parent / f"clips/{number}.{end}"


# pictures


def test_errors_are_told_apart():
    truth = np.array([[[1, 1, 0, 0, 2, 255]]], np.uint8)
    found = pictures.errors(np.array([[[1, 0, 0, 1, 1, 1]]], np.uint8), truth, 3)
    assert found.tolist() == [[[1, 2, 0, 3, 4, 5]]]
    assert pictures.shares(found) == [[16.67, 16.67, 16.67, 16.67]]


def test_a_sheet_holds_its_rows_below_each_other_and_nothing_where_nothing_is_marked():
    masks = np.zeros((2, 6, 8), np.uint8)
    masks[1, 1:5, 2:6] = 1
    level = np.full(masks.shape, 255, np.uint8)
    drawn = opened(pictures.sheet([pictures.areas(masks, 1), pictures.heat(level)], 1))
    assert drawn.shape == (12, 16, 4)
    alpha = drawn[:6, :, 3]
    assert not alpha[:, :8].any()
    assert (alpha[1:5, 10:14] > 0).all()
    assert alpha[1, 10] == 255 > alpha[2, 11] > 0  # contour and area
    assert len(np.unique(drawn[6:].reshape(-1, 4), axis=0)) == 1  # probability 1 everywhere


def test_every_class_has_its_colour():
    labels = np.arange(71, dtype=np.uint8).repeat(25).reshape(1, 71 * 5, 5)
    drawn = opened(pictures.sheet([pictures.areas(labels, 71)], 71))[2::5, 2, :3]
    assert drawn[1:].tolist() == [list(colour) for colour in pictures.class_colours(71)[1:]]


# sounds


def test_a_video_is_heard_a_second_a_frame_and_silence_follows():
    tone = Sound(np.full((3 * 16000, 2), 8000, np.int16), 16000)
    wave = sounds.heard(cards.dataset("s4"), [tone], 5)
    assert wave.shape == (5 * 16000, 1)
    assert wave[: 3 * 16000].min() > 0.2
    assert not wave[3 * 16000 :].any()


def test_sources_of_a_still_picture_are_mixed_at_their_places():
    left, right = (
        Sound(np.full((4 * 16000, 1), v, np.int16), 16000, position=p) for v, p in ((8000, 0.0), (4000, 0.75))
    )
    wave = sounds.heard(cards.dataset("vpo_ms"), [left, right], 1)
    assert wave.shape == (3 * 16000, 2)
    assert wave[24000] == pytest.approx([(8000 + 1000) / 32768, 3000 / 32768], abs=1e-3)


def test_loud_mixtures_do_not_overflow():
    loud = Sound(np.full((16000, 1), 32000, np.int16), 16000, position=0.0)
    assert sounds.heard(cards.dataset("vpo_ms"), [loud, loud], 1).max() == pytest.approx(1)


def test_what_is_heard_decodes_to_the_same_samples():
    wave = np.random.default_rng(0).uniform(-1, 1, (16000, 2)).astype(np.float32)
    samples, rate = soundfile.read(io.BytesIO(sounds.encode(wave)))
    assert rate == 16000
    assert np.abs(samples - wave).max() < 1e-4


def test_a_tone_is_a_line_in_the_spectrogram():
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * 16000) / 16000)[:, None]
    drawn = opened(sounds.spectrogram(tone))[..., :3].sum(axis=2)
    assert drawn.shape == (64, 201)
    brightest = drawn[:, 100].argmax()
    assert 30 < brightest < 45  # 1 kHz lies at two fifths of the mel scale, and high tones are above
    assert drawn[5, 100] < drawn[brightest, 100] / 4


# a run


def test_every_clip_has_its_files(s4):
    paths, card, folders = s4
    shared = read_script(paths.explorer(card.name))
    assert [clip["id"] for clip in shared["clips"]] == clip_sums(Scored(folders[0]).frames).clips
    for number, clip in enumerate(shared["clips"]):
        media = Path(paths.explorer(card.name, f"media/{number}"))
        height, width = clip["size"]
        assert Image.open(media / "frames.jpg").size == (width * clip["frames"], height)
        assert Image.open(media / "truth.png").size == (width * clip["frames"], height)
        assert soundfile.info(media / "sound.flac").duration == clip["seconds"] == clip["frames"]
        sheet = Image.open(of_clip(folders[0], number, "png"))
        assert sheet.size == (width * clip["frames"], 5 * height)  # prediction, errors, probability, two negatives
    assert {clip["empty"] for clip in shared["clips"]} == {0, 5}
    assert all(clip["sources"] == 0 for clip in shared["clips"] if clip["empty"])


def test_the_numbers_are_those_of_the_frames(s4):
    _, _, folders = s4
    scores = read_script(Path(Scored(folders[0]).explorer).with_name("scores.js"))
    sums = clip_sums(Scored(folders[0]).frames)
    assert scores["scores"] == pytest.approx(sums.each("miou"), abs=1e-4)
    table = read_frames(Scored(folders[0]).frames).to_pandas()
    first = table[table.tp + table.fn > 0].iloc[2]
    frame = read_script(of_clip(folders[0], sums.clips.index(first.clip_id), "js"))["frames"][first.frame]
    assert frame["shares"][:3] == pytest.approx([100 * first[k] / 256 for k in ("tp", "fn", "fp")], abs=0.01)
    assert frame["iou"] == pytest.approx(first.tp / (first.tp + first.fn + first.fp), abs=1e-4)


def test_what_was_not_heard_is_unknown(s4):
    _, _, folders = s4
    negatives = [read_script(of_clip(folders[0], n, "js"))["frames"][0]["negatives"] for n in (0, 1)]
    assert negatives == [{"silence": 6.25, "offscreen": None}, {"silence": 6.25, "offscreen": 6.25}]


def test_the_data_set_knows_its_runs_and_what_each_can_show(s4):
    paths, card, folders = s4
    runs = {run["id"]: run for run in read_script(paths.explorer(card.name, "runs.js"))["runs"]}
    assert list(runs) == ["external/theirs", "tpavi-r50/0", "tpavi-r50/0/ensemble"]
    assert runs["tpavi-r50/0"]["views"] == ["prediction", "errors", "probability", "silence", "offscreen"]
    assert runs["external/theirs"]["views"] == ["prediction", "errors"]
    assert runs["tpavi-r50/0/ensemble"]["name"] == "tpavi-r50 (top-3 ensemble), seed 0"
    place = Path(paths.explorer(card.name)).parent
    for run, folder in zip(("tpavi-r50/0", "tpavi-r50/0/ensemble", "external/theirs"), folders, strict=True):
        assert (place / runs[run]["path"]).resolve() == Path(folder, "explorer").resolve()
        page = Path(folder, "explorer/index.html").read_text()
        assert (Path(folder, "explorer") / read_embedded(page)["shared"]).resolve() == place.resolve()


def test_a_run_that_another_job_replaces_right_now_is_left_out(s4):
    paths, card, _ = s4
    listed = Path(paths.explorer(card.name, "runs.js"))
    before = listed.read_text()
    gone = Path(paths.explorer_page(card.name, "tpavi-r50", "1")).with_name("about.json")
    gone.parent.mkdir(parents=True)
    gone.symlink_to("nothing")  # found, and then not there
    list_runs(card, paths)
    assert listed.read_text() == before
    shutil.rmtree(gone.parent)


def test_shared_files_are_written_once_and_again_when_the_data_change(s4):
    paths, card, _ = s4
    file = Path(paths.explorer(card.name, "media/0/frames.jpg"))
    before = file.stat().st_mtime_ns
    share(card, paths)
    assert file.stat().st_mtime_ns == before
    shard = Path(paths.shard(card.name, "test", 0, 2))
    shard.touch()
    share(card, paths)
    assert file.stat().st_mtime_ns > before


@pytest.mark.parametrize("name", ["avss", "vpo_msmi"])
def test_classes_are_named_and_scored(tmp_path, name):
    paths, card = build(tmp_path, name)
    page = Path(explore(add_run(paths, card), paths))
    shared, run = read_script(paths.explorer(name)), read_script(page.with_name("scores.js"))
    assert len(shared["classes"]) == len(shared["colours"]) == card.num_classes
    assert run["views"] == ["prediction", "errors"]
    assert all(score is not None for score in run["scores"])
    lengths = {clip["frames"] for clip in shared["clips"]}
    assert lengths == ({5, 10} if name == "avss" else {1})
    frame = read_script(page.parent / "clips/0.js")["frames"][0]
    assert frame["iou"] == pytest.approx(np.mean([iou for _, iou, _ in frame["classes"]]), abs=1e-3)
    assert {number for number, _, labelled in frame["classes"] if labelled and number} <= set(
        shared["clips"][0]["present"]
    )
    assert shared["clips"][0]["sources"] == (1 if name == "vpo_msmi" else len(shared["clips"][0]["present"]))


def test_the_page_holds_no_data_of_clips_and_closes_no_element(s4):
    page = Path(Scored(s4[2][0]).explorer).read_text()
    assert page.count("<script") == page.count("</script>") == 2
    assert "test_0" not in page


# what goes wrong


def test_a_run_without_predictions_is_refused(tmp_path, capsys):
    paths, card = build(tmp_path, "s4")
    folder = add_run(paths, card)
    Path(Scored(folder).predictions).unlink()
    roots = ["--data-root", paths.data_root, "--results-root", paths.results_root]
    assert main(["explore", folder, *roots]) == 2
    with pytest.raises(AvsbenchError, match="no stored predictions to show") as error:
        explore(folder, paths)
    assert f"`snakemake --cores 8 -- {Scored(folder).predictions}` predicts again" in str(error.value)
    assert not Path(folder, "explorer").exists()
    assert main(["explore"]) == 2


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    paths, _ = build(tmp_path, "s4")
    with pytest.raises(AvsbenchError, match=r"(?s)no stored predictions to show.*`avsbench status` lists the runs"):
        explore(str(tmp_path), paths)


def test_predictions_of_other_clips_are_refused(tmp_path):
    paths, card = build(tmp_path, "s4")
    folder = add_run(paths, card)
    other, _ = build(tmp_path / "other", "avss")
    table = Scored(add_run(other, cards.dataset("avss"))).frames
    Path(Scored(folder).frames).write_bytes(Path(table).read_bytes())
    with pytest.raises(AvsbenchError, match="was scored on other frames"):
        explore(folder, paths)
    assert not Path(folder, "explorer").exists()


def test_the_verb_says_what_it_wrote_and_links_the_leaderboard(tmp_path, capsys):
    paths, card = build(tmp_path, "s4")
    folder = add_run(paths, card)
    run = {"frames": "mini/s4/tpavi-r50/0/scores/positive.frames.parquet", "explorer": None}
    data = embedded({"datasets": [{"rows": [{"runs": [run]}]}], "note": "</script>"})
    page = Path(paths.leaderboard("html"))
    page.write_text(f'<p>kept</p><script type="application/json" id="data">{data}</script>')
    roots = ["--data-root", paths.data_root, "--results-root", paths.results_root]
    assert main(["explore", folder, *roots]) == 0
    said = capsys.readouterr().out
    assert f"written: {Scored(folder).explorer}" in said
    assert str(page) in said
    linked = read_embedded(page.read_text())
    assert linked["datasets"][0]["rows"][0]["runs"][0]["explorer"] == "mini/s4/tpavi-r50/0/explorer/index.html"
    assert linked["note"] == "</script>"
    assert page.read_text().startswith("<p>kept</p>")
    Path(Scored(folder).explorer).unlink()
    refresh_links(paths)
    assert read_embedded(page.read_text())["datasets"][0]["rows"][0]["runs"][0]["explorer"] is None


def test_a_leaderboard_without_data_is_named(tmp_path):
    paths = paths_in(tmp_path)
    assert refresh_links(paths) is None
    write(paths.leaderboard("html"), "<p>by hand</p>")
    with pytest.raises(AvsbenchError, match=r"leaderboard.html: not a page of this version"):
        refresh_links(paths)


def test_the_scripts_name_every_view_and_error():
    folder = Path(pictures.__file__).parent
    drawing = (folder / "drawing.js").read_text()
    views = set(re.findall(r"^  (\w+): \"", drawing.split("};")[0], re.MULTILINE))
    assert views == {"picture", "truth", "prediction", "errors", "probability", "silence", "noise", "offscreen"}
    assert json.dumps("wrong class") in drawing
    assert "wrong class" in pictures.ERRORS
