"""Names of the authors' checkpoint -> ours."""

import re

from torch import Tensor

from avsbench.nn.backbones import PVTEncoder

DEAD = (r"resnet\.layer[34]_2\..*", r"path4\.resConfUnit1\..*")
"""Stored by the authors' network and never used: a second copy of the last ResNet stages, and the unit that would
refine a map coarser than the coarsest. The card lists the same patterns."""

_ATTENTION = {
    "align_channel": "align",
    "norm_layer": "norm",
    "theta": "query",
    "phi": "key",
    "g": "value",
    "W_z.0": "output",
    "W_z.1": "output_norm",
}
_HEAD = {"0": "reduce", "2": "refine", "4": "classify"}
_UNITS = {"resConfUnit1": "skip", "resConfUnit2": "refine"}


def rename(key: str) -> str | None:
    """Our name of one of the authors' keys; None for `DEAD`. An unknown name stays, and the loader reports it."""
    if any(re.fullmatch(pattern, key) for pattern in DEAD):
        return None
    prefix, _, rest = key.partition(".")
    if prefix == "resnet":
        return "visual." + re.sub(r"^layer([34])_1\.", r"layer\1.", rest)
    if prefix == "encoder_backbone":
        return f"visual.{PVTEncoder.rename_official(rest)}"
    if match := re.fullmatch(r"conv([1-4])\.conv2d_list\.(.+)", key):
        return f"necks.{int(match[1]) - 1}.branches.{match[2]}"
    if match := re.fullmatch(rf"tpavi_b([1-4])\.({'|'.join(map(re.escape, _ATTENTION))})\.(\w+)", key):
        return f"attention.{int(match[1]) - 1}.{_ATTENTION[match[2]]}.{match[3]}"
    if match := re.fullmatch(r"path([1-4])\.(resConfUnit[12])\.(.+)", key):
        return f"fusion.{int(match[1]) - 1}.{_UNITS[match[2]]}.{match[3]}"
    if match := re.fullmatch(r"output_conv\.([024])\.(\w+)", key):
        return f"head.{_HEAD[match[1]]}.{match[2]}"
    return key


def flatten_kernel(key: str, value: Tensor) -> Tensor:
    """[O,I,1,1,1] of the attention's convolutions -> [O,I] of a linear layer."""
    return value.flatten(1) if key.startswith("attention.") and value.ndim == 5 else value
