"""Training on some frames of each clip: any of them, or a stretch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SomeFrames:
    """Random frames of a clip, in their order: what the recipe key `clip_frames` asks for.

    Attributes:
        count: frames of a clip, of those that have a mask; a clip with fewer gives all of these, one without any mask
            gives frames without.
        then: a transform of what was chosen, or None.
    """

    count: int
    then: Callable[[dict, torch.Generator], dict] | None = None

    def __call__(self, clip: dict, generator: torch.Generator) -> dict:
        """The clip with T = `count` at most."""
        known = clip["annotated"].nonzero().flatten()
        if not len(known):
            known = torch.arange(len(clip["annotated"]))
        chosen = known[torch.randperm(len(known), generator=generator)[: self.count]].sort().values
        clip = taken(clip, chosen)
        return clip if self.then is None else self.then(clip, generator)


@dataclass(frozen=True)
class Window:
    """Consecutive frames of a clip from a random one on, with or without a mask.

    Frames, masks, sound and features all become those of the same seconds. `SomeFrames` is another thing: its frames
    need not be neighbours, and those without a mask are left out.

    Attributes:
        count: frames; a clip with fewer gives all of these.
        then: a transform of what was chosen, or None.
    """

    count: int
    then: Callable[[dict, torch.Generator], dict] | None = None

    def __call__(self, clip: dict, generator: torch.Generator) -> dict:
        """The clip with T = `count` at most."""
        starts = max(len(clip["frames"]) - self.count, 0) + 1
        start = int(torch.randint(starts, (), generator=generator))
        clip = taken(clip, torch.arange(start, min(start + self.count, len(clip["frames"]))))
        return clip if self.then is None else self.then(clip, generator)


def taken(clip: dict, chosen: Tensor) -> dict:
    """The clip with the frames of these numbers alone."""
    clip = {**clip, **{name: clip[name][chosen] for name in ("frames", "real", "masks", "annotated")}}
    for kind in ("audio", "features"):
        clip[kind] = {name: array[chosen] for name, array in clip[kind].items()}
    return clip
