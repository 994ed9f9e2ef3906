"""Run a method over a split and store what it says, on every scoring grid."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from tqdm import tqdm

from avsbench.contract import Batch, Method
from avsbench.errors import AvsbenchError
from avsbench.evaluation.operations import gflops_per_frame
from avsbench.evaluation.predictions import PredictionWriter
from avsbench.nn.probability import foreground_probability

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """How long predicting took: `seconds` in the network, on `frames` real frames of `clips` clips."""

    clips: int
    frames: int
    seconds: float

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0


@torch.inference_mode()
def predict_clips(
    method: Method,
    batches: Iterable[Batch],
    writer: PredictionWriter,
    *,
    device: torch.device | str = "cpu",
    grids: Iterable[str] = ("common",),
    common_size: tuple[int, int] | None = None,
    native_sizes: Mapping[str, tuple[int, int]] | None = None,
    batch_independent: bool = False,
    total: int | None = None,
) -> Timing:
    """Predict every clip of `batches` and store its real frames, their speed, and what the first clip computes a frame.

    Args:
        method: put into eval mode here.
        batches: e.g. a loader; masks are not used.
        writer: an open prediction file of the same task.
        grids: "common" (the size of the stored frames), "512" (512 x 512), "native".
        common_size: (height, width) of the grid "common"; None: the size of the frames that the method sees.
        native_sizes: clip id -> (height, width), for the grid "native".
        batch_independent: the method treats clips of a batch apart and padding does no harm, so batches go in as they
            come. Otherwise one clip per forward, without its padding.
        total: number of batches, for the progress display.

    Raises:
        AvsbenchError: scores are not finite or of wrong shape; names the clip.
    """
    device = torch.device(device)
    method.to(device).eval()
    clips = frames = 0
    seconds, first = 0.0, None
    for loaded in tqdm(batches, desc="predict", unit="batch", disable=None, total=total):
        for batch in [loaded] if batch_independent else single_clips(loaded):
            batch = batch.to(device)
            first = first or next(single_clips(batch))
            start = _clock(device)
            output = method(batch)
            seconds += _clock(device) - start
            for grid in grids:
                # Clips of one size share a call; only native sizes can differ within a batch.
                for size, members in _sizes(batch, grid, common_size, native_sizes).items():
                    start = _clock(device)
                    scores = method.scores(output, size)
                    _check(scores, batch, method.channels, size, members)
                    masks = method.masks(scores)
                    seconds += _clock(device) - start
                    for b in members:
                        _store(writer, grid, batch.clip_ids[b], scores[b][batch.real[b]], masks[b][batch.real[b]])
            clips += len(batch)
            frames += int(batch.real.sum())
    timing = Timing(clips, frames, seconds)
    writer.frames_per_second = timing.frames_per_second
    log.info("predicted %d frames of %d clips, %.1f frames/s", frames, clips, timing.frames_per_second)
    if first is not None:  # once more and at the end: counted operations take other kernels, whose last bits differ
        writer.gflops_per_frame = gflops_per_frame(method, first, _common(first, common_size))
    return timing


def single_clips(batch: Batch) -> Iterator[Batch]:
    """The clips of a batch, each alone and without its padding."""
    length = batch.frames.shape[1]
    for b in range(len(batch)):
        real = batch.real[b]

        def alone(value, b=b, real=real):
            if isinstance(value, Tensor):
                # What has a time axis loses its padding; a waveform, say, has none.
                return value[b, real][None] if value.ndim > 1 and value.shape[1] == length else value[b : b + 1]
            if isinstance(value, dict):
                return {key: alone(item) for key, item in value.items()}
            return value[b : b + 1] if isinstance(value, list) else value

        yield Batch(**{f.name: alone(getattr(batch, f.name)) for f in fields(Batch)})


def _sizes(
    batch: Batch, grid: str, common_size: tuple[int, int] | None, native_sizes: Mapping | None
) -> dict[tuple[int, int], list[int]]:
    """Size on the grid -> members of the batch."""
    everyone = list(range(len(batch)))
    if grid == "common":
        return {_common(batch, common_size): everyone}
    if grid == "512":
        return {(512, 512): everyone}
    sizes: dict[tuple[int, int], list[int]] = {}
    for b, clip_id in enumerate(batch.clip_ids):
        if native_sizes is None or clip_id not in native_sizes:
            raise AvsbenchError(f"clip {clip_id}: its original size is not known", hint="build the index again")
        sizes.setdefault(tuple(native_sizes[clip_id]), []).append(b)
    return sizes


def _common(batch: Batch, size: tuple[int, int] | None) -> tuple[int, int]:
    return size or tuple(batch.frames.shape[-2:])


def _check(scores: Tensor, batch: Batch, channels: int, size: tuple[int, int], members: list[int]) -> None:
    expected = (*batch.frames.shape[:2], channels, *size)
    if tuple(scores.shape) != expected:
        raise AvsbenchError(
            f"clip {batch.clip_ids[members[0]]}: scores of wrong shape", found=tuple(scores.shape), expected=expected
        )
    for b in members:
        if not torch.isfinite(scores[b][batch.real[b]]).all():
            raise AvsbenchError(
                f"clip {batch.clip_ids[b]}: the scores are not finite",
                hint="the weights or the sound of this clip are damaged; look at the run's log and the data report",
            )


def _store(writer: PredictionWriter, grid: str, clip_id: str, scores: Tensor, masks: Tensor) -> None:
    if writer.info.hard:
        writer.add_hard(grid, clip_id, masks)
    elif writer.info.task == "binary":
        writer.add_binary(grid, clip_id, probability=foreground_probability(scores), mask=masks)
    else:
        writer.add_semantic(grid, clip_id, masks)


def _clock(device: torch.device) -> float:
    """Seconds, after the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
