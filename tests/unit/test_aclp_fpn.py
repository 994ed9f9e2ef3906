"""ACLP-FPN where the reference's vectors do not reach: training mode, frozen towers, groups, frames, fusions."""

import dataclasses

import pytest
import torch

from avsbench import cards, registry
from avsbench.contract import IGNORE, Batch
from avsbench.engine.checkpoint import save_weights
from avsbench.engine.optim import Optimizers
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths

CARD = cards.method_cards()["aclp_fpn"]
MODULE = registry.method_module(CARD)
RATE, FACTOR = 0.01, 0.25
RECIPE = {"optimizer": {"name": "adam", "lr": RATE}, "method": {"backbone_rate": FACTOR}}


def build(variant="aclp-fpn", scale="mini", **options):
    torch.manual_seed(0)
    chosen = CARD.variants[variant]
    return registry.build(dataclasses.replace(chosen, options=chosen.options | options), "s4", scale, 64)


def batch(clips=2, first_only=True):
    torch.manual_seed(1)
    real = torch.ones(clips, 5, dtype=torch.bool)
    annotated = real & (torch.arange(5) == 0) if first_only else real
    masks = torch.randint(0, 2, (clips, 5, 64, 64))
    masks[~annotated] = IGNORE
    return Batch(
        frames=torch.randint(0, 256, (clips, 5, 3, 64, 64), dtype=torch.uint8),
        real=real,
        clip_ids=[f"clip{i}" for i in range(clips)],
        audio={"audioclip_wave": torch.randn(clips, 5, 44100) / 10, "vggish_mel": torch.randn(clips, 5, 1, 96, 64)},
        masks=masks,
        annotated=annotated,
    )


def step(network, clips, optimizers=None):
    optimizers = optimizers or Optimizers(network, RECIPE, total_steps=4, steps_per_epoch=1)
    network.train()
    optimizers.set_step(0)
    optimizers.zero_grad()
    sum(network.loss(network(clips), clips, 0).values()).backward()
    optimizers.step()


def copied(network, begin):
    return {key: value.clone() for key, value in network.state_dict().items() if key.startswith(begin)}


def changed(network, before):
    state = network.state_dict()
    return [key for key, value in before.items() if not torch.equal(value, state[key])]


# what stays and what drifts


def test_a_frozen_audio_tower_keeps_every_bit():
    network = build()
    before = copied(network, "audio.")
    step(network, batch())
    assert changed(network, before) == []
    assert network.external_prefixes() == ["audio."]
    assert not any(key.startswith("audio.") for key in network.own_state())
    assert changed(network, copied(build(), "visual."))  # the other tower trains


def test_as_published_its_statistics_drift_and_no_weight_moves():
    network = build("aclp-fpn-reference")
    before = copied(network, "audio.")
    step(network, batch())
    moved = changed(network, before)
    assert {key.rpartition(".")[2] for key in moved} == {"running_mean", "running_var", "num_batches_tracked"}
    assert all(p.grad is None for p in network.audio.parameters())
    network.eval()
    assert not any(module.training for module in network.audio.modules())
    before = copied(network, "audio.")
    network(batch())
    assert changed(network, before) == []


def test_drifted_statistics_are_stored_with_the_run_and_come_back(tmp_path):
    network, clips = build("aclp-fpn-reference"), batch()
    step(network, clips)
    assert network.external_prefixes() == []
    file = tmp_path / "weights.safetensors"
    save_weights(file, network.own_state(), {})
    paths = Paths("mini", weights_root=str(tmp_path / "none"))  # no file of AudioCLIP is asked for
    loaded = registry.load_method("aclp-fpn-reference", "s4", scale="mini", image_size=64, paths=paths, weights=file)
    assert torch.equal(loaded(clips)["logits"], network.eval()(clips)["logits"])


def test_published_statistics_are_those_of_all_seconds():
    """Of the frames that no mask belongs to as well."""
    network, clips = build("aclp-fpn-reference"), batch()
    seen = []
    network.audio.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    for name in ("visual", "head"):
        getattr(network, name).register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    step(network, clips)
    assert seen == [10, 10, 4]  # pictures, sounds; the head takes a list of four levels
    assert len(network.train()(clips)["logits"]) == 2


# frames and loss


def test_only_annotated_frames_are_decoded_and_heard_in_training():
    network, clips, heard = build(), batch(), []
    network.audio.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0].shape))
    output = network.train()(clips)
    assert output["logits"].shape == (2, 1, 128, 128)  # pictures are seen at twice their size
    assert network.scores(output, (64, 64)).shape == (2, 5, 1, 64, 64)
    assert torch.equal(output["chosen"], clips.annotated)
    network.eval()(clips)
    assert heard == [(2, 1, 44100), (10, 1, 44100)]


def test_unannotated_frames_change_neither_loss_nor_gradient_but_for_the_statistics():
    network, clips = build(), batch()
    network.train()
    for module in network.visual.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    found = []
    for every in (False, True):
        network.zero_grad()
        output = network(clips)
        if every:  # decode all, keep the annotated in the loss
            everything = dataclasses.replace(clips, annotated=clips.real)
            output = network(everything)
        loss = network.loss(output, clips, 0)["bce"]
        loss.backward()
        found.append((loss.item(), network.visual.layer1[0].conv1.weight.grad.clone()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-7)


def test_an_empty_mask_costs_what_is_seen_and_teaches_silence():
    network, clips = build(), batch()
    clips.masks[clips.annotated] = 0
    clips = dataclasses.replace(clips, masks=clips.masks)
    optimizers = Optimizers(network, RECIPE, total_steps=30, steps_per_epoch=1)
    for _ in range(15):
        step(network, clips, optimizers)
    output = network.eval()(clips)
    assert network.scores(output, (64, 64))[clips.annotated].max() < 0


# what trains, and how fast


def rates(network, recipe=RECIPE):
    """Name of a parameter -> its rate, 0 where it does not train."""
    found = dict.fromkeys((name for name, _ in network.named_parameters()), 0.0)
    for group in network.parameter_groups(recipe):
        found |= {name: group.get("lr", RATE) for name, _ in group["params"]}
    return found


def of(found, *begin):
    return {rate for name, rate in found.items() if name.startswith(begin)}


def test_towers_take_a_share_of_the_rate():
    found = rates(build())
    assert of(found, "visual.") == {RATE * FACTOR}
    assert of(found, "neck.", "head.") == {RATE}
    assert of(found, "audio.") == {0.0}
    trained = rates(build(audio_training="all"))
    assert of(trained, "audio.", "visual.") == {RATE * FACTOR}


def test_a_last_layer_that_never_met_pictures_takes_the_whole_rate():
    network = build(audio_training="projection")
    found = rates(network)
    assert of(found, "audio.head.") == {RATE}
    assert {name for name, rate in found.items() if name.startswith("audio.") and rate} == {
        "audio.head.weight",
        "audio.head.bias",
    }
    before = copied(network, "audio.")
    step(network, batch())
    assert sorted(changed(network, before)) == ["audio.head.bias", "audio.head.weight"]
    assert network.external_prefixes() == []  # the tower is stored with what was trained of it


def test_behind_vggish_a_linear_layer_trains_at_the_whole_rate_and_colours_are_imagenets():
    network, clips = build(audio="vggish"), batch()
    assert of(rates(network), "projector.") == {RATE}
    assert of(rates(network), "audio.") == {0.0}
    before = copied(network, "audio.")
    step(network, clips)
    assert changed(network, before) == []
    seen = []
    grey = dataclasses.replace(clips, frames=torch.full_like(clips.frames, 128))
    for each in (network, build()):
        each.visual.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean(dim=(0, 2, 3))))
        each.eval()(grey)
    value = 128 / 255
    assert torch.allclose(seen[0], torch.tensor([(value - m) / d for m, d in zip(*MODULE.IMAGENET, strict=True)]))
    assert torch.allclose(seen[1], torch.tensor([(value - m) / d for m, d in zip(*MODULE.CLIP, strict=True)]))


@pytest.mark.parametrize("fusion", MODULE.FUSIONS)
def test_every_fusion_trains_all_that_it_uses_and_nothing_else(fusion):
    network, clips = build(fusion=fusion), batch()
    assert ("audio" in network.encoders()) == (fusion != "none")
    assert network.visual.pool.query.weight.requires_grad == (fusion not in ("none", "noprior"))
    step(network, clips)
    assert [name for name, p in network.named_parameters() if p.requires_grad != (p.grad is not None)] == []
    other = dataclasses.replace(clips, audio={"audioclip_wave": clips.audio["audioclip_wave"].flip(0)})
    network.eval()
    same = torch.equal(network(clips)["logits"], network(other)["logits"])
    assert same == (fusion == "none")


def test_without_sound_no_sound_is_asked_for():
    network, clips = build(fusion="none"), dataclasses.replace(batch(), audio={})
    step(network, clips)
    assert network.eval()(clips)["logits"].shape == (10, 1, 128, 128)


# faults


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "concat"}, r"aclp_fpn: fusion: unknown choice 'concat'[\s\S]*'concate'"),
        ({"upsample": "bicubic"}, "upsample: unknown choice"),
        ({"audio": "vgish"}, "'vggish'"),
        ({"frozen_encoders": "reference"}, "frozen_encoders: unknown choice"),
        ({"audio_training": "some"}, "audio_training: unknown choice"),
        ({"audio_training": "all", "audio": "vggish"}, "audio_training: all needs AudioCLIP's audio tower"),
        ({"audio_training": "projection", "fusion": "none"}, r"found:\s+audio: esresnext, fusion: none"),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(AvsbenchError, match=message):
        build(**options)


def test_strange_keys_of_the_recipe_are_named():
    network = build()
    with pytest.raises(AvsbenchError, match=r"method: unknown key 'backbone_lr'[\s\S]*'backbone_rate'"):
        network.configure({"method": {"backbone_lr": 0.1}})
    with pytest.raises(AvsbenchError, match="loss: unknown key 'dice'"):
        network.configure({"loss": {"dice": 1.0}})


def test_published_recipes():
    recipes = {name: CARD.variants["aclp-fpn"].recipe("full", name) for name in ("s4", "ms3")}
    assert {name: recipe["epochs"] for name, recipe in recipes.items()} == {"s4": 70, "ms3": 200}
    for recipe in recipes.values():
        optimizer = recipe["optimizer"]
        assert (optimizer["name"], optimizer["lr"], optimizer["betas"], optimizer["weight_decay"], recipe["batch"]) == (
            "adam",
            5e-5,
            [0.9, 0.999],
            0,
            4,
        )
        assert (recipe["schedule"], recipe["method"]) == ({"name": "constant"}, {"backbone_rate": 0.1})
