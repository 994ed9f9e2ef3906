"""The four published files around AudioCLIP, and which of their tensors belong to which tower.

| file | holds |
|---|---|
| AudioCLIP-Full-Training.pt | three towers and the scales, all trained on AudioSet |
| AudioCLIP-Partial-Training.pt | the same; image and text towers are OpenAI's |
| CLIP.pt | OpenAI's RN50: image and text tower, one scale |
| ESRNXFBSP.pt | the audio tower alone, by names without `audio.`, with a classifier of AudioSet's 527 classes |
"""

import re

from torch import Tensor

from avsbench.errors import AvsbenchError
from avsbench.nn.states import SHOWN

TOWERS = {
    "visual": r"visual\.",
    "audio": r"audio\.",
    "text": r"text\.|positional_embedding$|text_projection$|token_embedding\.|transformer\.|ln_final\.",
}
"""Tower -> how its names begin. The text tower has no prefix in the published files."""
SCALES = {
    "logit_scale_ai": "sound_image",
    "logit_scale_at": "sound_text",
    "logit_scale": "image_text",
}
"""Published name of a similarity's scale -> the pair whose similarity it scales."""
_SETTINGS = ("input_resolution", "context_length", "vocab_size")


def tower_state(state: dict[str, Tensor], tower: str) -> dict[str, Tensor]:
    """What a file holds of one tower, without the prefix; a file with none of its names there is taken as it is.

    Args:
        state: a published file, or one of ours.
        tower: "visual", "audio" or "text".

    Raises:
        AvsbenchError: names that belong to no part of AudioCLIP stand among its own.
    """
    parts: dict[str | None, dict[str, Tensor]] = {name: {} for name in TOWERS}
    strange = []
    for key, value in state.items():
        owner = next((name for name, pattern in TOWERS.items() if re.match(pattern, key)), None)
        if owner is not None:
            parts[owner][key.removeprefix(f"{owner}.")] = value
        elif not (key in SCALES or key.startswith("scales.") or is_setting(key)):
            strange.append(key)
    if not parts[tower]:
        return state
    if strange:
        raise AvsbenchError(
            f"the file holds more than the {tower} tower of AudioCLIP",
            found=f"{len(strange)} other tensors: {', '.join(strange[:SHOWN])}{' …' * (len(strange) > SHOWN)}",
            expected="names of AudioCLIP or CLIP, or those of the tower alone",
            hint="check that the file is one of AudioCLIP-Full-Training.pt, AudioCLIP-Partial-Training.pt, CLIP.pt",
        )
    return parts[tower]


def is_setting(key: str) -> bool:
    """Whether it is one of three numbers that OpenAI's own file of CLIP keeps beside the weights."""
    return key in _SETTINGS
