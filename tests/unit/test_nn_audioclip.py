"""AudioCLIP beside its vectors: what its towers do with other sizes, what they learn, and how they are used."""

import math
import re
import sys
import textwrap
import types

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional
from torchvision.io import write_jpeg

from avsbench.contract import CLIP, IMAGENET, normalize_frames
from avsbench.nn import audioclip as module
from avsbench.nn.audioclip import audioclip, contrastive_loss, one_second
from avsbench.nn.clip_text import byte_tokens, clip_text
from avsbench.nn.clip_visual import AttentionPool, clip_visual

from .audioclip_official import full_training


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def close(found, wanted, atol=2e-5):
    torch.testing.assert_close(found, wanted, rtol=0, atol=atol)


# images


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160), (100, 70)])
def test_maps_have_the_strides(height, width):
    tower = clip_visual("mini").eval()
    maps = tower(torch.randn(2, 3, height, width))
    sizes = [(-(-height // 2) // (stride // 2), -(-width // 2) // (stride // 2)) for stride in tower.strides]
    assert [tuple(x.shape) for x in maps] == [(2, c, *size) for c, size in zip(tower.channels, sizes, strict=True)]
    image, cells = tower.pool(maps[-1])
    assert image.shape == (2, tower.embedding)
    assert cells.shape == (2, tower.embedding, *sizes[-1])


def test_strides_are_averages():
    """A stage of stride 2 sees every pixel: its shortcut's convolution reads means of four."""
    tower = clip_visual("mini").eval()
    block, x = tower.layer2[0], torch.randn(1, 16, 6, 8)
    conv, norm = block.downsample[1:]
    close(block.downsample(x), norm(conv(x.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5)))))
    assert {m.stride for m in tower.modules() if isinstance(m, torch.nn.Conv2d)} == {(1, 1), (2, 2)}
    assert tower.conv1.stride == (2, 2)
    assert sum(m.stride == (2, 2) for m in tower.modules() if isinstance(m, torch.nn.Conv2d)) == 1


def naive_pool(pool, x, surgery):
    """Token by token, head by head; one map [C,h,w]."""
    cells = [x[:, i, j] for i in range(x.shape[1]) for j in range(x.shape[2])]
    tokens = [t + p for t, p in zip([sum(cells) / len(cells), *cells], pool.positions, strict=True)]
    values = [pool.value(t).chunk(pool.heads) for t in tokens]
    queries = values if surgery else [pool.query(t).chunk(pool.heads) for t in tokens]
    keys = values if surgery else [pool.key(t).chunk(pool.heads) for t in tokens]
    rows = []
    for query in queries:
        heads = []
        for m, q in enumerate(query):
            weights = torch.stack([q @ key[m] / math.sqrt(len(q)) for key in keys]).softmax(dim=0)
            heads.append(sum(w * value[m] for w, value in zip(weights, values, strict=True)))
        rows.append(pool.out(torch.cat(heads)))
    return rows[0], torch.stack(rows[1:], dim=1).view(-1, *x.shape[1:])


@pytest.mark.parametrize("surgery", [False, True])
@torch.no_grad()
def test_pool_is_attention_over_cells_and_their_mean(surgery):
    pool, x = AttentionPool(8, 6, heads=2, grid=3), 3 * torch.randn(2, 8, 3, 3)
    image, cells = pool(x, surgery)
    for i in range(2):
        wanted = naive_pool(pool, x[i], surgery)
        close(image[i], wanted[0])
        close(cells[i], wanted[1])


@torch.no_grad()
def test_surgery_takes_neither_queries_nor_keys():
    pool, x = AttentionPool(8, 6, heads=2, grid=3), 3 * torch.randn(1, 8, 3, 3)
    plain, surgery = pool(x), pool(x, surgery=True)
    assert not torch.allclose(plain[1], surgery[1], atol=1e-2)
    for layer in (pool.query, pool.key):
        layer.weight.mul_(3)
        assert all(map(torch.equal, pool(x, surgery=True), surgery))
        assert not torch.allclose(pool(x)[1], plain[1], atol=1e-2)


def test_positions_fit_other_maps_and_stay():
    pool = AttentionPool(4, 4, heads=1, grid=2)
    before = pool.positions.clone()
    assert pool.positions_at(2, 2) is pool.positions
    larger = pool.positions_at(4, 2)
    # Rows of an unaligned axis: the ends repeat, places between are a quarter and three quarters.
    top, bottom = before[1:3], before[3:5]
    close(larger, torch.cat([before[:1], top, 0.75 * top + 0.25 * bottom, 0.25 * top + 0.75 * bottom, bottom]))
    first = pool(torch.randn(1, 4, 4, 2))
    assert first[1].shape == (1, 4, 4, 2)
    first[0].sum().backward()
    assert pool.positions.grad.abs().min() > 0
    assert torch.equal(pool.positions, before)


def test_colours():
    frames = torch.randint(0, 256, (1, 2, 3, 4, 4), dtype=torch.uint8)
    real = torch.tensor([[True, False]])
    for colours in (CLIP, IMAGENET):
        mean, deviation = (np.array(values)[:, None, None] for values in colours)
        found = normalize_frames(frames, real, colours)
        close(found[0, 0].double(), torch.from_numpy((frames[0, 0].numpy() / 255 - mean) / deviation))
        assert not found[0, 1].any()
    assert torch.equal(normalize_frames(frames, real), normalize_frames(frames, real, IMAGENET))


# texts


def test_bytes_are_tokens():
    tokens = byte_tokens(["dog", "é", "a" * 50], context=6)
    assert tokens.tolist() == [[100, 111, 103, 256, 0, 0], [195, 169, 256, 0, 0, 0], [97, 97, 97, 97, 97, 256]]
    assert byte_tokens(["x"]).shape == (1, clip_text("mini").context)


@torch.no_grad()
def test_a_text_is_read_up_to_its_end():
    tower = clip_text("mini").eval()
    tokens = byte_tokens(["dog", "guitar"])
    embedding = tower(tokens)
    close(tower(tokens[:, :7]), embedding)  # zeros behind do nothing
    behind = tokens.clone()
    behind[0, 5:], behind[1, 8:] = 97, 98
    close(tower(behind), embedding)
    before = tokens.clone()
    before[0, 0] = 97
    assert not torch.allclose(tower(before)[0], embedding[0], atol=1e-3)
    assert torch.equal(tower(before)[1], embedding[1])


# all three


def test_similarities_are_scaled_cosines():
    network = audioclip("mini")
    given = {name: torch.randn(n, 64) for name, n in (("sound", 2), ("image", 3), ("text", 4))}
    with torch.no_grad():
        for pair, scale in (("sound_image", math.log(20)), ("sound_text", -3.0), ("image_text", 9.0)):
            network.scales[pair].fill_(scale)
    found = network.similarities(**given)
    for pair, factor in (("sound_image", 20), ("sound_text", 1), ("image_text", 100)):
        first, second = (given[name] for name in pair.split("_"))
        cosine = functional.cosine_similarity(first[:, None], second[None], dim=2)
        close(found[pair], factor * cosine, atol=1e-4)
    assert set(network.similarities(sound=given["sound"], text=given["text"])) == {"sound_text"}
    assert network.similarities(image=given["image"]) == {}


def test_contrastive_loss_by_hand():
    x, y, z = (torch.randn(3, 3, dtype=torch.double) for _ in range(3))

    def pair(x):
        rows = -sum(math.log(x[i, i].exp() / x[i].exp().sum()) for i in range(3)) / 3
        columns = -sum(math.log(x[i, i].exp() / x[:, i].exp().sum()) for i in range(3)) / 3
        return rows + columns

    assert contrastive_loss({"a": x}).item() == pytest.approx(pair(x))
    assert contrastive_loss({"a": x, "b": y, "c": z}).item() == pytest.approx((pair(x) + pair(y) + pair(z)) / 6)


def test_a_second_is_heard_several_times():
    waves = torch.randn(2, 10)
    heard = one_second(waves)
    assert heard.shape == (2, 1, 50)
    assert all(torch.equal(part, waves) for part in heard[:, 0].split(10, dim=1))
    assert torch.equal(one_second(waves, audioclip("mini").audio.repeats), waves[:, None])
    with torch.device("meta"):
        assert audioclip("full").audio.repeats == 5


def embed(network, images, waves, tokens):
    return {"image": network.visual.embed(images), "sound": network.audio(waves), "text": network.text(tokens)}


def test_the_small_one_is_small_and_learns_which_belong_together():
    network = audioclip("mini")
    assert sum(p.numel() for p in network.parameters()) < 300_000
    images, tokens = torch.randn(4, 3, 64, 64), byte_tokens(["dog", "cat", "guitar", "rain"])
    tones = torch.tensor([300.0, 900, 2500, 6000])[:, None] * torch.arange(8820) / 44100
    waves = 0.3 * (2 * math.pi * tones).sin()[:, None]
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    history = []
    for step in range(12):
        terms = network.loss(**embed(network, images, waves, tokens))
        assert set(terms) == {"contrastive", "norms"}
        history.append(terms["contrastive"].item())
        optimizer.zero_grad()
        sum(terms.values()).backward()
        if step == 0:
            assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
            # The residual branches begin at 0, and what comes before a branch's last norm with them.
            still = {name for name, p in network.named_parameters() if not p.grad.any()}
            assert all(re.match(r"visual\.layer\d\.0\.(conv|bn)\d\.", name) for name in still), still
        optimizer.step()
    assert history[0] > 1.2
    assert history[-1] < 0.3 * history[0]


def example():
    """The code in the docstring."""
    return textwrap.dedent(module.__doc__.partition(":\n\n")[2])


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    """With the small network's weights under the authors' names, and bytes for CLIP's tokens."""
    monkeypatch.chdir(tmp_path)
    torch.save(full_training(audioclip("mini")), "AudioCLIP-Full-Training.pt")
    write_jpeg(torch.randint(0, 256, (3, 240, 320), dtype=torch.uint8), "dog.jpg")
    soundfile.write("dog.wav", np.random.default_rng(0).normal(0, 0.1, (16000, 2)), 16000)
    fake = types.ModuleType("open_clip")
    fake.tokenize = byte_tokens
    monkeypatch.setitem(sys.modules, "open_clip", fake)
    code = example()
    assert 25 <= len(code.strip().splitlines()) <= 45
    assert code.count('audioclip("full")') == 1
    variables = {}
    exec(compile(code.replace('audioclip("full")', 'audioclip("mini")'), "example", "exec"), variables)
    assert variables["heat"].shape == (1, 7, 7)
    assert {pair: tuple(x.shape) for pair, x in variables["found"].items()} == {
        "sound_image": (1, 1), "sound_text": (1, 3), "image_text": (1, 3)}  # fmt: skip
    assert len(re.findall(r"seen \d+%, heard \d+%", capsys.readouterr().out)) == 3
