"""What the cards of COMBO and NTAVS ask for at full, beside the published numbers."""

import pytest
import torch

from avsbench import cards, registry
from avsbench.engine.optim import Optimizers

VARIANTS = [name for method in ("combo", "ntavs") for name in cards.method_cards()[method].variants]
CASES = [(name, dataset) for name in VARIANTS for dataset in cards.variant(name).datasets]
STEPS = {"s4": 90000, "ms3": 20000, "avss": 90000}
"""Of 8 clips."""
BETWEEN = {"s4": 5000, "ms3": 400, "avss": 5000}
"""Steps of COMBO from one validation to the next; ours come after whole epochs. NTAVS asks every 100 steps."""


@pytest.mark.parametrize(("name", "dataset"), CASES)
def test_full_is_the_published_recipe(name, dataset):
    variant = cards.variant(name)
    recipe, combo = variant.recipe("full", dataset), variant.method.name == "combo"
    batch = 4 if name == "ntavs-pvt" else 8
    assert (recipe["batch"], recipe["accumulate"]) == (batch, False)
    per_epoch = -(-cards.dataset(dataset).splits["full"]["train"] // batch)
    assert recipe["epochs"] * per_epoch == pytest.approx(STEPS[dataset] * 8 / batch, rel=0.005)
    between = recipe["validate"]["every"] * per_epoch
    assert between == pytest.approx(BETWEEN[dataset], rel=0.2) if combo else between <= max(per_epoch, 250)
    assert (recipe["epochs"] - 1) % recipe["validate"]["every"] == 0, "the last epoch may be the best"

    assert recipe["optimizer"] == {"name": "adamw", "lr": 1e-4, "betas": [0.9, 0.999], "weight_decay": 0.05}
    assert recipe["schedule"] == {"name": "poly", "power": 0.9}
    assert recipe["clip_norm"] == 0.01
    assert recipe.get("compute", {}) == ({"precision": "bfloat16"} if dataset == "avss" else {})
    weights = {"class": 2.0, "mask": 5.0, "dice": 5.0, "points": 12544}
    assert recipe["loss"] == weights | ({"consistency": 10.0} if combo else {})
    window = {"window": 5} if dataset == "avss" and not combo else {}
    augment = {"resize": dataset != "avss", "colours": True, "mirror": 0.5}
    assert recipe["method"] == {"backbone_rate": 0.1, "augment": augment} | window
    assert recipe["select"] == ("miou_avss" if dataset == "avss" else "miou")
    assert recipe.get("keep_best") == (None if combo else 10)


@pytest.mark.parametrize("name", ["combo-pvt", "ntavs-pvt"])
def test_rates_over_a_training(name):
    """Both visual encoders a tenth, nothing that is frozen, and (1 - progress)^0.9 from the first step to the last."""
    method, recipe = registry.build(name, "avss", "mini", 64), cards.variant(name).recipe("full", "avss")
    method.configure(recipe)
    optimizers = Optimizers(method, recipe, total_steps=1000, steps_per_epoch=10)
    assert {id(p) for p in optimizers.parameters} == {id(p) for p in method.trainable_parameters()}
    assert not {id(p) for p in optimizers.parameters} & {id(p) for p in method.audio.parameters()}
    assert sorted(optimizers.set_step(0)) == pytest.approx([1e-5, 1e-5, 1e-4, 1e-4])
    assert max(optimizers.set_step(500)) == pytest.approx(1e-4 * 0.5**0.9)
    assert max(optimizers.set_step(999)) == pytest.approx(1e-4 * 0.001**0.9)
    # The norm over all groups together comes down to the recipe's, just before the step.
    torch.manual_seed(0)
    for p in optimizers.parameters:
        p.grad = torch.randn_like(p)
    assert float(optimizers.step()) > 1
    total = torch.stack([p.grad.square().sum() for p in optimizers.parameters]).sum().sqrt()
    assert float(total) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(("name", "statistic"), [("combo-r50", None), ("ntavs-r50", "input_norm")])
def test_what_is_frozen_evaluates_in_training(name, statistic):
    method = registry.build(name, "s4", "mini", 64).train()
    assert not any(module.training for module in method.audio.modules())
    assert method.siam.training
    assert method.decoder.training
    assert not any(p.requires_grad for p in method.audio.parameters())
    norms = [n for n, module in method.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms == ([f"audio.{statistic}"] if statistic else []), "those of ResNet are fixed, another kind of module"
