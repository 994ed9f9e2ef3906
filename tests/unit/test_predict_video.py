"""`avsbench predict-video`: counts, sizes, sound, and videos that are short, long, turned, odd or broken."""

import csv
import dataclasses
import shutil
import struct
import wave
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

import avsbench
from avsbench.cli import main
from avsbench.engine import video as engine
from avsbench.engine.checkpoint import save_weights
from avsbench.errors import AvsbenchError
from avsbench.media.images import read_labels
from avsbench.media.video import frame_indices, read_video_sound, write_video
from avsbench.media.video_stream import pictures, sound_seconds
from avsbench.paths import VideoPaths
from avsbench.registry import build
from avsbench.report.overlay import Painter, draw_overlay
from tests.unit.small_method import write_method

FPS = 8


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("AVSBENCH_MODELS", str(tmp_path / "models"))
    return write_method(tmp_path / "models").variants["small-small"]


def make_run(folder, variant, dataset, **described):
    """A run folder with random weights."""
    from avsbench import provenance

    method = build(variant, dataset, "mini", 32)
    save_weights(folder / "weights.safetensors", method.own_state(), {"scale": "mini", "image_size": 32, **described})
    named = {"variant": variant.name, "dataset": dataset, "scale": "mini", "image_size": 32, "seed": "0"}
    provenance.write_run(folder / "run.json", {**named, "code": "", "versions": {}, "parameters": {}})
    return folder


@pytest.fixture
def run(tmp_path, models):
    return make_run(tmp_path / "run", models, "ms3")


def tune(seconds):
    t = np.arange(round(seconds * 16000)) / 16000
    return (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)


def film(path, seconds, *, height=48, width=64, sound=True):
    """A bright disc on a dark ground; the shade of the ground tells the number of the frame."""
    count = round(seconds * FPS)
    shade = (np.arange(count) * 3 % 200).astype(np.uint8)
    frames = np.broadcast_to(shade[:, None, None, None], (count, height, width, 3)).copy()
    rows, columns = np.ogrid[:height, :width]
    frames[:, (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (height / 4) ** 2] = (250, 240, 30)
    write_video(path, frames, FPS, tune(seconds) if sound else None, 16000)
    return path


def rows_of(out):
    with open(out / "masks.csv") as file:
        return list(csv.DictReader(file))


def shown(path):
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
        return frames, bool(container.streams.audio)


def predict(tmp_path, file, run, *options):
    out = tmp_path / "out"
    code = main(["predict-video", str(file), "--checkpoint", str(run), "--out", str(out), "--device", "cpu", *options])
    return code, out


def test_masks_table_and_overlay(tmp_path, run):
    code, out = predict(tmp_path, film(tmp_path / "clip.mp4", 7.5), run)
    assert code == 0
    rows = rows_of(out)
    assert [row["time"] for row in rows] == [str(second) for second in range(8)]
    for row in rows:
        image = Image.open(out / row["file"])
        values = np.asarray(image)
        assert (image.mode, values.shape) == ("L", (48, 64))
        assert set(np.unique(values)) <= {0, 255}
        assert float(row["area"]) == pytest.approx((values > 0).mean(), abs=1e-6)
    frames, sound = shown(out / "overlay.mp4")
    assert len(frames) == 60
    assert [time for time, _ in frames] == pytest.approx([index / FPS for index in range(60)], abs=1e-3)
    assert frames[0][1].shape == (48, 64, 3)
    assert sound


def test_the_overlay_keeps_the_sound(tmp_path, run):
    _, out = predict(tmp_path, film(tmp_path / "clip.mp4", 3), run)
    heard, source = (read_video_sound(path) for path in (out / "overlay.mp4", tmp_path / "clip.mp4"))
    assert abs(heard.seconds - source.seconds) < 0.1
    one, two = (abs(np.fft.rfft(s.samples[:32000, 0].astype(float))) for s in (heard, source))
    assert abs(one.argmax() - two.argmax()) <= 2
    assert one.max() == pytest.approx(two.max(), rel=0.1)


def test_the_overlay_differs_where_the_mask_is_and_nowhere_else(tmp_path):
    file, out = film(tmp_path / "clip.mp4", 2), VideoPaths(str(tmp_path / "out"))
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 10:40] = 255
    (tmp_path / "out" / "masks").mkdir(parents=True)
    Image.fromarray(mask).save(out.mask(0))
    Image.fromarray(mask * 0).save(out.mask(1))
    draw_overlay(file, out, 2, [])
    before, after = shown(file)[0], shown(out.overlay)[0]
    change = [abs(b.astype(int) - a.astype(int)).mean(axis=2) for (_, b), (_, a) in zip(before, after, strict=True)]
    assert change[3][12:28, 12:38].mean() > 20
    assert change[3][34:, 44:].mean() < 4
    assert np.mean(change[FPS + 3]) < 4


def test_alpha_contour_and_legend():
    mask = np.zeros((100, 120), np.uint8)
    mask[60:90, 60:100] = 2
    picture = np.full((100, 120, 3), 200, np.uint8)
    names = ["background", "accordion", "dog"]
    clear, full = (Painter(mask, names, alpha).draw(picture) for alpha in (0.0, 1.0))
    assert (clear[75, 80] == 200).all()
    assert tuple(clear[60, 80]) == tuple(full[75, 80]) == (0, 128, 0)
    assert (full[:8, :8] != 200).any()
    assert (full[95:, :50] == 200).all()
    assert (Painter(mask * 0, names, 0.5).draw(picture) == picture).all()


def test_classes_have_palette_legend_and_names(tmp_path, models):
    run = make_run(tmp_path / "run", models, "avss")
    _, out = predict(tmp_path, film(tmp_path / "clip.mp4", 2), run)
    row = rows_of(out)[0]
    image = Image.open(out / row["file"])
    labels = np.asarray(image)
    assert image.mode == "P"
    assert image.getpalette()[3:6] == [128, 0, 0]
    assert len(row["classes"].split(";")) == len(set(np.unique(labels)) - {0})
    assert (read_labels(out / row["file"]) == labels).all()


def test_windows_agree_with_the_python_face(tmp_path, run):
    file = film(tmp_path / "clip.mp4", 7)
    model = engine.load_run(run, device="cpu")
    wanted = model.predict(np.stack(list(pictures(file))), (np.concatenate(list(sound_seconds(file))), 16000))["masks"]
    out = VideoPaths(str(tmp_path / "out"))
    assert engine.predict_video(model, file, out) == 7
    assert all((read_labels(out.mask(k)) == wanted[k]).all() for k in range(7))


def test_a_tail_is_predicted_as_a_clip_of_full_length(tmp_path, run, monkeypatch):
    model = engine.load_run(run, device="cpu")
    lengths = []
    forward = model.method.forward
    monkeypatch.setattr(model.method, "forward", lambda batch: lengths.append(batch.frames.shape[1]) or forward(batch))
    assert engine.predict_video(model, film(tmp_path / "clip.mp4", 6.2), VideoPaths(str(tmp_path / "out"))) == 7
    assert lengths == [5, 5]


def test_pictures_by_time_are_those_that_training_takes(tmp_path):
    file = film(tmp_path / "clip.mp4", 5)
    everything = [frame for _, frame in shown(file)[0]]
    wanted = [everything[index] for index in frame_indices(FPS, 5)]
    assert all((one == two).all() for one, two in zip(pictures(file), wanted, strict=True))


def test_sound_in_pieces_is_the_whole_sound(tmp_path):
    file = film(tmp_path / "clip.mp4", 3.4)
    whole = read_video_sound(file).samples
    pieces = list(sound_seconds(file))
    assert [len(piece) for piece in pieces[:-1]] == [16000] * (len(pieces) - 1)
    assert abs(len(np.concatenate(pieces)) - len(whole)) < 16
    assert (np.concatenate(pieces)[:48000] == whole[:48000]).all()


def test_varying_frame_rate_and_a_late_sound(tmp_path):
    """Pictures at 0, 0.5, 0.9, 2.2 and 5.1 s; the sound begins at 2 s."""
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        picture = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=30)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        picture.codec_context.time_base = Fraction(1, 1000)
        voice = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        for number, time in enumerate((0, 500, 900, 2200, 5100)):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 40 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        sound = av.AudioFrame.from_ndarray(tune(1)[None], format="s16", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = 16000, 32000, Fraction(1, 16000)
        container.mux(voice.encode(sound))
        container.mux(voice.encode(None))
    assert [round(frame.mean() / 40) for frame in pictures(tmp_path / "clip.mkv")] == [2, 2, 3, 3, 3, 4]
    pieces = list(sound_seconds(tmp_path / "clip.mkv"))
    assert [bool(piece.any()) for piece in pieces] == [False, False, True]


def turn(path):
    """Write "turn by 90 degrees clockwise" into the header of the picture track, as phones do."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    assert struct.unpack(">9i", data[place : place + 36])[0] == 1 << 16
    data[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(data)


def test_a_turned_video_is_upright(tmp_path, run):
    frames = np.zeros((FPS, 48, 64, 3), np.uint8)
    frames[:, :, :20] = 255  # the left side is the upper one after a quarter turn clockwise
    write_video(tmp_path / "clip.mp4", frames, FPS, None, 16000)
    turn(tmp_path / "clip.mp4")
    picture = next(pictures(tmp_path / "clip.mp4"))
    assert picture.shape == (64, 48, 3)
    assert picture[:16].mean() > 200 > 50 > picture[30:].mean()
    _, out = predict(tmp_path, tmp_path / "clip.mp4", run)
    assert np.asarray(Image.open(out / "masks" / "000000.png")).shape == (64, 48)
    assert shown(out / "overlay.mp4")[0][0][1].shape == (64, 48, 3)


def test_odd_sides(tmp_path, run):
    with av.open(str(tmp_path / "odd.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 51, 37, "bgr0"
        for _ in range(FPS):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((37, 51, 3), 90, np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    code, out = predict(tmp_path, tmp_path / "odd.mkv", run)
    assert code == 0
    assert np.asarray(Image.open(out / "masks" / "000000.png")).shape == (37, 51)
    assert shown(out / "overlay.mp4")[0][0][1].shape == (38, 52, 3)


def test_less_than_a_second(tmp_path, run):
    code, out = predict(tmp_path, film(tmp_path / "clip.mp4", 0.4), run)
    assert code == 0
    assert len(rows_of(out)) == 1
    assert len(shown(out / "overlay.mp4")[0]) == 3


def test_without_a_sound_track(tmp_path, run, capsys):
    file = film(tmp_path / "clip.mp4", 2, sound=False)
    code, out = predict(tmp_path, file, run)
    assert code == 0
    assert "no sound track; predicted with silence" in capsys.readouterr().err
    assert not shown(out / "overlay.mp4")[1]
    assert predict(tmp_path, file, run, "--need-sound")[0] == 2


def test_a_long_video_keeps_no_more_than_a_window(tmp_path, run):
    file = film(tmp_path / "clip.mp4", 120, height=32, width=32)
    model = engine.load_run(run, device="cpu")
    sizes = [(len(frames), len(sound.samples)) for frames, sound in engine.windows(model, file)]
    assert len(sizes) == 24
    assert {frames for frames, _ in sizes} == {5}
    assert max(samples for _, samples in sizes) == 5 * 16000
    assert engine.predict_video(model, file, VideoPaths(str(tmp_path / "out"))) == 120


def test_logits_of_large_pictures_come_from_smaller_ones(tmp_path, run, monkeypatch):
    model, file = engine.load_run(run, device="cpu"), film(tmp_path / "clip.mp4", 5)
    outs = [VideoPaths(str(tmp_path / name)) for name in ("whole", "shrunk")]
    engine.predict_video(model, file, outs[0])
    monkeypatch.setattr(engine, "_LOGITS", 5 * 24 * 32)
    engine.predict_video(model, file, outs[1])
    one, two = (read_labels(out.mask(2)) for out in outs)
    assert two.shape == (48, 64)
    assert (one == two).mean() > 0.9


def test_the_threshold(tmp_path, run):
    file = film(tmp_path / "clip.mp4", 1)
    areas = []
    for threshold in ("0.000001", "0.999999"):
        assert predict(tmp_path, file, run, "--threshold", threshold)[0] == 0
        areas.append(float(rows_of(tmp_path / "out")[0]["area"]))
    assert areas == [1, 0]
    assert predict(tmp_path, file, run, "--threshold", "1.5")[0] == 2


def test_still_pictures_hear_a_second_on_either_side(run):
    model = engine.load_run(run, device="cpu")
    assert model.hears(5, 5) == (5, 10)
    model.dataset = dataclasses.replace(model.dataset, frames=1)
    assert model.hears(7, 1) == (6, 9)


def test_heard_lets_go_of_what_is_past():
    heard = engine._Heard(iter([np.full((4, 2), k, np.int16) for k in range(6)]))
    assert heard.between(-1, 2)[:, 0].tolist() == [0] * 4 + [1] * 4
    assert heard.between(1, 4)[::4, 0].tolist() == [1, 2, 3]
    assert heard.between(5, 9)[::4, 0].tolist() == [5]
    assert heard.between(9, 12).shape == (0, 2)


def no_video(tmp_path):
    (tmp_path / "x.mp4").write_text("no video at all")


def only_sound(tmp_path):
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(tune(1).tobytes())
    shutil.move(tmp_path / "x.wav", tmp_path / "x.mp4")


@pytest.mark.parametrize(
    ("make", "message"),
    [(no_video, "cannot be read"), (only_sound, "no pictures"), (lambda place: None, "no such video")],
)
def test_files_that_are_no_videos(tmp_path, run, make, message, capsys):
    make(tmp_path)
    code, out = predict(tmp_path, tmp_path / "x.mp4", run)
    assert code == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_folders_that_are_no_runs(tmp_path, run):
    (run / "weights.safetensors").unlink()
    with pytest.raises(AvsbenchError, match=r"no weights\.safetensors"):
        engine.load_run(run)
    with pytest.raises(AvsbenchError, match="no such folder"):
        engine.load_run(tmp_path / "nowhere")


@pytest.fixture
def seeing(models):
    """The method of the tests, that asks for maskiges."""
    from avsbench import cards

    card = models.method.path
    front_ends = "front_ends: [vggish_mel]"
    card.write_text(card.read_text().replace(front_ends, f"{front_ends}, features: [maskige]"))
    cards._method_cards.cache_clear()


@pytest.mark.parametrize("chosen", [{"generator": "none"}, {"options": {"min_size": 9}}, {"pictures": "native"}])
def test_maskiges_are_derived_as_for_training(tmp_path, seeing, models, monkeypatch, chosen):
    """With what made those of the training, of the frames as the network sees them; added frames repeat the last."""
    from avsbench import features
    from avsbench.features import maskige
    from avsbench.features.settings import resolve
    from avsbench.media.images import resize_image, resize_mask
    from avsbench.paths import Paths

    folder = make_run(tmp_path / "run", models, "ms3", features={"maskige": chosen})
    model, seen = engine.load_run(folder), []
    forward = model.method.forward
    monkeypatch.setattr(model.method, "forward", lambda batch: seen.append(batch.features["maskige"]) or forward(batch))
    frames = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), np.uint8)
    model.predict(frames, (np.zeros(48000, np.int16), 16000))
    setting = resolve("maskige", Paths("mini"), chosen)
    generator = features.build(setting.card, setting.options)
    small = np.stack([resize_image(frame, 32, "squash") for frame in frames])
    if setting.pictures == "native":
        indices = np.stack([resize_mask(index, 32, "squash") for index in maskige.of_frames(generator, frames)[0]])
    else:
        indices, _ = maskige.of_frames(generator, small)
    expected = maskige.coloured(indices[[0, 1, 2, 2, 2]])
    assert np.array_equal(seen[0].numpy(), expected[None])


def test_maskiges_from_files_need_a_generator(tmp_path, seeing, models):
    folder = make_run(tmp_path / "run", models, "ms3", features={"maskige": {"generator": "files"}})
    with pytest.raises(AvsbenchError, match=r"read from files(.|\n)*semantic_sam"):
        engine.load_run(folder)
    loaded = avsbench.load(
        models.name, "ms3", folder / "weights.safetensors", features={"maskige": {"generator": "felzenszwalb"}}
    )
    assert loaded.generators["maskige"][0].generator == "felzenszwalb"
    with pytest.raises(AvsbenchError, match=r"unknown feature of (.|\n)*did you mean 'maskige'"):
        avsbench.load(models.name, "ms3", folder / "weights.safetensors", features={"maskiges": {}})
