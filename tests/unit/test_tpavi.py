"""TPAVI where the reference's vectors do not reach: both kinds of attention, padding, training options, parameters."""

import dataclasses
import importlib

import pytest
import torch
from torch import nn

from avsbench import cards, registry
from avsbench.contract import IGNORE
from avsbench.contract_checks.batches import take
from avsbench.errors import AvsbenchError
from tests.unit.batches import batch

CARD = cards.method_cards()["tpavi"]
MODULE = registry.method_module(CARD)


def build(dataset="ms3", variant="tpavi-r50", **options):
    torch.manual_seed(0)
    chosen = CARD.variants[variant]
    model = registry.build(dataclasses.replace(chosen, options=chosen.options | options), dataset, "mini", 64)
    for block in model.attention:  # away from the identity that they start as
        nn.init.normal_(block.output_norm.weight)
    return model


def direct(block, x, sound):
    """The attention as the paper writes it, with the matrix of all pixel pairs."""
    pixels = x.view(-1, 5, *x.shape[1:]).permute(0, 1, 3, 4, 2).flatten(1, 3)  # [N,P,C]
    count = x.shape[-2] * x.shape[-1]
    source = pixels if sound is None else sound.repeat_interleave(count, dim=1)
    affinity = block.query(pixels) @ block.key(source).transpose(1, 2) / pixels.shape[1]
    attended = block.output(affinity @ block.value(pixels))
    z = block.norm(pixels + block.output_norm(attended.flatten(0, 1)).view_as(pixels))
    return z.view(len(x), *x.shape[-2:], -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize("kind", ["audio", "visual"])
@pytest.mark.parametrize("training", [True, False])
def test_low_rank_equals_direct(kind, training):
    torch.manual_seed(0)
    block = MODULE.TemporalPixelAttention(width=16, align_bias=True).train(training)
    nn.init.normal_(block.output_norm.weight)
    x, audio = torch.randn(10, 16, 6, 4), torch.randn(2, 5, 128)
    results = []
    for function in (MODULE.TemporalPixelAttention.forward, direct):
        leaf = x.clone().requires_grad_()
        y = function(block, leaf, block.align(audio) if kind == "audio" else None)
        block.zero_grad()
        (y * torch.arange(y.numel()).view_as(y).sin()).sum().backward()
        results.append([y.detach(), leaf.grad, block.query.weight.grad.clone(), block.value.bias.grad.clone()])
    for low, full in zip(*results, strict=True):
        torch.testing.assert_close(low, full, rtol=1e-4, atol=1e-5)


def test_the_block_starts_as_the_norm_of_its_input():
    block = MODULE.TemporalPixelAttention(width=16, align_bias=True)
    x = torch.randn(5, 16, 4, 4)
    expected = block.norm(x.movedim(1, -1)).movedim(-1, 1)
    torch.testing.assert_close(block(x, torch.randn(1, 5, 16)), expected)


def test_both_attentions_are_averaged():
    both, audio, visual = (build(attend=kinds).eval() for kinds in (["audio", "visual"], ["audio"], ["visual"]))
    images, sound = torch.randn(5, 3, 64, 64), torch.rand(1, 5, 128)
    block = both.attention[3]
    x = torch.randn(5, 32, 2, 2)
    with torch.no_grad():
        _, maps, aligned = both.segment(images, sound, None)
        a, v = (model.segment(images, sound, None)[1][3] for model in (audio, visual))
        views = block(x, aligned[3]), block(x, None)
    assert not torch.allclose(*views)
    # One set of weights serves both; before the rectification of the maps the mean is exact.
    neck = both.necks[3](both.visual(images)[3])
    expected = (block(neck, aligned[3]) + block(neck, None)) / 2
    torch.testing.assert_close(maps[3], expected.relu())
    assert not torch.allclose(a, v)


def test_something_must_be_attended_to():
    for attend in ([], ["sound"]):
        with pytest.raises(AvsbenchError, match="nothing to attend to"):
            build(attend=attend)


@torch.no_grad()
def test_a_short_clip_scores_as_its_padded_self():
    model = build("avss").eval()
    padded = batch(lengths=(5, 10), padded=10)
    logits = model(padded)["logits"]
    assert logits.shape == (2, 10, 71, 64, 64)
    assert not logits[0, 5:].any()
    alone = model(take(padded, 0, 5))["logits"]
    torch.testing.assert_close(alone[0], logits[0, :5], rtol=1e-4, atol=1e-5)
    kept = build("avss", skip_padding=False).eval()
    torch.testing.assert_close(kept(padded)["logits"], logits, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_frames_of_another_clip_are_not_seen():
    model, first = build("avss").eval(), batch(lengths=(10,), padded=10)
    second = take(first, 0, 10)
    second.frames[:, 7], second.audio["vggish_mel"][:, 7] = 0, 0.0
    before, after = (model(each)["logits"] for each in (first, second))
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5:7], after[:, 5:7])  # the same clip of five


@torch.no_grad()
def test_any_number_of_frames():
    assert build().eval()(batch(lengths=(3,), padded=3))["logits"].shape == (1, 3, 1, 64, 64)


def test_the_sound_reaches_the_scores_and_stays_frozen():
    model, first = build().train(), batch()
    assert not model.audio.training
    other = dataclasses.replace(first, audio={"vggish_mel": first.audio["vggish_mel"].flip(0)})
    model.eval()
    assert not torch.allclose(model(first)["logits"], model(other)["logits"])
    assert model.external_prefixes() == ["audio."]
    assert not any(key.startswith("audio.") for key in model.own_state())


def test_maps_are_returned_for_the_loss_alone():
    model, clips = build(), batch()
    assert set(model.train()(clips)) == {"logits"}
    model.configure({"loss": {"matching": 0.5}})
    assert set(model.train()(clips)) == {"logits", "matching"}
    assert set(model.eval()(clips)) == {"logits"}


@pytest.mark.parametrize(("dataset", "form"), [("s4", "cosine"), ("ms3", "binary"), ("avss", "semantic")])
def test_matching_follows_the_recipe(dataset, form):
    model = build(dataset)
    model.configure({"loss": {"matching": 0.25, "divergence": "euclidean", "normalise": True}})
    options = model.matching
    assert (options.form, options.weight, options.divergence, options.normalise) == (form, 0.25, "euclidean", True)
    clips = batch(lengths=(5, 10), padded=10) if dataset == "avss" else batch()
    terms = model.train().loss(model(clips), clips, 0)
    assert set(terms) == {"segmentation", "matching"}
    sum(terms.values()).backward()
    assert model.attention[0].align.weight.grad.any()
    for fault in ({"matchin": 1}, {"divergence": "js"}):
        with pytest.raises(AvsbenchError):
            model.configure({"loss": fault})


def test_full_recipes_are_the_published_ones():
    weights = {name: CARD.variants["tpavi-r50"].recipe("full", name)["loss"]["matching"] for name in CARD.datasets}
    assert weights == {"s4": 0.0, "ms3": 0.5, "avss": 0.5}


def test_only_annotated_frames_train():
    annotated = torch.zeros(2, 5, dtype=torch.bool)
    annotated[:, 0] = True
    clips = batch(annotated=annotated)
    logits = torch.randn(2, 5, 1, 64, 64, requires_grad=True)
    (gradient,) = torch.autograd.grad(build().loss({"logits": logits}, clips, 0)["segmentation"], logits)
    assert gradient[:, 0].all()
    assert not gradient[:, 1:].any()


def test_ignored_pixels_do_not_count():
    for dataset, channels in (("ms3", 1), ("avss", 71)):
        model, clips = build(dataset), batch()
        clips.masks[..., :32, :] = IGNORE
        logits = torch.randn(2, 5, channels, 64, 64)
        cut = dataclasses.replace(clips, masks=clips.masks[..., 32:, :])
        torch.testing.assert_close(
            model.loss({"logits": logits}, clips, 0), model.loss({"logits": logits[..., 32:, :]}, cut, 0)
        )


def test_closer_on_avss_compares_with_the_nearest_frame():
    torch.manual_seed(0)
    sound, visual, flags = torch.randn(6, 8), torch.randn(6, 8), torch.tensor([1, 1, 0, 1, 0, 1]).bool()
    own = MODULE.Matching(form="semantic")
    closer = dataclasses.replace(own, closer=True)
    slip = dataclasses.replace(closer, reference=True)
    stage_term = importlib.import_module(MODULE.Matching.__module__).stage_term
    terms = [stage_term(each, sound, visual, flags) for each in (own, closer, slip)]
    assert terms[0] == terms[2]
    assert terms[0] != terms[1]


NUMBERS = {  # the published counts, of which the copies that are stored and never used
    ("tpavi-r50", "s4"): (91_400_961, 22_063_104 + 1_180_160),
    ("tpavi-r50", "avss"): (91_402_247, 22_063_104 + 1_180_160),
    ("tpavi-pvt", "s4"): (101_320_577, 1_180_160),
    ("tpavi-pvt", "avss"): (101_321_863, 1_180_160),
}


@pytest.mark.parametrize(("variant", "dataset"), NUMBERS)
def test_parameters_add_up_to_the_published_number(variant, dataset):
    with torch.device("meta"):
        model = registry.build(variant, dataset, "full", 224)
    published, dead = NUMBERS[variant, dataset]
    assert sum(p.numel() for p in model.trainable_parameters()) + dead == published
    assert {block.norm.eps for block in model.attention} == {1e-5}
    assert {block.output_norm.eps for block in model.attention} == {1e-5}
    assert all((block.align.bias is None) == (dataset == "avss") for block in model.attention)
