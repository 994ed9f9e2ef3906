"""The saliency control: finds what stands out, hears nothing, needs nothing."""

import torch

from avsbench import cards, registry
from avsbench.contract import Batch


def picture(colour=(230, 40, 40)):
    frames = torch.full((1, 2, 3, 64, 64), 90, dtype=torch.uint8)
    frames[0, 0, :, 24:44, 20:40] = torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1)
    return Batch(frames=frames, real=torch.ones(1, 2, dtype=torch.bool), clip_ids=["clip"])


def test_the_odd_coloured_square_is_found():
    model = registry.build("saliency", "s4", "mini", 64)
    scores = model.scores(model(picture()), (64, 64))
    mask = model.masks(scores)
    truth = torch.zeros(64, 64, dtype=torch.bool)
    truth[24:44, 20:40] = True
    overlap = (mask[0, 0] & truth).sum() / (mask[0, 0] | truth).sum()
    assert overlap > 0.6
    assert not mask[0, 1].any()  # a flat frame shows nothing
    assert torch.isfinite(scores).all()


def test_frames_are_looked_at_alone():
    model = registry.build("saliency", "ms3", "mini", 64)
    both = model.scores(model(picture()), (32, 32))
    batch = picture()
    batch.frames, batch.real = batch.frames[:, :1], batch.real[:, :1]
    assert torch.equal(model.scores(model(batch), (32, 32))[:, 0], both[:, 0])


def test_nothing_trains():
    card = cards.method_cards()["saliency"]
    model = registry.build("saliency", "s4", "full", 224)
    assert not card.trainable
    assert not model.trainable
    assert not list(model.parameters())
