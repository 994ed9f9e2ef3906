"""From clips to `Batch`: padding, and batches in a reproducible order.

The order of clips depends on seed and epoch, the random numbers of an augmentation on these and the clip's place in the
csv. Neither depends on worker processes or on what was read before, so an interrupted epoch continues in its middle.

Training must be given the splits train and val only; the rules of the workflow see to it by not listing test shards as
inputs. Nothing here knows what a split is for.
"""

import functools
import signal
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Dataset

from avsbench.contract import IGNORE, Batch
from avsbench.errors import AvsbenchError
from avsbench.features import FEATURES
from avsbench.store.clips import ClipDataset, seeded_generator

__all__ = ["ClipDataset", "Loader", "collate", "epoch_batches", "make_loader", "seeded_generator"]


def collate(items: Sequence[dict], pad_to: int | None = None) -> Batch:
    """Stack clips to a Batch of T = `pad_to` frames (None: the longest clip).

    Padding: frames and audio 0, features what `avsbench.features.FEATURES` says (0, of boxes NaN), masks 255, annotated
    False, real False. Ragged features (proposals, boxes) are filled up to the clip that has most, at the end.
    """
    lengths = [len(item["frames"]) for item in items]
    frames = pad_to if pad_to is not None else max(lengths)
    if max(lengths) > frames:
        raise AvsbenchError(
            f"clip {items[lengths.index(max(lengths))]['clip_id']} is longer than a batch",
            found=f"{max(lengths)} frames",
            expected=f"at most {frames}",
        )

    def stack(name: str, tensors: list[torch.Tensor], fill: float = 0) -> torch.Tensor:
        shapes = {tuple(tensor.shape[1:]) for tensor in tensors}
        if len(shapes) > 1:
            raise AvsbenchError(
                f"clips of one batch differ in the shape of {name}",
                found=" and ".join(map(str, sorted(shapes))),
                hint="a transform must give every clip one size; clips of several sizes need a batch of 1",
            )
        whole = tensors[0].new_full((len(tensors), frames, *shapes.pop()), fill)
        for row, tensor in zip(whole, tensors, strict=True):
            row[: len(tensor)] = tensor
        return whole

    def of(name: str, fill: int = 0) -> torch.Tensor:
        return stack(name, [item[name] for item in items], fill)

    def feature(name: str) -> torch.Tensor:
        kind, tensors = FEATURES.get(name), [item["features"][name] for item in items]
        if kind is None:
            return stack(name, tensors)
        if kind.ragged:
            most = max(tensor.shape[1] for tensor in tensors)
            tensors = [_filled(tensor, most, kind.fill) for tensor in tensors]
        return stack(name, tensors, kind.fill)

    masked = "masks" in items[0]
    return Batch(
        frames=of("frames"),
        real=of("real"),
        clip_ids=[item["clip_id"] for item in items],
        audio={name: stack(name, [item["audio"][name] for item in items]) for name in items[0]["audio"]},
        features={name: feature(name) for name in items[0]["features"]},
        masks=of("masks", IGNORE) if masked else None,
        annotated=of("annotated") if masked else None,
        aligned=torch.tensor([item["aligned"] for item in items]) if "aligned" in items[0] else None,
    )


def _filled(tensor: torch.Tensor, count: int, fill: float) -> torch.Tensor:
    """[T,n,...] -> [T,count,...], what is missing at the end."""
    missing = tensor.new_full((len(tensor), count - tensor.shape[1], *tensor.shape[2:]), fill)
    return torch.cat([tensor, missing], dim=1)


def make_loader(
    dataset: ClipDataset,
    batch: int,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = False,
    workers: int = 0,
    pad_to: int | None = None,
    *,
    skip: int = 0,
    stop: int | None = None,
    drop_last: bool = False,
    pin_memory: bool = False,
) -> "Loader":
    """The batches of one epoch; make a new one for each epoch.

    Args:
        dataset: the clips.
        batch: clips a batch; the last may be smaller unless `drop_last`.
        seed, epoch: decide the order (with `shuffle`) and every augmentation.
        shuffle: a new order each epoch; else csv order.
        workers: processes that read ahead; 0 reads in this one. Never changes what comes out.
        pad_to: T of every batch; None: the longest clip of each batch.
        skip: leave out this many batches from the front, to continue an interrupted epoch.
        stop: end the epoch after this many batches, those of `skip` included.
        pin_memory: put batches into page-locked memory.
    """
    batches = epoch_batches(len(dataset), batch, seed=seed, epoch=epoch, shuffle=shuffle, drop_last=drop_last)
    return load_batches(
        dataset, batches[skip:stop], seed=seed, epoch=epoch, workers=workers, pad_to=pad_to, pin_memory=pin_memory
    )


def load_batches(
    dataset: ClipDataset,
    batches: list[list[int]],
    *,
    seed: int = 0,
    epoch: int = 0,
    workers: int = 0,
    pad_to: int | None = None,
    pin_memory: bool = False,
) -> "Loader":
    """Batches of these clips (numbers in csv order); the rest as in `make_loader`."""
    if workers and dataset.cache:
        dataset.preload()  # before the workers fork: each would otherwise fill and lose a cache of its own
    return Loader(
        DataLoader(
            _Epoch(dataset, seed, epoch),
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=functools.partial(_collate, pad_to=pad_to),
            pin_memory=pin_memory,
            worker_init_fn=_outlive_sigterm,
            # Its own generator: torch's global one, which dropout draws from, must not depend on the loader.
            generator=torch.Generator(),
        )
    )


def _outlive_sigterm(worker: int) -> None:
    """A SIGTERM to the whole group is for the main process to answer: a training finishes its step and saves."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def epoch_batches(
    clips: int, batch: int, *, seed: int, epoch: int, shuffle: bool, drop_last: bool = False
) -> list[list[int]]:
    """Clip numbers of every batch of an epoch."""
    order = (
        torch.randperm(clips, generator=seeded_generator("order", seed, epoch)).tolist() if shuffle else range(clips)
    )
    batches = [list(order[start : start + batch]) for start in range(0, clips, batch)]
    return batches[:-1] if drop_last and clips % batch else batches


class Loader:
    """Iterable over the batches of an epoch; `len` is their number. A worker's fault is raised here as it was there."""

    def __init__(self, loader: DataLoader):
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        for found in self._loader:
            if isinstance(found, AvsbenchError):
                raise found
            yield found


class _Epoch(Dataset):
    """A data set as one epoch sees it. Faults come back as values: torch would bury the message in a traceback."""

    def __init__(self, dataset: ClipDataset, seed: int, epoch: int):
        self.dataset, self.seed, self.epoch = dataset, seed, epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> dict | AvsbenchError:
        try:
            return self.dataset.item(number, self.seed, self.epoch)
        except AvsbenchError as error:
            return error


def _collate(items: list, pad_to: int | None) -> Batch | AvsbenchError:
    for item in items:
        if isinstance(item, AvsbenchError):
            return item
    try:
        return collate(items, pad_to)
    except AvsbenchError as error:
        return error
