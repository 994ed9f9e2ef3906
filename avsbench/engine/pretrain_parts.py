"""What stand-ins learn from, the objects and sounds of the embedded training clips with their classes; and how."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from avsbench.contract import Colours
from avsbench.store.clips import ClipDataset

CROP = 64
RATE = 3e-3


@dataclass
class Examples:
    """Training examples of one data set: inputs [N,…]; targets: class ids int64 [N], or several at once float [N,K]."""

    inputs: Tensor
    targets: Tensor
    classes: int


def heard(split: ClipDataset, front_end: str) -> Examples:
    """What the ear gets of each second, and what sounds in it: the clip's category, or the classes in its mask.

    Inputs are log-mel examples [N,1,S,M] or waves [N,S], as the front end makes them.
    """
    inputs, targets = [], []
    names = categories(split)
    for clip in _clips(split):
        sounds, masks = clip["audio"][front_end], clip["masks"]
        for t in range(len(sounds)):
            if names:
                target = F.one_hot(torch.tensor(names.index(clip["category"])), len(names))
            elif clip["annotated"][t]:
                target = torch.zeros(split.card.num_classes)
                target[[int(c) for c in masks[t].unique() if 0 < c < split.card.num_classes]] = 1
            else:
                continue
            inputs.append(sounds[t])
            targets.append(target.float())
    return Examples(torch.stack(inputs), torch.stack(targets), len(targets[0]))


def seen(split: ClipDataset, colours: Colours) -> Examples:
    """Crops around annotated objects, normalised [N,3,64,64], and the class of each."""
    inputs, targets = [], []
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in colours)
    for frame, mask, target in objects(split):
        rows, columns = mask.nonzero(as_tuple=True)
        top, left = max(int(rows.min()) - 3, 0), max(int(columns.min()) - 3, 0)
        crop = frame[:, top : int(rows.max()) + 4, left : int(columns.max()) + 4].float() / 255
        crop = F.interpolate(crop[None], (CROP, CROP), mode="bilinear", align_corners=False)[0]
        inputs.append((crop - mean) / deviation)
        targets.append(target)
    return Examples(torch.stack(inputs), torch.tensor(targets), len(categories(split)) or split.card.num_classes)


def objects(split: ClipDataset) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Every annotated object: its frame uint8 [3,H,W], its mask bool [H,W], its class; none that is a mere sliver."""
    names = categories(split)
    for clip in _clips(split):
        for t in clip["annotated"].nonzero()[:, 0].tolist():
            labels = clip["masks"][t]
            for c in [int(c) for c in labels.unique() if 0 < c < 255]:
                mask = labels == c
                if mask.sum() >= 16:
                    yield clip["frames"][t], mask, names.index(clip["category"]) if names else c


def categories(split: ClipDataset) -> list[str]:
    """The categories of a data set that names one per clip; none for a semantic one, whose masks say more."""
    return [] if split.card.task == "semantic" else sorted(set(split.index["category"]))


def _clips(split: ClipDataset):
    with split:
        for number, category in enumerate(split.index["category"]):
            yield {**split[number], "category": category}


# augmentation


def mix_sounds(sounds: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Loudness by up to a factor of two, and half of the examples joined with the sound of another: both are heard.

    Args:
        sounds: log-mel examples [N,1,S,M] as `vggish_mel` makes them, log(power + 0.01), or waves [N,S].
        targets: the classes in each, float [N,K].
    """
    spectral, one = sounds.ndim > 2, (-1, *[1] * (sounds.ndim - 1))
    linear = (sounds.exp() - 0.01).clamp(min=0) if spectral else sounds
    linear = linear * torch.empty(len(sounds)).uniform_(0.5, 2).view(one)
    other = torch.randperm(len(sounds))
    joined = torch.rand(len(sounds)) < 0.5
    linear = linear + linear[other] * joined.view(one)
    return (linear + 0.01).log() if spectral else linear, torch.maximum(targets, targets[other] * joined[:, None])


def flip(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the crops mirrored."""
    mirrored = torch.rand(len(images)) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images), targets


# learning


def minimise(network: nn.Module, loss: Callable[[], Tensor], steps: int, name: str) -> None:
    """Train all of `network` by AdamW in one cycle; `loss` draws the examples of a step. Ends in eval mode."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    network.train()
    for _ in tqdm(range(steps), desc=f"stand-in for {name}", unit="step", disable=None):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    network.eval()
