"""State dicts into modules: strict, with a readable list of what does not fit."""

from torch import Tensor, nn

from avsbench.errors import AvsbenchError

SHOWN = 5
"""Keys named in an error before it only counts."""


def load_strict(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Load `state` into `module`; every tensor of either side must have its partner of the same shape.

    One exception: `num_batches_tracked` may be missing, since files older than that counter lack it; it stays 0.

    Raises:
        AvsbenchError: lists missing, unexpected and misshapen tensors.
    """
    own = module.state_dict()
    optional = {key: value for key, value in own.items() if key.endswith("num_batches_tracked") and key not in state}
    faults = misfits(state, {key: value for key, value in own.items() if key not in optional})
    if faults:
        raise AvsbenchError(
            f"the weights do not fit {type(module).__name__}",
            found="\n            ".join(faults),
            expected=f"{len(own)} tensors, {', '.join(list(own)[:2])} …",
            hint="check that the file belongs to this network and scale",
        )
    module.load_state_dict(state, strict=False)


def misfits(state: dict[str, Tensor], expected: dict[str, Tensor]) -> list[str]:
    """What keeps `state` from filling `expected`: a line for missing, unexpected and misshapen tensors each."""
    kinds = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [
            f"{key} {list(state[key].shape)} instead of {list(value.shape)}"
            for key, value in expected.items()
            if key in state and state[key].shape != value.shape
        ],
    }
    return [f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in kinds.items() if keys]


def _some(keys: list[str]) -> str:
    more = len(keys) - SHOWN
    return ", ".join(keys[:SHOWN]) + (f" … and {more} more" if more > 0 else "")
