"""Files as AudioCLIP's authors publish them, made from networks of ours."""

import re

import torch

from avsbench.nn.audioclip_files import SCALES

THEIRS = {
    r"visual\.pool\.positions": "visual.attnpool.positional_embedding",
    r"visual\.pool\.(q|k|v)[a-z]*\.": r"visual.attnpool.\1_proj.",
    r"visual\.pool\.out\.": "visual.attnpool.c_proj.",
    r"audio\.spectrogram\.window": "audio.window",
    r"audio\.spectrogram\.order": "audio.fbsp.m",
    r"audio\.spectrogram\.bandwidth": "audio.fbsp.fb",
    r"audio\.spectrogram\.centre": "audio.fbsp.fc",
    r"audio\.trunk\.": "audio.",
    r"audio\.gates\.(\d)\.(depth|point)\.": lambda m: f"audio.att{int(m[1]) + 1}.conv_{m[2]}.",
    r"audio\.gates\.(\d)\.norm\.": lambda m: f"audio.att{int(m[1]) + 1}.bn.",
    r"audio\.head\.": "audio.fc.",
    r"text\.positions": "positional_embedding",
    r"text\.projection": "text_projection",
    r"text\.tokens\.": "token_embedding.",
    r"text\.norm\.": "ln_final.",
    r"text\.blocks\.(\d+)\.self_attn\.": r"transformer.resblocks.\1.attn.",
    r"text\.blocks\.(\d+)\.norm(\d)\.": r"transformer.resblocks.\1.ln_\2.",
    r"text\.blocks\.(\d+)\.linear1\.": r"transformer.resblocks.\1.mlp.c_fc.",
    r"text\.blocks\.(\d+)\.linear2\.": r"transformer.resblocks.\1.mlp.c_proj.",
} | {rf"scales\.{ours}": theirs for theirs, ours in SCALES.items()}


def their_name(key):
    for pattern, name in THEIRS.items():
        renamed, count = re.subn(f"^{pattern}", name, key)
        if count:
            return renamed
    return key


def full_training(model):
    """AudioCLIP-Full-Training.pt."""
    return {their_name(key): value for key, value in model.state_dict().items()} | {"audio.fbsp.bias": torch.zeros(0)}


def clip_alone(model):
    """CLIP.pt."""
    drop = ("audio.", "logit_scale_a")
    return {key: value for key, value in full_training(model).items() if not key.startswith(drop)}


def audioset(model, classes=527):
    """ESRNXFBSP.pt."""
    state = {key.removeprefix("audio."): v for key, v in full_training(model).items() if key.startswith("audio.")}
    width = state["fc.weight"].shape[1]
    return state | {"fc.weight": torch.zeros(classes, width), "fc.bias": torch.zeros(classes)}
