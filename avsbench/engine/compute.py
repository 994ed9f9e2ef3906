"""How a training computes: precision, memory layout, fused updates, compilation. The recipe key `compute`.

What a step means does not change here, only rounding and speed do. Prediction and parity tests compute in float32
without TF32, whatever a recipe says (`exact`).
"""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from avsbench.contract import Batch, Method
from avsbench.errors import AvsbenchError

PRECISIONS = ("float32", "tf32", "bfloat16")
COMPILE = ("none", "default", "reduce-overhead", "max-autotune")


@dataclass(frozen=True, kw_only=True)
class Compute:
    """The recipe key `compute`, with its defaults.

    Attributes:
        precision: `float32`, nothing less anywhere; `tf32`, matrix products and convolutions may round their inputs to
            TF32 on GPUs that have it (no effect elsewhere); `bfloat16`, the forward pass under autocast, weights,
            updates, losses and scores in float32, TF32 for the rest.
        channels_last: weights of 2-d convolutions in NHWC order, which tensor cores like; None: on a GPU.
        fused: one kernel for the whole optimiser update; None: on a GPU.
        compile: mode of torch.compile for the forward pass, or `none`. `reduce-overhead` replays CUDA graphs; it pays
            where a step is bound by launches, and needs shapes that stay the same.
        augment: `cpu`, the published augmentation, in the loader's processes; `device`, the method's version for
            batches on the GPU, faster and not the same numbers. Labelled in run.json.
    """

    precision: str = "tf32"
    channels_last: bool | None = None
    fused: bool | None = None
    compile: str = "none"
    augment: str = "cpu"

    @classmethod
    def of(cls, recipe: dict) -> "Compute":
        """What a recipe says.

        Raises:
            AvsbenchError: a key or value that does not exist.
        """
        asked = recipe.get("compute", {})
        names = [f.name for f in fields(cls)]
        for key in asked:
            if key not in names:
                raise AvsbenchError(f"recipe: unknown key {key!r} in compute", expected=f"one of {', '.join(names)}")
        compute = cls(**asked)
        for key, choices in (("precision", PRECISIONS), ("compile", COMPILE), ("augment", ("cpu", "device"))):
            if getattr(compute, key) not in choices:
                raise AvsbenchError(
                    f"recipe: unknown compute.{key} {getattr(compute, key)!r}", expected=f"one of {', '.join(choices)}"
                )
        return compute

    def on(self, device: torch.device) -> "Compute":
        """With every None decided for `device`."""
        gpu = device.type == "cuda"
        decided = {key: gpu if getattr(self, key) is None else getattr(self, key) for key in ("channels_last", "fused")}
        return Compute(**{**vars(self), **decided})

    @property
    def deviations(self) -> list[str]:
        """What may change scores beyond rounding of float32, in words."""
        found = ["forward pass in bfloat16"] if self.precision == "bfloat16" else []
        return found + (["augmentation on the device"] if self.augment == "device" else [])

    def prepare(self, method: Method, device: torch.device) -> Method:
        """Move a method to its device and lay it out; sets this process's TF32 policy. Returns the same object."""
        set_tf32(self.precision != "float32")
        method.to(device)
        if self.channels_last:
            method.to(memory_format=torch.channels_last)
        if self.compile != "none":
            method.compile(mode=self.compile)
        return method

    def forward(self, method: Method, batch: Batch) -> Any:
        """`method(batch)` in the precision asked for; every floating-point tensor of the output is float32."""
        if self.compile == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        if self.precision != "bfloat16":
            return method(batch)
        with torch.autocast(batch.frames.device.type, torch.bfloat16):
            output = method(batch)
        return as_float32(output)


def exact() -> None:
    """Float32 and nothing less in this process: for predictions, whose numbers must not depend on the GPU's make."""
    set_tf32(False)


def set_tf32(allowed: bool) -> None:
    """Let matrix products and convolutions of this process use TF32, or not (torch by itself lets only the latter)."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


def as_float32(output: Any) -> Any:
    """Nested dicts, lists and tuples of tensors with every half-precision one as float32."""
    if isinstance(output, Tensor):
        return output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
    if isinstance(output, dict):
        return {key: as_float32(value) for key, value in output.items()}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*map(as_float32, output))
    if isinstance(output, (list, tuple)):
        return type(output)(map(as_float32, output))
    return output
