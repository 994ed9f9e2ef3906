"""Names of the released code's checkpoint -> ours.

It holds the whole of AudioCLIP under `aclp.`, the text tower too, and the two towers in use a second time under names
of their own; these are the same tensors.
"""

import re

from torch import Tensor

from avsbench.nn.audioclip import AudioCLIP

ALIASES = r"visual_encoder\..*|audio_encoder\.(?!audio_backbone\.).*"
_PARTS = {
    "audio_encoder.audio_backbone.": "audio.",
    "audio_projector.": "projector.",
    "neck.lateral_convs.": "neck.lateral.",
    "neck.fpn_convs.": "neck.output.",
    "head.scale_heads.": "head.chains.",
    "head.seg_conv.": "head.classify.",
}


def rename(key: str) -> str | None:
    """Our name of one key; None for second names, and for the text tower and the scales of similarities, which nothing
    here asks for. An unknown name stays, and the loader reports it.
    """
    if re.fullmatch(ALIASES, key):
        return None
    if key.startswith("aclp."):
        renamed = AudioCLIP.rename_official(key.removeprefix("aclp."))
        return renamed if renamed and renamed.startswith(("visual.", "audio.")) else None
    for theirs, ours in _PARTS.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key


def convert(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A whole state dict. Where VGGish hears, AudioCLIP's audio tower is in the file and unused."""
    if "audio_projector.weight" in state:
        state = {key: value for key, value in state.items() if not key.startswith("aclp.audio.")}
    renamed = {rename(key): value for key, value in state.items()}
    renamed.pop(None, None)
    return renamed
