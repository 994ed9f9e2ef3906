"""A method folder made by tests: as small as a method can be that keeps every promise of the contract."""

from pathlib import Path

from avsbench import cards
from avsbench.cards import MethodCard

CARD = """
name: {name}
title: a network of the tests
paper: {{title: none, authors: none, venue: "-"}}
year: 2026
source: null
licence: Apache-2.0
datasets: [ms3, avss]
inputs: {{front_ends: [vggish_mel]}}
fscore_batch: 1
batch_independent: true
variants:
  {name}-small: {{options: {{width: 16}}, init: scratch}}
recipes:
  full:
    default: &recipe {{epochs: 1, batch: 2, optimizer: {{name: adam, lr: 1.0e-2}}, select: miou}}
    avss: {{select: miou_avss}}
  mini: {{default: *recipe, avss: {{select: miou_avss}}}}
resources:
  full: {{gpu: 0, mem_mb: 1000, runtime: 10, threads: 1}}
  mini: {{gpu: 0, mem_mb: 1000, runtime: 10, threads: 1}}
"""

MODEL = '''
"""Colour and loudness, per pixel."""

import torch
from torch import nn
from torch.nn import functional

from avsbench.contract import Method, normalize_frames

from .loss import masked_loss


class Small(Method):
    def __init__(self, *, channels, width):
        super().__init__()
        self.channels = channels
        self.see = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))
        self.hear = nn.Linear(64, width)
        self.head = nn.Conv2d(width, channels, 1)

    def forward(self, batch):
        shape = batch.real.shape
        frames = normalize_frames(batch.frames, batch.real).flatten(0, 1)
        heard = self.hear(batch.audio["vggish_mel"].flatten(0, 1).mean(dim=(1, 2)))
        return {"logits": self.head(torch.relu(self.see(frames) + heard[..., None, None])).unflatten(0, shape)}

    def scores(self, output, size):
        logits = output["logits"].float()
        return functional.interpolate(logits.flatten(0, 1), size, mode="bilinear").unflatten(0, logits.shape[:2])

    def loss(self, output, batch, step):
        return {"mask": masked_loss(output["logits"], batch.masks)}


def build(*, dataset, scale, image_size, width):
    return Small(channels=dataset.num_classes, width=width)
'''

LOSS = '''
"""Mean over annotated pixels."""

import torch
from torch.nn import functional

from avsbench.contract import IGNORE


def masked_loss(logits, masks):
    known = masks != IGNORE
    if logits.shape[2] == 1:
        truth = torch.where(known, masks, 0).float()
        each = functional.binary_cross_entropy_with_logits(logits[:, :, 0], truth, reduction="none") * known
    else:
        each = functional.cross_entropy(logits.transpose(1, 2), masks, ignore_index=IGNORE, reduction="none")
    return each.sum() / known.sum().clamp_min(1)
'''


def write_method(folder: Path, name: str = "small", *, card: str = CARD, model: str = MODEL) -> MethodCard:
    """Write a method folder below `folder` and read its card."""
    place = folder / name
    place.mkdir(parents=True)
    (place / "method.yaml").write_text(card.format(name=name))
    (place / "model.py").write_text(model)
    (place / "loss.py").write_text(LOSS)
    return cards.read_method_card(place / "method.yaml")
