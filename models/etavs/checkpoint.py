"""Names of the authors' checkpoint -> ours. It carries both encoders; ours are filled from it too."""

import re

from avsbench.nn.backbones import PVTEncoder

DEAD = (r"visual_encoder\.layer[34]_2\..*",)
"""Stored by the authors' network and never used: a second copy of the last ResNet stages. The card lists the same."""

_MESSENGER = {
    "intermediate_queries.weight": "queries",
    "intermediate_query_proj": "split_queries",
    "audio_feat_proj": "read_audio",
    "vis_feat_proj": "read_visual",
    "audio_norm": "audio_norm",
    "vis_norm": "visual_norm",
    "self_attn": "fuse",
    "audio_query_proj": "audio_message",
    "vis_query_proj": "visual_message",
    "audio_q_proj": "audio_query",
    "visual_q_proj": "visual_query",
    "audio_out": "audio_output",
    "vis_out": "visual_output",
}
_FUSION = {
    "spatial_attn.kv_proj": "spatial.kv",
    "spatial_attn.self_attn": "spatial.attention",
    "spatial_attn.norm": "spatial.norm",
    "cross_attn": "attention",
    "kv_proj": "kv",
    "norm1": "norm1",
    "norm2": "norm2",
    "ffn": "feed_forward",
}
_DECODER = {"adapter": "adapters", "layer": "layers", "audio_proj": "audio_projections"}


def rename(key: str) -> str | None:
    """Our name of one of the authors' keys; None for `DEAD`. An unknown name stays, and the loader reports it."""
    if any(re.fullmatch(pattern, key) for pattern in DEAD):
        return None
    prefix, _, rest = key.partition(".")
    if prefix == "visual_encoder":  # ResNet's names are none of PVT's, which leaves them alone
        return "visual." + re.sub(r"^layer([34])_1\.", r"layer\1.", PVTEncoder.rename_official(rest))
    if prefix == "audio_encoder":
        return f"audio.{rest}"
    if match := re.fullmatch(r"bridger\.Fusers\.([0-3])\.(.+)", key):
        return f"messengers.{match[1]}.{_begin(match[2], _MESSENGER)}"
    if match := re.fullmatch(r"decoder\.fusion_block_([0-3])\.(.+)", key):
        return f"decoder.fusion.{match[1]}.{_begin(match[2], _FUSION)}"
    if match := re.fullmatch(r"decoder\.(adapter|layer|audio_proj)_([1-4])\.(\w+)", key):
        return f"decoder.{_DECODER[match[1]]}.{int(match[2]) - 1}.{match[3]}"
    return re.sub(r"^decoder\.mask_features\.", "decoder.mask.", key)


def _begin(key: str, names: dict[str, str]) -> str:
    """Replace how `key` begins, and a packed input projection's name."""
    for theirs, ours in names.items():
        if key == theirs or key.startswith(f"{theirs}."):
            return (ours + key.removeprefix(theirs)).replace(".in_proj_", ".in_proj.")
    return key
