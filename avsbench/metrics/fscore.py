"""Protocol B: F of a probability map, the best of 255 thresholds per call ("F-score" of S4 and MS3).

Definition: AVSBench (Zhou et al., ECCV 2022). Frames without an object are left out; F(t) is averaged over the other
frames of a call, and the call scores the maximum over t, or 0 if it has no such frame. Calls weigh alike. The value
therefore depends on how many videos make a call, which its name says: `fscore_b4` has 4, in the order of the csv.

The 255 comparisons of a pixel reduce to one number, how many thresholds it reaches (its level), and those of a frame to
two histograms of levels: everything above follows from sums over these.
"""

from collections.abc import Iterable

import numpy as np

from avsbench.metrics.binary import BETA2, BinaryIoU, binary_counts, f_beta
from avsbench.metrics.exact import UNIT, fixed, mean

LEVELS = 256
"""Levels of a pixel: 0 (reaches no threshold, impossible for a probability) to 255 (probability 1)."""

# torch.linspace(0, 1 - 1e-10, 255) in float32 is k/254 rounded, except for one unit in the last place here:
_DOWN, _UP = [9, 13, 18, 26, 36, 52, 72, 104], [174, 238]


def _thresholds() -> np.ndarray:
    values = np.arange(255, dtype=np.float32) / np.float32(254)
    values[_DOWN] = np.nextafter(values[_DOWN], np.float32(0))
    values[_UP] = np.nextafter(values[_UP], np.float32(1))
    values.flags.writeable = False
    return values


THRESHOLDS = _thresholds()
"""The 255 thresholds, float32, ascending from 0 to 1. Written out, because the last bit decides where pixels fall."""

_ABOVE = np.append(THRESHOLDS[1:], np.float32(2))


def levels(probability) -> np.ndarray:
    """Number of thresholds that each probability reaches (t <= p), uint8 of the same shape.

    Exactly what comparing in float32 gives; other float types are converted to float32 first.

    Args:
        probability: float array or tensor of any shape, values in 0..1.

    Raises:
        ValueError: a value is NaN or outside 0..1.

    >>> levels(np.array([0.0, 0.5, 1.0], dtype=np.float32))
    array([  1, 128, 255], dtype=uint8)
    """
    if hasattr(probability, "detach"):  # a torch tensor, possibly on another device or in half precision
        probability = probability.detach().float().cpu().numpy()
    p = np.asarray(probability, dtype=np.float32)
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(f"probabilities lie in 0..1, found {p.min()} to {p.max()}")
    # 254 p is off by rounding, so its integer part may be one beside the right one: two comparisons settle it.
    near = (p * np.float32(254)).astype(np.uint8)
    result = near + (p >= THRESHOLDS[near])
    result += p >= _ABOVE[near]
    return result


def level_histograms(level: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Histograms of levels on the object and on the background of N frames.

    Args:
        level: uint8 [N,H,W].
        label: integer [N,H,W]: 1 object, 0 background, anything else ignored.

    Returns:
        (object, background), int64 [N,256] each.
    """
    level, label = np.asarray(level), np.asarray(label)
    if level.shape != label.shape or level.ndim != 3 or level.dtype != np.uint8:
        raise ValueError(f"level {level.dtype} {level.shape} must be uint8 [N,H,W] like label {label.shape}")
    table = np.empty((len(level), 2, LEVELS), dtype=np.int64)
    for n, (frame, g) in enumerate(zip(level, label, strict=True)):
        key = frame.astype(np.uint16)
        key += (g == 1).astype(np.uint16) << 8
        counted = (g == 1) | (g == 0)
        key = key.ravel() if counted.all() else key[counted]
        table[n] = np.bincount(key, minlength=2 * LEVELS).reshape(2, LEVELS)
    return table[:, 1], table[:, 0]


def threshold_curves(foreground: np.ndarray, background: np.ndarray) -> np.ndarray:
    """F at each threshold, float64 [N,255], from the two histograms [N,256] of each frame.

    A frame without an object gets zeros (protocol B leaves it out).
    """
    # Pixels that reach threshold k are those of level k+1 and above.
    tp = np.cumsum(np.asarray(foreground)[:, :0:-1], axis=1)[:, ::-1]
    fp = np.cumsum(np.asarray(background)[:, :0:-1], axis=1)[:, ::-1]
    objects = np.asarray(foreground).sum(axis=1, keepdims=True)
    return np.where(objects > 0, f_beta(tp, tp + fp, objects, BETA2), 0.0)


class ThresholdF:
    """Protocol B over frames that come in any order and grouping; calls are formed from the clips' csv positions."""

    def __init__(self):
        self.clips: dict = {}  # clip -> number of frames with an object, sum of their curves

    def update(self, clip: np.ndarray, foreground: np.ndarray, background: np.ndarray) -> "ThresholdF":
        """Take N frames in.

        Args:
            clip: [N], the csv position of each frame's clip (or its name, where the order of calls does not matter).
            foreground, background: [N,256] of `level_histograms`.
        """
        foreground = np.asarray(foreground)
        curves = fixed(threshold_curves(foreground, background))
        valid = foreground.sum(axis=1) > 0
        clip = np.asarray(clip)
        for key in np.unique(clip):
            rows = clip == key
            self._add(key.item(), int(valid[rows].sum()), curves[rows].sum(axis=0))
        return self

    def merge(self, other: "ThresholdF") -> "ThresholdF":
        """Add what another process has seen; frames of one clip may be split between the two."""
        for clip, (valid, curve) in other.clips.items():
            self._add(clip, valid, curve)
        return self

    def _add(self, clip: int | str, valid: int, curve: np.ndarray) -> None:
        before, total = self.clips.get(clip, (0, 0))
        self.clips[clip] = before + valid, total + curve

    def compute(self, calls: Iterable[int] = (1, 4)) -> dict[str, float]:
        """`fscore_b<k>` for each k in `calls`, `fscore_valid` and `fscore_all`; NaN without any clip.

        `fscore_valid` is `fscore_b1` over clips that have an object; `fscore_all` has one call, hence one threshold.
        """
        order = [self.clips[clip] for clip in sorted(self.clips)]
        with_object = [clip for clip in order if clip[0]]
        scores = {f"fscore_b{k}": _mean_of_calls(order, k) for k in sorted(set(calls))}
        scores["fscore_valid"] = _mean_of_calls(with_object, 1)
        scores["fscore_all"] = _mean_of_calls(order, max(len(order), 1))
        return scores

    def curve(self) -> np.ndarray:
        """F at each threshold averaged over all frames with an object, float64 [255]; zeros without one."""
        return _curve(list(self.clips.values()))


def _curve(clips: list[tuple[int, np.ndarray]]) -> np.ndarray:
    valid = sum(clip[0] for clip in clips)
    return sum(clip[1] for clip in clips) / UNIT / valid if valid else np.zeros(len(THRESHOLDS))


def _mean_of_calls(clips: list[tuple[int, np.ndarray]], k: int) -> float:
    if k < 1:
        raise ValueError(f"a call takes at least one clip, not {k}")
    calls = [_curve(clips[start : start + k]).max() for start in range(0, len(clips), k)]
    return float(mean(fixed(calls).sum(), len(calls)))


def binary_video_scores(probability: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """(J, F) of one video: A of probability > 0.5 and B with this video as its call.

    Args:
        probability: float [T,H,W] in 0..1.
        label: integer [T,H,W]: 0, 1 or 255 (ignored).
    """
    histograms = level_histograms(levels(probability), label)
    f = ThresholdF().update(np.zeros(len(label)), *histograms).compute(calls=[1])["fscore_b1"]
    mask = np.asarray(probability, dtype=np.float32) > np.float32(0.5)
    return BinaryIoU().update(binary_counts(mask, label)).compute()["miou"], f
