"""Where tensors live. The one place that chooses a device; a lease among several GPUs belongs here too."""

from typing import TYPE_CHECKING

from avsbench.errors import AvsbenchError

if TYPE_CHECKING:
    import torch

CHOICES = ("auto", "cpu", "cuda")


def pick_device(choice: str = "auto") -> "torch.device":
    """The device of this process: `auto` takes CUDA where there is one.

    Raises:
        AvsbenchError: `cuda` was asked for and there is none, or the choice is unknown.
    """
    import torch

    if choice not in CHOICES:
        raise AvsbenchError(f"unknown device {choice!r}", expected=f"one of {', '.join(CHOICES)}")
    available = torch.cuda.is_available()
    if choice == "cuda" and not available:
        raise AvsbenchError(
            "device cuda was asked for, and torch sees none",
            found=f"torch {torch.__version__}, built for CUDA {torch.version.cuda}",
            hint="set device: auto (or cpu) in the configuration, or install a torch that fits the driver",
        )
    return torch.device("cuda" if available and choice != "cpu" else "cpu")


def describe(device: "torch.device") -> str:
    """A name for run.json: the GPU's model, or the processor architecture."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    import platform

    return f"cpu ({platform.machine()})"


def synchronize(device: "torch.device") -> None:
    """Wait for the device's queue, so that a clock read next tells the truth."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
