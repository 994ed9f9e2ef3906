"""The embedded data set: S4, MS3, AVSS and VPO rendered in their official folder layouts, deterministic from a seed.

A diagnostic, not a stand-in for AVSBench. It holds every file of the releases but the `audio_log_mel` pickles, which
this suite never reads. Released frames equal the frame that the 15/16 rule picks from the raw video; videos are
160 x 120 at 8 frames a second. The v1s and v1m clips of AVSS show the scenes of the S4 and MS3 clips of the same name.

The same seed gives the same pixels, masks and samples everywhere. Bytes of mp4 files depend on the encoder, and the
pixels of the AVSS frames on the JPEG library that reads them.
"""

import csv
import functools
import json
from pathlib import Path

import numpy as np

from avsbench.atomic import atomic_folder
from avsbench.cards import DatasetCard
from avsbench.datasets import mini_vpo
from avsbench.datasets.avsbench_semantic import PARTS
from avsbench.datasets.mini_kinds import Dice
from avsbench.datasets.mini_plan import Ticket, plan, scene_of, sound_of
from avsbench.datasets.mini_scene import FPS, draw, frame_tick, sounding_mask
from avsbench.datasets.workers import run
from avsbench.errors import AvsbenchError

RELEASED = (224, 224)
RAW = (160, 120)
ORIGINALS = ((320, 240), (320, 240), (320, 180), (240, 320))
"""(width, height) of AVSS frames, drawn per clip."""
WAVS = ((16000, 2), (16000, 2), (44100, 2), (48000, 1))
"""(rate, channels) of AVSS wavs, drawn per clip."""


def render(dataset_card: DatasetCard, out_dir: Path, seed: int, workers: int) -> None:
    """Render a data set into `out_dir`, which appears whole or not at all; what stood there is replaced.

    Args:
        dataset_card: any of the released data sets; `splits["mini"]` says how many clips.
        out_dir: becomes the top folder of the official layout.
        seed: other seeds give other scenes under the same clip names.
        workers: processes; 1 renders in this one.
    """
    out_dir = Path(out_dir)
    if dataset_card.name not in _WRITERS:
        raise AvsbenchError(
            f"the data set {dataset_card.name!r} has no embedded version", expected=f"one of {', '.join(_WRITERS)}"
        )
    make_plan, write, write_tables = _WRITERS[dataset_card.name]
    tickets = list(make_plan(dataset_card))
    with atomic_folder(out_dir) as temporary:
        work = functools.partial(write, folder=temporary, seed=seed)
        run(work, tickets, workers, f"render {dataset_card.name}")
        write_tables(temporary, tickets, seed)


# files


def _write_object(ticket: Ticket, folder: Path, seed: int) -> None:
    """One clip of S4 or MS3: frames, masks, wav and raw video."""
    from avsbench.media.video import write_video

    scene, clip_id = scene_of(ticket, seed), ticket.clip_id
    if ticket.dataset == "s4":
        data, middle, stem = folder / "s4_data", Path(ticket.split) / ticket.category, clip_id
        frames, video = data / "visual_frames" / middle / clip_id, data / "raw_videos" / middle / f"{clip_id}.mp4"
    else:
        data, middle, stem = folder / "ms3_data", Path(ticket.split), f"{clip_id}.mp4"
        frames, video = data / "visual_frames" / clip_id, data / "raw_videos" / f"{clip_id}.mp4"
    masks, wav = data / "gt_masks" / middle / clip_id, data / "audio_wav" / middle / f"{clip_id}.wav"
    for place in (frames, masks, wav.parent, video.parent):
        place.mkdir(parents=True, exist_ok=True)
    for second in range(ticket.seconds):
        image, owner = draw(scene, frame_tick(second), *RELEASED)
        _save(image, frames / f"{stem}_{second + 1}.png")
        if second == 0 or not (ticket.dataset == "s4" and ticket.split == "train"):
            _save(sounding_mask(scene, second, owner) * 255, masks / f"{clip_id}_{second + 1}.png")
    samples = sound_of(ticket, seed)
    _save_wav(samples, 16000, wav)
    pictures = np.stack([draw(scene, tick, *RAW)[0] for tick in range(scene.ticks)])
    write_video(video, pictures, FPS, samples, 16000)


def _write_semantic(ticket: Ticket, folder: Path, seed: int) -> None:
    """One clip of AVSS: JPEG frames of the original size, colour and index masks, wav."""
    from avsbench.media.images import voc_palette

    scene, place = scene_of(ticket, seed), folder / ticket.part / ticket.clip_id
    form = Dice(seed, "avss form", ticket.clip_id)
    size, (rate, channels) = form.pick(ORIGINALS), form.pick(WAVS)
    for name in ("frames", "labels_rgb", "labels_semantic"):
        (place / name).mkdir(parents=True, exist_ok=True)
    for second in range(ticket.seconds):
        image, owner = draw(scene, frame_tick(second), *size)
        _save(image, place / "frames" / f"{second}.jpg", quality=92)
        if second == 0 or not (ticket.part == "v1s" and ticket.split == "train"):
            labels = sounding_mask(scene, second, owner, _class_values())
            _save(voc_palette(len(_class_values()))[labels], place / "labels_rgb" / f"{second}.png")
            _save(labels, place / "labels_semantic" / f"{second}.png")
    _save_wav(sound_of(ticket, seed, rate, channels), rate, place / "audio.wav")


@functools.cache
def _class_values() -> dict[str, int]:
    from avsbench import cards

    return {name: index for index, name in enumerate(cards.dataset("avss").classes)}


def _save(image: np.ndarray, path: Path, **options) -> None:
    from PIL import Image

    Image.fromarray(image).save(path, **({"compress_level": 3} if path.suffix == ".png" else options))


def _save_wav(samples: np.ndarray, rate: int, path: Path) -> None:
    import soundfile

    soundfile.write(path, samples, rate, subtype="PCM_16", format="WAV")


# tables


def _tables_s4(folder: Path, tickets: list[Ticket], seed: int) -> None:
    rows = [(t.clip_id, t.start, t.category, t.split) for t in tickets]
    _write_csv(folder / "s4_meta_data.csv", ("name", "start", "category", "split"), rows)


def _tables_ms3(folder: Path, tickets: list[Ticket], seed: int) -> None:
    _write_csv(folder / "ms3_meta_data.csv", ("name", "split"), [(t.clip_id, t.split) for t in tickets])
    _write_objects(folder, tickets, seed)  # of the release, AVSS's folder alone has this


def _tables_avss(folder: Path, tickets: list[Ticket], seed: int) -> None:
    _write_objects(folder, tickets, seed)
    values = {name: index + 1 for name, index in _class_values().items()}  # this file counts from 1
    (folder / "label2idx.json").write_text(json.dumps(values))
    for part in PARTS:
        (folder / part).mkdir(exist_ok=True)


def _write_objects(folder: Path, tickets: list[Ticket], seed: int) -> None:
    """AVSS's table, which says what sounds in each clip."""
    rows = []
    for ticket in tickets:
        scene = scene_of(ticket, seed)
        heard = sorted({thing.kind.name for thing in scene.things if any(thing.sounding)})
        video = ticket.clip_id if ticket.part == "v1m" else ticket.clip_id.rsplit("_", 2)[0]
        place = (ticket.start // 60, ticket.start % 60)
        rows.append((video, ticket.clip_id, *place, "_".join(heard) or "background", ticket.split, ticket.part))
    _write_csv(folder / "metadata.csv", ("vid", "uid", "s_min", "s_sec", "a_obj", "split", "label"), rows)


def _write_csv(path: Path, header: tuple, rows: list[tuple]) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


_WRITERS = {
    "s4": (plan, _write_object, _tables_s4),
    "ms3": (plan, _write_object, _tables_ms3),
    "avss": (plan, _write_semantic, _tables_avss),
    **dict.fromkeys(("vpo_ss", "vpo_ms", "vpo_msmi"), (mini_vpo.plan, mini_vpo.write, mini_vpo.write_tables)),
}
