"""COMBO where the reference's vectors do not reach: the loss between frames, who hears whom, groups, flags, options."""

import dataclasses
import math

import pytest
import torch
from torch.overrides import TorchFunctionMode

from avsbench import cards, registry
from avsbench.contract import IGNORE, Batch
from avsbench.errors import AvsbenchError
from avsbench.nn.attention import Attention
from avsbench.nn.positions import sine_positions

CARD = cards.method_cards()["combo"]
MODULE = registry.method_module(CARD)


def build(dataset="ms3", variant="combo-r50", **options):
    torch.manual_seed(0)
    chosen = CARD.variants[variant]
    model = registry.build(dataclasses.replace(chosen, options=chosen.options | options), dataset, "mini", 64)
    model.configure(chosen.recipe("mini", dataset))
    for layer in model.audio.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(layer.weight)
    return model


def batch(lengths=(5, 5), padded=5, annotated=None, classes=2):
    torch.manual_seed(1)
    real = torch.tensor([[t < length for t in range(padded)] for length in lengths])
    annotated = real if annotated is None else annotated
    masks = torch.randint(0, classes, (*real.shape, 64, 64))
    masks[~annotated] = IGNORE
    pictures = [torch.randint(0, 256, (*real.shape, 3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    return Batch(
        frames=pictures[0],
        real=real,
        clip_ids=[f"clip{i}" for i in range(len(lengths))],
        audio={"vggish_mel": torch.randn(*real.shape, 1, 96, 64) * real[:, :, None, None, None]},
        features={"maskige": pictures[1]},
        masks=masks,
        annotated=annotated,
    )


def real(*lengths):
    return torch.tensor([[t < length for t in range(max(lengths))] for length in lengths])


def terms(model, clips, seed=0):
    torch.manual_seed(seed)
    return model.loss(model(clips), clips, 0)


def test_consistency_is_that_of_neighbours_within_five_frames():
    """By hand: two groups; in one the third frame is turned by a right angle, in the other nothing changes."""
    model = build().train()
    still, turned = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    vectors = torch.stack([still, still, turned, turned, turned] + [still] * 5)
    masks = vectors[:, :, None, None]  # two queries of one pixel each
    clips = batch()
    logits = torch.zeros(10, 2, 3)
    output = {"predictions": [(logits, masks)] * 3 + [(logits, -masks)], "real": clips.real}
    # One of eight pairs of neighbours differs, with c = 1; two auxiliary predictions besides the initial one.
    expected = 10 * 3 * math.exp(-1) / 8
    model.configure({"loss": {"consistency": 10.0, "points": 8}})
    assert float(model.loss(output, clips, 0)["consistency"]) == pytest.approx(expected, rel=1e-6)
    model.configure({"loss": {"consistency": 0.0, "points": 8}})
    assert "consistency" not in model.loss(output, clips, 0)
    output["predictions"] = output["predictions"][-1:]
    model.configure({"loss": {"points": 8}})
    assert "consistency" not in model.loss(output, clips, 0)


def test_clips_of_ten_seconds_are_two_groups():
    model = build("avss").train()
    clips = batch((10, 5), 10, classes=71)
    masks = torch.ones(15, 1, 1, 1)
    masks[5:] = -1  # between the groups of the first clip
    output = {"predictions": [(torch.zeros(15, 1, 72), masks)] * 2, "real": clips.real}
    assert float(model.loss(output, clips, 0)["consistency"]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("lengths", [(5,), (5, 5), (5, 10), (10, 5, 5)])
def test_who_hears_whom(lengths):
    """The published repeat and reshape, clip by clip; and each frame for itself."""
    queries, flags = 12, real(*lengths)
    expected, first = [], 0
    for length in lengths:
        frames = torch.arange(first, first + length)
        expected.append(frames[:, None].expand(-1, queries).reshape(queries, length).T)
        first += length
    assert torch.equal(MODULE.heard(flags, queries, "reference"), torch.cat(expected))
    own = torch.arange(sum(lengths))[:, None].expand(-1, queries)
    assert torch.equal(MODULE.heard(flags, queries, "fixed"), own)


def changed_sound(model, clips, clip, second):
    """Which frames' predictions change with one second of sound: bool [B,T]."""
    other = clips.audio["vggish_mel"].clone()
    other[clip, second] += 3
    with torch.no_grad():
        pair = [model(c)["predictions"][-1] for c in (clips, dataclasses.replace(clips, audio={"vggish_mel": other}))]
    gap = (pair[0][1] - pair[1][1]).abs().flatten(1).amax(dim=1)
    moved = torch.zeros_like(clips.real)
    moved[clips.real] = gap > 1e-6
    return moved


def test_how_far_a_sound_reaches():
    clips = batch()
    none, own, clip = torch.zeros(2, 5, dtype=torch.bool), torch.zeros(2, 5), torch.zeros(2, 5)
    own[0, 1] = clip[0] = 1
    assert torch.equal(changed_sound(build(audio_layout="fixed").eval(), clips, 0, 1), own.bool())
    for across in ("fixed", "reference"):
        model = build(across_clips=across).eval()
        assert torch.equal(changed_sound(model, clips, 0, 1), clip.bool()), "in prediction a clip is for itself"
        model.train()
        for module in model.modules():
            if isinstance(module, Attention):
                module.dropout = 0.0
        reached = changed_sound(model, clips, 0, 1)
        assert torch.equal(reached, clip.bool() if across == "fixed" else ~none)


@pytest.mark.parametrize("attend", [True, False])
def test_fusion_in_the_published_form(attend):
    """Queries, keys and values of every pixel, both softmaxes, one head after the other."""
    torch.manual_seed(0)
    fusion = MODULE.BilateralFusion(width=16, sound=8, embedding=12, heads=3, attend=attend).double().eval()
    torch.nn.init.normal_(fusion.pixel_scale)
    torch.nn.init.normal_(fusion.sound_scale)
    features, sound = torch.randn(2, 16, 4, 5).double(), torch.randn(2, 8).double()
    with torch.no_grad():
        found = fusion(features, sound)
        if not attend:
            expected = features + fusion.level.weight[0, :, None, None]
            assert torch.equal(found[0], expected)
            assert found[1] is sound
            assert [n for n, p in fusion.named_parameters() if p.requires_grad] == ["level.weight"]
            return
        v = fusion.pixel_norm(features.flatten(2).mT + fusion.level.weight)
        a = fusion.sound_norm(sound)[:, None]
        places = sine_positions((4, 5), 8, normalized=True).flatten(1).T
        part = fusion.attention
        q, k = part.query(v + places), part.key(a + fusion.sound_place.weight)
        values_v, values_a = part.pixel_values(v), part.sound_values(a)
        heard, seen = [], []
        for head in range(3):
            d = slice(4 * head, 4 * head + 4)
            logits = q[..., d] @ k[..., d].mT * 4**-0.5  # [F,P,1]
            heard.append(logits.softmax(dim=1) @ values_a[..., d])
            seen.append(logits.mT.softmax(dim=2) @ values_v[..., d])
        v = v + fusion.pixel_scale * part.pixel_output(torch.cat(heard, dim=2))
        a = a + fusion.sound_scale * part.sound_output(torch.cat(seen, dim=2))
    torch.testing.assert_close(found[0], v.mT.unflatten(2, (4, 5)), rtol=0, atol=1e-6)
    torch.testing.assert_close(found[1], a[:, 0], rtol=0, atol=1e-6)


@torch.no_grad()
def test_first_weights_of_the_fusion():
    """Xavier without bias, codes drawn normally, and next to nothing of what one side learns of the other."""
    torch.manual_seed(0)
    fusion = MODULE.BilateralFusion(width=64, sound=32)
    assert fusion.attention.dropout == 0.1
    for layer in fusion.attention.children():
        bound = (6 / sum(layer.weight.shape)) ** 0.5
        assert 0.98 * bound < float(layer.weight.abs().max()) <= bound
        assert layer.bias is None or not layer.bias.any()
    assert torch.cat([fusion.pixel_scale, fusion.sound_scale]).tolist() == pytest.approx([1e-4] * 96)
    for code in (fusion.level.weight, fusion.sound_place.weight):
        assert float(code.std()) == pytest.approx(1, abs=0.4)


@torch.no_grad()
def test_dropout_of_the_fusion_is_drawn_for_each_direction():
    """Weights that are dropped move either side, keep its mean, and fall in one direction by themselves."""
    torch.manual_seed(0)
    part = MODULE.BilateralFusion(width=16, sound=8, embedding=8, heads=1, dropout=0.5).attention
    pixels, places = torch.randn(1, 3, 16).expand(4000, -1, -1), torch.zeros(3, 16)
    sound, place = torch.randn(1, 8).expand(4000, -1), torch.zeros(1, 8)
    heard, seen = part(pixels, places, sound, place)
    settled = [x[0] for x in part.eval()(pixels[:1], places, sound[:1], place)]
    torch.testing.assert_close(heard.mean(dim=0), settled[0], rtol=0, atol=0.1)
    torch.testing.assert_close(seen.mean(dim=0), settled[1], rtol=0, atol=0.1)
    deaf = (heard == part.pixel_output.bias).flatten(1).all(dim=1)  # all three weights fell: an eighth of the draws
    blind = (seen == part.sound_output.bias).all(dim=1)
    assert float(deaf.float().mean()) == pytest.approx(1 / 8, abs=0.03)
    assert float(blind.float().mean()) == pytest.approx(1 / 8, abs=0.03)
    assert float((deaf & blind).float().mean()) == pytest.approx(1 / 64, abs=0.01)


def test_groups_of_the_optimiser():
    model = build()
    recipe = {"optimizer": {"lr": 1.0, "weight_decay": 0.05}}
    model.configure({"method": {"backbone_rate": 0.1}})
    rates = {
        name: (group["lr"], group.get("weight_decay", 0.05))
        for group in model.parameter_groups(recipe)
        for name, _ in group["params"]
    }
    assert set(rates) == {name for name, p in model.named_parameters() if p.requires_grad}
    expected = {
        "siam.frames.conv1.0.weight": (0.1, 0.05),
        "siam.maskiges.layer4.0.conv1.weight": (0.1, 0.05),
        "siam.gates.0.2.weight": (1.0, 0.05),
        "pixel_decoder.levels": (1.0, 0.05),  # a plain parameter there, an embedding elsewhere
        "pixel_decoder.lateral.1.weight": (1.0, 0.0),
        "pixel_decoder.encoder.0.attention_norm.bias": (1.0, 0.0),
        "pixel_decoder.encoder.0.attention.value_proj.bias": (1.0, 0.05),
        "fusion.level.weight": (1.0, 0.0),
        "fusion.sound_place.weight": (1.0, 0.0),
        "fusion.pixel_scale": (1.0, 0.05),
        "fusion.sound_norm.weight": (1.0, 0.0),
        "decoder.queries.weight": (1.0, 0.0),
        "decoder.positions.weight": (1.0, 0.0),
        "decoder.levels.weight": (1.0, 0.0),
        "decoder.norm.weight": (1.0, 0.0),
        "decoder.classifier.bias": (1.0, 0.05),
    }
    assert {name: rates[name] for name in expected} == expected
    # Of ResNet no norm trains; PVT's do, slowly and without decay.
    assert not any("bn" in name for name in rates)
    model = build(variant="combo-pvt")
    model.configure({"method": {"backbone_rate": 0.5}})
    pvt = model.parameter_groups(recipe)
    kept = next(g for g in pvt if any(n == "siam.frames.stages.0.norm.weight" for n, _ in g["params"]))
    assert (kept["lr"], kept["weight_decay"]) == (0.5, 0.0)


def test_frames_without_a_truth_count_for_consistency_alone():
    """As on S4 and in AVSS's flags: one annotated frame of a clip, five that exist, ten that are padded to."""
    annotated = torch.zeros(2, 10, dtype=torch.bool)
    annotated[0, 0], annotated[1] = True, True
    clips = batch((5, 10), 10, annotated, classes=71)
    model = build("avss").eval().train()
    output = model(clips)
    assert len(output["predictions"]) == 4
    assert {len(logits) for logits, _ in output["predictions"]} == {15}
    torch.manual_seed(0)
    found = model.loss(output, clips, 0)
    judged = [0, *range(5, 15)]
    chosen = [(logits[judged], masks[judged]) for logits, masks in output["predictions"]]
    torch.manual_seed(0)
    expected = model.criterion(chosen, torch.cat([clips.masks[0, :1], clips.masks[1]]))
    assert all(torch.equal(found[name], term) for name, term in expected.items())
    assert set(found) - set(expected) == {"consistency"}


def test_scores():
    """Softmax of two class maps; of more the logarithms, whose order is that of the maps. Padding scores 0."""
    clips = batch((5, 10), 10, classes=71)
    with torch.no_grad():
        model = build("avss").eval()
        output = model(clips)
        scores = model.scores(output, (32, 48))
    maps = model.decoder.semantic(output["predictions"][0], (32, 48))
    assert scores.shape == (2, 10, 71, 32, 48)
    assert torch.equal(scores[clips.real].argmax(dim=1), maps.argmax(dim=1))
    torch.testing.assert_close(scores[clips.real].softmax(dim=1), maps / maps.sum(dim=1, keepdim=True))
    assert not scores[~clips.real].any()
    logits, masks = torch.tensor([[[2.0, 0.0, 1.0], [0.0, 3.0, 1.0]]]), torch.tensor([[[[4.0]], [[-1.0]]]])
    binary = build().scores({"predictions": [(logits, masks)], "real": torch.ones(1, 1, dtype=torch.bool)}, (1, 1))
    chances = logits[0].softmax(dim=1)
    expected = [sum(float(chances[q, c] * masks[0, q].sigmoid()) for q in range(2)) for c in range(2)]
    assert binary.flatten().tolist() == pytest.approx(expected, rel=1e-6)


def test_maskiges_that_are_missing():
    clips = dataclasses.replace(batch(), features={"depth": torch.zeros(2, 5)})
    with pytest.raises(AvsbenchError, match="nothing of the feature maskige") as raised:
        build()(clips)
    assert "depth" in str(raised.value)
    assert "inputs.features" in str(raised.value)


class BooleanIndices(TorchFunctionMode):
    """Counts them: for each one a GPU's queue must run empty."""

    count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.__getitem__:
            self.count += getattr(args[1], "dtype", None) is torch.bool
        return func(*args, **(kwargs or {}))


def test_flags_are_looked_up_once_for_all_predictions():
    clips = batch(annotated=torch.tensor([[True] + [False] * 4] * 2))
    model = build().train()
    output = model(clips)
    counts = []
    for kept in (1, 4):
        with BooleanIndices() as indices:
            model.loss({**output, "predictions": output["predictions"][-kept:]}, clips, 0)
        counts.append(indices.count)
    assert counts == [2, 2]


def test_unknown_options_and_keys():
    with pytest.raises(AvsbenchError, match="audio_layout"):
        build(audio_layout="other")
    with pytest.raises(AvsbenchError, match="COMBO: loss"):
        build().configure({"loss": {"consistncy": 1.0}})
    with pytest.raises(AvsbenchError, match="COMBO: method"):
        build().configure({"method": {"window": 5}})
    model, clips = build().train(), batch((4, 5))
    with pytest.raises(AvsbenchError, match="groups of 5"):
        terms(model, clips)


def test_both_encoders_start_from_one_file():
    model = build()
    roles = CARD.variants["combo-r50"].encoders_on("s4")
    assert roles["visual"] == roles["maskige"]
    plain = MODULE.visual_encoder("r50", "mini")
    state = plain.state_dict()
    for encoder in (model.encoders()["visual"], model.encoders()["maskige"]):
        encoder.load_pretrained(state)
        assert torch.equal(encoder.conv1[0].weight, plain.conv1[0].weight)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        frozen, still = model.siam.frames.train()(images), plain.eval()(images)
    for first, second in zip(frozen, still, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)
