"""A method that breaks a promise is told which, in words, and where to mend it."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from avsbench import cards, registry
from avsbench.contract_checks import FAILED, PASSED, SKIPPED, print_results, run_check, subjects
from avsbench.contract_checks.batches import synthetic_batch, take
from avsbench.contract_checks.checks import CHECKS
from avsbench.contract_checks.subject import Subject
from tests.unit.small_method import write_method


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return write_method(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def small(card):
    """The unbroken class."""
    return registry.method_module(card).Small


def subject(card, base=None, dataset="ms3", **change):
    """The card's method on a data set, with another class of network and other entries in the card."""
    variant = card.variants["small-small"]
    variant = replace(variant, inputs=change.get("inputs", variant.inputs), method=replace(card, **change))
    found = cards.dataset(dataset)
    builder = None if base is None else lambda: base(channels=found.num_classes, width=16)
    return Subject(variant, found, builder=builder)


def told(result_of, check):
    result = run_check(result_of, check)
    assert result.status == FAILED, f"{check} did not notice"
    return result.message


@pytest.mark.parametrize("dataset", ["ms3", "avss"])
@pytest.mark.parametrize("check", CHECKS)
def test_the_unbroken_method_passes(card, dataset, check):
    result = run_check(subject(card, dataset=dataset), check)
    assert result.status in (PASSED, SKIPPED), result.message


def test_scores_of_wrong_shape(card, small):
    class Flat(small):
        def scores(self, output, size):
            return super().scores(output, size).flatten(0, 1)

    text = told(subject(card, Flat), "scores")
    assert "[B,T,K,h,w] = [2, 5, 1, 64, 64]" in text
    assert "model.py" in text


def test_half_precision_scores(card, small):
    class Half(small):
        def scores(self, output, size):
            return super().scores(output, size).half()

    assert "torch.float16 instead of float32" in told(subject(card, Half), "scores")


def test_scores_that_lose_precision_under_autocast(card, small):
    class Late(small):
        def scores(self, output, size):
            scores = super().scores(output, size)
            return (scores.unsqueeze(-1) @ torch.ones(1, 1)).squeeze(-1)

    assert "under autocast" in told(subject(card, Late), "scores")


def test_masks_of_wrong_type(card, small):
    class Numbers(small):
        def masks(self, scores):
            return scores[:, :, 0].sigmoid()

    assert "masks(scores) is torch.float32" in told(subject(card, Numbers), "scores")


def test_an_input_that_forward_changes(card, small):
    class Eager(small):
        def forward(self, batch):
            batch.audio["vggish_mel"].mul_(2)
            return super().forward(batch)

    assert "forward changed its input vggish_mel" in told(subject(card, Eager), "scores")


def test_padding_that_leaks(card, small):
    class Leaky(small):
        def forward(self, batch):
            output = super().forward(batch)
            bright = batch.frames.float().mean(dim=(1, 2, 3, 4)) / 255
            return {"logits": output["logits"] + bright[:, None, None, None, None]}

    assert "padded frames change the scores" in told(subject(card, Leaky, dataset="avss"), "padding")


def test_clips_that_leak_into_each_other(card, small):
    class Mixer(small):
        def forward(self, batch):
            logits = super().forward(batch)["logits"]
            return {"logits": logits + logits.mean()}

    text = told(subject(card, Mixer), "batch_independent")
    assert "scores differently in a batch of two than alone" in text
    assert "batch_independent: false" in text
    assert run_check(subject(card, Mixer, batch_independent=False), "batch_independent").status == SKIPPED


def test_dropout_in_eval(card, small):
    class Restless(small):
        def forward(self, batch):
            logits = super().forward(batch)["logits"]
            return {"logits": nn.functional.dropout(logits, 0.5, training=True)}

    assert "eval mode give different scores" in told(subject(card, Restless), "determinism")


def test_random_numbers_of_its_own(card, small):
    class Clock(small):
        def loss(self, output, batch, step):
            noise = torch.rand((), generator=torch.Generator().manual_seed(time.monotonic_ns()))
            return {name: term * (1 + noise) for name, term in super().loss(output, batch, step).items()}

    assert "two trainings from one seed differ" in told(subject(card, Clock), "determinism")


def test_state_outside_the_state_dict(card, small):
    class Hidden(small):
        def __init__(self, **options):
            super().__init__(**options)
            self.offset = torch.rand(())

        def scores(self, output, size):
            return super().scores(output, size) + self.offset

    text = told(subject(card, Hidden), "round_trip")
    assert "loaded the saved weights scores differently" in text
    assert "register_buffer" in text


def test_extra_state_that_would_need_unpickling(card, small):
    class Bank(small):
        def extra_state(self):
            return {"bank": np.zeros(3)}

    assert "extra_state cannot be stored" in told(subject(card, Bank), "round_trip")


class Unused:
    """Mixed into a network: a layer that nothing calls."""

    def __init__(self, **options):
        super().__init__(**options)
        self.spare = nn.Linear(2, 2)


def test_a_parameter_without_gradient(card, small):
    network = type("Network", (Unused, small), {})
    text = told(subject(card, network), "gradients")
    assert "2 parameters ask for a gradient and never get one: spare.bias, spare.weight" in text
    assert "dead_parameters" in text
    assert run_check(subject(card, network, dead_parameters=[r"spare\..*"]), "gradients").status == PASSED


def test_a_dead_parameter_that_lives(card):
    text = told(subject(card, dead_parameters=[r"head\..*"]), "gradients")
    assert "listed as dead and get a gradient: head.bias, head.weight" in text


def test_a_layer_that_starts_at_zero_is_not_called_dead(card, small):
    class Zero(small):
        def __init__(self, **options):
            super().__init__(**options)
            nn.init.zeros_(self.head.weight)

    assert run_check(subject(card, Zero), "gradients").status == PASSED


def test_a_forgotten_parameter_group(card, small):
    class Forgetful(small):
        def parameter_groups(self, recipe):
            return [{"params": list(self.head.named_parameters())}]

    assert "are in no group" in told(subject(card, Forgetful), "groups")


class Encoder:
    """Mixed into a network: a frozen encoder with BatchNorm that adds to the score."""

    def __init__(self, **options):
        super().__init__(**options)
        self.frozen = nn.Sequential(nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1)).requires_grad_(False)

    def encoders(self):
        return {"visual": self.frozen}

    def forward(self, batch):
        extra = self.frozen(batch.frames.flatten(0, 1).float() / 255).unflatten(0, batch.real.shape)
        return {"logits": super().forward(batch)["logits"] + extra}


def test_batchnorm_of_a_frozen_encoder(card, small):
    assert run_check(subject(card, type("Network", (Encoder, small), {})), "frozen").status == PASSED

    def train(self, mode=True):
        return nn.Module.train(self, mode)

    text = told(subject(card, type("Network", (Encoder, small), {"train": train})), "frozen")
    assert "frozen.1.running_mean" in text
    assert "BatchNorm of a frozen encoder ran in train mode" in text


def test_a_frozen_parameter_that_moves(card, small):
    def forward(self, batch):
        self.frozen[0].weight.data.add_(1)
        return Encoder.forward(self, batch)

    network = type("Network", (Encoder, small), {"forward": forward})
    assert "frozen.0.weight" in told(subject(card, network), "frozen")


def test_nan_when_nothing_is_annotated(card, small):
    class Divides(small):
        def loss(self, output, batch, step):
            known = batch.masks != 255
            return {"mean": output["logits"][:, :, 0][known].mean()}

    text = told(subject(card, Divides), "ignored")
    assert "with all pixels ignored the loss 'mean' is nan" in text
    assert "max(count, 1)" in text


def test_a_constant_loss_when_nothing_is_annotated(card, small):
    class Constant(small):
        def loss(self, output, batch, step):
            return super().loss(output, batch, step) if batch.annotated.any() else {"mask": torch.zeros(())}

    assert "has no gradient" in told(subject(card, Constant), "ignored")


def test_a_loss_that_is_no_number(card, small):
    class Vector(small):
        def loss(self, output, batch, step):
            return {"mask": output["logits"]}

    assert "the loss term 'mask' is a tensor of shape" in told(subject(card, Vector), "ignored")


@pytest.mark.parametrize(("dataset", "measure"), [("ms3", "IoU"), ("avss", "cross-entropy")])
def test_a_network_that_cannot_learn(card, small, monkeypatch, dataset, measure):
    from avsbench.contract_checks import training

    class Deaf(small):
        def loss(self, output, batch, step):
            return {"mask": output["logits"].square().mean()}

    monkeypatch.setattr(training, "MOST_STEPS", 20)
    text = told(subject(card, Deaf, dataset=dataset), "overfits")
    assert f"do not teach them: {measure}" in text


def test_an_unknown_front_end(card):
    text = told(subject(card, inputs={"front_ends": ["vgish_mel"]}), "card")
    assert "did you mean 'vggish_mel'" in text


def test_an_encoder_that_the_network_lacks(card):
    found = subject(card)
    with_encoder = replace(found, variant=replace(found.variant, encoders={"visual": "resnet50"}))
    assert "the card gives encoders for visual, the network has none" in told(with_encoder, "card")


def test_a_metric_that_does_not_exist(card):
    recipes = {scale: {"default": {**card.recipes["mini"]["default"], "select": "mio"}} for scale in ("mini", "full")}
    assert "did you mean 'miou'" in told(subject(card, recipes=recipes), "card")


def test_an_exception_names_the_line_of_the_method(tmp_path, card):
    model = (card.path.parent / "model.py").read_text().replace('batch.audio["vggish_mel"]', 'batch.audio["mel"]')
    broken = write_method(tmp_path, model=model)
    text = told(next(subjects(broken)), "scores")
    assert "KeyError: 'mel'" in text
    assert "model.py:24, in forward" in text


def test_an_official_checkpoint_that_does_not_fit(tmp_path, card, monkeypatch):
    import json

    official = {"file": "x.pth"}
    monkeypatch.setenv("AVSBENCH_PARITY", str(tmp_path))
    assert run_check(subject(card, official=official), "official").status == SKIPPED
    keys = [[key, list(value.shape), "float32"] for key, value in subject(card).build().state_dict().items()]
    (tmp_path / "small" / "theirs").mkdir(parents=True)
    file = tmp_path / "small" / "theirs" / "keys.json"
    file.write_text(json.dumps(keys))
    assert run_check(subject(card, official=official), "official").status == PASSED
    file.write_text(json.dumps([["net.see.weight", [3, 3], "float32"], *keys[1:]]))
    text = told(subject(card, official=official), "official")
    assert "see.0.weight is missing" in text
    assert "net.see.weight is unknown" in text


def test_synthetic_clips_are_announced_by_sound(card):
    for name in ("ms3", "s4", "avss"):
        dataset = cards.dataset(name)
        batch = synthetic_batch(card.variants["small-small"], dataset, 64)
        assert batch.frames.shape == (2, dataset.frames, 3, 64, 64)
        loud = batch.audio["vggish_mel"].amax(dim=4).mean(dim=(2, 3)) > 0
        objects = ((batch.masks > 0) & (batch.masks != 255)).any(dim=(2, 3))
        assert torch.equal(objects[batch.annotated], loud[batch.annotated])
        assert objects.any()
        assert bool((batch.masks[~batch.annotated] == 255).all())
        assert take(batch, 1, 3).frames.shape == (1, 3, 3, 64, 64)
    assert synthetic_batch(card.variants["small-small"], cards.dataset("s4"), 64).annotated.sum() == 2


def test_the_table_shows_failures_in_words(card, capsys):
    good = run_check(subject(card), "groups")
    bad = run_check(subject(card, dead_parameters=[r"head\..*"]), "gradients")
    assert print_results([good])
    assert not print_results([good, bad])
    text = capsys.readouterr().out
    assert "gradients reach every parameter" in text
    assert "mend:" in text
    assert "1 passed, 1 failed" in text
