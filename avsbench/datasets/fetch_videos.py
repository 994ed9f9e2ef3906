"""Raw videos by clip id, for whoever has the tables but not the media: fetch, cut, and list what has vanished.

The platform is asked politely and only for what is missing; the same command goes on where it stopped. `fetch` works
with any downloader, a function (video id, folder) -> file; `youtube` is the real one and needs the extra `videos`.
"""

import csv
import logging
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from avsbench.atomic import atomic
from avsbench.datasets.avsbench_files import read_csv
from avsbench.errors import AvsbenchError
from avsbench.media.cut import cut_sound, cut_video
from avsbench.media.sound import read_wav
from avsbench.media.video import check_video

Downloader = Callable[[str, Path], Path]
SECONDS = {"s4": 5, "vggsound": 10}
"""Table that clips are named by -> length of a clip."""
COLUMNS = ["clip", "video", "status", "reason"]
VANISHED = re.compile(
    r"unavailable|private|removed|terminated|(?<!format is )not available|no longer|does not exist|copyright", re.I
)
"""What the platform says of a video that will not come back, as far as anyone can tell."""
_ID = r"[\w-]{11}"
_LOG = logging.getLogger(__name__)


class VideoError(Exception):
    """A downloader did not get a video; the text is the platform's reason."""


@dataclass(frozen=True)
class Wanted:
    """One clip: where it goes (below the output folder, without extension), its video, and its first second."""

    place: str
    video: str
    start: float


@dataclass(frozen=True)
class Kind:
    """What is kept of a clip: the ending of its file, how it is cut, and how one sees that it opens."""

    ending: str
    cut: Callable
    check: Callable

    def target(self, out: Path, clip: Wanted) -> Path:
        return out / f"{clip.place}{self.ending}"

    def there(self, out: Path, clip: Wanted) -> bool:
        try:
            self.check(self.target(out, clip))
        except AvsbenchError:
            return False
        return True


VIDEO = Kind(".mp4", cut_video, check_video)
SOUND = Kind(".wav", cut_sound, read_wav)


def wanted_clips(dataset: str, table: str | Path) -> list[Wanted]:
    """The clips of a table: s4_meta_data.csv (`s4`) or vggsound.csv (`vggsound`: video id, start second, …, no header).

    Names follow what reads them: `<split>/<category>/<name>` as in `raw_videos` of S4, `<video id>_<start, 6 digits>`.
    """
    table = Path(table)
    return _s4(table) if dataset == "s4" else _vggsound(table)


def _s4(table: Path) -> list[Wanted]:
    raw, clips = read_csv(table, ["category", "split"]), []
    for line, row in enumerate(raw.itertuples(index=False), start=2):
        name, place = row[0], f"{row.split}/{row.category}/{row[0]}"
        match = re.fullmatch(rf"({_ID})(?:_(\d+)_\d+)?", name)
        second = match[2] and int(match[2]) / 1000 if match else None
        if match and second is None:  # a name without times: the second column is the start
            second = float(row[1]) if re.fullmatch(r"\d+(\.\d+)?", row[1]) else None
        if second is None or len(PurePosixPath(place).parts) != 3 or ".." in place or place.startswith("/"):
            raise _bad_row(table, line, place, "<video id>_<start ms>_<end ms>, start, category, split")
        clips.append(Wanted(place, match[1], second))
    return clips


def _vggsound(table: Path) -> list[Wanted]:
    if not table.is_file():
        raise AvsbenchError(f"{table}: no such table", hint="the page of VGGSound offers vggsound.csv")
    clips = []
    with open(table, newline="", encoding="utf-8", errors="replace") as file:
        try:
            for line, row in enumerate(csv.reader(file), start=1):
                if len(row) < 2 or not re.fullmatch(_ID, row[0]) or not re.fullmatch(r"[0-9]{1,6}", row[1]):
                    raise _bad_row(table, line, ",".join(row), "<video id>,<start second>,…")
                clips.append(Wanted(f"{row[0]}_{int(row[1]):06d}", row[0], int(row[1])))
        except csv.Error as error:
            raise AvsbenchError(f"{table}: the table cannot be read", found=error) from None
    return clips


def _bad_row(table: Path, line: int, found: str, expected: str) -> AvsbenchError:
    return AvsbenchError(f"{table}:{line}: not a clip of this table", found=found[:120], expected=expected)


def fetch(
    clips: list[Wanted],
    out: Path,
    seconds: int,
    download: Downloader,
    *,
    jobs: int = 1,
    again: bool = False,
    sound_only: bool = False,
) -> tuple[int, list[dict]]:
    """Fetch and cut clips to `out/<place>.mp4`, or `.wav`; a clip that is there and opens is left as it is.

    Args:
        clips: those wanted; a video that several need is fetched once.
        seconds: length of every clip.
        download: (video id, folder) -> file in that folder; raises VideoError with a reason.
        jobs: videos at a time; more than a few are not polite.
        again: also ask for videos that an earlier call found vanished.
        sound_only: write wav files of one channel, as VPO reads them, in place of videos.

    Returns:
        How many clips are there now, and a row (COLUMNS) for each that is not, which `out/not_fetched.csv` lists too.
        Status `vanished`: the platform says it is gone; `failed`: it may work another time; `short`: the video is here
        but broken, or ends before the clip does.
    """
    out, kind = Path(out), SOUND if sound_only else VIDEO
    listing = out / "not_fetched.csv"
    listed = {row["clip"]: row for row in _read_listing(listing)}
    known = {} if again else {place: row for place, row in listed.items() if row["status"] != "failed"}
    others = {place: listed[place] for place in listed.keys() - {clip.place for clip in clips}}
    lost = {clip.place: known[clip.place] for clip in clips if clip.place in known and not kind.there(out, clip)}
    todo: dict[str, list[Wanted]] = {}
    for clip in clips:
        if clip.place not in lost and not kind.there(out, clip):
            todo.setdefault(clip.video, []).append(clip)
    _LOG.info("%d clips, %d of them here, %d known as lost", len(clips), _count(clips, todo, lost), len(lost))
    partial = out / ".partial"
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        one = lambda group: _fetch_video(group, out, partial / group[0].video, seconds, download, kind)  # noqa: E731
        try:
            results = pool.map(one, todo.values())
            for rows in tqdm(results, total=len(todo), desc="fetch", unit="video", disable=None):
                lost.update((row["clip"], row) for row in rows)
        finally:
            pool.shutdown(cancel_futures=True)
            if out.is_dir() or lost:
                _write_listing(listing, [row for _, row in sorted((others | lost).items())])
            if partial.is_dir() and not any(partial.iterdir()):
                partial.rmdir()
    return len({clip.place for clip in clips} - lost.keys()), [lost[place] for place in sorted(lost)]


def _count(clips: list[Wanted], todo: dict, lost: dict) -> int:
    return len(clips) - sum(map(len, todo.values())) - len(lost)


def _fetch_video(
    group: list[Wanted], out: Path, folder: Path, seconds: int, download: Downloader, kind: Kind
) -> list[dict]:
    """Cut all wanted clips of one video; returns a row for each that could not be had."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        file = download(group[0].video, folder)
    except VideoError as error:
        status = "vanished" if VANISHED.search(str(error)) else "failed"
        if status == "vanished":
            shutil.rmtree(folder, ignore_errors=True)
        return [_row(clip, status, error) for clip in group]
    rows = []
    for clip in group:
        try:
            with atomic(kind.target(out, clip)) as temporary:
                kind.cut(file, temporary, clip.start, seconds)
        except AvsbenchError as error:
            rows.append(_row(clip, "short", f"{error.what} ({error.found})"))
    shutil.rmtree(folder, ignore_errors=True)
    return rows


def _row(clip: Wanted, status: str, reason: object) -> dict:
    return dict(zip(COLUMNS, [clip.place, clip.video, status, " ".join(str(reason).split())[:300]], strict=True))


def _read_listing(path: Path) -> list[dict]:
    if not path.is_file():
        return []
    return [row for row in read_csv(path, COLUMNS).to_dict("records")]


def _write_listing(path: Path, rows: list[dict]) -> None:
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def youtube(*, rate_limit: int = 2_000_000, pause: float = 1.0) -> Downloader:
    """The downloader for YouTube, by yt-dlp: 360 lines with their sound in one file, so no other program is needed.

    Args:
        rate_limit: bytes a second of one download.
        pause: seconds before each download at least, and three times that at most.

    Raises AvsbenchError if yt-dlp is not installed.
    """
    try:
        import yt_dlp
    except ModuleNotFoundError:
        raise AvsbenchError(
            "fetching videos needs yt-dlp, which is not installed", hint='pip install "avsbench[videos]"'
        ) from None
    options = {
        "format": "b[height<=360]/b[height<=480]/b",
        "outtmpl": "%(id)s.%(ext)s",
        "noplaylist": True,
        "continuedl": True,
        "retries": 5,
        "fragment_retries": 5,
        "socket_timeout": 30,
        "ratelimit": rate_limit,
        "sleep_interval": pause,
        "max_sleep_interval": 3 * pause,
        "quiet": True,
        "noprogress": True,
        "no_color": True,
        "logger": logging.getLogger(f"{__name__}.yt_dlp"),
    }

    def download(video: str, folder: Path) -> Path:
        with yt_dlp.YoutubeDL({**options, "paths": {"home": str(folder)}}) as client:
            try:
                info = client.extract_info(f"https://www.youtube.com/watch?v={video}")
                return Path(client.prepare_filename(info))
            except yt_dlp.utils.YoutubeDLError as error:
                raise VideoError(str(error)) from None

    return download
