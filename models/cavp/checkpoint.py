"""Names of the authors' checkpoint -> ours."""

import re

DEAD = (r"audio_backbone\.cls_head\..*", r"cross_att\.pos_embed_[va]")
"""Stored by the authors and never used: a classifier of sounds, and positional embeddings that are never added.
The card lists the same patterns."""

_NAMES = {
    r"backbone\.backbone\.": "visual.",
    r"audio_backbone\.backbone\.(features|embeddings|fc)\.": r"audio.\1.",
    r"audio_backbone\.backbone\.": "audio.trunk.",
    r"segment\.aspp\.map_convs\.": "pyramid.branches.",
    r"segment\.aspp\.map_bn\.": "pyramid.branch_norm.",
    r"segment\.aspp\.red_conv\.": "pyramid.branch_reduce.",
    r"segment\.aspp\.global_pooling_conv\.": "pyramid.pool.",
    r"segment\.aspp\.global_pooling_bn\.": "pyramid.pool_norm.",
    r"segment\.aspp\.pool_red_conv\.": "pyramid.pool_reduce.",
    r"segment\.aspp\.red_bn\.": "pyramid.norm.",
    r"segment\.reduce\.": "reduce.",
    r"segment\.upsample\.last_conv\.": "head.refine.",
    r"segment\.upsample\.classifier\.": "head.classify.",
    r"visual_projector\.fc1\.": "projector.0.",
    r"visual_projector\.fc2\.": "projector.2.",
    r"cross_att\.patch_embed_v\.proj\.": "fusion.embed_visual.",
    r"cross_att\.patch_embed_a\.proj\.": "fusion.embed_audio.",
    r"cross_att\.blocks\.0\.attn\.q\.": "fusion.query.",
    r"cross_att\.blocks\.0\.attn\.k\.": "fusion.key.",
    r"cross_att\.blocks\.0\.attn\.v\.": "fusion.value.",
    r"cross_att\.blocks\.0\.attn\.proj\.": "fusion.output.",
    r"cross_att\.blocks\.0\.mlp\.fc1\.": "fusion.mlp.0.",
    r"cross_att\.blocks\.0\.mlp\.fc2\.": "fusion.mlp.2.",
    r"cross_att\.blocks\.0\.(norm[12])\.": r"fusion.\1.",
    r"cross_att\.norm\.": "fusion.norm.",
}
"""Pattern of a name's beginning -> ours; the first that fits counts."""


def rename(key: str) -> str | None:
    """Our name of one of the authors' keys; None for `DEAD`. An unknown name stays, and the loader reports it."""
    if any(re.fullmatch(pattern, key) for pattern in DEAD):
        return None
    for pattern, name in _NAMES.items():
        renamed, count = re.subn(f"^{pattern}", name, key)
        if count:
            return renamed
    return key
