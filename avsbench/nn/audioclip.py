"""AudioCLIP: images, sounds and texts in one space (Guzhov et al., ICASSP 2022; code MIT).

Which of these texts fits a picture and a sound, and where in the picture that is heard:

    import librosa
    import open_clip  # pip install open_clip_torch: CLIP's tokens, for the text tower alone
    import torch
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms.v2.functional import InterpolationMode, center_crop, resize

    from avsbench.contract import CLIP, normalize_frames
    from avsbench.nn.audioclip import audioclip
    from avsbench.nn.containers import read_container

    # https://github.com/AndreyGuzhov/AudioCLIP/releases/download/v0.1/AudioCLIP-Full-Training.pt
    network = audioclip("full").eval()
    network.load_pretrained(read_container("AudioCLIP-Full-Training.pt"))

    picture = decode_image("dog.jpg", ImageReadMode.RGB)
    picture = center_crop(resize(picture, [224], interpolation=InterpolationMode.BICUBIC), [224, 224])
    images = normalize_frames(picture[None, None], torch.ones(1, 1, dtype=torch.bool), CLIP)[0]
    wave, _ = librosa.load("dog.wav", sr=44100)  # one channel in -1..1; the network does the scaling
    texts = ["dog, barking", "cat, meowing", "rain"]

    with torch.inference_mode():
        last = network.visual(images)[-1]
        sound = network.audio(torch.from_numpy(wave)[None, None])
        text = network.text(open_clip.tokenize(texts))
        found = network.similarities(sound=sound, image=network.visual.pool(last)[0], text=text)
        _, cells = network.visual.pool(last, surgery=True)
        heat = torch.cosine_similarity(cells, sound[:, :, None, None])  # [1,7,7]

    for i, name in enumerate(texts):
        seen, heard = (found[pair].softmax(dim=1)[0, i] for pair in ("image_text", "sound_text"))
        print(f"{name}: seen {seen:.0%}, heard {heard:.0%}")
    print(f"picture and sound: {found['sound_image'].item():.1f}, heat from {heat.min():.2f} to {heat.max():.2f}")
"""

import logging
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.nn.audioclip_files import SCALES, TOWERS, is_setting
from avsbench.nn.clip_text import ClipText, clip_text
from avsbench.nn.clip_visual import ClipVisual, clip_visual
from avsbench.nn.esresnext import ESResNeXt, esresnext
from avsbench.nn.states import load_strict

log = logging.getLogger(__name__)

LARGEST = 100.0
"""Bound of the scale of a similarity; the lower one is 1."""


class AudioCLIP(nn.Module):
    """The three towers, and how similar what they return is.

    Attributes:
        scales: pair of modalities ("sound_image", "sound_text", "image_text") -> logarithm of the factor on its cosine.

    Args:
        visual, audio, text: towers with embeddings of one width.
    """

    def __init__(self, visual: ClipVisual, audio: ESResNeXt, text: ClipText):
        super().__init__()
        self.visual, self.audio, self.text = visual, audio, text
        self.scales = nn.ParameterDict({pair: torch.tensor(-math.log(0.07)) for pair in SCALES.values()})

    def similarities(
        self, *, sound: Tensor | None = None, image: Tensor | None = None, text: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Scaled cosines of every pair of the modalities given.

        Args:
            sound, image, text: embeddings [·,D], as the towers return them.

        Returns:
            Pair ("sound_image" …) -> [number of the first, number of the second].
        """
        given = {"sound": sound, "image": image, "text": text}
        unit = {name: functional.normalize(x, dim=-1) for name, x in given.items() if x is not None}
        pairs = {pair: pair.split("_") for pair in SCALES.values()}
        return {
            pair: self.scales[pair].exp().clamp(1, LARGEST) * unit[a] @ unit[b].mT
            for pair, (a, b) in pairs.items()
            if a in unit and b in unit
        }

    def loss(
        self, *, sound: Tensor | None = None, image: Tensor | None = None, text: Tensor | None = None
    ) -> dict[str, Tensor]:
        """AudioCLIP's own training: the terms to be summed, of embeddings [N,D] of N things that belong together.

        Returns:
            `contrastive`, and with sound `norms`, how far the rows of its analysis matrix are from length 1.
        """
        terms = {"contrastive": contrastive_loss(self.similarities(sound=sound, image=image, text=text))}
        return terms if sound is None else terms | {"norms": self.audio.spectrogram.norm_loss()}

    @staticmethod
    def rename_official(key: str) -> str | None:
        """Our name of a key of AudioCLIP-*.pt; None for an empty tensor in it."""
        if key in SCALES:
            return f"scales.{SCALES[key]}"
        tower, _, rest = key.partition(".")
        if tower in TOWERS:
            renamed = {"visual": ClipVisual, "audio": ESResNeXt, "text": ClipText}[tower].rename_official(rest)
            return renamed and f"{tower}.{renamed}"
        return key if tower == "scales" else f"text.{ClipText.rename_official(key)}"

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Load AudioCLIP-*.pt, CLIP.pt or our own state, strictly.

        CLIP.pt holds neither the audio tower nor the scales of its similarities: these stay as they are.

        Raises:
            AvsbenchError: names the keys that are missing, unexpected or of another shape.
        """
        renamed = {self.rename_official(key): value for key, value in state.items() if not is_setting(key)}
        renamed.pop(None, None)
        if not any(key.startswith("audio.") for key in renamed):
            sound = {key: v for key, v in self.state_dict().items() if key.startswith(("audio.", "scales.sound_"))}
            renamed = sound | renamed
            log.info("AudioCLIP: the file holds no audio tower; ours stays as it was")
        load_strict(self, renamed)


def contrastive_loss(similarities: dict[str, Tensor]) -> Tensor:
    """Cross entropy along rows and along columns of each pair's similarities [N,N], the diagonal being right.

    The sum over the n pairs is divided by n!, as the authors do: by 1 for two modalities, by 6 for three.
    """
    square = torch.arange(len(next(iter(similarities.values()))))
    terms = [
        functional.cross_entropy(x, square.to(x.device)) + functional.cross_entropy(x.mT, square.to(x.device))
        for x in similarities.values()
    ]
    return sum(terms) / math.factorial(len(terms))


def one_second(waves: Tensor, repeats: int = 5) -> Tensor:
    """A second a frame as Sam4AVS has AudioCLIP hear it: [F,S] -> [F,1,S * repeats]."""
    return waves.repeat(1, repeats)[:, None]


def audioclip(scale: str, **options) -> AudioCLIP:
    """AudioCLIP with random weights; at scale mini a small one whose text tower reads bytes.

    Args:
        options: of the audio tower, as `amplitude`.
    """
    return AudioCLIP(clip_visual(scale), esresnext(scale, **options), clip_text(scale))
