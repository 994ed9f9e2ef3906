"""AVSegFormer where the reference's vectors do not reach: training, freezing, resizing, which frames count, options."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from avsbench import cards, registry
from avsbench.contract import IGNORE
from avsbench.contract_checks.batches import take
from avsbench.errors import AvsbenchError
from tests.unit.batches import batch

CARD = cards.method_cards()["avsegformer"]
MODULE = registry.method_module(CARD)
LOSS = registry.sys.modules[MODULE.Settings.__module__]


def build(dataset="ms3", variant="avsegformer-r50", **options):
    torch.manual_seed(0)
    chosen = CARD.variants[variant]
    return registry.build(dataclasses.replace(chosen, options=chosen.options | options), dataset, "mini", 64)


def first_only(clips=2, frames=5):
    annotated = torch.zeros(clips, frames, dtype=torch.bool)
    annotated[:, 0] = True
    return annotated


def leaves_to_eval(method):
    """Train mode without what is random or looks at the whole batch."""
    method.train()
    for module in method.modules():
        if not any(True for _ in module.children()):
            module.eval()
    return method


# frames that count


@pytest.mark.parametrize("variant", ["avsegformer-r50", "avsegformer-first-r50"])
def test_leaving_frames_without_a_truth_out_changes_neither_loss_nor_gradients(variant):
    clips, results = batch(annotated=first_only()), []
    for everything in (False, True):
        model = leaves_to_eval(build("s4", variant))
        if everything:
            chosen = clips.real
            maps, sound = model.look(clips, chosen), model.listen(clips, chosen)
            logits, features, masks = model.head(maps, sound, auxiliary=True)
            auxiliary = masks or [features.mean(1, keepdim=True)]
            output = {"logits": logits, "chosen": chosen, "auxiliary": auxiliary}
        else:
            output = model(clips)
            assert len(output["logits"]) == 2
        terms = model.loss(output, clips, 0)
        sum(terms.values()).backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        results.append(gradients | {name: term.detach() for name, term in terms.items()})
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], rtol=1e-3, atol=1e-5, msg=name)


def test_statistics_of_a_training_encoder_come_from_all_real_frames():
    seen = []
    for annotated in (first_only(), torch.ones(2, 5, dtype=torch.bool)):
        model = build("s4").train()
        model(batch(annotated=annotated))
        seen.append(model.visual.bn1.running_mean.clone())
    assert torch.equal(*seen)


@pytest.mark.parametrize("skip", [True, False])
def test_blank_frames_reach_the_statistics_only_where_asked(skip):
    model = build("avss", skip_padding=skip).train()
    clips = batch(lengths=(5, 10), padded=10)
    counted = []
    model.visual.register_forward_hook(lambda _, inputs, output: counted.append(len(inputs[0])))
    output = model(clips)
    assert counted == [15 if skip else 20]
    assert len(output["logits"]) == 15


@torch.no_grad()
def test_padded_frames_score_zero_and_frames_stand_alone():
    model = build("avss").eval()
    clips = batch(lengths=(5, 10), padded=10)
    scores = model.scores(model(clips), (64, 64))
    assert scores.shape == (2, 10, 71, 64, 64)
    assert not scores[0, 5:].any()
    alone = take(clips, 1, 10)
    for part in (alone.frames, alone.audio["vggish_mel"]):
        part[:, 7] = 0
    again = model.scores(model(alone), (64, 64))[0]
    others = [t for t in range(10) if t != 7]
    torch.testing.assert_close(again[others], scores[1, others], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(again[7], scores[1, 7])


@torch.no_grad()
def test_a_single_frame_works():
    assert build().eval()(batch(lengths=(1,), padded=1))["logits"].shape == (1, 1, 80, 80)


@torch.no_grad()
def test_the_sound_reaches_the_scores():
    for variant in ("avsegformer-r50", "avsegformer-first-r50"):
        model, clips = build(variant=variant).eval(), batch()
        other = dataclasses.replace(clips, audio={"vggish_mel": clips.audio["vggish_mel"].flip(0)})
        assert not torch.allclose(model(clips)["logits"], model(other)["logits"])


def test_a_missing_front_end_is_named():
    clips = dataclasses.replace(batch(), audio={"cavp_mel": torch.zeros(2, 5, 1)})
    with pytest.raises(AvsbenchError, match=r"front end vggish_mel(.|\n)*cavp_mel"):
        build()(clips)


# losses


def test_ignored_pixels_do_not_count():
    masks = torch.randint(0, 2, (3, 8, 8))
    masks[:, :4] = IGNORE
    logits = torch.randn(3, 5, 8, 8)
    for kind, channels in (("dice", 1), ("bce", 1), ("dice_bce", 1), ("cross_entropy", 5)):
        some = logits[:, :channels]
        cut = LOSS.mask_loss(some[:, :, 4:], masks[:, 4:], kind)
        torch.testing.assert_close(LOSS.mask_loss(some, masks, kind), cut)
    both = LOSS.dice_loss(logits[:, :1], masks) + LOSS.bce_loss(logits[:, :1], masks)
    torch.testing.assert_close(LOSS.mask_loss(logits[:, :1], masks, "dice_bce"), both)


@pytest.mark.parametrize(("kind", "teaches"), [("dice", False), ("bce", True), ("dice_bce", True)])
def test_what_a_silent_frame_teaches(kind, teaches):
    logits = torch.zeros(1, 1, 8, 8, requires_grad=True)
    LOSS.mask_loss(logits, torch.zeros(1, 8, 8, dtype=torch.long), kind).backward()
    assert bool(logits.grad.any()) == teaches


def test_the_auxiliary_truth_of_avss_is_foreground():
    model, clips = build("avss"), batch()
    clips.masks *= 17
    features = torch.randn(10, 1, 16, 16)
    output = {"logits": torch.zeros(10, 71, 64, 64), "chosen": clips.real, "auxiliary": [features]}
    resized = functional.interpolate(features, size=(64, 64), mode="bilinear", align_corners=False)
    expected = 0.1 * LOSS.dice_loss(resized, (clips.masks > 0).flatten(0, 1).long())
    torch.testing.assert_close(model.loss(output, clips, 0)["auxiliary"], expected)


@pytest.mark.parametrize("dataset", ["s4", "avss"])
def test_every_decoder_layer_of_the_first_release_gets_a_loss(dataset):
    model, clips = build(dataset, "avsegformer-first-r50"), batch()
    model.configure({"loss": {"auxiliary": 0.5}})
    output = model.train()(clips)
    assert [mask.shape for mask in output["auxiliary"]] == [output["logits"].shape] * len(model.head.decoder)
    kind = "dice" if dataset == "s4" else "cross_entropy"
    layers = [LOSS.mask_loss(mask, clips.masks.flatten(0, 1), kind) for mask in output["auxiliary"]]
    torch.testing.assert_close(model.loss(output, clips, 0)["auxiliary"], 0.5 * sum(layers))
    assert set(model.eval()(clips)) == {"logits", "chosen"}


def test_the_auxiliary_loss_can_be_switched_off():
    model, clips = build().train(), batch()
    model.configure({"loss": {"auxiliary": 0}})
    assert set(model.loss(model(clips), clips, 0)) == {"segmentation"}


@pytest.mark.parametrize(
    "recipe",
    [{"loss": {"mix": 1}}, {"loss": {"binary": "focal"}}, {"method": {"frozen": "never"}}, {"method": {"x": 1}}],
)
def test_unknown_settings_are_errors(recipe):
    with pytest.raises(AvsbenchError, match="recipe of avsegformer"):
        build().configure(recipe)


# freezing


def test_the_visual_encoder_is_released_on_time_and_stored_all_along():
    model = build()
    model.configure({"method": {"freeze_epochs": 2}})
    keys = set(model.own_state())
    assert any(key.startswith("visual.") for key in keys)
    trains = []
    for epoch in range(4):
        model.on_epoch(epoch)
        trains.append({p.requires_grad for p in model.visual.parameters()})
    assert trains == [{False}, {False}, {True}, {True}]
    assert not any(p.requires_grad for p in model.audio.parameters())
    assert set(model.own_state()) == keys


@pytest.mark.parametrize(("frozen", "moves"), [("fixed", False), ("reference", True)])
def test_batch_norm_of_a_frozen_encoder(frozen, moves):
    model, clips = build(), batch()
    model.configure({"method": {"freeze_epochs": 1, "frozen": frozen}})
    model.on_epoch(0)
    before = model.visual.bn1.running_mean.clone()
    model.train()
    assert model.visual.training == moves
    assert not model.audio.training
    model(clips)
    assert torch.equal(before, model.visual.bn1.running_mean) != moves
    model.eval()
    assert not model.visual.training
    model.on_epoch(1)
    assert model.train().visual.training


def test_a_frozen_encoder_looks_at_annotated_frames_alone():
    model, counted = build("s4"), []
    model.configure({"method": {"freeze_epochs": 1}})
    model.on_epoch(0)
    model.visual.register_forward_hook(lambda _, inputs, output: counted.append(len(inputs[0])))
    model.train()(batch(annotated=first_only()))
    assert counted == [2]


# resizing


@pytest.mark.parametrize(("size", "side", "off"), [((224, 224), 512, 0), ((40, 56), 128, 0), ((64, 64), 80, 2)])
def test_frames_are_resized_as_pillow_does(size, side, off):
    """Exactly where the weights are exact; of a value halfway between two integers either may come out."""
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR)).astype(int)
    found = MODULE.resize_frames(torch.from_numpy(picture).permute(2, 0, 1)[None], side)
    assert found.dtype == torch.uint8
    difference = np.abs(found[0].permute(1, 2, 0).numpy().astype(int) - expected)
    assert difference.max() <= off


@pytest.mark.parametrize("size", [(512, 512), (112, 28)])
def test_masks_are_resized_as_pillow_does(size):
    mask = np.random.default_rng(0).choice([0, 1, 70, IGNORE], (224, 224)).astype(np.uint8)
    expected = np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))
    found = LOSS.resize_masks(torch.from_numpy(mask).long()[None], size)
    assert found.dtype == torch.int64
    np.testing.assert_array_equal(found[0].numpy(), expected)


def test_resolutions():
    def side(variant, dataset):
        with torch.device("meta"):
            return registry.build(variant, dataset, "full", 224).resolution

    assert side("avsegformer-r50", "s4") == 512
    assert side("avsegformer-r50", "avss") is side("avsegformer-first-r50", "s4") is None
    grids = {name: variant.grids_on(cards.dataset("s4")) for name, variant in CARD.variants.items()}
    assert grids["avsegformer-r50"] == ["common", "512"]
    assert grids["avsegformer-first-r50"] == ["common"]  # scored at the stored size


def test_masks_of_the_first_release_need_doubling_maps():
    model = build(variant="avsegformer-first-r50").train()
    with pytest.raises(AvsbenchError, match=r"5x5, 3x3, 2x2(.|\n)*multiples of 32"):
        model(batch(size=40))
    assert model.eval()(batch(size=40))["logits"].shape[-2:] == (40, 40)  # no such masks, no such need


def test_unknown_options_are_errors():
    for option in ({"query": "generate"}, {"auxiliary": "both"}, {"resolution": "512"}):
        with pytest.raises(AvsbenchError, match="options of avsegformer"):
            build(**option)


# the head


def places(module):
    """Share that each dropout of a module drops, attention weights included."""
    found = {name: m.p for name, m in module.named_modules() if isinstance(m, nn.Dropout)}
    return found | {name: m.dropout for name, m in module.named_modules() if hasattr(m, "in_proj")}


def test_dropout_is_in_encoder_and_decoder_alone():
    with torch.device("meta"):
        head = registry.build("avsegformer-r50", "s4", "full", 224).head
    assert set(places(head.encoder).values()) == set(places(head.decoder).values()) == {0.1}
    assert len(places(head.encoder)) == 6 * 3
    assert len(places(head.decoder)) == 6 * 6
    assert set(places(head.generator).values()) == {0.0}
    inside = ("encoder.", "decoder.", "generator.")
    assert not [name for name in places(head) if not name.startswith(inside)]


@torch.no_grad()
def test_the_mixer_equals_attention_over_projected_pixels():
    torch.manual_seed(0)
    mixer = registry.sys.modules[MODULE.Head.__module__].Mixer(width=16, heads=4)
    x, sound = torch.randn(3, 16, 5, 7), torch.randn(3, 1, 16)
    key, value = mixer.key_value(x.flatten(2).mT).unflatten(2, (2, 4, 4)).permute(2, 0, 3, 1, 4)  # [F,heads,hw,D]
    query = mixer.query(sound).unflatten(2, (4, 4)).transpose(1, 2)
    attended = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    expected = x * mixer.gate(attended).sigmoid().mT[..., None]
    torch.testing.assert_close(mixer(x, sound), expected)


def test_initial_weights_are_the_published_ones():
    head = build().head
    attention = head.encoder[0].attention
    assert not attention.sampling_offsets.weight.any()
    assert not attention.attention_weights.bias.any()
    assert not head.decoder[0].self_attention.out_proj.bias.any()
    assert head.levels.std().item() == pytest.approx(1, abs=0.2)
    for matrix in (head.queries, head.generator.table, head.decoder[0].self_attention.in_proj.weight):
        rows, columns = matrix.shape
        bound = (6 / (rows + columns)) ** 0.5  # Xavier-uniform
        assert 0.9 * bound < matrix.abs().max() <= bound
    kernel = head.classifier[0].weight
    assert 0.9 * (6 / (9 * (64 + 32))) ** 0.5 < kernel.abs().max() <= (6 / (9 * (64 + 32))) ** 0.5


def test_full_recipes_are_the_published_ones():
    current, first = CARD.variants["avsegformer-r50"], CARD.variants["avsegformer-first-pvt"]
    recipes = {name: current.recipe("full", name) for name in CARD.datasets}
    assert {name: (r["epochs"], r["batch"], r["method"]["freeze_epochs"]) for name, r in recipes.items()} == {
        "s4": (30, 2, 5), "ms3": (60, 2, 10), "avss": (30, 4, 0)
    }  # fmt: skip
    adam = {"name": "adamw", "lr": 2e-5, "betas": [0.9, 0.999], "weight_decay": 0.01}
    for recipe in recipes.values():
        assert recipe["optimizer"] == adam
        assert recipe["schedule"] == {"name": "constant"}
        assert recipe["loss"] == {"auxiliary": 0.1, "binary": "dice"}
    assert {first.recipe("full", name)["batch"] for name in CARD.datasets} == {4}
