"""Batches of a run, from the store: the training split shuffled by (seed, epoch), the validation split in csv order.

A step's clips may be divided: among the devices of a training, and on each into micro-batches that follow one another
before the update. Which clips make a step never depends on that.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from avsbench.cards import DatasetCard, Variant
from avsbench.contract import Batch, Method
from avsbench.engine.distributed import Group
from avsbench.errors import AvsbenchError
from avsbench.spec import RunSpec
from avsbench.store.loader import ClipDataset, epoch_batches, load_batches
from avsbench.transforms.choice import SomeFrames

MOST_WORKERS = 8
CACHE_BYTES = 256e6


def own_sizes(variant: Variant, dataset: DatasetCard) -> bool:
    """True where each clip has a size of its own before a transform, so that a batch cannot hold two."""
    return dataset.native or variant.native


def stored_features(spec: RunSpec, variant: Variant) -> dict[str, str]:
    """Feature -> its name in the store, of all that a run sees.

    Raises:
        AvsbenchError: the run was not told what makes a feature that its card asks for.
    """
    missing = [name for name in variant.features if name not in spec.features]
    if missing:
        raise AvsbenchError(f"{spec}: nothing says what makes {', '.join(missing)}", expected="RunSpec(features={…})")
    return {name: spec.features[name].stored for name in variant.features}


def train_clips(count: int, share: float) -> list[int]:
    """Numbers of the training clips that a run sees, of `count` in csv order; the same for every seed.

    The draw of Sam4AVS (BMVC 2023), which is that of pandas with a fixed seed. Its order does not count: the clips are
    shuffled in each epoch.
    """
    clips = pd.Series(range(count))
    return clips.tolist() if share == 1 else sorted(clips.sample(frac=share, random_state=0))


@dataclass(frozen=True)
class Share:
    """What one forward pass of a step sees.

    Attributes:
        batch: its clips.
        weight: its part of the step's clips; 0 for a stand-in that only keeps a process in step with the others.
    """

    batch: Batch
    weight: float = 1.0


@dataclass(frozen=True)
class Division:
    """How a step's clips are divided.

    Attributes:
        batch: clips of a step (the effective batch).
        parts: micro-batches of a step, over all devices.
        world: devices.
        notes: what differs from the published set-up, in words.
    """

    batch: int
    parts: int = 1
    world: int = 1
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, recipe: dict, published: int, world: int) -> "Division":
        """The division that a recipe asks for.

        A micro-batch is the published share of a device, batch / `published`, or `micro_batch` of the recipe. Fewer
        devices accumulate. With `accumulate: false`, for losses that depend on what else is in the batch, each device
        takes its clips at once.

        Args:
            published: devices that the card asks for (0: none, as one).
            world: devices that there are.
        """
        batch, published, notes = recipe["batch"], max(1, published), []
        if not recipe.get("accumulate", True):
            parts = world
            if world != published:
                notes.append(
                    f"the loss sees {batch / world:g} clips at once, {batch / published:g} in the published set-up "
                    f"({published} device{'s' * (published > 1)}): accumulate is false"
                )
        else:
            parts = -(-batch // recipe["micro_batch"]) if "micro_batch" in recipe else published
            parts = -(-parts // world) * world
            if parts != published:
                notes.append(
                    f"batch statistics over {batch / parts:g} clips, {batch / published:g} in the published set-up"
                )
        return cls(batch, parts, world, tuple(notes))

    @property
    def micro_batch(self) -> int:
        """Clips of the largest micro-batch."""
        return -(-self.batch // self.parts)

    @property
    def accumulation(self) -> int:
        """Micro-batches of a step on each device."""
        return self.parts // self.world

    def shares(self, clips: list[int], rank: int) -> list[tuple[list[int], float]]:
        """(clips, weight) of each forward pass of process `rank` for a step over `clips`.

        Parts differ by one clip at most. Where a step has fewer clips than parts (the last of an epoch), empty ones
        fall away; a process left without any takes the first clip with weight 0.
        """
        bounds = [round(len(clips) * part / self.parts) for part in range(self.parts + 1)]
        parts = [clips[start:end] for start, end in itertools.pairwise(bounds)]
        mine = [part for part in parts[rank :: self.world] if part]
        return [(part, len(part) / len(clips)) for part in mine] or [(clips[:1], 0.0)]


class StoredData:
    """Train and validation batches; the test split is out of reach here.

    Clips are padded to the data set's length in training, as published, or to the number of frames that the recipe
    takes of each (`clip_frames`). An epoch with negatives is twice as long (see `MixedClips`). In validation a method
    that is not `batch_independent`, or whose clips differ in size, gets one clip at a time, as in predict.
    """

    def __init__(
        self,
        spec: RunSpec,
        variant: Variant,
        dataset: DatasetCard,
        method: Method,
        on_gpu: bool,
        *,
        division: Division | None = None,
        group: Group | None = None,
        augment: bool = True,
    ):
        heard = variant.front_ends_on(dataset.name)
        inputs = {"front_ends": tuple(heard), "features": stored_features(spec, variant)}
        self.spec, self.dataset, self.on_gpu = spec, dataset, on_gpu
        self.group = group or Group()
        self.batch: int = spec.recipe["batch"]
        self.division = division or Division(self.batch)
        # With a GPU the processor's threads read data; without one they compute.
        threads = max(1, spec.threads // self.group.world)
        self.workers = min(threads - 1, MOST_WORKERS) if on_gpu else 0
        alone = not variant.method.batch_independent or own_sizes(variant, dataset)
        self.validation_batch = 1 if alone else self.division.micro_batch
        clips = dataset.splits[spec.scale]
        # What fits stays in memory, raw: three colours and a mask a pixel, and features.
        size = (spec.image_size, spec.image_size)
        frame = 4 * spec.image_size**2 + sum(made.frame_bytes(size) for made in spec.features.values())
        inputs["cache"] = sum(clips.values()) * dataset.frames * frame < CACHE_BYTES
        inputs["image_size"] = spec.image_size
        inputs |= {"native": variant.native, "arrays": spec.arrays}
        transform = method.transforms(spec.recipe) if augment else None
        self.frames = min(dataset.frames, spec.recipe.get("clip_frames", dataset.frames))
        if "clip_frames" in spec.recipe:
            transform = SomeFrames(self.frames, transform)
        self.training = ClipDataset(spec.paths, dataset, "train", **inputs, transform=transform, masks=True)
        self.held_out = ClipDataset(spec.paths, dataset, "val", **inputs, transform=None, masks=True)
        if "negatives" in spec.recipe:
            if "train_share" in spec.recipe:  # the share is one of clips; negatives are drawn from all of them
                raise AvsbenchError(
                    f"recipe of {variant.name}: train_share and negatives do not go together",
                    found=f"train_share: {spec.recipe['train_share']}, negatives: {spec.recipe['negatives']}",
                    hint="leave one of them out",
                )
            if sounding := [name for name, made in spec.features.items() if made.card.front_ends]:
                raise AvsbenchError(  # those in the store belong to the clips' own sound
                    f"recipe of {variant.name}: negatives, and features that are made from the sound",
                    found=", ".join(sounding),
                    hint="leave negatives out",
                )
            from avsbench.store.negatives import MixedClips  # here: an edit retrains nobody else

            self.training = MixedClips.of(self.training, spec.recipe["negatives"]["percent"], int(spec.seed))
        self.chosen = train_clips(len(self.training), spec.recipe.get("train_share", 1.0))
        for split, clips in (("train", self.chosen), ("val", self.held_out)):
            if not len(clips):
                raise AvsbenchError(f"{spec.paths.index(dataset.name, split)}: no clips", expected="at least one clip")
        self.steps_per_epoch = -(-len(self.chosen) // self.batch)
        if "epoch_steps" in spec.recipe:
            self.steps_per_epoch = min(self.steps_per_epoch, spec.recipe["epoch_steps"])

    def train(self, epoch: int, skip: int) -> Iterator[list[Share]]:
        """This process's shares of each step of one epoch, without the first `skip` steps."""
        seed = int(self.spec.seed)
        steps = epoch_batches(len(self.chosen), self.batch, seed=seed, epoch=epoch, shuffle=True)
        clips = [[self.chosen[number] for number in step] for step in steps[skip : self.steps_per_epoch]]
        planned = [self.division.shares(step, self.group.rank) for step in clips]
        batches = iter(
            load_batches(
                self.training,
                [clips for shares in planned for clips, _ in shares],
                seed=seed,
                epoch=epoch,
                workers=self.workers,
                pad_to=self.frames,
                pin_memory=self.on_gpu,
            )
        )
        return ([Share(next(batches), weight) for _, weight in shares] for shares in planned)

    def validation(self) -> Iterable[Batch]:
        """This process's batches of the validation split: of n processes every n-th."""
        batches = epoch_batches(len(self.held_out), self.validation_batch, seed=0, epoch=0, shuffle=False)
        return load_batches(
            self.held_out,
            batches[self.group.rank :: self.group.world],
            seed=int(self.spec.seed),
            workers=self.workers,
            pin_memory=self.on_gpu,
        )
