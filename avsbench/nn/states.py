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
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    misshapen = [
        f"{key} {list(value.shape)} instead of {list(own[key].shape)}"
        for key, value in state.items()
        if key in own and own[key].shape != value.shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    faults = [f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in kinds.items() if keys]
    if faults:
        raise AvsbenchError(
            f"the weights do not fit {type(module).__name__}",
            found="\n            ".join(faults),
            expected=f"{len(own)} tensors, {', '.join(list(own)[:2])} …",
            hint="check that the file belongs to this network and scale",
        )
    module.load_state_dict(state, strict=False)


def _some(keys: list[str]) -> str:
    more = len(keys) - SHOWN
    return ", ".join(keys[:SHOWN]) + (f" … and {more} more" if more > 0 else "")
