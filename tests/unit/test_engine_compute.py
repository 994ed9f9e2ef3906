"""Precision, layout, fused updates, compilation, augmentation on the device: what they change, and what they do not."""

import os
import shutil
import signal

import pytest
import torch

from avsbench.cards import read_method_card
from avsbench.engine.compute import Compute, as_float32, exact
from avsbench.engine.update import TrainingStep
from avsbench.errors import AvsbenchError
from avsbench.nn.precision import tf32_as_it_was
from avsbench.registry import read_weights
from tests.unit.engine_fakes import RECIPE, CalmMethod, TinyData, make_trainer, tiny_batch
from tests.unit.small_method import CARD, write_method

CPU = torch.device("cpu")
CALM = {**RECIPE, "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9}}


@pytest.fixture(autouse=True)
def policy():
    with tf32_as_it_was():
        yield


def trained(folder, **compute):
    trainer = make_trainer(folder, recipe={**CALM, "compute": compute}, method=CalmMethod)
    trainer.run()
    return trainer


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with tf32_as_it_was():
        return trained(tmp_path_factory.mktemp("plain"), precision="float32").method.state_dict()


def assert_close(method, plain, **tolerance):
    for key, value in method.state_dict().items():
        torch.testing.assert_close(value.contiguous(), plain[key], msg=key, **tolerance)


def test_defaults_depend_on_the_device_alone():
    cpu, gpu = Compute().on(CPU), Compute().on(torch.device("cuda"))
    assert (cpu.channels_last, cpu.fused) == (False, False)
    assert (gpu.channels_last, gpu.fused) == (True, True)
    assert cpu.precision == gpu.precision == "tf32"
    assert Compute(channels_last=True).on(CPU).channels_last


@pytest.mark.parametrize(
    ("asked", "named"),
    [({"precison": "tf32"}, "precison"), ({"precision": "half"}, "bfloat16"), ({"compile": "yes"}, "reduce-overhead")],
)
def test_what_does_not_exist_is_an_error(asked, named):
    with pytest.raises(AvsbenchError, match=named):
        Compute.of({"compute": asked})


def test_the_card_schema_knows_the_same_values(tmp_path):
    card = CARD.replace("epochs: 1,", "epochs: 1, compute: {{precision: half}},")
    with pytest.raises(AvsbenchError, match=r"compute\.precision"):
        write_method(tmp_path, card=card)
    every = "compute: {{precision: bfloat16, channels_last: true, fused: true, compile: none, augment: cpu}}"
    shutil.rmtree(tmp_path / "small")
    write_method(tmp_path, card=CARD.replace("epochs: 1,", f"epochs: 1, {every},"))
    assert read_method_card(tmp_path / "small" / "method.yaml").name == "small"


def test_tf32_policy_covers_products_and_convolutions():
    for precision, allowed in (("tf32", True), ("float32", False), ("bfloat16", True)):
        Compute(precision=precision).prepare(CalmMethod(), CPU)
        assert torch.backends.cudnn.allow_tf32 is allowed
        assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
    exact()
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"


def test_bfloat16_runs_the_forward_pass_alone_in_half_precision():
    seen = []
    method = CalmMethod()
    method.head.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    step = TrainingStep(method, Compute(precision="bfloat16"))
    terms = step(tiny_batch(0), 0)
    sum(terms.values()).backward()
    assert seen == [torch.bfloat16]
    assert {term.dtype for term in terms.values()} == {torch.float32}
    assert {p.dtype for p in method.parameters()} == {p.grad.dtype for p in method.parameters()} == {torch.float32}


def test_bfloat16_trains_near_float32(tmp_path, plain):
    trainer = trained(tmp_path, precision="bfloat16")
    assert_close(trainer.method, plain, rtol=0.05, atol=0.02)
    assert any(not torch.equal(value, plain[key]) for key, value in trainer.method.state_dict().items())


def test_outputs_of_any_nesting_become_float32():
    half = torch.zeros(2, dtype=torch.bfloat16)
    output = as_float32({"a": half, "b": [half, (half, torch.zeros(1, dtype=torch.int64))], "c": "text"})
    assert output["a"].dtype == output["b"][0].dtype == output["b"][1][0].dtype == torch.float32
    assert output["b"][1][1].dtype == torch.int64
    assert output["c"] == "text"


def test_channels_last_is_another_layout_of_the_same_training(tmp_path, plain):
    trainer = trained(tmp_path, precision="float32", channels_last=True)
    assert trainer.method.encoder[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert_close(trainer.method, plain, rtol=1e-4, atol=1e-6)
    assert set(read_weights(trainer.best_state_file())[0]) == set(plain)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_fused_update_is_the_same_update(tmp_path, name):
    def run(fused):
        recipe = {**CALM, "optimizer": {"name": name, "lr": 1e-3}, "compute": {"fused": fused}}
        trainer = make_trainer(tmp_path / str(fused), recipe=recipe, method=CalmMethod)
        trainer.run()
        return trainer

    plain, fused = run(False), run(True)
    groups = [group for part in fused.optimizers.state_dict() for group in part["param_groups"]]
    assert all(bool(group["fused"]) == (name != "sgd") for group in groups)
    assert_close(fused.method, plain.method.state_dict(), rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_a_compiled_forward_pass_trains_the_same(tmp_path, plain):
    trainer = trained(tmp_path, precision="float32", compile="default")
    assert trainer.method._compiled_call_impl is not None
    assert set(trainer.method.state_dict()) == set(plain)
    assert_close(trainer.method, plain, rtol=1e-3, atol=1e-5)


class Augmented(CalmMethod):
    """Darkens each batch by a random amount, on the device."""

    def device_transforms(self, recipe):
        self.drawn = []

        def darken(batch, generator):
            self.drawn.append(float(torch.rand((), generator=generator, device=generator.device)))
            batch.frames = (batch.frames.float() * self.drawn[-1]).to(torch.uint8)
            return batch

        return darken


def test_augmentation_on_the_device_is_opt_in_and_seeded(tmp_path):
    def drawn(name, augment, seed=0):
        recipe = {**CALM, "epochs": 2, "compute": {"augment": augment}}
        trainer = make_trainer(tmp_path / name, recipe=recipe, method=Augmented, seed=seed)
        trainer.run()
        return getattr(trainer.method, "drawn", [])

    assert drawn("cpu", "cpu") == []
    first = drawn("one", "device")
    assert len(set(first)) == len(first) == 8
    assert drawn("two", "device") == first
    assert drawn("three", "device", seed=1) != first


def test_a_resumed_training_keeps_layout_and_fused_state(tmp_path):
    def run(name, before_step=lambda step: None):
        recipe = {**RECIPE, "compute": {"channels_last": True, "fused": True, "precision": "bfloat16"}}
        trainer = make_trainer(tmp_path / name, TinyData(before_step), recipe, save_every=1e9)
        trainer.run()
        return trainer.method.state_dict()

    calm = run("calm")
    with pytest.raises(SystemExit):
        run("cut", lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 6 else None)
    resumed = run("cut")
    assert all(torch.equal(resumed[key], value) for key, value in calm.items())


def test_what_may_change_scores_is_said():
    assert Compute(compile="default", channels_last=True, fused=True).deviations == []
    assert Compute(precision="bfloat16", augment="device").deviations == [
        "forward pass in bfloat16",
        "augmentation on the device",
    ]
