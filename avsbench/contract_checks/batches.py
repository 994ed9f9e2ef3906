"""Synthetic clips for the contract checks: a textured disc on a textured ground, announced by a tone.

In each second the tone sounds or is silent; the disc stays in sight, and its mask exists only while it sounds. So a
network has to use the sound to reach a high overlap. Still pictures are of their own, oblong size, and each sound comes
from where its disc is.
"""

from collections.abc import Iterator

import numpy as np
import torch

from avsbench.cards import DatasetCard, Variant
from avsbench.contract import IGNORE, Batch
from avsbench.contract_checks import features as drawn

RATE = 16000
TONES = (440.0, 1760.0)
CLASSES = (3, 17)
"""Class ids of the discs of a semantic task, clip by clip."""


def synthetic_batch(variant: Variant, dataset: DatasetCard, image_size: int, seed: int = 0) -> Batch:
    """Two clips as the loader would hand them out, with masks; lengths are those that the data set has.

    Annotation follows the data set: where its card says so, the first frame alone.
    """
    from avsbench.media.clip_sound import ClipSound
    from avsbench.media.front_ends import FRONT_ENDS
    from avsbench.media.sound import Sound

    random = np.random.default_rng(seed)
    height, width = (image_size * 3 // 4 + 1, image_size) if dataset.native else (image_size, image_size)
    longest, count = dataset.frames, len(TONES)
    lengths = [int(min(longest, _length(dataset, clip))) for clip in range(count)]
    frames = np.zeros((count, longest, height, width, 3), np.uint8)
    masks = np.full((count, longest, height, width), IGNORE, np.int64)
    annotated = np.zeros((count, longest), bool)
    ends = {name: FRONT_ENDS[name] for name in variant.front_ends_on(dataset.name)}
    shapes = {name: end.frame_shape(still=longest == 1) for name, end in ends.items()}
    audio = {name: np.zeros((count, longest, *shape), np.float32) for name, shape in shapes.items()}
    features: dict[str, list[np.ndarray]] = {name: [] for name in variant.features}
    first_only = dataset.supervision.startswith("first frame")
    for clip, length in enumerate(lengths):
        label = 1 if dataset.task == "binary" else CLASSES[clip]
        # The first second always sounds: it may be the only one that has a mask.
        sounds = [second % 3 != 2 for second in range(length)]
        discs = np.zeros((length, height, width), bool)
        for second, (picture, disc) in enumerate(_pictures(random, height, width, length, clip)):
            frames[clip, second], discs[second] = picture, disc
            if second == 0 or not first_only:
                masks[clip, second] = np.where(disc & sounds[second], label, 0)
                annotated[clip, second] = True
        for name, clips in features.items():
            clips.append(drawn.draw(name, frames[clip, :length], discs, sounds))
        tone = np.sin(2 * np.pi * TONES[clip] * np.arange(length * RATE) / RATE)
        tone *= np.repeat(np.asarray(sounds, float), RATE)
        sound = Sound(samples=(tone * 12000).astype(np.int16)[:, None], rate=RATE, position=_column(clip))
        heard = ClipSound.of(dataset, [sound], length)
        for name, end in ends.items():
            audio[name][clip, :length] = end.compute(heard)
    return Batch(
        frames=torch.from_numpy(frames).permute(0, 1, 4, 2, 3).contiguous(),
        real=torch.tensor([[second < length for second in range(longest)] for length in lengths]),
        clip_ids=[f"clip{clip}" for clip in range(count)],
        audio={name: torch.from_numpy(array) for name, array in audio.items()},
        features={name: torch.from_numpy(drawn.padded(name, clips, longest)) for name, clips in features.items()},
        masks=torch.from_numpy(masks),
        annotated=torch.from_numpy(annotated),
    )


def _length(dataset: DatasetCard, clip: int) -> int:
    seconds = dataset.clip_seconds or [dataset.frames]
    return seconds[clip % len(seconds)]


def _column(clip: int) -> float:
    """Where the disc of a clip begins, as a share of the width."""
    return 0.6 - 0.2 * clip


def _pictures(
    random: np.random.Generator, height: int, width: int, count: int, clip: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(picture uint8 [H,W,3], disc bool [H,W]) for each second; the disc drifts by a few pixels."""
    ground = _texture(random, height, width, low=20, high=110)
    surface = _texture(random, height, width, low=150, high=250)
    surface[..., clip % 3] //= 4
    rows, columns = np.mgrid[:height, :width]
    for second in range(count):
        row = height * (0.4 + 0.2 * clip) + second * width / 64
        column = width * _column(clip) - second * width / 64
        disc = (rows - row) ** 2 + (columns - column) ** 2 < (width / 4) ** 2
        yield np.where(disc[..., None], surface, ground), disc


def _texture(random: np.random.Generator, height: int, width: int, *, low: int, high: int) -> np.ndarray:
    """Coarse colour noise, uint8 [H,W,3]."""
    coarse = random.integers(low, high, (8, 8, 3))
    step = -(-max(height, width) // 8)
    return np.repeat(np.repeat(coarse, step, 0), step, 1)[:height, :width].astype(np.uint8)


def take(batch: Batch, clip: int, length: int) -> Batch:
    """The first frames of one clip of a batch."""
    return _cut(batch, slice(clip, clip + 1), length)


def shorten(batch: Batch) -> Batch:
    """All clips, cut to the length of the shortest: less to compute, and no padding."""
    return _cut(batch, slice(None), int(batch.real.sum(dim=1).min()))


def double(batch: Batch) -> Batch:
    """Every clip twice."""

    def twice(value):
        return None if value is None else torch.cat([value, value])

    return Batch(
        frames=twice(batch.frames),
        real=twice(batch.real),
        clip_ids=batch.clip_ids * 2,
        audio={name: twice(value) for name, value in batch.audio.items()},
        features={name: twice(value) for name, value in batch.features.items()},
        masks=twice(batch.masks),
        annotated=twice(batch.annotated),
    )


def _cut(batch: Batch, clips: slice, length: int) -> Batch:
    def cut(value):
        return None if value is None else value[clips, :length].clone()

    return Batch(
        frames=cut(batch.frames),
        real=cut(batch.real),
        clip_ids=batch.clip_ids[clips],
        audio={name: cut(value) for name, value in batch.audio.items()},
        features={name: cut(value) for name, value in batch.features.items()},
        masks=cut(batch.masks),
        annotated=cut(batch.annotated),
    )


def without_masks(batch: Batch) -> Batch:
    """The batch as predict hands it out."""
    return Batch(batch.frames, batch.real, batch.clip_ids, batch.audio, batch.features)
