"""Audio front ends: a name, the shape a frame gets, and the one function that computes it.

A family is a module of this package, called after the first word of its front ends: `msai_256` is in `msai.py`, in the
list FRONT_ENDS of that module. A new one needs no entry anywhere else, and no other front end is computed anew.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from avsbench.errors import AvsbenchError

if TYPE_CHECKING:  # planning needs the names alone
    import numpy as np

    from avsbench.media.clip_sound import ClipSound


@dataclass(frozen=True)
class FrontEnd:
    """A named audio representation.

    Attributes:
        name: as method cards write it under `inputs.front_ends`.
        shape: of one frame, without T.
        function: sound of a clip -> float32 [T, *shape].
        still_shape: of one frame where clips are still pictures, if it is another.
    """

    name: str
    shape: tuple[int, ...]
    function: "Callable[[ClipSound], np.ndarray]"
    still_shape: tuple[int, ...] | None = None

    def frame_shape(self, still: bool) -> tuple[int, ...]:
        """The shape of one frame, in a data set of still pictures or of videos."""
        return self.still_shape if still and self.still_shape else self.shape

    def compute(self, clip: "ClipSound") -> "np.ndarray":
        """The representation of a clip, float32 [T, *frame_shape], checked.

        Raises:
            AvsbenchError: sound that the front end cannot take, or a result of another shape or not finite.
        """
        import numpy as np

        array = self.function(clip)
        shape = (clip.frames, *self.frame_shape(clip.still))
        if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
            raise AvsbenchError(
                f"front end {self.name}: wrong result",
                found=f"{array.dtype} {array.shape}, finite: {bool(np.isfinite(array).all())}",
                expected=f"finite float32 {shape}",
            )
        return array


def module_of(name: str) -> str:
    """The module that a front end of this name is in, whether or not it exists."""
    return f"{__name__}.{name.partition('_')[0]}"


def has_family(name: str) -> bool:
    """True if the module exists that a front end of this name would be in; imports nothing."""
    return name.partition("_")[0] in _families()


class _FrontEnds(Mapping):
    """Name -> FrontEnd; imports the family that is asked for, and all of them only to list what exists."""

    def __getitem__(self, name: str) -> FrontEnd:
        return (_listed(name.partition("_")[0]) if has_family(name) else {})[name]

    def __iter__(self) -> Iterator[str]:
        for family in _families():
            yield from _listed(family)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _families() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]


def _listed(family: str) -> dict[str, FrontEnd]:
    return {end.name: end for end in importlib.import_module(f"{__name__}.{family}").FRONT_ENDS}


FRONT_ENDS = _FrontEnds()
