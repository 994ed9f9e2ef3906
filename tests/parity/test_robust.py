"""AVSBench-Robust against the authors' scripts: sounds, features, the draw of training clips, scores, similarity."""

import json

import numpy as np
import pytest
import soundfile
import torch

from avsbench import cards, registry
from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FRONT_ENDS
from avsbench.media.negatives import reference_noise, silence
from avsbench.media.sound import read_wav
from avsbench.metrics.binary import binary_counts
from avsbench.metrics.fscore import binary_video_scores
from avsbench.metrics.robust import ActiveShare, active_share, global_value
from avsbench.store.negatives import mixed

from .fill import array, fill_module
from .folders import HERE, ROOT

FOLDER = next(root / "robust" for root in (ROOT, HERE) if (root / "robust" / "fixture.json").is_file())
FIXTURE = json.loads((FOLDER / "fixture.json").read_text())
EXPECTED = np.load(FOLDER / "expected.npz")
INPUTS = (("robust_audio", (5, 1, 256)), ("robust_visual", (5, 512, 7, 7)))
SEED = 42
SAMPLES = {"wave": ("robust_wave", 110250), "short": ("robust_short", 66150)}


def test_every_vector_is_compared():
    assert set(EXPECTED) == {"features_wave", "features_short", "features_silent", "noise_pcm_first64"}
    drawn = {name for name in FIXTURE if name.startswith("mix_")}
    assert set(FIXTURE) == {"method", "features", "noise", "metrics", "similarity", *drawn}
    assert len(drawn) == 4


@pytest.mark.parametrize("name", ["wave", "short", "silent"])
def test_features(name, tmp_path):
    sound = silence(5)
    if name in SAMPLES:
        source, count = SAMPLES[name]
        soundfile.write(tmp_path / "sound.wav", 0.1 * array(source, (count,)), 22050, subtype="PCM_16")
        sound = read_wav(tmp_path / "sound.wav")
    found = FRONT_ENDS["robust_mel"].compute(ClipSound([sound], 5))
    found = found[tuple(slice(None, None, step) for step in FIXTURE["features"]["stride"])]
    np.testing.assert_allclose(found, EXPECTED[f"features_{name}"], **FIXTURE["features"]["tolerance"])
    np.testing.assert_allclose(found, EXPECTED[f"features_{name}"], rtol=1e-5, atol=1e-5)


def test_noise():
    assert f"seed({SEED})" in FIXTURE["noise"]["seed"]
    sound = reference_noise(np.random.RandomState(SEED))
    assert (len(sound.samples), sound.rate) == (FIXTURE["noise"]["samples"], FIXTURE["noise"]["rate"])
    assert sound.seconds == FIXTURE["noise"]["duration_s"]
    np.testing.assert_array_equal(sound.samples[:64, 0], EXPECTED["noise_pcm_first64"])


@pytest.mark.parametrize("name", [name for name in FIXTURE if name.startswith("mix_")])
def test_mixed_training_clips(name):
    about = FIXTURE[name]
    clips = about["clips"]
    items = mixed(clips, about["percentage"], about["seed"])
    assert items[:10] == about["first_10"]
    kinds = [item // clips for item in items]
    assert [len(items), *map(kinds.count, range(3))] == [
        about[c] for c in ("total", "aligned", "misaligned", "silence")
    ]


def test_scores():
    logits, label = array("robust_pred", (5, 56, 56)), (array("robust_gt", (5, 56, 56)) > 0.3).astype(np.uint8)
    label[3] = 0
    about = FIXTURE["metrics"]
    probability = torch.from_numpy(logits).sigmoid().numpy()
    counts = binary_counts(logits > 0, label)
    np.testing.assert_allclose(binary_video_scores(probability, label), (about["miou"], about["fscore"]), rtol=1e-6)
    np.testing.assert_allclose(active_share(counts), about["fpr_each"], rtol=1e-6)
    np.testing.assert_allclose(ActiveShare().update(counts).compute()["fpr"], about["fpr"], rtol=1e-6)


def test_the_one_printed_global_value():
    """VCT on S4, which does not listen: the same J whatever sounds."""
    assert round(100 * global_value(0.862, [0.862] * 3), 2) == 23.79


def test_similarity():
    about = FIXTURE["similarity"]
    module = registry.method_module(cards.method_cards()["avsegformer"])
    agreement = module.Agreement(width=256, channels=512)
    fill_module(agreement, rename=lambda key: f"cosine_sim.audio_{key.replace('projection', 'proj')}")
    renamed = {module.AVSegFormer.rename_official(key): shape for key, shape in about["keys"]}
    assert renamed == {f"agreement.{key}": list(value.shape) for key, value in agreement.state_dict().items()}
    sound, picture = (torch.from_numpy(array(*what)) for what in INPUTS)
    with torch.no_grad():
        similarity = agreement(sound, picture)
        losses = {n: agreement.loss(similarity, torch.full((5,), n == "1")) for n in about["bce"]}
    np.testing.assert_allclose(similarity, about["similarity"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose([losses[n] for n in about["bce"]], list(about["bce"].values()), rtol=1e-6)
