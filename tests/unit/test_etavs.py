"""ETAVS where the reference's vectors do not reach: training mode, frozen encoders, groups, frames, the last layer."""

import dataclasses

import pytest
import torch
from torch.nn import functional

from avsbench import cards, registry
from avsbench.contract import IGNORE, Batch
from avsbench.contract_checks.batches import take
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths

CARD = cards.method_cards()["etavs"]
MODULE = registry.method_module(CARD)
VARIANTS = tuple(CARD.variants)


def build(dataset="ms3", variant="etavs-r50", **options):
    torch.manual_seed(0)
    chosen = CARD.variants[variant]
    return registry.build(dataclasses.replace(chosen, options=chosen.options | options), dataset, "mini", 64)


def batch(lengths=(5, 5), padded=5, annotated=None):
    torch.manual_seed(1)
    real = torch.tensor([[t < length for t in range(padded)] for length in lengths])
    annotated = real if annotated is None else annotated
    masks = torch.randint(0, 2, (*real.shape, 64, 64))
    masks[~annotated] = IGNORE
    return Batch(
        frames=torch.randint(0, 256, (*real.shape, 3, 64, 64), dtype=torch.uint8),
        real=real,
        clip_ids=[f"clip{i}" for i in range(len(lengths))],
        audio={"vggish_mel": torch.randn(*real.shape, 1, 96, 64) * real[:, :, None, None, None]},
        masks=masks,
        annotated=annotated,
    )


def logits(model, clips):
    return model.scores(model(clips), (64, 64))


def without_dropout(model):
    """In training mode, but nothing random."""
    model.train()
    for module in model.modules():
        if hasattr(module, "p"):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    return model


@pytest.mark.parametrize("masks", [1, 3])
def test_last_layer_in_either_form(masks):
    torch.manual_seed(0)
    layer = MODULE.Decoder((8, 8, 8, 8), width=16, project_first=False, masks=masks).mask.double()
    torch.nn.init.normal_(layer.bias)
    results = []
    # 9 maps a mask: with one it is the cheap form that runs, with three the direct one; both are called here.
    cheap = type(layer).forward if masks == 1 else None
    for form in filter(None, (cheap, type(layer).direct, enlarge_then_convolve)):
        layer.zero_grad()
        x = torch.randn(2, 16, 6, 10, generator=torch.Generator().manual_seed(2), dtype=torch.double).requires_grad_()
        y = form(layer, x)
        assert y.shape == (2, masks, 24, 40)
        (y * torch.arange(y.numel()).view_as(y).sin()).sum().backward()
        results.append([y.detach(), x.grad, layer.weight.grad.clone(), layer.bias.grad.clone()])
    for other in results[1:]:
        for found, expected in zip(results[0], other, strict=True):
            torch.testing.assert_close(found, expected)
    assert torch.equal(layer(x), type(layer).direct(layer, x)) == (masks == 3)


def enlarge_then_convolve(layer, x):
    large = functional.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
    return functional.conv2d(large, layer.weight, layer.bias, padding=1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_frozen_encoders_run_as_in_prediction(variant):
    model = build(variant=variant).train()
    assert not any(module.training for encoder in model.encoders().values() for module in encoder.modules())
    assert sorted(model.external_prefixes()) == ["audio.", "visual."]
    assert all(key.startswith(("messengers.", "decoder.")) for key in model.own_state())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    clips = batch()
    sum(model.loss(model(clips), clips, 0).values()).backward()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(p.requires_grad for encoder in model.encoders().values() for p in encoder.parameters())


def test_gradients_pass_through_frozen_stages():
    model = build().train()
    asked = []
    for index, layer in enumerate((model.visual.layer1, model.visual.layer2, model.visual.layer4)):
        layer.register_forward_hook(lambda _, inputs, output, index=index: asked.append((index, output.requires_grad)))
    clips = batch()
    sum(model.loss(model(clips), clips, 0).values()).backward()
    assert asked == [(0, False), (1, True), (2, True)]  # the first stage keeps nothing for a backward pass
    assert model.messengers[0].queries.grad.abs().sum() > 0


def test_published_mode_moves_and_stores_statistics():
    model, clips = build(frozen_encoders="train"), batch()
    model.train()
    assert model.visual.training
    assert not model.audio.training
    assert model.external_prefixes() == ["audio."]
    before = {key: value.clone() for key, value in model.own_state().items()}
    model(clips)
    moved = {key for key, value in model.own_state().items() if not torch.equal(value, before[key])}
    assert moved
    assert all(key.startswith("visual.") and ("running" in key or "num_batches" in key) for key in moved)
    other = build(frozen_encoders="train").eval()
    registry.load_own(other, model.own_state(), "test")
    assert torch.equal(logits(model.eval(), clips), logits(other, clips))
    assert not any(p.requires_grad for p in model.visual.parameters())


def test_published_mode_counts_blank_frames():
    model, clips = build("avss", frozen_encoders="train").train(), batch(lengths=(5,), padded=10)
    seen = []
    model.visual.layer1.register_forward_hook(lambda _, inputs, output: seen.append(len(output)))
    model(clips)
    model.eval()(clips)
    assert seen == [10, 5]


def test_unknown_settings_are_named():
    with pytest.raises(AvsbenchError, match="frozen_encoders"):
        build(frozen_encoders="evil")
    with pytest.raises(AvsbenchError, match="loss"):
        build().configure({"loss": {"dize": 1.0}})


def test_dropout_hits_whole_sums():
    """Published: the sum of message and feature is dropped, so that a tenth of the encoder's own features is zero."""
    torch.manual_seed(0)
    block = MODULE.MessengerBlock(32).train()
    sound, pixels = torch.rand(5, 1, 128), torch.randn(5, 400, 32)
    heard, changed = block(sound, pixels)
    assert (changed == 0).float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert (heard == 0).any()
    still, same = block.eval()(sound, pixels)
    assert not (same == 0).any()
    assert not (still == 0).any()


def test_fused_residual_is_dropped_and_its_vector_not():
    torch.manual_seed(0)
    block = MODULE.Decoder((16, 16, 16, 16), width=16, project_first=False, masks=1).fusion[3].train()
    kinds = {name: module.p for name, module in block.named_modules() if hasattr(module, "p")}
    assert kinds == {"spatial.dropout": 0.1, "dropout": 0.1, "feed_forward.2": 0.1}
    assert (block.attention.dropout, block.spatial.attention.dropout) == (0.1, 0.1)
    seen = []
    block.norm1.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    block.attention.dropout = 0.0
    block(torch.randn(1, 1, 16), torch.randn(1, 16, 8, 8))
    values = seen[0][0]
    # Where the residual is dropped what remains is the same vector at all pixels, and never 0.
    common = values.mode(dim=0).values
    assert ((values == common).float().mean() - 0.1).abs() < 0.06
    assert (common != 0).all()


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_groups_of_five_see_each_other_alone(variant):
    model, first = build("avss", variant).eval(), batch(lengths=(10,), padded=10)
    second = take(first, 0, 10)
    second.frames[:, 7], second.audio["vggish_mel"][:, 7] = 0, 0.0
    before, after = logits(model, first), logits(model, second)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:7], after[:, 5:7])  # the same group, other frames


@torch.no_grad()
def test_a_short_clip_scores_as_its_padded_self():
    model, padded = build("avss").eval(), batch(lengths=(5, 10), padded=10)
    scores = logits(model, padded)
    assert scores.shape == (2, 10, 71, 64, 64)
    assert not scores[0, 5:].any()
    torch.testing.assert_close(logits(model, take(padded, 0, 5))[0], scores[0, :5], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_any_number_of_frames_and_the_sound_matters():
    model, clips = build().eval(), batch(lengths=(3,), padded=3)
    scores = logits(model, clips)
    assert scores.shape == (1, 3, 1, 64, 64)
    other = dataclasses.replace(clips, audio={"vggish_mel": clips.audio["vggish_mel"].flip(1)})
    assert not torch.allclose(scores, logits(model, other))


@torch.no_grad()
def test_padding_in_a_group_speaks_as_published():
    """Of its zeros the audio network makes an embedding, which is not zero, and the group hears it."""
    model, clips, heard = build().eval(), batch(lengths=(3,)), []
    model.messengers[0].register_forward_hook(lambda _, inputs, output: heard.append(inputs[0]))
    padded = logits(model, clips)
    blank = model.audio(torch.zeros(1, 1, 96, 64))
    assert blank.any()
    torch.testing.assert_close(heard[0][3:, 0], blank.expand(2, -1))
    torch.testing.assert_close(logits(model, take(clips, 0, 3)), padded[:, :3])


def test_missing_inputs_are_named(tmp_path):
    clips = dataclasses.replace(batch(), audio={"cavp_mel": torch.zeros(2, 5, 1)})
    with pytest.raises(AvsbenchError, match=r"front end vggish_mel(.|\n)*cavp_mel"):
        build()(clips)
    paths, dataset = Paths("full", weights_root=str(tmp_path)), cards.dataset("ms3")
    for name, variant in CARD.variants.items():
        for card in map(cards.encoder, variant.encoders_on("ms3").values()):
            only = {role: encoder for role, encoder in variant.encoders.items() if encoder == card.name}
            chosen = dataclasses.replace(variant, encoders=only)
            with pytest.raises(AvsbenchError, match=card.file):
                registry.load_encoders(build(variant=name), chosen, "ms3", "full", paths)
        with pytest.raises(AvsbenchError, match=f"official/{name}_ms3.pth(.|\n)*README"):
            registry.load_official(build(variant=name), variant, dataset, paths)


@pytest.mark.parametrize("variant", VARIANTS)
def test_decoding_annotated_frames_alone_changes_nothing(variant):
    annotated = torch.zeros(2, 5, dtype=torch.bool)
    annotated[:, 0] = True
    clips = batch(annotated=annotated)
    results = []
    for every in (False, True):
        model = without_dropout(build("s4", variant))
        output = model.eval()(clips) if every else model.train()(clips)
        assert len(output["logits"]) == (10 if every else 2)
        loss = sum(model.loss(output, clips, 0).values())
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in model.trainable_parameters())])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_terms_follow_data_set_backbone_and_scale():
    def weights(scale, dataset, variant):
        model = build(dataset, variant)
        model.configure(CARD.variants[variant].recipe(scale, dataset))
        return model.weights

    assert weights("full", "s4", "etavs-r50") == weights("full", "s4", "etavs-pvt") == {"dice": 1.0, "focal": 0.0}
    assert weights("full", "ms3", "etavs-pvt") == {"dice": 1.0, "bce": 1.0}
    assert weights("full", "ms3", "etavs-r50") == {"dice": 1.0, "bce": 0.0}
    assert weights("full", "avss", "etavs-r50") == {"cross_entropy": 1.0}
    assert weights("mini", "ms3", "etavs-r50") == {"dice": 1.0, "bce": 1.0}


@pytest.mark.parametrize("term", ["dice", "bce", "focal", "cross_entropy"])
def test_ignored_pixels_do_not_count(term):
    torch.manual_seed(0)
    scores, masks = torch.randn(3, 4 if term == "cross_entropy" else 1, 8, 8), torch.randint(0, 2, (3, 8, 8))
    masks[:, :4] = IGNORE
    cut = MODULE.mask_losses({term: 1.0}, scores[..., 4:, :], masks[:, 4:])
    torch.testing.assert_close(MODULE.mask_losses({term: 1.0}, scores, masks), cut)


def test_profiler_leftovers_and_the_second_branch_are_dropped():
    dropped = ["visual_encoder.layer3_2.0.conv1.weight", "visual_encoder.layer4_2.2.bn3.bias"]
    assert [MODULE.rename(key) for key in dropped] == [None, None]
    assert MODULE.rename("visual_encoder.layer3_1.0.conv1.weight") == "visual.layer3.0.conv1.weight"
    assert MODULE.rename("decoder.unknown_1.weight") == "decoder.unknown_1.weight"
