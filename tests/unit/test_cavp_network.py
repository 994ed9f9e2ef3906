"""CAVP's network: what a training step computes for which half, lone pictures, padding, first weights."""

import pytest
import torch
from torch import nn

from avsbench import cards
from avsbench.contract import Batch
from avsbench.nn.backbones import visual_encoder
from avsbench.nn.vggish import audio_encoder
from tests.unit.cavp_parts import MODEL, part

network = part("network")


def mini(dataset="ms3", **options):
    torch.manual_seed(0)
    return MODEL.build(dataset=cards.dataset(dataset), scale="mini", image_size=32, **options)


def batch_of(shape, channels=1, steps=96, size=32):
    clips, frames = shape
    return Batch(
        frames=torch.randint(0, 256, (clips, frames, 3, size, size), dtype=torch.uint8),
        real=torch.ones(shape, dtype=torch.bool),
        clip_ids=[str(clip) for clip in range(clips)],
        audio={"mel": torch.randn(clips, frames, channels, steps, 64)},
        masks=torch.randint(0, 2, (clips, frames, size, size)),
        annotated=torch.ones(shape, dtype=torch.bool),
    )


def test_halves_of_a_training_step():
    """Backbone, pyramid and the finest map see each picture once; head and audio network see both halves."""
    model, batch = mini().train(), batch_of((2, 3))
    batch.annotated[1, 1:] = False
    seen = {}
    for name in ("visual", "pyramid", "reduce", "projector", "head", "audio"):
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, name=name: seen.update({name: len(inputs[0])})
        )
    output = model(batch)
    assert seen == {"visual": 4, "pyramid": 4, "reduce": 4, "projector": 4, "head": 8, "audio": 8}
    assert torch.equal(output["chosen"], batch.annotated)
    assert output["joint"].shape == (8, 40, 8, 8)
    assert not output["logits"][~batch.annotated].any()
    assert output["logits"][batch.annotated].flatten(1).any(dim=1).all()


def test_foreign_half_is_what_another_pass_would_give():
    block = network.SoundAttention(40).eval()
    pixels, sounds = torch.randn(3, 20, 40), torch.randn(6, 40)
    joint, attention = block(pixels, sounds)
    apart = [block(pixels, half) for half in sounds.chunk(2)]
    torch.testing.assert_close(joint, torch.cat([x for x, _ in apart]))
    torch.testing.assert_close(attention, torch.cat([a for _, a in apart]))
    assert attention.shape == (6, 4, 20)
    assert ((attention > 0) & (attention < 1)).all()


def test_embeddings_of_own_sounds_may_stand_for_foreign_ones():
    """What `label_only` gives: no second pass over sounds."""
    model = mini().train()
    order = torch.tensor([1, 2, 0])
    pairs = part("pairing").Pairs(order=order, match=torch.zeros(3, dtype=torch.bool), sounds=None)
    sounds = model.embed(torch.randn(3, 1, 96, 64), pairs)
    assert torch.equal(sounds[3:], sounds[:3][order])


@pytest.mark.parametrize(("dataset", "steps"), [("ms3", 96), ("vpo_ss", 300)])
def test_a_lone_picture_trains(dataset, steps):
    """The pooled branch has one number a channel then: it takes running statistics and leaves them alone."""
    model, batch = mini(dataset).train(), batch_of((1, 1), steps=steps)
    norm = model.pyramid.pool_norm
    before = norm.running_mean.clone(), norm.running_var.clone()
    sum(model.loss(model(batch), batch, 0).values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert model.pyramid.pool.weight.grad.any()
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.running_var, before[1])


def test_pooled_norm_is_an_ordinary_one_otherwise():
    ours, plain = network.PooledNorm(4).train(), nn.BatchNorm2d(4).train()
    for x in (torch.randn(3, 4, 1, 1), torch.randn(1, 4, 2, 2)):
        assert torch.equal(ours(x), plain(x))
    assert torch.equal(ours.running_var, plain.running_var)


def test_padding_scores_zero():
    model, batch = mini().eval(), batch_of((1, 3))
    batch.real[0, 2] = False
    logits = model(batch)["logits"]
    assert not logits[0, 2].any()
    assert logits.shape == (1, 3, 2, 8, 8)
    assert model.scores({"logits": logits}, (30, 40)).shape == (1, 3, 2, 30, 40)


def test_left_and_right_are_heard():
    model, batch = mini("vpo_msmi", stereo=True).eval(), batch_of((1, 1), channels=2, steps=300)
    first = model(batch)["logits"]
    batch.audio["mel"] = batch.audio["mel"].flip(2)
    assert not torch.allclose(first, model(batch)["logits"])


def test_sounds_of_seconds_start_from_vggish():
    """All but the last layer, which is narrower here."""
    model, source = mini("avss"), audio_encoder("vggish", "mini")
    before = {key: value.clone() for key, value in model.audio.state_dict().items()}
    model.encoders()["audio"].load_pretrained(source.state_dict())
    for key, value in model.audio.state_dict().items():
        assert torch.equal(value, before[key] if key.startswith("embeddings.4.") else source.state_dict()[key]), key


@pytest.mark.parametrize("stereo", [False, True])
def test_sounds_of_stills_start_from_pictures(stereo):
    """All but the stem, whose first convolution sees other channels, and the last layer."""
    model, source = mini("vpo_ms", stereo=stereo), visual_encoder("r18", "mini")
    before = {key: value.clone() for key, value in model.audio.state_dict().items()}
    assert before["trunk.conv1.0.weight"].shape[1] == 1 + stereo
    model.encoders()["audio"].load_pretrained({**source.state_dict(), "fc.weight": torch.zeros(3, 64)})
    own = {f"trunk.{key}": value for key, value in source.state_dict().items() if not key.startswith("conv1.")}
    for key, value in model.audio.state_dict().items():
        assert torch.equal(value, own.get(key, before[key])), key
