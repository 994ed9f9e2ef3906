"""The stand-in for AudioCLIP at scale mini: image, sound and name of a class learnt together from training clips.

As AudioCLIP learnt (Guzhov et al., ICASSP 2022): crops around what sounds, single sounds and names of classes are drawn
towards each other, by its contrastive loss. A crop may show another thing beside its own, or a part of its own alone,
so that cells of a larger picture get meanings of their own: with the attention pool of CLIP Surgery (arXiv 2304.05653)
the cosines of these cells with a sound show what sounds, though nothing was taught about cells.
Letters in shapes: N things, S samples, H W pixels.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from avsbench.cards import EncoderCard
from avsbench.contract import CLIP
from avsbench.engine.pretrain_parts import categories, heard, minimise, objects
from avsbench.nn.audioclip import AudioCLIP, audioclip, contrastive_loss, one_second
from avsbench.nn.clip_text import byte_tokens
from avsbench.store.clips import ClipDataset

STEPS = 160
SIDE = 96
"""Pixels of a crop. A frame is seen at 224: a crop of 3/7 of it shows things as large as they are seen then."""
SHARES = (0.2, 0.8)
"""Of a frame that a crop shows."""
ON_BLACK = 0.3
"""Share of crops that show their object alone, as masks of a segmenter are judged."""
SHIFT = 0.1
"""Of a crop's middle from its object's, at most, as a share of the frame."""
LEFT_OUT = 2
"""Classes of a data set that a step does without; the sound of one of them is heard beside."""


@dataclass
class Things:
    """What a data set shows and lets hear.

    Attributes:
        frames, masks: of every annotated object, uint8 [N,3,H,W] and bool [N,H,W].
        seen: its class, int64 [N].
        waves: of every second in which one class sounds, [M,S].
        heard: that class, int64 [M].
        names: of classes, by their number.
    """

    frames: Tensor
    masks: Tensor
    seen: Tensor
    waves: Tensor
    heard: Tensor
    names: list[str]

    @property
    def classes(self) -> list[int]:
        """Those that are both seen and heard."""
        return sorted(set(self.seen.tolist()) & set(self.heard.tolist()))


def learn_together(
    encoder: EncoderCard, splits: list[ClipDataset], epochs: int | None = None
) -> tuple[dict[str, Tensor], list[float]]:
    """Train the small AudioCLIP.

    Args:
        epochs: 5 steps each; nothing is gone through in turn.

    Returns:
        Its state, all towers, and for each split the share of crops and of sounds whose nearest name is theirs.
    """
    network, everything = audioclip("mini"), [things(split, encoder.front_ends[0]) for split in splits]
    minimise(network, lambda: _loss(network, everything), 5 * epochs if epochs else STEPS, encoder.name)
    return network.state_dict(), [named_rightly(network, each) for each in everything]


def things(split: ClipDataset, front_end: str) -> Things:
    """The examples of a training split."""
    frames, masks, seen = zip(*objects(split), strict=True)
    sounds = heard(split, front_end)
    single = sounds.targets.sum(dim=1) == 1
    names = [name.replace("_", " ") for name in categories(split) or split.card.classes]
    return Things(
        frames=torch.stack(frames),
        masks=torch.stack(masks),
        seen=torch.tensor(seen),
        waves=sounds.inputs[single],
        heard=sounds.targets[single].argmax(dim=1),
        names=names,
    )


def _loss(network: AudioCLIP, everything: list[Things]) -> Tensor:
    """AudioCLIP's loss of one step: of each data set one thing of each class, so that the diagonal alone is right."""
    crops, waves, names = zip(*map(draw, everything), strict=True)
    images = network.visual.embed(torch.cat(crops)).split([len(part) for part in crops])
    sounds = network.audio(one_second(torch.cat(waves), network.audio.repeats)).split([len(part) for part in waves])
    texts = [network.text(byte_tokens(part)) for part in names]
    loss = network.audio.spectrogram.norm_loss()
    for image, sound, text in zip(images, sounds, texts, strict=True):
        loss = loss + contrastive_loss(network.similarities(image=image, sound=sound, text=text))
    return loss


def draw(of: Things) -> tuple[Tensor, Tensor, list[str]]:
    """A crop [n,3,SIDE,SIDE], a sound [n,S] and the name of each of n classes.

    Half of the sounds have another beside them, of a class that is not among the n: what is louder or softer does not
    matter, what is seen does.
    """
    classes = [of.classes[i] for i in torch.randperm(len(of.classes))]
    count = max(len(classes) - LEFT_OUT, 2)
    classes, others = classes[:count], classes[count:]
    shown = torch.stack([_any(of.seen == c) for c in classes])
    waves = of.waves[torch.stack([_any(of.heard == c) for c in classes])] * _between(0.5, 2, count)[:, None]
    if others:
        beside = torch.stack([_any(of.heard == others[i]) for i in torch.randint(len(others), (count,))])
        beside = of.waves[beside] * _between(0.5, 1.5, count)[:, None]
        waves = waves + beside * (torch.rand(count) < 0.5)[:, None]
    crops = crop(of.frames[shown], of.masks[shown], SHARES, SHIFT, ON_BLACK)
    return crops, waves.clamp(-1, 1), [of.names[c] for c in classes]


def crop(
    frames: Tensor, masks: Tensor, shares: tuple[float, float], shift: float = 0.0, on_black: float = 0.0
) -> Tensor:
    """A square about each object, as large as may be, normalised by CLIP's colours [N,3,SIDE,SIDE].

    Args:
        frames: uint8 [N,3,H,W].
        masks: of the objects, bool [N,H,W].
        shares: least and largest part of the frame's sides that is shown.
        shift: of the middle, at most, as a share of the sides.
        on_black: share of the crops that show their object alone.
    """
    count, middles = len(frames), []
    for axis in (2, 1):
        places = (torch.arange(masks.shape[axis]) + 0.5) / masks.shape[axis]
        profile = masks.float().sum(dim=3 - axis)
        middles.append((profile * places).sum(dim=1) / profile.sum(dim=1) + _between(-shift, shift, count))
    half = _between(*map(math.log, shares), count).exp() / 2
    middle = torch.stack(middles, dim=1)
    middle = middle.clamp(min=half[:, None]).minimum(1 - half[:, None])  # no crop leaves its frame
    alone = (torch.rand(count) < on_black).view(-1, 1, 1, 1) & ~masks[:, None]
    images = (frames.float() / 255).masked_fill(alone, 0)
    where = torch.zeros(count, 2, 3)
    where[:, 0, 0] = where[:, 1, 1] = 2 * half
    where[:, :, 2] = 2 * middle - 1
    grid = F.affine_grid(where, [count, 3, SIDE, SIDE], align_corners=False)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in CLIP)
    return (images - mean) / deviation


@torch.no_grad()
def named_rightly(network: AudioCLIP, of: Things) -> float:
    """Share of crops and sounds whose nearest name, among those of classes that are seen and heard, is theirs."""
    texts = network.text(byte_tokens([of.names[c] for c in of.classes]))
    crops = crop(of.frames, of.masks, (0.4, 0.4)).split(64)
    images = torch.cat([network.visual.embed(part) for part in crops])
    sounds = torch.cat([network.audio(one_second(part, network.audio.repeats)) for part in of.waves.split(64)])
    right = [
        network.similarities(**{"text": texts, kind: vectors})
        for kind, vectors in {"image": images, "sound": sounds}.items()
    ]
    image, sound = right[0]["image_text"].argmax(dim=1), right[1]["sound_text"].argmax(dim=1)
    classes = torch.tensor(of.classes)
    return torch.cat([classes[image] == of.seen, classes[sound] == of.heard]).float().mean().item()


def _any(candidates: Tensor) -> Tensor:
    """The number of one of those that are True."""
    numbers = candidates.nonzero()[:, 0]
    return numbers[torch.randint(len(numbers), ())]


def _between(low: float, high: float, count: int) -> Tensor:
    return torch.empty(count).uniform_(low, high)
