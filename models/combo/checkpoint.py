"""Names of what is COMBO's own in the authors' checkpoints -> ours."""

NOT_BUILT = ("sem_seg_head.fusion_module.b_attn.attn_list.0.v_proj.bias", "criterion.empty_weight")
"""A constant in all logits of a softmax; weights of the classes in the loss, which the recipe gives here."""

_PARTS = {
    "audio_backbone.": "audio.",
    "sem_seg_head.audio_transformation.embeddings.": "sound.",
    "sem_seg_head.fusion_module.audio_pos.": "fusion.sound_place.",
    "sem_seg_head.fusion_module.level_embed.": "fusion.level.",
    "sem_seg_head.fusion_module.b_attn.": "fusion.",
}
_INNER = {
    "gamma_a": "sound_scale",
    "gamma_v_list.0": "pixel_scale",
    "layer_norm_v_list.0.": "pixel_norm.",
    "layer_norm_a_list.0.": "sound_norm.",
    "attn_list.0.values_v_proj.": "attention.pixel_values.",
    "attn_list.0.values_a_proj.": "attention.sound_values.",
    "attn_list.0.out_v_proj.": "attention.pixel_output.",
    "attn_list.0.out_a_proj.": "attention.sound_output.",
    "attn_list.0.v_proj.": "attention.query.",
    "attn_list.0.a_proj.": "attention.key.",
}


def rename(key: str) -> str | None:
    """Our name of a key that is COMBO's own; None for `NOT_BUILT`. Other names stay."""
    if key in NOT_BUILT:
        return None
    for theirs, ours in _PARTS.items():
        if key.startswith(theirs):
            inner = key.removeprefix(theirs)
            for old, new in _INNER.items():
                inner = inner.replace(old, new)
            return ours + inner
    return key
