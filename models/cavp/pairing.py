"""Audio-visual pairs of a training step: each picture with its own sound, and once more with that of another.

A pair whose two pictures show the same classes is a match all the same. From the second epoch on, a share of the
others is overwritten: the picture gets a sound of its own class from a bank, and counts as a match.

Letters in shapes: N items (pictures of this process), K classes, H W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from avsbench.contract import IGNORE, Batch
from avsbench.errors import AvsbenchError

from .bank import SoundBank

Permutation = Callable[..., Tensor]
"""`permutation(count, device=…)` -> int64 [count]: torch.randperm, or torch.arange where nothing shall be drawn."""

CLASSES = "classes"
"""Feature [T,K] of a clip whose classes are known better than its masks tell."""

BANKS = ("fixed", "reference", "label_only", "none")


@dataclass(frozen=True)
class Pairs:
    """The foreign half of a step.

    Attributes:
        order: int64 [N], whose sound each picture got.
        match: bool [N], whether picture and foreign sound belong together.
        sounds: the foreign sounds [N,...]; None where the embeddings of the own sounds in `order` stand for them.
    """

    order: Tensor
    match: Tensor
    sounds: Tensor | None

    def labels(self, masks: Tensor) -> Tensor:
        """What is to be seen with the foreign sounds, [N,H,W]: the own labels of a match, else background alone."""
        return masks * self.match[:, None, None]


class Pairing:
    """Makes the pairs of each step, and keeps the bank of this process.

    Args:
        num_classes: K, background included.
        bank: what becomes of pairs that are overwritten.
            `fixed`: the oldest sound of the class in the bank; without one the pair stays as it is.
            `reference`: the same, but a bank that is not full yet gives silence, as published.
            `label_only`: they count as matches and keep the foreign sound, and no second pass over sounds is made: what
            the published stereo training does in effect.
            `none`: nothing is overwritten.
        rate: share of the mismatches that may be overwritten.
        permutation: source of all random orders. By default torch's generator, which the engine seeds for each epoch
            and process, and keeps with the state of a training.

    Attributes:
        epoch: from 0; set it in `on_epoch`.
    """

    def __init__(
        self, num_classes: int, *, bank: str = "fixed", rate: float = 0.5, permutation: Permutation = torch.randperm
    ):
        if bank not in BANKS:
            raise AvsbenchError("cavp: unknown bank", found=bank, expected=", ".join(BANKS))
        self.num_classes, self.kind, self.rate, self.permutation = num_classes, bank, rate, permutation
        self.epoch = 0
        self.bank: SoundBank | None = None

    def __call__(self, sounds: Tensor, classes: Tensor) -> Pairs:
        """Pairs of one step; sounds of single classes then go into the bank.

        Args:
            sounds: [N,...], on any device.
            classes: bool [N,K], the classes of each picture, background included.
        """
        device, classes = sounds.device, classes.cpu()  # the choices are few and depend on each other
        order = self.permutation(len(sounds), device="cpu")
        match = (classes == classes[order]).all(dim=1)
        foreign = None if self.kind == "label_only" else sounds[order.to(device)]
        for item, label in self._to_overwrite(match, classes):
            if foreign is not None:
                sound = self._bank_for(sounds).oldest(label, real=self.kind == "fixed")
                if sound is None:
                    continue
                foreign[item] = sound
            match[item] = True
        if self.kind in ("fixed", "reference"):
            for sound, shown in zip(sounds, classes, strict=True):
                if label := _only_class(shown):
                    self._bank_for(sounds).add(sound, label)
        return Pairs(order.to(device), match.to(device), foreign)

    def _to_overwrite(self, match: Tensor, classes: Tensor) -> list[tuple[int, int]]:
        """(item, its only class) of a random share of the mismatches; those of several classes or none fall away."""
        if self.epoch == 0 or self.kind == "none":
            return []
        mismatches = (~match).nonzero().flatten()
        chosen = mismatches[self.permutation(len(mismatches), device="cpu")[: int(len(mismatches) * self.rate)]]
        found = [(item, _only_class(classes[item])) for item in chosen.tolist()]
        # The published stereo training also passes over pictures that one class fills to the last pixel.
        fewest = 2 if self.kind == "label_only" else 1
        return [(item, label) for item, label in found if label and int(classes[item].sum()) >= fewest]

    def _bank_for(self, sounds: Tensor) -> SoundBank:
        """The bank, made with the first batch: a process's share of a batch is its size."""
        if self.bank is None:
            self.bank = SoundBank.silent(self.num_classes, len(sounds), sounds[0])
        self.bank.sounds = self.bank.sounds.to(sounds.device)  # a state comes on the CPU
        return self.bank

    def state(self) -> dict[str, Tensor]:
        """The bank, for `Method.extra_state`."""
        return {} if self.bank is None else {"sounds": self.bank.sounds, "stored": self.bank.stored}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave."""
        self.bank = SoundBank(state["sounds"].clone(), state["stored"].clone()) if state else None


def _only_class(classes: Tensor) -> int | None:
    """The class of a picture that shows one and background, or only one; None for several and for background alone."""
    labels = classes[1:].nonzero().flatten()
    return int(labels[0]) + 1 if len(labels) == 1 else None


def present_classes(masks: Tensor, num_classes: int) -> Tensor:
    """Class ids [N,H,W] -> bool [N,K]: which are in each map; 255 is none."""
    found = torch.zeros(len(masks), IGNORE + 1, dtype=torch.bool, device=masks.device)
    return found.scatter_(1, masks.flatten(1), True)[:, :num_classes]


def image_classes(masks: Tensor, num_classes: int, rule: str) -> Tensor:
    """The classes that decide which pairs match, bool [N,K], as published for each data set.

    Args:
        masks: int64 [N,H,W] after augmentation, 255 = ignore.
        rule:
            `shown`: what is in the map, background included (AVSS, VPO-MS, VPO-MSMI).
            `told`: the same with background in any case; for VPO-SS, from maps before augmentation.
            `sounding`: one of background and foreground (MS3).
            `always`: foreground, whatever the map says, so that all pairs match (S4).
    """
    shown = present_classes(masks, num_classes)
    if rule == "shown":
        return shown
    if rule == "told":
        shown[:, 0] = True
        return shown
    sounding = shown[:, 1:].any(dim=1) if rule == "sounding" else torch.ones_like(shown[:, 0])
    return torch.stack([~sounding, sounding], dim=1)


def batch_classes(batch: Batch, chosen: Tensor, num_classes: int, rule: str) -> Tensor:
    """Classes of the frames `chosen` (bool [B,T]) of a batch, bool [N,K]; see `image_classes`."""
    if CLASSES in batch.features:
        return batch.features[CLASSES][chosen]
    return image_classes(batch.masks[chosen], num_classes, rule)
