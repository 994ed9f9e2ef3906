"""The generator `felzenszwalb`: regions of like colour, a partition of the picture, by scikit-image.

P. Felzenszwalb, D. Huttenlocher, "Efficient Graph-Based Image Segmentation", IJCV 59 (2004). Deterministic, no weights:
for tests and demonstrations, not for published accuracy.
"""

import numpy as np

from avsbench.errors import AvsbenchError
from avsbench.features import Generator, Proposals


class Felzenszwalb(Generator):
    """One mask a region, all with score 1.

    Args:
        scale: higher gives larger regions.
        sigma: width of the Gaussian that smooths the picture first, in pixels.
        min_size: pixels of the smallest region.
    """

    def __init__(self, *, scale: float, sigma: float, min_size: int):
        if scale <= 0 or sigma < 0 or min_size < 0:
            raise AvsbenchError(
                "felzenszwalb: an option is out of range",
                found=f"scale {scale}, sigma {sigma}, min_size {min_size}",
                expected="scale above 0, sigma and min_size not below 0",
                hint="mend features.maskige.options in the configuration",
            )
        self.scale, self.sigma, self.min_size = scale, sigma, min_size

    def propose(self, image: np.ndarray) -> Proposals:
        from skimage.segmentation import felzenszwalb

        labels = felzenszwalb(image, scale=self.scale, sigma=self.sigma, min_size=self.min_size, channel_axis=-1)
        masks = labels == np.unique(labels)[:, None, None]
        return Proposals(masks, np.ones(len(masks), np.float32))


def build(*, weights: str | None, device: str, scale: float, sigma: float, min_size: int) -> Generator:
    """Computes on the CPU, whatever the device."""
    return Felzenszwalb(scale=scale, sigma=sigma, min_size=min_size)
