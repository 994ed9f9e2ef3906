"""What is said about a shard of features: what made it, and numbers that tell a useful one from an empty one."""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from avsbench.cards import EncoderCard
from avsbench.digest import file_digest
from avsbench.features import MASKIGE, PROPOSALS
from avsbench.features.settings import Setting

_LOG = logging.getLogger(__name__)
PACKAGES = ("avsbench", "numpy", "torch", "torchvision", "scikit-image")
OPTIONAL = {"transformers": "transformers", "segment_anything": "segment-anything"}
"""Module -> package; of no account unless the generator imported it."""
MANY = 0.2
"""Share of empty frames from which on the report is a warning."""
SIDE = 224
"""Of the picture in whose pixels boxes are."""


def measures(indices: np.ndarray) -> np.ndarray:
    """Of each index image uint8 [T,H,W]: number of visible masks, covered share, share of the largest. [T,3]."""
    rows = []
    for image in indices:
        counts = np.bincount(image.ravel(), minlength=256)[1:] / image.size
        rows.append((np.count_nonzero(counts), counts.sum(), counts.max()))
    return np.array(rows, float)


def mask_measures(stacks: list[np.ndarray]) -> np.ndarray:
    """Of each frame's masks bool [N,H,W]: their number, covered share, share of the largest. [T,3]."""
    shares = [masks.mean(axis=(1, 2)) for masks in stacks]
    covered = [masks.any(axis=0).mean() for masks in stacks]
    rows = zip(shares, covered, strict=True)
    return np.array([(len(share), some, share.max(initial=0)) for share, some in rows], float)


def box_measures(boxes: np.ndarray) -> np.ndarray:
    """Of each frame's boxes [T,M,4]: their number, and the share of the picture that each covers, summed. [T,2]."""
    areas = (boxes[..., 2:] - boxes[..., :2]).astype(float).prod(axis=-1) / SIDE**2
    return np.stack([np.isfinite(boxes[..., 0]).sum(axis=1), np.nansum(areas, axis=1)], axis=1)


def value_measures(arrays: np.ndarray) -> np.ndarray:
    """Of each frame's numbers [T,...]: their range, mean, least and most. [T,4]."""
    flat = arrays.reshape(len(arrays), -1).astype(np.float32)
    least, most = flat.min(axis=1), flat.max(axis=1)
    return np.stack([most - least, flat.mean(axis=1), least, most], axis=1).astype(float)


@dataclass(frozen=True)
class Measured:
    """What is measured of a feature, and what an empty frame, where the first number is 0, is called."""

    of: Callable[..., np.ndarray]
    names: tuple[str, ...]
    lacking: str


_MASKS = ("masks", "covered", "largest")
_VALUES = Measured(value_measures, ("range", "mean", "least", "most"), "contrast")
MEASURED = {
    MASKIGE: Measured(measures, _MASKS, "mask"),
    PROPOSALS: Measured(mask_measures, _MASKS, "mask"),
    "boxes": Measured(box_measures, ("boxes", "covered"), "box"),
}
"""Feature -> what is measured of it; all others are numbers."""


def measured(feature: str) -> Measured:
    return MEASURED.get(feature, _VALUES)


def summary(feature: str, rows: list[np.ndarray]) -> dict:
    """Frames, those that are empty, and mean, least, median and most of each number over the frames of all clips."""
    kind = measured(feature)
    table = np.concatenate(rows) if rows else np.zeros((0, len(kind.names)))
    about = {"frames": len(table), f"frames_without_{kind.lacking}": int((table[:, 0] == 0).sum())}
    for name, column in zip(kind.names, table.T, strict=True):
        numbers = (column.mean(), column.min(), np.median(column), column.max()) if len(column) else (0.0,) * 4
        values = (round(float(number), 4) for number in numbers)
        about[name] = dict(zip(("mean", "least", "median", "most"), values, strict=True))
    return about


def origin(setting: Setting, device: str) -> dict:
    """What made a shard: the setting, its weights with their sha256, packages."""
    files = {file: _weights(Path(file), card) for file, card in setting.files.items()}
    roles = setting.weights
    weights = {role: files[file] for role, file in roles.items()} if isinstance(roles, dict) else files.get(roles)
    used = [name for module, name in OPTIONAL.items() if module in sys.modules]
    versions = {name: version(name) for name in (*PACKAGES, *used)}
    return {"name": setting.stored, **setting.record, "weights": weights, "device": device, "versions": versions}


def _weights(file: Path, card: EncoderCard) -> dict:
    """A file with its sha256; where an encoder is several files of a folder, each of them."""
    parts = [file.with_name(Path(part.file).name) for part in card.parts]
    if len(parts) == 1:
        return {"file": file.name, "sha256": file_digest(file)}
    return {"folder": file.parent.name, "sha256": {part.name: file_digest(part) for part in parts}}


def tell(setting: Setting, out: str, report: dict) -> None:
    """A line for the log, and a warning where many frames are empty."""
    kind = measured(setting.feature)
    numbers = ", ".join(f"{name} {report[name]['median']:g}" for name in kind.names)
    first = report[kind.names[0]]
    _LOG.info("%s: %d frames, of which the median has %s (%s %g to %g)", out, report["frames"], numbers,
              kind.names[0], first["least"], first["most"])  # fmt: skip
    without = report[f"frames_without_{kind.lacking}"]
    if setting.card.finds and without > MANY * report["frames"]:
        text = "%s: %d of %d frames have no %s; look at them before you use them"
        _LOG.warning(text, out, without, report["frames"], kind.lacking)
