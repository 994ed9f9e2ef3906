"""Batches of noise for networks that hear VGGish's log-mel spectrograms."""

import torch

from avsbench.contract import IGNORE, Batch


def batch(lengths=(5, 5), padded=5, size=64, annotated=None) -> Batch:
    """Clips of so many frames, padded to `padded`; real frames are annotated unless said otherwise."""
    torch.manual_seed(1)
    real = torch.tensor([[t < length for t in range(padded)] for length in lengths])
    shape = real.shape
    annotated = real if annotated is None else annotated
    masks = torch.randint(0, 2, (*shape, size, size))
    masks[~annotated] = IGNORE
    return Batch(
        frames=torch.randint(0, 256, (*shape, 3, size, size), dtype=torch.uint8),
        real=real,
        clip_ids=[f"clip{i}" for i in range(len(lengths))],
        audio={"vggish_mel": torch.randn(*shape, 1, 96, 64) * real[:, :, None, None, None]},
        masks=masks,
        annotated=annotated,
    )
