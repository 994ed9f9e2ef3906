"""Names of what is NTAVS's own in the authors' checkpoints -> ours."""

import re

from avsbench.nn.ced import CED

DEAD = (
    r"audio_backbone\.outputlayer\..*",
    r"sem_seg_head\.pixel_decoder\.(input_proj|linear1)\..*",
    r"sem_seg_head\.fusion_module\.(audio_pos|conv_proj_1)\..*",
)
"""Stored by the authors and never used: CED's classifier, and layers of the pixel decoder and of the fusion module. The
card lists the same patterns."""

_MIXER = {
    r"(sem_seg_head\.)?time_cross_attn_blocks\.": "mixer.blocks.",
    r"(sem_seg_head\.)?audio_linear\.": "mixer.between.",
    r"(sem_seg_head\.)?audio_linear_first\.": "mixer.early.",
    r"sem_seg_head\.fusion_module\.level_embed\.": "level.",
    r"visual_project\.": "projections.",
}
_SIDES = {"vis": "visual", "aud": "audio"}
_LAYERS = {
    "attn.qkv": "qkv",
    "attn.proj": "output",
    "norm2": "norm",
    "mlp": "feed_forward",
    "return_norm": "end_norm",
    "fc1": "0",
    "fc2": "3",
}


def rename(key: str) -> str | None:
    """Our name of a key that is NTAVS's own; None for `DEAD`. Other names stay."""
    if any(re.fullmatch(pattern, key) for pattern in DEAD):
        return None
    if key.startswith("audio_backbone."):
        return f"audio.{CED.rename_official(key.removeprefix('audio_backbone.'))}"
    for pattern, name in _MIXER.items():
        key, count = re.subn(f"^{pattern}", name, key)
        if count:
            return _in_block(key)
    return key


def _in_block(key: str) -> str:
    """`0.attn.qkv_vis.weight` and `0.vis_return_norm.weight` -> `0.visual.qkv.weight`, `0.visual.end_norm.weight`."""
    match = re.fullmatch(r"(mixer\.blocks\.\d+)\.(?:(vis|aud)_)?([\w.]+?)(?:_(vis|aud))?(?:\.(fc[12]))?\.(\w+)", key)
    if match is None:
        return key
    block, before, layer, after, inner, last = match.groups()
    parts = [block, _SIDES[before or after], _LAYERS[layer], *([_LAYERS[inner]] if inner else []), last]
    return ".".join(parts)
