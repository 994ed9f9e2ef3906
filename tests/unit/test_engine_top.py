"""keep_best: which epochs a training leaves, that they load, and what they predict together."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench import predictor, provenance, registry
from avsbench.engine import top
from avsbench.engine.predict import predict_run
from avsbench.engine.train import train_run
from avsbench.errors import AvsbenchError
from avsbench.evaluation.predictions import PredictionReader
from avsbench.evaluation.score import read_scores, score_run
from avsbench.store.loader import ClipDataset, make_loader
from tests.unit import store_fakes
from tests.unit.test_engine_train import interrupt, outputs, store, world  # noqa: F401 - fixtures

RUN = ("avss", "small-small", "0")
KEPT = {"epochs": 5, "keep_best": 3}


def folder(spec) -> Path:
    return Path(spec.paths.weights_top(*RUN))


def digests(spec):
    return {file.name: provenance.file_digest(file) for file in sorted(folder(spec).iterdir())}


def test_the_best_epochs_remain_best_first(world):  # noqa: F811
    spec = world(**KEPT)
    record = train_run(spec)
    ranked = sorted(record["history"], key=lambda row: (-row["miou_avss"], row["epoch"]))[:3]
    members = record["members"]
    assert [(m["epoch"], m["score"]) for m in members] == [(row["epoch"], row["miou_avss"]) for row in ranked]
    assert [m["file"] for m in members] == [
        f"{rank:02d}.epoch{m['epoch']:04d}.safetensors" for rank, m in enumerate(members, 1)
    ]
    assert digests(spec) == {m["file"]: m["sha256"] for m in members}
    assert len({m["sha256"] for m in members}) == 3
    assert members[0]["epoch"] == record["best_epoch"]
    assert members[0]["sha256"] == record["weights"]["sha256"]
    for member in members:
        file = folder(spec) / member["file"]
        registry.load_method("small-small", "avss", scale="mini", image_size=16, paths=spec.paths, weights=file)
        assert registry.read_weights(file)[1]["variant"] == "small-small"
    assert not Path(spec.paths.state(*RUN)).exists()
    assert not store_fakes.leftovers(folder(spec).parent)


def test_a_recipe_without_it_leaves_one_file_and_no_old_members(world):  # noqa: F811
    train_run(world(**KEPT))
    spec = world(epochs=2)
    assert "members" not in train_run(spec)
    assert not folder(spec).exists()
    with pytest.raises(AvsbenchError, match="kept no members"):
        predict_run(spec, ensemble=True)


def test_fewer_epochs_than_asked_for_are_kept_and_told(world, caplog):  # noqa: F811
    record = train_run(world(epochs=2, keep_best=3))
    assert len(record["members"]) == 2
    assert "2 epochs have a finite score, keep_best asks for 3" in caplog.text


def test_an_interrupted_training_keeps_the_same_epochs(world, monkeypatch):  # noqa: F811
    calm = world(**KEPT)
    train_run(calm)
    expected = digests(calm)
    for file in [*outputs(calm), *folder(calm).iterdir()]:
        file.unlink()
    for after in (2, 1):
        with monkeypatch.context() as patch:
            interrupt(patch, after=after)
            with pytest.raises(KeyboardInterrupt):
                train_run(calm)
    assert train_run(calm)["resumes"] == 2
    assert digests(calm) == expected


def test_epochs_that_nothing_ranks_are_refused(world):  # noqa: F811
    with pytest.raises(AvsbenchError, match="keep_best ranks epochs by a validation metric"):
        train_run(world(select="last", **KEPT))
    top.check_recipe({"select": "last", "keep_best": 1}, "a recipe")


def test_members_predict_their_mean_and_are_scored_as_such(world, store):  # noqa: F811
    spec = world(**KEPT)
    files = [folder(spec) / member["file"] for member in train_run(spec)["members"]]
    predict_run(spec)
    predict_run(spec, ensemble=True)
    members = [
        registry.load_method("small-small", "avss", scale="mini", image_size=16, paths=spec.paths, weights=file)
        for file in files
    ]
    clips = ClipDataset(spec.paths, store[1], "test", front_ends=["vggish_mel"], masks=False, image_size=16)
    with (
        PredictionReader(spec.paths.predictions(*RUN, ensemble=True)) as together,
        PredictionReader(spec.paths.predictions(*RUN)) as alone,
        torch.inference_mode(),
    ):
        assert (together.info.members, alone.info.members) == (3, 1)
        assert together.clips == alone.clips == clips.clip_ids
        for batch in make_loader(clips, batch=1):
            own = [m.scores(m(batch), (16, 16))[0].softmax(dim=1).double() for m in members]
            mean = torch.stack(own).mean(dim=0).float()
            assert torch.equal(torch.from_numpy(together.semantic("common", batch.clip_ids[0])), mean.argmax(1).byte())

    for ensemble, count in ((False, 1), (True, 3)):
        score_run(spec.paths, *RUN, ensemble=ensemble)
        row = read_scores(spec.paths.scores(*RUN, ensemble=ensemble))
        assert row["members"] == count
        assert math.isfinite(row["values"]["miou_avss"])


def test_the_python_face_takes_an_ensemble(world):  # noqa: F811
    spec = world(epochs=2, keep_best=2)
    files = [folder(spec) / member["file"] for member in train_run(spec)["members"]]
    known = {"scale": "mini", "results_root": spec.paths.results_root, "device": "cpu"}
    frames = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    sound = (np.random.default_rng(1).normal(size=80_000).astype(np.float32) / 9, 16_000)
    found = predictor.load("small-small", "avss", ensemble=True, **known).predict(frames, sound)
    each = [predictor.load("small-small", "avss", file, **known).predict(frames, sound)["scores"] for file in files]
    mean = np.mean([torch.from_numpy(own).softmax(dim=1).numpy() for own in each], axis=0)
    np.testing.assert_allclose(np.exp(found["scores"]), mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(found["masks"], mean.argmax(axis=1))
    assert np.abs(mean - torch.from_numpy(each[0]).softmax(dim=1).numpy()).max() > 1e-4
    with pytest.raises(AvsbenchError, match="an ensemble has its own weights"):
        predictor.load("small-small", "avss", files[0], ensemble=True, **known)


def test_a_member_of_another_training_is_refused(world):  # noqa: F811
    spec = world(**KEPT)
    first = folder(spec) / train_run(spec)["members"][0]["file"]
    *content, last = first.read_bytes()
    first.write_bytes(bytes([*content, last ^ 1]))
    with pytest.raises(AvsbenchError, match=f"{first.name}: not the weights of epoch"):
        predict_run(spec, ensemble=True)
    assert not Path(spec.paths.predictions(*RUN, ensemble=True)).exists()
