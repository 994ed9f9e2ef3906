"""Room on the disk, asked for before it is needed."""

import logging
import math
import shutil
from pathlib import Path

from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError
from avsbench.features.settings import Setting
from avsbench.plan import SPLITS, Plan

TIGHT = 0.9
"""Share of the free room that may be used without a word."""
_SOUND_BYTES = 2 * 2 * 16_000
"""A second of sound as releases hold it: two channels, 16 bits, 16 kHz. Some clips have more, so this refuses late."""
_LOG = logging.getLogger(__name__)


def free_bytes(path: str | Path) -> int:
    """Free bytes of the disk that `path` lies on, or will lie on."""
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require(path: str | Path, needed: int, what: str) -> None:
    """Log how much room `what` needs at `path`; it is an error if there is less, and a warning if it gets tight.

    Args:
        needed: bytes.
        what: what takes the room, e.g. "unpacking s4".
    """
    free = free_bytes(path)
    if needed > free:
        raise AvsbenchError(
            f"{path}: not enough room on the disk for {what}",
            found=f"{readable(free)} free",
            expected=f"about {readable(needed)}",
            hint="free some (`avsbench clean` says what can go), or name another disk in the configuration: data_root",
        )
    if needed > TIGHT * free:
        _LOG.warning("%s: %s needs about %s of %s free: tight", path, what, readable(needed), readable(free))


def released_bytes(card: DatasetCard, scale: str) -> int:
    """What the unpacked release takes, by the card's estimate."""
    return sum(card.splits[scale].values()) * card.release["bytes_per_clip"]


def shard_bytes(card: DatasetCard, scale: str, split: str, image_size: int) -> int:
    """What one shard of clips takes: frames and masks as plain bytes, and the sound.

    Where clips keep their own size (`image_size` 0), that of the pictures of COCO is assumed: 640 x 480.
    """
    pixels = image_size**2 if image_size else 640 * 480
    seconds = max(card.clip_seconds, default=10)
    clip = card.frames * pixels * 4 + int(seconds * _SOUND_BYTES)
    return -(-card.splits[scale][split] // card.shards[scale][split]) * clip


def array_bytes(card: DatasetCard, scale: str, split: str, frame: int) -> int:
    """What one shard of a front end or feature takes, of so many bytes a frame."""
    return -(-card.splits[scale][split] // card.shards[scale][split]) * card.frames * frame


def before_extract(card: DatasetCard, plan: Plan) -> None:
    """`require` room for all shards of a data set that do not exist yet."""
    size = card.stored_size(plan.image_size)
    rest = {f: shard_bytes(card, plan.scale, s, size) for s in SPLITS for f in plan.shards(card.name, s)}
    _require_rest(rest, f"the shards of {card.name}")


def before_native(card: DatasetCard, plan: Plan) -> None:
    """`require` room for all shards of originals that do not exist yet: as much as the released pictures take."""
    files = [file for split in SPLITS for file in plan.originals(card.name, split)]
    each = released_bytes(card, plan.scale) // max(1, len(files))
    _require_rest(dict.fromkeys(files, each), f"the original pictures of {card.name}")


def before_audio(card: DatasetCard, plan: Plan, shapes: dict[str, tuple[int, ...]]) -> None:
    """`require` room for all files of front ends (name -> shape of a frame) that do not exist yet."""
    rest = {}
    for split in SPLITS:
        count = plan.shard_count(card.name, split)
        for name, shape in shapes.items():
            files = (plan.paths.audio(card.name, name, split, shard, count) for shard in range(count))
            rest |= dict.fromkeys(files, array_bytes(card, plan.scale, split, 4 * math.prod(shape)))
    _require_rest(rest, f"{', '.join(shapes)} of {card.name}")


def before_features(card: DatasetCard, plan: Plan, setting: Setting, split: str) -> None:
    """`require` room for all shards of a feature that do not exist yet: of the splits that some run sees.

    Args:
        split: that of the shard at hand, which is made whether or not a run of the configuration sees it.
    """
    side, rest = card.stored_size(plan.image_size), {}
    size = (side, side) if side else (640, 480)
    splits = [name for name in SPLITS if name in {split, *plan.feature_splits(card.name, setting.stored)}]
    for name in splits:
        count = plan.shard_count(card.name, name)
        files = (plan.paths.features(card.name, setting.stored, name, shard, count) for shard in range(count))
        rest |= dict.fromkeys(files, array_bytes(card, plan.scale, name, setting.frame_bytes(size)))
    dtype, shape = setting.frame(size)
    _require_rest(rest, f"{setting.stored} of {card.name} {', '.join(splits)} ({dtype} {list(shape)} a frame)")


def _require_rest(sizes: dict[str, int], what: str) -> None:
    rest = {file: size for file, size in sizes.items() if not Path(file).exists()}
    if rest:
        require(Path(next(iter(rest))).parent, sum(rest.values()), f"{what}, {len(rest)} files to go")


def readable(size: float) -> str:
    """Bytes as a person reads them, in powers of 1000: "3.2 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
