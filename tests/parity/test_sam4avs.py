"""Sam4AVS without training against outputs of the authors' code: heatmaps, prompts, chosen masks, scores.

Runs over every such fixture under $AVSBENCH_PARITY; files missing there come from this folder.
"""

import importlib
import json
import re

import numpy as np
import pytest
import torch

from avsbench import cards, registry
from avsbench.evaluation.predictions import PredictionInfo, PredictionReader, PredictionWriter
from avsbench.features.boxes import SIDE
from avsbench.features.crops import masked_crops
from avsbench.features.heatmap import cosines, heatmaps
from avsbench.metrics.binary import binary_counts, frame_iou
from avsbench.metrics.fscore import binary_video_scores, level_histograms, threshold_curves
from avsbench.nn.clip_visual import clip_visual
from avsbench.nn.esresnext import esresnext

from . import folders
from .audioclip_fill import Fixture, blocks, filled
from .fill import array

MODULE = registry.method_module(cards.method_cards()["sam4avs"])
PROMPTS = importlib.import_module(".prompts", MODULE.__package__)


@pytest.fixture(scope="module")
def tower():
    """AudioCLIP's visual tower with the fixtures' weights."""
    keys = json.loads((folders.HERE / "clip_surgery" / "attention_pool" / "keys.json").read_text())
    found = clip_visual("full").eval().requires_grad_(False)
    found.load_pretrained(filled(keys))
    return found


@pytest.mark.parametrize("folder", folders.fixtures("clip_surgery", "heatmap"))
def test_heatmaps(folder, tower):
    fixture = Fixture(folder)
    cases = {
        str(k): (fixture.numbers(f"region/{k}", (1, 1024, 7, 7)), fixture.numbers(f"audio/{k}", (1, 1024)))
        for k in range(4)
    }
    _, cells = tower.pool(tower(blocks((2, 3, 14, 14)))[-1], surgery=True)
    cases["tower"] = cells[:1], fixture.numbers("audio/tower", (1, 1024))
    checked = set()
    for name, (cells, sound) in cases.items():
        cosine = cosines(cells, sound)
        seen = {f"similarity_{name}": cosine[0]} | {
            f"heatmap_{name}_{kind}": heatmaps(cosine, reverse=kind == "reverse")[0, ::8, ::8]
            for kind in ("reverse", "plain")
        }
        for key in seen.keys() & fixture.expected.keys():
            assert fixture.check(key, seen[key]) < (6e-5 if name == "tower" else 3e-6), key
            checked.add(key)
    assert checked == set(fixture.expected)


def strategy(name):
    """`0/peak_0.6_points` -> (heatmap, strategy, threshold, what is expected)."""
    number, kind, threshold, what = re.fullmatch(r"(\d)/(.+?)(?:_([\d.]+))?(?:_(points|labels))?", name).groups()
    return number, kind, float(threshold or 0), what or "boxes"


def heat(heatmap, points):
    return heatmap[tuple(points.astype(int).T[::-1])]


def same_dense(heatmap, found, wanted):
    """Equal points in equal order, where a cell may stand for one as hot: the published sort is unstable."""
    values, counts = np.unique(heatmap[3::7, 3::7], return_counts=True)
    alone = np.isin(heat(heatmap, wanted), values[counts == 1])
    assert alone.any()
    return np.array_equal(heat(heatmap, found), heat(heatmap, wanted)) and np.array_equal(found[alone], wanted[alone])


@pytest.mark.parametrize("folder", folders.fixtures("sam4avs", "prompts"))
def test_prompts_are_those_of_the_published_code(folder):
    expected = Fixture(folder).expected
    kinds = set()
    for name, wanted in expected.items():
        if name.endswith("/heatmap"):
            continue
        number, kind, threshold, what = strategy(name)
        kinds.add(kind)
        heatmap = expected[f"{number}/heatmap"]
        found = PROMPTS.of_heatmap(heatmap, kind, threshold, "reference")[what]
        found = found if what == "boxes" else found[0]
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), name
        dense_points = (kind, what) == ("dense", "points")
        assert same_dense(heatmap, found, wanted) if dense_points else np.array_equal(found, wanted), name
    assert kinds == {*PROMPTS.POINTS, *PROMPTS.BOXES}


@pytest.mark.parametrize("folder", folders.fixtures("sam4avs", "prompts"))
def test_own_heatmaps_give_the_same_prompts(folder):
    """From cosines to prompts, with no array of the reference in between."""
    expected = Fixture(folder).expected
    for k in range(3):
        cells = torch.from_numpy(array(f"region/{k}", (1, 1024, 7, 7)))
        sound = torch.from_numpy(array(f"audio/{k}", (1, 1024)))
        own = heatmaps(cosines(cells, sound), reverse=True)[0].numpy()
        assert abs(own - expected[f"{k}/heatmap"]).max() < 2e-6
        for name in (f"{k}/peak_0.6", f"{k}/dense_0.85", f"{k}/top"):
            _, kind, threshold, _ = strategy(f"{name}_points")
            found = PROMPTS.of_heatmap(own, kind, threshold, "reference")
            (points,), wanted = found["points"], expected[f"{name}_points"]
            assert np.array_equal(found["labels"][0], expected[f"{name}_labels"]), name
            if kind == "dense":
                assert abs(heat(own, points) - heat(own, wanted)).max() < 2e-6
            else:
                assert np.array_equal(points, wanted), name
        box = PROMPTS.of_heatmap(own, "single_maxarea", 0.55)["boxes"]
        assert np.array_equal(box, expected[f"{k}/single_maxarea_0.55"])


@pytest.mark.parametrize("folder", folders.fixtures("sam4avs", "prompts"))
def test_only_the_coordinates_of_peaks_are_mended(folder):
    expected = Fixture(folder).expected
    for name in expected:
        if not name.endswith(("points", "heatmap")):
            continue
        number, kind, threshold, _ = strategy(name) if name.endswith("points") else (name[0], "multi", 0.55, "")
        heatmap = expected[f"{number}/heatmap"]
        fixed, reference = (PROMPTS.of_heatmap(heatmap, kind, threshold, quirks) for quirks in ("fixed", "reference"))
        if kind != "peak":
            assert all(np.array_equal(fixed[key], reference[key]) for key in fixed)
            continue
        (points,), (labels,) = fixed["points"], fixed["labels"]
        assert np.array_equal(points[:, [0, 0]], reference["points"][0])
        heats = heat(heatmap, points)
        assert heats[labels == 1].min() > max(threshold, heats[labels == 0].max(initial=0))


@pytest.mark.parametrize("folder", folders.fixtures("sam4avs", "no_prompt"))
def test_no_prompt(folder, tower):
    fixture = Fixture(folder)
    picture = np.clip(128 + 50 * array("noprompt/image", (1, 3, 14, 14)).repeat(16, 2).repeat(16, 3)[0], 0, 255)
    y, x = np.mgrid[:SIDE, :SIDE]
    masks = np.stack([
        (x - 60) ** 2 + (y - 80) ** 2 < 1600,
        (x - 150) ** 2 / 3600 + (y - 120) ** 2 / 625 < 1,
        (x > 180) & (y < 200),
        (x - 110) ** 2 + (y - 190) ** 2 < 144,
    ])  # fmt: skip
    picture = torch.from_numpy(picture.astype(np.uint8)).float() / 255
    crops, numbers = masked_crops(picture, torch.from_numpy(masks), SIDE, "reference")
    assert numbers.tolist() == [0, 1, 2, 3]
    assert fixture.check("crops", crops, (1, 1, 8, 8)) < 1e-5
    network = MODULE.NoPrompt(
        tower, esresnext("mini"), front_end="clap_wave", side=SIDE, repeats=1, threshold=0.5, quirks="reference"
    )
    sound = fixture.numbers("noprompt/audio", (1, 1024))[0]
    assert fixture.check("cosine", network.cosines(crops, sound)) < 1e-5
    assert fixture.check("scores", network.shares(crops, sound)) < 1e-4


@pytest.mark.parametrize("folder", folders.fixtures("sam4avs", "metrics"))
def test_scores_of_hard_masks(folder, tmp_path):
    """The published F feeds 0 and 1 through a sigmoid; the prediction store gives the same F of hard masks."""
    fixture = Fixture(folder)

    def image(name):
        return array(name, (5, 3, 14, 14)).repeat(16, 2).repeat(16, 3)[:, 0]

    logits = image("metric/logits") + np.float32(0.5) * array("metric/noise", (5, SIDE, SIDE))
    truth = image("metric/logits") + np.float32(0.8) * image("metric/gt") > 0.7
    truth[3] = False
    assert np.array_equal(truth.sum((1, 2)), fixture.expected["gt_area"])
    probability = torch.from_numpy(logits).sigmoid().numpy()
    assert binary_video_scores(probability, truth) == pytest.approx(
        [fixture.expected["logits_iou"][0], fixture.expected["logits_f"][0]], abs=1e-6
    )
    masks = {"binary_bool": logits > 0, "binary_float": logits > 0, "all_false": np.zeros_like(truth)}
    for name, mask in masks.items():
        info = PredictionInfo("s4", "sam4avs-no-prompt", "none", "positive", "binary", 1, hard=True)
        with PredictionWriter(tmp_path / name, info) as writer:
            writer.add_hard("common", "clip", mask)
        with PredictionReader(tmp_path / name) as reader:
            level, mask = reader.binary("common", "clip")
        iou = frame_iou(binary_counts(mask, truth)).mean()
        assert iou == pytest.approx(fixture.expected[f"{name}_iou"][0], abs=1e-6)
        curves = threshold_curves(*level_histograms(level, truth))[truth.any((1, 2))]
        assert curves.mean(axis=0).max() == pytest.approx(fixture.expected[f"{name}_f"][0], abs=1e-6)
