"""docs/protocols.md: each number of its example is computed again, by our metrics and by the formula beside it."""

import ast
import operator
import re

import numpy as np
import pandas as pd
import pytest

from avsbench import cards
from avsbench.evaluation.frames import FrameTable
from avsbench.evaluation.resample import DRAWS, LEVEL, clip_sums, draws, interval
from avsbench.metrics.binary import BinaryIoU, binary_counts, f_beta, frame_iou
from avsbench.metrics.dataset_level import DatasetScores
from avsbench.metrics.fscore import ThresholdF, level_histograms, levels
from avsbench.metrics.pairs import frame_areas
from avsbench.metrics.robust import ActiveShare, global_value
from avsbench.metrics.semantic import ClassScores, class_frame_scores
from avsbench.report import published

TEXT = (cards.PROJECT / "docs" / "protocols.md").read_text()
PADDED = 2
CLASSES = 4


def pictures(block):
    """Frame -> (truth, prediction), arrays [h,w] of characters, in the order of their names."""
    found = {}
    for paragraph in block.strip().split("\n\n"):
        lines = paragraph.splitlines()
        starts = [match.start() for match in re.finditer(r"[a-e] \d", lines[0])]
        for start in starts:
            cells = [line[start + 3 :].split()[:2] for line in lines]
            found[lines[0][start : start + 3]] = tuple(np.array([list(row[n]) for row in cells]) for n in (0, 1))
    return found


BINARY, SEMANTIC = (pictures(block) for block in re.findall(r"```text\n(.*?)```", TEXT, flags=re.S))
TRUTH = np.stack([truth == "#" for truth, _ in BINARY.values()]).astype(np.uint8)
PROBABILITY = np.stack([digits.astype(int) for _, digits in BINARY.values()]).astype(np.float32) / np.float32(10)
MASK = np.greater(PROBABILITY, np.float32(0.5))
CLIP = np.array([ord(frame[0]) for frame in BINARY])
LABELS, GUESSES = (np.stack([pair[n].astype(int) for pair in SEMANTIC.values()]) for n in (0, 1))


def table(head):
    """Rows of the first table whose first line begins so, as lists of cells."""
    body = TEXT[TEXT.index(head) :].split("\n\n")[0].splitlines()
    return [[cell.strip().strip("`") for cell in line.strip().strip("|").split("|")] for line in body[2:]]


def metric_rows(start, end):
    """(metric, formula, printed value) of the tables `by hand` between two headings."""
    part = TEXT[TEXT.index(start) : TEXT.index(end)]
    return re.findall(r"^\| `([\w.<>]+)`(, hard)? \| (.*?) \| (\d\.\d{4}) \|$", part, flags=re.M)


def thresholded(probability):
    curves = ThresholdF().update(CLIP, *level_histograms(levels(probability), TRUTH))
    return curves.compute([1, 2, 4])


def binary_values():
    counts = binary_counts(MASK, TRUTH)
    share = ActiveShare().update(counts).compute()
    values = BinaryIoU().update(counts).compute() | thresholded(PROBABILITY)
    values |= DatasetScores(2).update_binary(counts).compute() | share
    values["fscore_b1, hard"] = thresholded(MASK.astype(np.float32))["fscore_b1"]
    return values | {"g_miou": global_value(values["miou"], [values["miou"]] * 3)}


def semantic_values():
    areas = frame_areas(GUESSES, LABELS, CLASSES)
    values = ClassScores(CLASSES).update(areas).add_padded(PADDED).compute()
    return values | DatasetScores(CLASSES).update(areas).compute()


OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def calculated(formula):
    """The number that a formula of + - * / and parentheses gives."""

    def value(node):
        if isinstance(node, ast.BinOp):
            return OPERATIONS[type(node.op)](value(node.left), value(node.right))
        assert isinstance(node, ast.Constant), ast.dump(node)
        return node.value

    return value(ast.parse(formula, mode="eval").body)


PARTS = {
    "binary": ("## Six frames", "## The same with classes", binary_values, 13),
    "semantic": ("## The same with classes", "## Robust", semantic_values, 8),
    "robust": ("## Robust", "## Why published", binary_values, 2),
}


@pytest.mark.parametrize("part", PARTS)
def test_metric_formula_and_printed_number_agree(part):
    start, end, compute, count = PARTS[part]
    rows, values = metric_rows(start, end), compute()
    assert len(rows) == count
    for name, hard, formula, printed in rows:
        assert f"{values[name + hard]:.4f}" == printed, name
        assert calculated(formula) == pytest.approx(values[name + hard], abs=1e-6), name


def test_frames_of_protocol_a():
    counts = binary_counts(MASK, TRUTH)
    f = f_beta(counts.tp, counts.tp + counts.fp, counts.tp + counts.fn)
    expected = [
        [frame, *(str(pixels[n]) for pixels in counts), f"{iou:.4f}", f"{f[n]:.4f}" if TRUTH[n].any() else "–"]
        for n, (frame, iou) in enumerate(zip(BINARY, frame_iou(counts), strict=True))
    ]
    assert table("| frame | TP") == expected
    pooled = ", ".join(f"{name.upper()} {pixels.sum()}" for name, pixels in counts._asdict().items())
    assert pooled in TEXT


def test_thresholds_of_protocol_b():
    rows = table("| threshold in")
    bounds = [[np.float32(bound) for bound in row[0].split(" to ")] for row in rows]
    for (low, high), row in zip(bounds, rows, strict=True):
        for threshold in (np.nextafter(low, np.float32(1)), (low + high) / 2, high):
            mask = PROBABILITY[:4] >= threshold
            counts = binary_counts(mask, TRUTH[:4])
            f = f_beta(counts.tp, counts.tp + counts.fp, counts.tp + counts.fn)
            assert [f"{value:.4f}" for value in f] == row[1:], threshold


def test_frames_of_protocol_c():
    iou, _, occurs = class_frame_scores(frame_areas(GUESSES, LABELS, CLASSES))
    expected = [
        [str(k), *(f"{iou[n, k]:.4f}" if occurs[n, k] else "–" for n in range(len(LABELS)))] for k in range(CLASSES)
    ]
    assert table("| class | d 1") == expected
    assert "lowers class 1 from 0.53 to 0.40" in TEXT
    assert (iou[:3, 1].mean(), iou[[0, 1, 2, 5], 1].mean()) == (pytest.approx(0.53, abs=0.005), pytest.approx(0.4))


def test_sentences_that_sum_up():
    values = binary_values()
    percent = [f"{100 * values[name]:.0f}" for name in ("miou", "fscore_b1", "fscore_b2", "fscore_b4")]
    percent += [f"{100 * values[name]:.0f}" for name in ("dataset_miou", "dataset_f")]
    assert "{} (A), {}, {} or {} (B), {} and {} (D)".format(*percent) in TEXT
    assert f"that is {percent[3]}, {percent[2]} and {percent[1]}." in TEXT
    assert f"{100 * 67 / 71:.1f} %" in TEXT


def test_the_interval_of_three_clips():
    rows = FrameTable("binary", 1, {"task": "binary", "classes": 1, "padded_to": 0})
    for position, clip in enumerate(np.unique(CLIP)):
        frames = clip == CLIP
        arrays = {"mask": MASK[frames], "level": levels(PROBABILITY[frames])}
        rows.add_clip(chr(clip), position, "common", TRUTH[frames], np.ones(2, bool), **arrays)
    sums = clip_sums(rows.table())
    alone, low, high = re.search(r"a `miou` of ([^.]*\.[^.]*\.\d).* is (\S+) to (\S+)\. Three", TEXT, re.S).groups()
    assert [float(number) for number in re.findall(r"[\d.]+", alone)] == pytest.approx(sums.each("miou"), abs=1e-6)
    drawn = [values["miou"] for values in sums.values(draws(3))]
    assert [f"{end:.4f}" for end in interval(np.array(drawn))] == [low, high]
    assert (DRAWS, LEVEL) == (2000, 0.95)


def test_the_gap_of_one_network_is_as_published():
    rows = pd.DataFrame([vars(row) for row in published.load()])
    rows = rows[(rows.method == "CAVP") & (rows.visual_backbone == "ResNet-50") & (rows.visual_pretrain == "ImageNet")]

    def printed(dataset, protocol):
        of = rows[(rows.dataset == dataset) & (rows.protocol == protocol)].set_index("metric").value
        return f"{of['mIoU']} / {of['Fscore']}"

    gaps = []
    for dataset in ("S4", "MS3", "AVSS"):
        both = [printed(dataset, protocol) for protocol in ("per_image", "per_dataset")]
        assert f"| {dataset} | {both[0]} | {both[1]} |" in TEXT
        gaps += [float(d) - float(i) for i, d in zip(*(text.split(" / ") for text in both), strict=True)]
    assert f"Up to {max(gaps):.0f} points" in TEXT
