"""CED: a vision transformer that hears (Dinkel et al., ICASSP 2024; https://github.com/RicherMans/CED, Apache-2.0).

Letters in shapes: N examples, M mel bands, S time steps, C channels, P patches.
"""

import math
import re
from functools import partial

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

from avsbench.nn.states import load_strict

PATCH = (16, 16)
"""Bands and steps."""
BANDS = 64
LONGEST = 1012
"""Steps of 10 ms that the published position table covers; longer sounds are cut into pieces."""
CLASSES = 527
"""Of AudioSet."""
MINI = {"width": 64, "depth": 2, "patch": (32, 32), "longest": 96}
"""Arguments of the network that trains in seconds."""

_NAMES = {
    r"init_bn\.1\.": "input_norm.",
    r"patch_embed\.proj\.": "embed.",
    r"time_pos_embed$": "time_positions",
    r"freq_pos_embed$": "band_positions",
}
_OTHERS = r"(front_end|outputlayer)\..*"
"""What the published file holds beside the encoder: a fixed front end and the classifier."""


class CED(nn.Module):
    """The encoder, by default of CED-mini: spectrograms [N,M,S], S at most `longest` -> tokens [N,P,C].

    A token is a patch, by default of 16 bands and 16 steps; steps beyond the last whole patch do not count. The bands'
    index runs slower: 64 bands and 96 steps make 24 tokens, 6 of the lowest bands first.

    Args:
        width: C.
        depth: transformer blocks.
        heads: of the attention.
        patch: bands and steps of a token.
        longest: steps that the position table covers.
    """

    def __init__(
        self,
        *,
        width: int = 256,
        depth: int = 12,
        heads: int = 4,
        patch: tuple[int, int] = PATCH,
        longest: int = LONGEST,
    ):
        super().__init__()
        self.width, self.patch = width, patch
        self.input_norm = nn.BatchNorm2d(BANDS, momentum=0.01)
        self.embed = nn.Conv2d(1, width, kernel_size=patch, stride=patch)
        self.time_positions = nn.Parameter(torch.empty(1, width, 1, longest // patch[1]))
        self.band_positions = nn.Parameter(torch.empty(1, width, BANDS // patch[0], 1))
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.Sequential(*(Block(width, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth)))
        self.norm = norm(width)
        self.apply(_initialise)
        for positions in (self.time_positions, self.band_positions):
            nn.init.normal_(positions, std=0.02)

    def forward(self, spectrogram: Tensor) -> Tensor:
        return self.tokens(self.normalise(spectrogram))

    def normalise(self, spectrogram: Tensor) -> Tensor:
        """By the statistics of each band."""
        return self.input_norm(spectrogram[:, :, None])[:, :, 0]

    def count(self, steps: int) -> int:
        """P of a spectrogram with so many steps."""
        return (BANDS // self.patch[0]) * (steps // self.patch[1])

    def tokens(self, spectrogram: Tensor) -> Tensor:
        """Tokens of what `normalise` returned."""
        maps = self.embed(spectrogram[:, None])  # [N,C,M/16,S/16]
        maps = maps + self.time_positions[..., : maps.shape[-1]] + self.band_positions
        return self.norm(self.blocks(maps.flatten(2).transpose(1, 2)))

    @staticmethod
    def rename_official(key: str) -> str | None:
        """Our name of one of the authors' keys; None for those beside the encoder."""
        if re.fullmatch(_OTHERS, key):
            return None
        for pattern, name in _NAMES.items():
            key = re.sub(f"^{pattern}", name, key)
        return key

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Load the published file or our own state, strictly; a position table of another length is fitted to ours."""
        renamed = {self.rename_official(key): value for key, value in state.items()}
        renamed.pop(None, None)
        for name in ("time_positions", "band_positions"):
            if name in renamed:
                renamed[name] = fit_positions(renamed[name], getattr(self, name).shape[2:])
        load_strict(self, renamed)


class Tagger(nn.Module):
    """CED with its classifier: which of AudioSet's classes sound. What the file was trained for.

    Args:
        encoder: CED.
        classes: K.
    """

    def __init__(self, encoder: CED, classes: int = CLASSES):
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Sequential(nn.LayerNorm(encoder.width), nn.Linear(encoder.width, classes))
        self.classifier.apply(_initialise)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Decibels [N,M,S] of any length -> probabilities [N,K].

        Long sounds are cut into pieces of the position table's length, the last filled with zeros after the input norm,
        and the pieces' probabilities averaged. The released code also drops the last piece if it is a whole one.
        """
        x = self.encoder.normalise(spectrogram)
        if x.shape[2] > LONGEST:
            x = functional.pad(x, (0, -x.shape[2] % LONGEST))
        return torch.stack([self.classify(piece) for piece in x.split(LONGEST, dim=2)]).mean(dim=0)

    def classify(self, spectrogram: Tensor) -> Tensor:
        return self.classifier(self.encoder.tokens(spectrogram).mean(dim=1)).sigmoid()

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Load the published file, strictly."""
        parts = {key.removeprefix("outputlayer."): v for key, v in state.items() if key.startswith("outputlayer.")}
        load_strict(self.classifier, parts)
        self.encoder.load_pretrained(state)


def fit_positions(table: Tensor, size: tuple[int, int]) -> Tensor:
    """A position table [1,C,h,w] at another (height, width): a longer axis is cut, a shorter one interpolated."""
    table = table[..., : size[0], : size[1]]
    if tuple(table.shape[2:]) == tuple(size):
        return table
    return functional.interpolate(table, size=tuple(size), mode="bilinear", align_corners=False)


def decibel_mel(wave: Tensor) -> Tensor:
    """CED's front end: waves at 16 kHz [N,samples] -> power of 64 mel bands in dB, [N,64,1 + samples // 160].

    The floor is 120 dB below the loudest value of all N.
    """
    spectrum = torch.stft(wave, 512, 160, window=torch.hann_window(512, device=wave.device), return_complex=True)
    decibels = 10 * (mel_filters().to(wave.device).T @ spectrum.abs() ** 2).clamp_min(1e-10).log10()
    return decibels.clamp_min(decibels.max() - 120)


def mel_filters() -> Tensor:
    """64 triangles of height 1 over the 257 bins up to 8 kHz, equally wide on HTK's scale; in float32, as published."""
    top = 2595 * math.log10(1 + 8000 / 700)
    corners = 700 * (10 ** (torch.linspace(0, top, BANDS + 2) / 2595) - 1)
    slopes = corners - torch.linspace(0, 8000, 257)[:, None]
    widths = corners.diff()
    return torch.minimum(-slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]).clamp_min(0)


def ced(scale: str) -> CED:
    """CED-mini with random weights; at scale mini a network that trains in seconds."""
    return CED(**MINI) if scale == "mini" else CED()


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
