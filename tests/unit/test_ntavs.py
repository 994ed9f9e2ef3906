"""NTAVS: the mixer by hand, clips of different length, windows, what trains how, what it hears."""

import dataclasses

import pytest
import torch

from avsbench import cards, registry
from avsbench.contract import Batch
from avsbench.contract_checks.batches import synthetic_batch
from avsbench.engine.seeds import seed_everything
from avsbench.errors import AvsbenchError

CARD = cards.method_cards()["ntavs"]
MODULE = registry.method_module(CARD)


def mini(variant="ntavs-r50", dataset="avss"):
    seed_everything("ntavs")
    return registry.build(variant, dataset, "mini", 64)


def by_hand(block, pixels, sounds):
    """One clip, place by place and head by head: [T,P,C], [T,A,C]."""
    heads, width = block.visual.heads, pixels.shape[2]
    size = width // heads
    weights, values = {}, {}
    for name, side, x in (("visual", block.visual, pixels), ("audio", block.audio, sounds)):
        for place in range(x.shape[1]):
            q, k, v = (x[:, place] @ side.qkv.weight.T).split(width, dim=1)
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                weights[name, place, head] = torch.softmax(q[:, part] @ k[:, part].T / size**0.5, dim=1)
                values[name, place, head] = v[:, part]
    results = []
    for name, side, x in (("visual", block.visual, pixels), ("audio", block.audio, sounds)):
        other = {"visual": "audio", "audio": "visual"}[name]
        places = {"visual": pixels, "audio": sounds}[other].shape[1]
        out = torch.empty_like(x)
        for place in range(x.shape[1]):
            taken = []
            for head in range(heads):
                mean = sum(weights[other, p, head] for p in range(places)) / places
                taken.append((0.9 * weights[name, place, head] + 0.1 * mean) @ values[name, place, head])
            y = x[:, place] + side.output(torch.cat(taken, dim=1))
            first, *_, last, _ = side.feed_forward
            y = y + last(torch.nn.functional.gelu(first(side.norm(y))))
            out[:, place] = side.end_norm(y)
        results.append(out)
    return results


@torch.no_grad()
def test_a_block_by_hand():
    torch.manual_seed(0)
    block = MODULE.Mixer(8, 2).blocks[0]
    pixels, sounds = torch.randn(2, 3, 4, 8), torch.randn(2, 3, 5, 8)
    found = block(pixels, sounds)
    for clip in range(2):
        for ours, wanted in zip(found, by_hand(block, pixels[clip], sounds[clip]), strict=True):
            torch.testing.assert_close(ours[clip], wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_queries_are_the_early_sound_and_the_mixed_one():
    torch.manual_seed(0)
    mixer = MODULE.Mixer(8, 2, levels=2)
    maps, sounds = [torch.randn(3, 8, 4, 6), torch.randn(3, 8, 2, 3)], torch.randn(3, 5, 8)
    mixed, queries = mixer(maps, sounds, [3])
    assert [x.shape for x in mixed] == [x.shape for x in maps]
    pixels, heard = mixer.blocks[0](maps[0].flatten(2).mT[None], sounds[None])
    torch.testing.assert_close(mixed[0], pixels[0].mT.unflatten(2, (4, 6)))
    _, heard = mixer.blocks[1](maps[1].flatten(2).mT[None], mixer.between[0](heard))
    torch.testing.assert_close(queries, torch.cat([mixer.early(sounds), mixer.between[1](heard)[0]], dim=1))


@torch.no_grad()
def test_clips_of_different_length_give_what_they_give_alone():
    torch.manual_seed(0)
    mixer = MODULE.Mixer(8, 2, levels=1)
    lengths = [5, 2, 5, 3]
    maps, sounds = [torch.randn(15, 8, 4, 4)], torch.randn(15, 5, 8)
    mixed, queries = mixer(maps, sounds, lengths)
    alone = [mixer([x], s, [len(s)]) for x, s in zip(maps[0].split(lengths), sounds.split(lengths), strict=True)]
    torch.testing.assert_close(mixed[0], torch.cat([x for (x,), _ in alone]))
    torch.testing.assert_close(queries, torch.cat([q for _, q in alone]))


def test_a_window_has_five_seconds_of_everything():
    model = mini()
    transform = model.transforms(cards.variant("ntavs-r50").recipe("mini", "avss"))
    seconds = torch.arange(10)
    clip = {"frames": seconds.view(10, 1, 1, 1).expand(10, 3, 8, 8).to(torch.uint8), "real": seconds >= 0}
    clip |= {"masks": seconds.view(10, 1, 1).expand(10, 8, 8), "annotated": seconds >= 0, "clip_id": "a", "position": 0}
    clip |= {"audio": {"msai_256": seconds.float()}, "features": {"maskige": clip["frames"].clone()}}
    starts = set()
    for seed in range(40):
        seen = transform(clip, torch.Generator().manual_seed(seed))
        start = int(seen["frames"][0, 0, 0, 0])
        wanted = torch.arange(start, start + 5)
        for found in (seen["frames"][:, 0, 0, 0], seen["masks"][:, 0, 0], seen["audio"]["msai_256"]):
            assert torch.equal(found.long(), wanted)
        assert torch.equal(seen["features"]["maskige"], seen["frames"])
        starts.add(start)
    assert starts == set(range(6))
    recipes = [cards.variant("ntavs-pvt").recipe(scale, "ms3")["method"] for scale in ("mini", "full")]
    assert not any("window" in method for method in recipes)


def test_groups():
    """Visual encoders learn at a tenth; norms, queries and codes do not decay; CED does not train."""
    model = mini()
    recipe = cards.variant("ntavs-r50").recipe("full", "avss")
    model.configure(recipe)
    groups = model.parameter_groups(recipe)
    found = {name: (g["lr"], g.get("weight_decay", 0.05)) for g in groups for name, _ in g["params"]}
    assert found["siam.maskiges.layer1.0.conv1.weight"] == pytest.approx((1e-5, 0.05))
    for name in (
        "projections.0.0.weight",
        "mixer.blocks.0.visual.qkv.weight",
        "mixer.between.3.bias",
        "mixer.early.weight",
    ):
        assert found[name] == (1e-4, 0.05), name
    for name in (
        "projections.0.1.weight",
        "mixer.blocks.0.audio.end_norm.bias",
        "level.weight",
        "decoder.queries.weight",
    ):
        assert found[name] == (1e-4, 0.0), name
    assert set(found) == {name for name, p in model.named_parameters() if p.requires_grad}
    assert not any(name.startswith("audio.") for name in found)


def test_every_query_hears_its_own_token_of_its_own_frame():
    model = mini().eval()
    batch = synthetic_batch(cards.variant("ntavs-r50"), cards.dataset("avss"), 64)
    tokens = model.hear(batch)
    count = int(batch.real.sum())
    assert tokens.shape == (count, 18, 64)
    assert model.decoder.queries.num_embeddings == 36
    with torch.no_grad():
        for place, name in enumerate(("msai_256", "combo_mel", "msai_1024")):
            alone = model.audio(batch.audio[name][batch.real][:, 0].mT)
            torch.testing.assert_close(tokens[:, 6 * place : 6 * (place + 1)], alone, rtol=1e-4, atol=1e-4)


def test_the_middle_resolution_on_avss():
    base = cards.variant("ntavs-r50")
    other = base.changed("ntavs-r50@512", {"options": {"avss_middle": "ntavs512"}})
    assert mini().front_ends[1] == "combo_mel"
    model = registry.build(other, "avss", "mini", 64)
    assert model.front_ends == ("msai_256", "msai_512", "msai_1024")
    assert registry.build(base, "ms3", "mini", 64).front_ends == model.front_ends
    batch = synthetic_batch(base, cards.dataset("avss"), 64)
    with pytest.raises(AvsbenchError, match="holds nothing of the front end msai_512"):
        model.hear(batch)
    wrong = base.changed("ntavs-r50@1", {"options": {"avss_middle": "512"}})
    with pytest.raises(AvsbenchError, match="avss_middle"):
        registry.build(wrong, "avss", "mini", 64)


@torch.no_grad()
def test_padding_is_no_frame():
    """Whatever lies in padded seconds, clips of five and of ten score the same, and padding scores 0."""
    model = mini().eval()
    batch = synthetic_batch(cards.variant("ntavs-r50"), cards.dataset("avss"), 64)
    assert not batch.real.all()
    noisy: Batch = dataclasses.replace(
        batch, audio={name: x + (~batch.real).view(*batch.real.shape, 1, 1, 1) for name, x in batch.audio.items()}
    )
    first, second = (model.scores(model(each), (64, 64)) for each in (batch, noisy))
    torch.testing.assert_close(first, second)
    assert not first[~batch.real].any()
