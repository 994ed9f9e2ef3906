"""Names of the authors' checkpoints -> ours."""

import re

from torch import Tensor

from avsbench.nn.backbones import PVTEncoder

COPIES = r"backbone\.layer[34]_2\..*"
"""A second copy of the last ResNet stages: in the file of either release, never used."""

LEFT_OVER = r"head\.(fpn|attn_fc)\..*"
"""What made the first release's intermediate masks: still in files of the current one, which does not use it."""

_PREFIXES = {
    "audio_proj.": "sound.",
    "cosine_sim.audio_proj.": "agreement.projection.",
    "vggish.": "audio.",
    "head.level_embed": "head.levels",
    "head.learnable_query.weight": "head.queries",
    "head.query_generator.query.weight": "head.generator.table",
    "head.query_generator.layers.": "head.generator.layers.",
    "head.transformer.encoder.layers.": "head.encoder.",
    "head.transformer.decoder.layers.": "head.decoder.",
    "head.in_proj.": "head.projections.",
    "head.lateral_conv.": "head.lateral.",
    "head.out_conv.": "head.output.",
    "head.fusion_block.q_proj.": "head.mixer.query.",
    "head.fusion_block.kv_proj.": "head.mixer.key_value.",
    "head.fusion_block.proj.": "head.mixer.gate.",
    "head.attn_fc.": "head.intermediate.classifier.",
    "head.fc.": "head.classifier.",
}
_LAYER = {
    "self_attn.in_proj_": "self_attention.in_proj.",
    "self_attn.out_proj.": "self_attention.out_proj.",
    "cross_attn.in_proj_": "cross_attention.in_proj.",
    "cross_attn.out_proj.": "cross_attention.out_proj.",
    "self_attn.": "attention.",
    "linear1.": "feed_forward.0.",
    "linear2.": "feed_forward.3.",
    "ffn.0.": "feed_forward.0.",
    "ffn.2.": "feed_forward.3.",
}
_NORMS = {
    "encoder": ("attention_norm", "feed_forward_norm"),
    "decoder": ("self_norm", "cross_norm", "feed_forward_norm"),
    "generator.layers": ("self_norm", "cross_norm", "feed_forward_norm"),
}


def rename(key: str) -> str | None:
    """Our name of one of the authors' keys; None for `COPIES`. An unknown name stays, and the loader reports it."""
    if re.fullmatch(COPIES, key):
        return None
    if key.startswith("backbone."):
        inner = re.sub(r"^layer([34])_1\.", r"layer\1.", key.removeprefix("backbone."))
        return f"visual.{PVTEncoder.rename_official(inner)}"
    if match := re.fullmatch(r"head\.mlp\.layers\.([012])\.(\w+)", key):
        return f"head.responses.{2 * int(match[1])}.{match[2]}"
    if match := re.fullmatch(r"head\.fpn\.up([123])\.1\.(\w+)", key):
        return f"head.intermediate.steps.{int(match[1]) - 1}.{match[2]}"
    for theirs, ours in _PREFIXES.items():
        if key.startswith(theirs):
            key = ours + key.removeprefix(theirs)
            break
    if match := re.fullmatch(r"head\.(encoder|decoder|generator\.layers)\.(\d+)\.(.+)", key):
        part, number, inner = match.groups()
        return f"head.{part}.{number}.{_rename_in_layer(part, inner)}"
    return key


def _rename_in_layer(part: str, key: str) -> str:
    if match := re.fullmatch(r"norm([123])\.(\w+)", key):
        return f"{_NORMS[part][int(match[1]) - 1]}.{match[2]}"
    for theirs, ours in _LAYER.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key


def drop_left_over(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors' state without `LEFT_OVER`, if the file is one of the current release (it has a query generator)."""
    if not any(key.startswith("head.query_generator.") for key in state):
        return state
    return {key: value for key, value in state.items() if not re.fullmatch(LEFT_OVER, key)}
