"""A training step of CAVP, its losses, pairing and optimiser groups against those of the authors' code."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench import cards
from avsbench.engine.optim import schedule_factor
from tests.unit.cavp_parts import MODEL, part

from .fill import array, fill

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("AVSBENCH_PARITY", HERE))
loss, pairing, groups = part("loss"), part("pairing"), part("groups")


def file(name):
    path = ROOT / "cavp" / name
    return path if path.is_file() else HERE / "cavp" / name


def content(name):
    return json.loads(file(name).read_text())


def arrays(name):
    with np.load(file(name)) as found:
        return dict(found)


def drawn(name, shape, about):
    return torch.from_numpy(np.asarray(array(name, tuple(shape), about.get("input_salt", 0))))


def full_size():
    with torch.device("meta"):
        return MODEL.build(dataset=cards.dataset("avss"), scale="full", image_size=128)


# a whole step


@pytest.fixture
def two_threads():
    """BatchNorm over a batch of 2 amplifies rounding, and one thread adds up in another order than the fixture did."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    yield
    torch.set_num_threads(before)


def test_train_step(two_threads):
    about, expected = content("train_step/fixture.json"), arrays("train_step/expected.npz")
    shapes = {key: shape for key, shape, kind in content("avss/keys.json") if kind.startswith("float")}
    assert set(about["gradient_norms"]) <= set(shapes)
    model = full_size()
    state = {key: torch.from_numpy(np.asarray(fill(key, tuple(shape)))) for key, shape in shapes.items()}
    loaded = model.convert_official(state)
    for key, value in model.state_dict().items():
        loaded.setdefault(key, torch.zeros(value.shape, dtype=value.dtype))  # counters of BatchNorm
    model.load_state_dict(loaded, strict=True, assign=True)
    model.train().requires_grad_(True)
    images, mels = (drawn(each["name"], each["shape"], about) for each in about["inputs"])
    masks, foreign = (torch.from_numpy(expected[name]).long() for name in ("gt", "gt_shuffle"))

    low, joint = model.segment(images, model.audio(mels))
    logits = model.scores({"logits": low[None]}, tuple(images.shape[-2:]))[0]
    own, other = joint.chunk(2)
    segmentation = loss.segmentation_loss(logits[:2], masks)
    contrast = loss.contrastive_loss(own, masks, other, foreign, views=64, permutation=torch.arange)
    (segmentation + contrast).backward()

    tolerance = {key: about["tolerance"][key] for key in ("rtol", "atol")}
    seen = {"ce": segmentation, "contrast": contrast}
    seen |= {"logits": logits[:, :, ::9, ::9], "embed": joint[:, ::8, ::4, ::4]}
    buffers = dict(model.named_buffers())
    for name, wanted in expected.items():
        if name.endswith("running_mean"):
            seen[name] = buffers[model.rename_official(name)][:64]
        if name in seen:
            np.testing.assert_allclose(seen[name].detach().numpy(), wanted, **tolerance, err_msg=name)
    assert set(expected) - set(seen) == {"gt", "gt_shuffle"}

    norms = {name: p.grad.double().norm().item() for name, p in model.named_parameters()}
    wanted = {model.rename_official(key): norm for key, norm in about["gradient_norms"].items() if norm is not None}
    assert set(norms) == set(wanted)
    for name, norm in wanted.items():
        assert norms[name] == pytest.approx(norm, rel=about["tolerance"]["gradient_norms_rtol"]), name
    # What gets no gradient in the authors' network does not exist here.
    assert {model.rename_official(key) for key, norm in about["gradient_norms"].items() if norm is None} == {None}


# losses


@pytest.fixture(scope="module")
def cases():
    about, expected = content("losses/fixture.json"), arrays("losses/expected.npz")
    return about, {name: torch.from_numpy(value) for name, value in expected.items()}


def contrast(cases, views, function):
    about, expected = cases
    maps = [drawn(name, (2, 32, 12, 16), about) for name in ("embed_match", "embed_shuffle")]
    labels = [expected[name].long() for name in ("gt", "gt_shuffle")]
    return function(maps[0], labels[0], maps[1], labels[1], views=views, permutation=torch.arange)


@pytest.mark.parametrize("views", [24, 64])
def test_contrast(cases, views):
    about, expected = cases
    found = contrast(cases, views, loss.contrastive_loss)
    torch.testing.assert_close(found, expected[f"contrast_identity_views{views}"], **about["tolerance"])
    _, labels = contrast(cases, views, loss.sample_anchors)
    assert torch.equal(labels, expected[f"labels_views{views}"])


def test_contrast_without_a_large_class(cases):
    assert contrast(cases, 10_000, loss.contrastive_loss).item() == cases[1]["contrast_no_class_large_enough"].item()


def test_anchors(cases):
    about, expected = cases
    anchors = torch.nn.functional.normalize(drawn("anchors", (40, 16), about), dim=1)
    each = loss.anchor_losses(anchors, expected["info_nce_labels"].long(), 0.1)
    torch.testing.assert_close(each.mean(), expected["info_nce"], **about["tolerance"])
    torch.testing.assert_close(each[:12].mean(), expected["info_nce_rectangular"], **about["tolerance"])


def test_cross_entropy(cases):
    about, expected = cases
    found = loss.segmentation_loss(drawn("loss_logits", (2, 71, 24, 24), about), expected["ce_target"].long())
    torch.testing.assert_close(found, expected["cross_entropy"], **about["tolerance"])


# pairing


def stepped(steps):
    """A pairing after these batches, in its first epoch."""
    pairs = pairing.Pairing(5, bank="reference", permutation=torch.arange)
    for step in steps:
        # The vectors of the fixture sound in the mel's units: silence is -1 there and 0 here.
        sounds = torch.tensor(step["waveforms"]) - 1
        pairs(sounds, torch.tensor(step["labels"]).bool())
        yield pairs


def test_bank():
    steps = content("pairing.json")["bank_steps"]
    for step, pairs in zip(steps, stepped(steps), strict=True):
        bank = pairs.bank
        for label, wanted in enumerate(step["bank_after"]):
            oldest_first = bank.sounds[label, :, 0].roll(-int(bank.stored[label]), dims=0) + 1
            assert oldest_first.tolist() == wanted
            assert (bank.oldest(label, real=False) + 1).tolist() == [wanted[0]]


@pytest.mark.parametrize("rate", ["0.5", "1.0"])
def test_overwriting(rate):
    about = content("pairing.json")
    *_, pairs = stepped(about["bank_steps"])
    case = about["pairing"]
    wanted, classes = case[f"ow_rate_{rate}"], torch.tensor(case["img_label"])
    order = torch.tensor(case["shuffle_idx"])
    pairs.rate = float(rate)
    pairs.permutation = lambda count, device: order if count == len(order) else torch.arange(count)
    bank = {label: pairs.bank.oldest(label, real=False).clone() for label in range(5)}
    sounds = torch.arange(100.0, 106.0)[:, None, None].expand(6, 1, 2)

    before = pairs(sounds, classes.bool())
    assert before.match.tolist() == case["if_match_before"]
    *_, pairs.bank = (each.bank for each in stepped(about["bank_steps"]))
    pairs.epoch = 1
    after = pairs(sounds, classes.bool())
    assert after.match.tolist() == wanted["if_match"]
    for item in range(6):
        label = wanted["replaced"].get(str(item))
        assert torch.equal(after.sounds[item], sounds[order[item]] if label is None else bank[label])
        if "audio_after_replacement_from_bank" in wanted and label is not None:
            assert (after.sounds[item] + 1).tolist() == wanted["audio_after_replacement_from_bank"][item]


# optimisation


def test_groups_have_the_published_sizes():
    """With the tensors that the authors' network stores and never uses, which stand in its last group."""
    model = full_size()
    found = groups.parameter_groups(model, {"optimizer": {"name": "sgd", "lr": 1e-3, "weight_decay": 1e-4}})
    official = {model.rename_official(key): key for key, _, _ in content("avss/keys.json")}
    wanted = content("optim.json")["param_groups"]["seg_first"]
    dead = {"cross_att.pos_embed_v": 16384 * 304, "cross_att.pos_embed_a": 304}
    assert len(found) == len(wanted) + 1  # and the sounds
    for group, about in zip(found, wanted, strict=False):
        last = about["first"] in dead
        assert len(group["params"]) + last * len(dead) == about["tensors"]
        assert sum(p.numel() for _, p in group["params"]) + last * sum(dead.values()) == about["elements"]
        assert (group.get("weight_decay") == 0.0) == about["weight_decay_zero"]
        if not last:
            assert official[group["params"][0][0]] == about["first"]
    audio = found[-1]["params"]
    assert {name.split(".")[0] for name, _ in audio} == {"audio"}


def test_schedule():
    about = content("optim.json")["poly_lr"]
    schedule = {"name": "poly", "power": about["power"], "floor": 1e-8 / about["start"], "delay": 1}
    factor = schedule_factor(schedule, about["total"], steps_per_epoch=100)
    for step, rate in about["lr_at"].items():
        assert about["start"] * factor(int(step) + 1) == pytest.approx(rate, rel=1e-9)
    assert factor(0) == factor(1) == 1.0
