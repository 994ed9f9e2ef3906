"""The generator `none`: no masks, so that a maskige is of one colour."""

import numpy as np

from avsbench.features import Generator, Proposals


class Nothing(Generator):
    """Proposes nothing."""

    def propose(self, image: np.ndarray) -> Proposals:
        return Proposals(np.zeros((0, *image.shape[:2]), bool), np.zeros(0, np.float32))


def build(*, weights: str | None, device: str) -> Generator:
    """Without options."""
    return Nothing()
