"""AVSegFormer that learns from negatives: what each loss sees of them."""

import dataclasses

import pytest
import torch

from avsbench import cards, registry
from avsbench.contract import IGNORE, Batch

CARD = cards.method_cards()["avsegformer"]
MODULE = registry.method_module(CARD)
LOSS = registry.sys.modules[MODULE.Settings.__module__]


def build(dataset="s4", variant="avsegformer-robust-pvt", **recipe):
    torch.manual_seed(0)
    method = registry.build(CARD.variants[variant], dataset, "mini", 64)
    method.configure(cards.merge(CARD.variants[variant].recipe("mini", dataset), recipe))
    return method


def batch(aligned=(True, False), annotated=1):
    torch.manual_seed(1)
    real = torch.ones(len(aligned), 5, dtype=torch.bool)
    masks = torch.full((*real.shape, 64, 64), IGNORE)
    for clip, own in enumerate(aligned):
        masks[clip, :annotated] = torch.randint(0, 2, (annotated, 64, 64)) if own else 0
    return Batch(
        frames=torch.randint(0, 256, (*real.shape, 3, 64, 64), dtype=torch.uint8),
        real=real,
        clip_ids=[f"clip{n}" for n in range(len(aligned))],
        audio={"vggish_mel": torch.randn(*real.shape, 1, 96, 64)},
        masks=masks,
        annotated=torch.arange(5).expand_as(real) < annotated,
        aligned=torch.tensor(aligned),
    )


def test_the_label_is_whether_the_sound_is_the_clips_own():
    method, clips = build().train(), batch()
    output = method(clips)
    assert len(output["logits"]) == 2  # the head sees annotated frames alone
    assert output["similarity"].shape == (10,)
    found = method.loss(output, clips, 0)["agreement"]
    label = torch.tensor([1.0] * 5 + [0.0] * 5)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(output["similarity"], label)
    torch.testing.assert_close(found, expected)
    everyone = method.loss(output, dataclasses.replace(clips, aligned=None), 0)["agreement"]
    torch.testing.assert_close(everyone, -torch.nn.functional.logsigmoid(output["similarity"]).mean())


def test_it_decides_nothing():
    clips, plain, robust = batch(), build(variant="avsegformer-pvt").eval(), build().eval()
    robust.load_state_dict(plain.state_dict() | {k: v for k, v in robust.state_dict().items() if "agreement" in k})
    found, expected = robust(clips), plain(clips)
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found["logits"], expected["logits"])


@pytest.mark.parametrize("dataset", ["s4", "ms3"])
def test_masks_are_those_of_the_plain_network(dataset):
    """While training too: that more frames are looked at changes nothing for those with a mask."""
    clips, outputs = batch(annotated=1 if dataset == "s4" else 5), []
    plain, robust = build(dataset, "avsegformer-pvt"), build(dataset)
    robust.load_state_dict(plain.state_dict() | {k: v for k, v in robust.state_dict().items() if "agreement" in k})
    for method in (plain, robust):
        method.train()
        for module in method.modules():
            if not any(True for _ in module.children()):
                module.eval()  # nothing random
        outputs.append(method(clips)["logits"])
    torch.testing.assert_close(*outputs)


def gradient(empty):
    """Of the mask loss of a negative, at the logits."""
    logits = torch.zeros(1, 1, 8, 8, requires_grad=True)
    LOSS.mask_loss(logits, torch.zeros(1, 8, 8, dtype=torch.int64), "dice", empty).backward()
    return logits.grad.abs().max()


def test_dice_learns_nothing_from_an_empty_mask_and_cross_entropy_does():
    assert gradient("reference") == 0
    assert gradient("bce") > 0


def test_frames_with_an_object_keep_their_loss():
    torch.manual_seed(0)
    logits, masks = torch.randn(4, 1, 8, 8), torch.randint(0, 2, (4, 8, 8))
    torch.testing.assert_close(LOSS.mask_loss(logits, masks, "dice", "bce"), LOSS.mask_loss(logits, masks, "dice"))
    masks[1] = 0
    masks[1, 0] = IGNORE
    parts = [LOSS.mask_loss(logits[[n]], masks[[n]], "bce" if n == 1 else "dice") for n in range(4)]
    torch.testing.assert_close(LOSS.mask_loss(logits, masks, "dice", "bce"), sum(parts) / 4)
    nothing = LOSS.mask_loss(logits[:0], masks[:0], "dice", "bce")
    assert nothing == 0


def test_a_negative_reaches_what_it_should():
    """The published recipe trains the similarity alone; ours the masks as well."""
    clips = batch(aligned=(False,))
    for empty, reached in (("reference", False), ("bce", True)):
        method = build(loss={"binary": "dice", "empty": empty}).train()
        terms = method.loss(method(clips), clips, 0)
        (terms["segmentation"] + terms["auxiliary"]).backward()
        # Rounding aside: the constant Dice of an empty mask has no slope.
        assert (method.head.queries.grad.abs().max() > 1e-8) == reached
        method.zero_grad()
        method.loss(method(clips), clips, 0)["agreement"].backward()
        assert method.sound.weight.grad.abs().max() > 0
        assert method.agreement.projection.weight.grad.abs().max() > 0


def test_the_recipe():
    variant = CARD.variants["avsegformer-robust-pvt"]
    recipe = variant.recipe("full", "ms3")
    assert (recipe["batch"], recipe["epochs"], recipe["negatives"]) == (1, 60, {"percent": 10})
    assert recipe["method"]["freeze_epochs"] == 10
    assert recipe["optimizer"]["lr"] == 2e-5
    assert variant.recipe("mini", "ms3")["negatives"] == {"percent": 40}
    assert variant.recipe("mini", "ms3")["batch"] == CARD.variants["avsegformer-pvt"].recipe("mini", "ms3")["batch"]
    assert "negatives" not in CARD.variants["avsegformer-pvt"].recipe("full", "ms3")
