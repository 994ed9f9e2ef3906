"""Check released data before anything is made of them: every clip of the table is read as extraction would read it.

What the readers object to becomes a line of a kind (`verify_kinds`). A clip has a line of severity "fault" exactly when
its reader refuses it; files are looked at one by one only then, so a sound data set is decoded once.
"""

import functools
import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from avsbench.datasets.avsbench_files import RELEASED_SIDE, clip_sound
from avsbench.datasets.clip import Clip, ClipFiles, Reader
from avsbench.datasets.verify_kinds import FAULT, Line, kind_of, kind_of_remark, sentence
from avsbench.errors import AvsbenchError
from avsbench.media.images import read_image
from avsbench.media.sound import Sound
from avsbench.media.video import check_video, read_video_frames

MUTED = 1e-3
"""Peak, as a share of full scale, below which a sound counts as muted."""
CHUNK = 16
_LOG = logging.getLogger(__name__)


def verify_clips(make_reader: Callable[[], Reader], rows: list[dict], jobs: int, description: str) -> list[Line]:
    """The lines of all clips, in the order of `rows`, whatever the number of `jobs`.

    A process that dies (a decoder's crash, too little memory) costs the clip that it read, not the report.

    Args:
        make_reader: gives the reader; pickles, and is called once a process.
        rows: of the reader's table.
        jobs: processes; 1 stays in this one.
    """
    with tqdm(total=len(rows), desc=description, unit="clip", disable=None) as bar:
        if jobs <= 1:
            reader, lines = make_reader(), []
            for row in rows:
                lines += verify_clip(reader, row)
                bar.update()
            return lines
        chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
        found = dict(_shared_out(make_reader, chunks, jobs, bar))
    return [line for number in range(len(chunks)) for line in found[number]]


def _shared_out(make_reader: Callable, chunks: list[list[dict]], jobs: int, bar: tqdm) -> Iterator[tuple[int, list]]:
    """(number of a chunk, its lines) as they come; what a dying process was reading is read again, clip by clip."""
    waiting = deque(enumerate(chunks))
    while waiting:
        running: dict[Future, int] = {}
        try:
            with _pool(jobs, make_reader) as pool:
                while waiting or running:
                    while waiting and len(running) < 2 * jobs:
                        running[pool.submit(_verify_chunk, waiting[0][1])] = waiting[0][0]
                        waiting.popleft()
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        lines = future.result()
                        number = running.pop(future)
                        bar.update(len(chunks[number]))
                        yield number, lines
        except BrokenProcessPool:
            for number in running.values():
                yield number, [line for row in chunks[number] for line in _alone(make_reader, row)]
                bar.update(len(chunks[number]))


def _alone(make_reader: Callable, row: dict) -> list[Line]:
    """The lines of one clip, read by a process of its own."""
    with _pool(1, make_reader) as pool:
        try:
            return pool.submit(_verify_chunk, [row]).result()
        except BrokenProcessPool:
            return [Line("crash", "the process that read this clip ended", row["clip_id"], row["split"], files=0)]


def _pool(jobs: int, make_reader: Callable) -> ProcessPoolExecutor:
    # "spawn" is the one start method that is safe beside threads and the same on every system.
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_start, initargs=(make_reader,))


def _start(make_reader: Callable) -> None:
    global _reader
    _reader = make_reader()


def _verify_chunk(rows: list[dict]) -> list[Line]:
    return [line for row in rows for line in verify_clip(_reader, row)]


def verify_clip(reader: Reader, row: dict) -> list[Line]:
    """Everything that is wrong or odd about one clip of the table; nothing is raised."""
    try:
        files = reader.files(row)
        try:
            clip = reader.read(row, RELEASED_SIDE)
        except AvsbenchError as error:
            found = _each_file(reader, row, files)
            if not any(line.severity == FAULT for line in found):
                found.append(Line(kind_of(error, "clip"), sentence(error), files=0))
        else:
            found = [*_remarks(clip, row, reader), *_beside(reader, row, files)]
    except Exception as error:
        _LOG.debug("clip %s", row["clip_id"], exc_info=True)
        found = [Line("unusable", f"unexpected {type(error).__name__}: {error}", files=0)]
    return [_of_clip(line, row, reader.root) for line in found]


def _of_clip(line: Line, row: dict, root: Path) -> Line:
    """The line with its clip, and with paths that do not depend on where the data lie."""
    short = [text.replace(f"{root}/", "") for text in (line.text, line.file)]
    return Line(line.kind, short[0], row["clip_id"], row["split"], short[1], line.files)


# a clip that its reader refuses


def _each_file(reader: Reader, row: dict, files: ClipFiles) -> list[Line]:
    """What the files of a clip are guilty of, each on its own; one line a kind."""
    tries = []
    if files.video is not None and files.video.is_file() and not any(file.is_file() for file in files.frames):
        tries.append(("video", files.video, lambda: read_video_frames(files.video, row["frames"])))
    else:
        tries += [("frame", file, functools.partial(read_image, file)) for file in files.frames]
    tries += [("mask", file, functools.partial(reader.read_mask, file)) for file in files.masks if file is not None]
    for file in files.sounds:
        tries.append(
            ("sound", file, functools.partial(clip_sound, row["clip_id"], file, files.video, row["frames"], ""))
        )
    return list(_grouped(_attempts(tries)))


def _attempts(tries: Iterable[tuple[str, Path, Callable]]) -> Iterator[Line]:
    for role, file, attempt in tries:
        try:
            attempt()
        except AvsbenchError as error:
            yield Line(kind_of(error, role), sentence(error), file=str(file))


def _grouped(lines: Iterable[Line]) -> Iterator[Line]:
    """One line a kind: the first, and how many files are concerned."""
    kinds: dict[str, list[Line]] = {}
    for line in lines:
        kinds.setdefault(line.kind, []).append(line)
    for kind, same in kinds.items():
        more = f" (and {len(same) - 1} more)" if len(same) > 1 else ""
        yield Line(kind, same[0].text + more, file=same[0].file, files=len(same))


# a clip that its reader accepts


def _remarks(clip: Clip, row: dict, reader: Reader) -> list[Line]:
    """What is odd about the arrays of a clip, and what its reader remarks."""
    lines = [Line(kind_of_remark(note), note, files=0) for note in clip.notes]
    if len(clip.frames) > 1 and (clip.frames == clip.frames[0]).all():
        lines.append(
            Line("still_frames", f"all {len(clip.frames)} frames are the same picture", files=len(clip.frames))
        )
    wanted = row["frames"] if row["frames"] > 1 else min(reader.card.clip_seconds, default=0)
    for number, sound in enumerate(clip.sounds):
        which = f"sound {number + 1} of {len(clip.sounds)}: " if len(clip.sounds) > 1 else ""
        if sound.silent:
            lines.append(Line("silent_sound", f"{which}every sample is zero"))
        elif (peak := _peak(sound)) < MUTED:
            lines.append(Line("muted_sound", f"{which}peak {peak:.1e} of full scale"))
        if sound.seconds < wanted - 0.25:
            lines.append(Line("short_sound", f"{which}{sound.seconds:.2f} s of sound for {wanted:g} s"))
    said: dict[str, Line] = {}
    for line in lines:  # the reader's own words come first, and once is enough
        said.setdefault(line.text if line.kind == "remark" else line.kind, line)
    return list(said.values())


def _peak(sound: Sound) -> float:
    full = 1.0 if sound.samples.dtype.kind == "f" else float(np.iinfo(sound.samples.dtype).max)
    return float(np.abs(sound.samples.astype(np.float64)).max()) / full


def _beside(reader: Reader, row: dict, files: ClipFiles) -> Iterator[Line]:
    """What reading a clip does not look at: released sizes, index masks, masks too many, a video that is not needed."""
    masks = [file for file in files.masks if file is not None]
    if reader.card.task == "binary":
        yield from _grouped(_wrong_sizes([*files.frames, *masks]))
    yield from _grouped(_index_masks(reader, masks))
    yield from _extra_masks(row, masks)
    if files.video is not None and files.video.is_file() and files.frames[0].is_file():
        try:
            check_video(files.video)
        except AvsbenchError as error:
            yield Line("broken_video", sentence(error), file=str(files.video))


def _wrong_sizes(files: list[Path]) -> Iterator[Line]:
    from PIL import Image

    for file in files:
        if file.is_file():  # frames may come from the video
            with Image.open(file) as image:  # reads the header alone
                if image.size != (RELEASED_SIDE, RELEASED_SIDE):
                    yield Line("wrong_size", f"{file}: {image.width} x {image.height}", file=str(file))


def _index_masks(reader: Reader, masks: list[Path]) -> Iterator[Line]:
    """`labels_semantic` (class numbers, read by other code bases) against the colours of `labels_rgb`."""
    from PIL import Image

    for mask in masks:
        file = mask.parent.with_name("labels_semantic") / mask.name
        if mask.parent.name != "labels_rgb" or not file.is_file():
            continue
        try:
            with Image.open(file) as image:
                numbers = np.asarray(image).astype(np.int64)
        except (OSError, SyntaxError, ValueError) as error:
            yield Line("labels_differ", f"{file}: cannot be read: {error}", file=str(file))
            continue
        labels = reader.read_mask(mask).astype(np.int64)
        if numbers.shape != labels.shape:
            yield Line("labels_differ", f"{file}: not one number a pixel of labels_rgb", file=str(file))
        elif (numbers == labels + 1).all() or (labels.any() and (numbers == labels + (labels > 0)).all()):
            yield Line("class_offset", f"{file}: every class stands one too high", file=str(file))
        elif (numbers != labels).any():
            share = (numbers != labels).mean()
            yield Line("labels_differ", f"{file}: {share:.1%} of the pixels differ", file=str(file))


def _extra_masks(row: dict, masks: list[Path]) -> Iterator[Line]:
    """Masks beside the annotated ones, where a clip has a folder of its own."""
    if row["frames"] < 2 or not masks:
        return
    known = {file.name for file in masks}
    stem = re.sub(r"\d+$", "", masks[0].stem)
    pattern = re.escape(stem) + r"\d+" + re.escape(masks[0].suffix)
    extra = sorted(f for f in masks[0].parent.iterdir() if f.name not in known and re.fullmatch(pattern, f.name))
    if extra:
        yield Line("extra_mask", f"{extra[0]}: this frame is not annotated", file=str(extra[0]), files=len(extra))
