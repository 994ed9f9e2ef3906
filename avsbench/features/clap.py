"""CLAP names sounds: LAION's model without fusion (Wu et al., arXiv 2211.06687), of HTSAT-tiny and RoBERTa.

Letters in shapes: F seconds, S samples, D embedding.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from avsbench.features.transformers_folder import load
from avsbench.nn.precision import float32

if TYPE_CHECKING:
    from transformers import ClapModel, PreTrainedTokenizerBase

RATE, SAMPLES = 48000, 480000
"""CLAP hears ten seconds; a shorter sound is repeated as often as it fits in whole."""


class Clap:
    """Sounds and texts in one space; names sounds by the nearest of some texts.

    Args:
        network, tokenizer: of the package, on one device.
        vocabulary: the names, embedded once.
    """

    front_end = "clap_wave"

    def __init__(self, network: "ClapModel", tokenizer: "PreTrainedTokenizerBase", vocabulary: list[str]):
        from transformers import ClapFeatureExtractor

        self.network, self.tokenizer, self.vocabulary = network, tokenizer, vocabulary
        # Said here, because the package's defaults are those of the model with fusion, which hears other bands.
        self._mel = ClapFeatureExtractor(
            sampling_rate=RATE, frequency_min=50, frequency_max=14000, truncation="rand_trunc", padding="repeatpad"
        )
        self._texts = self.texts(vocabulary)

    @torch.inference_mode()
    @float32()
    def texts(self, texts: list[str]) -> Tensor:
        """Normalised embeddings [N,D] of texts, as they are."""
        tokens = self.tokenizer(texts, padding=True, return_tensors="pt").to(self.network.device)
        found = self.network.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return F.normalize(self.network.text_projection(found.pooler_output), dim=-1)

    @torch.inference_mode()
    @float32()
    def sounds(self, waves: np.ndarray) -> Tensor:
        """Normalised embeddings [F,D] of sounds [F,S] at 48 kHz, in -1..1, of ten seconds at most."""
        mel = self._mel(list(waves), sampling_rate=RATE, max_length=SAMPLES, return_tensors="pt")["input_features"]
        found = self.network.audio_model(input_features=mel.to(self.network.device))
        return F.normalize(self.network.audio_projection(found.pooler_output), dim=-1)

    def names(self, waves: np.ndarray, k: int) -> list[list[str]]:
        """The k names with the highest cosine of each sound [F,S], the best first."""
        nearest = (self.sounds(waves) @ self._texts.T).topk(k).indices
        return [[self.vocabulary[number] for number in row] for row in nearest.tolist()]


def clap(file: str, device: str, vocabulary: list[str]) -> Clap:
    """From the published files; errors as `transformers_folder.load`."""
    return Clap(*load("ClapModel", "clap", file, device), vocabulary)
