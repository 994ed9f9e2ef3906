"""Batches of a run, from the store: the training split shuffled by (seed, epoch), the validation split in csv order."""

from collections.abc import Iterable, Iterator

from avsbench.cards import DatasetCard, Variant
from avsbench.contract import Batch, Method
from avsbench.errors import AvsbenchError
from avsbench.spec import RunSpec
from avsbench.store.loader import ClipDataset, make_loader

MOST_WORKERS = 8
CACHE_BYTES = 256e6


def own_sizes(variant: Variant, dataset: DatasetCard) -> bool:
    """True where each clip has a size of its own before a transform, so that a batch cannot hold two."""
    return dataset.native or variant.method.native


class StoredData:
    """Train and validation batches; the test split is out of reach here.

    Clips are padded to the data set's length in training, as published. In validation a method that is not
    `batch_independent`, or whose clips differ in size, gets one clip at a time, as in predict.
    """

    def __init__(self, spec: RunSpec, variant: Variant, dataset: DatasetCard, method: Method, on_gpu: bool):
        card = variant.method
        inputs = {"front_ends": tuple(card.front_ends), "features": tuple(card.features)}
        self.spec, self.dataset, self.on_gpu = spec, dataset, on_gpu
        self.batch: int = spec.recipe["batch"]
        # With a GPU the processor's threads read data; without one they compute.
        self.workers = min(spec.threads - 1, MOST_WORKERS) if on_gpu else 0
        self.validation_batch = self.batch if card.batch_independent and not own_sizes(variant, dataset) else 1
        clips = dataset.splits[spec.scale]
        # What fits stays in memory, raw: three colours and a mask a pixel.
        inputs["cache"] = sum(clips.values()) * dataset.frames * spec.image_size**2 * 4 < CACHE_BYTES
        inputs["image_size"] = spec.image_size
        inputs |= {"native": card.native, "arrays": spec.arrays}
        self.training = ClipDataset(
            spec.paths, dataset, "train", **inputs, transform=method.transforms(spec.recipe), masks=True
        )
        self.held_out = ClipDataset(spec.paths, dataset, "val", **inputs, transform=None, masks=True)
        for split, clips in (("train", self.training), ("val", self.held_out)):
            if not len(clips):
                raise AvsbenchError(f"{spec.paths.index(dataset.name, split)}: no clips", expected="at least one clip")
        self.steps_per_epoch = -(-len(self.training) // self.batch)
        if "epoch_steps" in spec.recipe:
            self.steps_per_epoch = min(self.steps_per_epoch, spec.recipe["epoch_steps"])

    def train(self, epoch: int, skip: int) -> Iterator[Batch]:
        """Batches of one epoch without the first `skip`."""
        return iter(
            make_loader(
                self.training,
                batch=self.batch,
                seed=int(self.spec.seed),
                epoch=epoch,
                shuffle=True,
                workers=self.workers,
                pad_to=self.dataset.frames,
                skip=skip,
                stop=self.steps_per_epoch,
                pin_memory=self.on_gpu,
            )
        )

    def validation(self) -> Iterable[Batch]:
        """Batches of the validation split."""
        return make_loader(
            self.held_out,
            batch=self.validation_batch,
            seed=int(self.spec.seed),
            epoch=0,
            shuffle=False,
            workers=self.workers,
            pad_to=None,
            pin_memory=self.on_gpu,
        )
