"""Clips under a sound that is not theirs: to see whether a method listens, and to teach one that it should.

Conditions are those of AVSBench-Robust (arXiv 2502.00358): `silence`, `noise`, `offscreen`, beside `positive`, the
sound of the clip. A condition changes the stored sound, and every front end is computed of it by the function that it
always is, and of these every feature that is made from sound; pictures, and features of pictures alone, stay.
`<condition>_reference` does instead what the authors did: noise of misread bytes, and front ends of another recipe than
that of the positives.
"""

import itertools
import random
from collections.abc import Callable, Mapping

import torch
from torch.utils.data import Dataset

from avsbench.conditions import NOISE, OFFSCREEN, REFERENCE, REPLACED, SILENCE
from avsbench.errors import AvsbenchError
from avsbench.features import Deriver
from avsbench.features.settings import Setting
from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FRONT_ENDS
from avsbench.media.negatives import reference_noise, silence, white_noise
from avsbench.media.sound import Sound
from avsbench.store.clips import ClipDataset
from avsbench.store.features import derived
from avsbench.store.offscreen import generator_of, read_partners

REFERENCE_FRONT_END = "robust_mel"

Makers = Mapping[str, tuple[Setting, Deriver]]
"""Feature that is made from sound -> what makes it."""


class Negatives:
    """Puts other sounds under the clips of a split.

    Args:
        clips: the split.
        partners: clip -> the clip whose sound stands for one from outside the picture.
        makers: of all features of the clips that are made from sound.

    Raises:
        AvsbenchError: the clips are heard as arrays that somebody else computed: negatives would differ from them by
            more than what sounds.
    """

    def __init__(self, clips: ClipDataset, partners: Mapping[str, str], makers: Makers | None = None):
        if clips.arrays:
            raise AvsbenchError(
                "negatives of imported sound would be told apart by who computed them",
                found=", ".join(clips.arrays.values()),
                expected="no `arrays` in the configuration",
            )
        self.clips, self.partners, self.makers = clips, partners, makers or {}
        asked = [clips.front_ends, *(setting.card.front_ends for setting, _ in self.makers.values())]
        self._front_ends = list(dict.fromkeys(itertools.chain.from_iterable(asked)))
        self._kept: dict[tuple, dict[str, torch.Tensor]] = {}

    def under(self, condition: str) -> Callable[[dict], dict]:
        """What makes a clip the negative of a condition: other sound, masks without an object, `aligned` False."""

        def change(clip: dict) -> dict:
            heard = self.audio(clip["clip_id"], len(clip["frames"]), condition)
            clip["audio"] = {name: heard[name] for name in self.clips.front_ends}
            for name, (setting, deriver) in self.makers.items():
                sound = {end: heard[end].numpy() for end in setting.card.front_ends}
                made, _ = derived(setting, deriver, self.clips.stored_frames(clip["clip_id"]), sound)
                clip["features"][name] = torch.from_numpy(made)
            clip["aligned"] = False
            if "masks" in clip:
                clip["masks"][clip["annotated"]] = 0
            return clip

        return change

    def audio(self, clip_id: str, frames: int, condition: str) -> dict[str, torch.Tensor]:
        """Front end -> float32 [T,...] of a clip under a condition, for T = `frames`; fresh tensors.

        Those of the clips, and those that features are made of.
        """
        silent = condition.startswith(SILENCE)  # the same for all clips of a length
        key = (condition, frames if silent else clip_id)
        arrays = self._kept.get(key)
        if arrays is None:
            sounds = self.sounds(clip_id, frames, condition)
            heard = ClipSound.of(self.clips.card, sounds, frames, self.clips.split)
            instead = REFERENCE_FRONT_END if condition.endswith(REFERENCE) else None
            if others := [name for name in self._front_ends if instead and name not in REPLACED]:
                raise AvsbenchError(
                    f"{condition}: the authors' features stand for VGGish's log-mel alone",
                    found=", ".join(others),
                    hint=f"ask for {condition.removesuffix(REFERENCE)}",
                )
            ends = {name: FRONT_ENDS[instead or name] for name in self._front_ends}
            arrays = {name: torch.from_numpy(end.compute(heard)) for name, end in ends.items()}
            if silent or self.clips.cache:
                self._kept[key] = arrays
        return {name: array.clone() for name, array in arrays.items()}

    def sounds(self, clip_id: str, frames: int, condition: str) -> list[Sound]:
        """What sounds under a condition in a clip of so many seconds."""
        kind = condition.removesuffix(REFERENCE)
        if kind == SILENCE:
            return [silence(frames)]
        if kind == NOISE:
            draw = generator_of(clip_id)
            return [white_noise(frames, draw) if kind == condition else reference_noise(draw)]
        if kind == OFFSCREEN:
            return self.clips.sounds(self.partners[clip_id])
        raise AvsbenchError(f"unknown condition {condition!r}", expected=f"{SILENCE}, {NOISE} or {OFFSCREEN}")


class HeardClips(Dataset):
    """The clips of a split under one condition; under `offscreen` those that have a partner. As `ClipDataset` to read.

    Args:
        clips: the split.
        condition: none but negatives.
        partners, makers: see `Negatives`.
    """

    def __init__(self, clips: ClipDataset, condition: str, partners: Mapping[str, str], makers: Makers | None = None):
        self.clips, self.cache, self.preload = clips, clips.cache, clips.preload
        self.original_size = clips.original_size
        needs_partner = condition.startswith(OFFSCREEN)
        self._numbers = [n for n, name in enumerate(clips.clip_ids) if not needs_partner or name in partners]
        self._change = Negatives(clips, partners, makers).under(condition)

    @property
    def clip_ids(self) -> list[str]:
        names = self.clips.clip_ids
        return [names[number] for number in self._numbers]

    def __len__(self) -> int:
        return len(self._numbers)

    def item(self, number: int, seed: int, epoch: int) -> dict:
        """As in `ClipDataset`."""
        return self.clips.item(self._numbers[number], seed, epoch, self._change)


class MixedClips(Dataset):
    """A training split with negatives among its clips: 2 N items of N clips, drawn once. As `ClipDataset` to read.

    Args:
        clips: the split, with masks.
        partners: see `Negatives`; a clip without one gets silence.
        percent: of the items that are negatives, half of them from outside the picture, the others silent.
        seed: of the draw.
    """

    def __init__(self, clips: ClipDataset, partners: Mapping[str, str], percent: float, seed: int):
        self.clips, self.cache, self.preload = clips, clips.cache, clips.preload
        self.draw = mixed(len(clips), percent, seed)
        self._named = [name in partners for name in clips.clip_ids]
        negatives = Negatives(clips, partners)
        self._changes = [_aligned, negatives.under(OFFSCREEN), negatives.under(SILENCE)]

    @classmethod
    def of(cls, clips: ClipDataset, percent: float, seed: int) -> "MixedClips":
        """With the partners that the rule `negatives` has drawn."""
        return cls(clips, read_partners(clips.paths.negatives(clips.card.name, clips.split)), percent, seed)

    def __len__(self) -> int:
        return len(self.draw)

    def item(self, number: int, seed: int, epoch: int) -> dict:
        """As in `ClipDataset`, with `aligned`: whether the sound is the clip's own."""
        kind, clip = divmod(self.draw[number], len(self.clips))
        if kind == 1 and not self._named[clip]:
            kind = 2
        return self.clips.item(clip, seed, epoch, self._changes[kind])


def _aligned(clip: dict) -> dict:
    return clip | {"aligned": True}


def mixed(clips: int, percent: float, seed: int) -> list[int]:
    """The items of `MixedClips`, drawn as AVSBench-Robust does: a clip's number, plus N from outside, plus 2 N silent.

    >>> mixed(20, 30, seed=42)[:10]
    [20, 59, 7, 7, 13, 51, 3, 15, 5, 9]
    """
    draw, total = random.Random(seed), 2 * clips
    aligned = int(total * (1 - percent / 100))
    outside = max(int(total * percent / 200), total - aligned - clips)  # rounding may leave too much to silence
    whole, rest = divmod(aligned, clips)
    items = list(range(clips)) * whole + draw.sample(range(clips), rest)
    items += draw.sample(range(clips, 2 * clips), outside)
    items += draw.sample(range(2 * clips, 3 * clips), total - aligned - outside)
    draw.shuffle(items)
    return items
