"""Speed of protocols B and C against direct implementations of their definitions: one thread, 224 x 224, one run.

    python -m benchmarks.metrics [--frames 40] [--repeats 3]

Both sides get the same frames, label maps as uint8 as they are stored, and must give the same scores (checked). Each
time is the best of the repeats. Exits with 1 if a bar is missed: B at least 20 times as fast from float probabilities,
C at least 12 times from label maps (against class by class, and against softmax and argmax of the logits; the line with
three histograms a frame is a faster form of the definition, shown for comparison).
"""

import argparse
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch.nn.functional import interpolate

from avsbench.metrics.fscore import ThresholdF, level_histograms, levels
from avsbench.metrics.pairs import frame_areas
from avsbench.metrics.semantic import ClassScores

SIZE, CLASSES = 224, 71
BARS = {"B": 20.0, "C": 12.0}


def blobs(frames: int, channels: int, seed: int) -> torch.Tensor:
    """Smooth random logits [frames,channels,224,224] with some pixel noise: masks as networks draw them."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 4 * torch.randn(frames, channels, 7, 7, generator=generator)
    fine = torch.randn(frames, channels, SIZE, SIZE, generator=generator)
    return interpolate(coarse, (SIZE, SIZE), mode="bilinear") + 0.5 * fine


# the definitions, as they read


def direct_b(probability: torch.Tensor, label: torch.Tensor) -> float:
    """All frames as one call: 255 comparisons a frame, F averaged over frames, then the best threshold."""
    curves = []
    for p, g in zip(probability, label, strict=True):
        if g.sum() == 0:
            continue
        curve = []
        for t in torch.linspace(0, 1 - 1e-10, 255):
            y = (p >= t).float()
            tp = (y * g).sum()
            precision, recall = tp / (y.sum() + 1e-20), tp / (g.sum() + 1e-20)
            curve.append(1.3 * precision * recall / (0.3 * precision + recall))
        curves.append(torch.nan_to_num(torch.stack(curve)))
    return float(torch.stack(curves).mean(dim=0).max())


def scores_of_areas(intersection, predicted, labelled) -> tuple[float, float]:
    """(mIoU, F) of protocol C from areas [N,K]."""
    union = predicted + labelled - intersection
    count = (union > 0).sum(dim=0)
    iou = torch.nan_to_num((intersection / (union + 2.2e-16)).sum(dim=0) / count)
    precision, recall = intersection / predicted, intersection / labelled
    f = torch.nan_to_num(1.3 * precision * recall / (0.3 * precision + recall))
    return float(iou.mean()), float(torch.nan_to_num(f.sum(dim=0) / count).mean())


def direct_c_maps(prediction: torch.Tensor, label: torch.Tensor) -> tuple[float, float]:
    """Class by class: three masks and three sums for each class of each frame."""
    areas = torch.zeros(3, len(label), CLASSES, dtype=torch.float64)
    for n, (p, g) in enumerate(zip(prediction, label, strict=True)):
        for k in range(CLASSES):
            mine, theirs = p == k, g == k
            areas[:, n, k] = torch.stack([(mine & theirs).sum(), mine.sum(), theirs.sum()])
    return scores_of_areas(*areas)


def direct_c_histograms(prediction: torch.Tensor, label: torch.Tensor) -> tuple[float, float]:
    """Three histograms a frame."""
    areas = torch.zeros(3, len(label), CLASSES, dtype=torch.float64)
    for n, (p, g) in enumerate(zip(prediction, label, strict=True)):
        p, g = p.float(), g.float()
        for row, values in enumerate((p[p == g], p, g)):
            areas[row, n] = torch.histc(values, bins=CLASSES, min=0, max=CLASSES - 1)
    return scores_of_areas(*areas)


def direct_c_logits(logits: torch.Tensor, label: torch.Tensor) -> tuple[float, float]:
    """Softmax over the classes, argmax, then three histograms a frame."""
    prediction = torch.cat([frame[None].softmax(dim=1).argmax(dim=1).to(torch.uint8) for frame in logits])
    return direct_c_histograms(prediction, label)


# ours


def ours_b(probability: torch.Tensor, label: np.ndarray) -> float:
    scores = ThresholdF()
    for p, g in zip(probability, label, strict=True):  # frame by frame, as predictions come
        scores.update([0], *level_histograms(levels(p[None]), g[None]))
    return scores.compute([1])["fscore_b1"]


def ours_c(prediction: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    values = ClassScores(CLASSES).update(frame_areas(prediction, label, CLASSES)).compute()
    return values["miou_avss"], values["f_avss"]


def best(function, arguments, repeats: int) -> tuple[float, object]:
    """(fastest time in seconds, result)."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function(*arguments)
        times.append(time.perf_counter() - start)
    return min(times), result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    n = options.frames

    def ms(function, *arguments):
        seconds, result = best(function, arguments, options.repeats)
        return 1e3 * seconds / n, result

    label = (blobs(n, 1, 1)[:, 0] > 3).float()
    probability = (blobs(n, 1, 2)[:, 0] + 4 * (label - 0.5)).sigmoid()
    rows, met = [], True
    slow, expected = ms(direct_b, probability, label)
    fast, found = ms(ours_b, probability, label.numpy().astype(np.uint8))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    rows.append(("B", "float probabilities", "255 comparisons", slow, fast, BARS["B"]))

    logits = blobs(n, CLASSES, 3)
    maps = blobs(n, CLASSES, 4).argmax(dim=1).to(torch.uint8)
    for k in range(CLASSES):  # a prediction that is right about half of the time
        logits[:, k] += 6.0 * ((maps == k) & (torch.arange(n) % 2 == 0)[:, None, None])
    prediction = logits.argmax(dim=1).to(torch.uint8)
    fast, found = ms(ours_c, prediction.numpy(), maps.numpy())
    for text, function, argument, bar in (
        ("label maps, class by class", direct_c_maps, prediction, BARS["C"]),
        ("label maps, three histograms", direct_c_histograms, prediction, None),
        ("71-class logits, softmax and argmax", direct_c_logits, logits, BARS["C"]),
    ):
        slow, expected = ms(function, argument, maps)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        rows.append(("C", "label maps", text, slow, fast, bar))

    print(f"{n} frames of {SIZE} x {SIZE}, one thread, best of {options.repeats}; milliseconds a frame\n")
    print("| protocol | ours from | direct implementation | direct | ours | ratio | bar |")
    print("|---|---|---|---:|---:|---:|---:|")
    for protocol, source, text, slow, fast, bar in rows:
        met &= bar is None or slow / fast >= bar
        shown = f"{bar:.0f}" if bar else "-"
        print(f"| {protocol} | {source} | {text} | {slow:.2f} | {fast:.2f} | {slow / fast:.0f} | {shown} |")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
