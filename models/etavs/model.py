"""ETAVS, also called SEAVS (https://github.com/29233/SEAVS): parameter-efficient audio-visual segmentation.

Written from a specification of the released code (its first commits; the newest lacks the model). Changes: groups of
frames that are padding from end to end are skipped, the decoder runs on the frames whose masks are asked for, and the
last layer takes a cheaper form of the same function.

Letters in shapes: B clips, T frames, N groups of 5 frames, F frames that take part, K score channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.cards import DatasetCard, known
from avsbench.contract import Batch, Method, Output, normalize_frames
from avsbench.nn.backbones import VisualEncoder, visual_encoder
from avsbench.nn.clips import split_clips
from avsbench.nn.vggish import audio_encoder

from .checkpoint import rename
from .decoder import Decoder
from .loss import mask_losses, terms_of, weights_of
from .messenger import GROUP, MessengerBlock


class ETAVS(Method):
    """Two frozen encoders, a messenger block behind every stage of the visual one, and a light decoder.

    What a block makes of a map enters the next stage of the frozen encoder, so gradients pass through that stage; only
    the first stage needs none.

    Args:
        visual: encoder with four stages of strides 4 to 32; frozen here.
        audio: VGGish; frozen here.
        channels: K of the scores.
        terms: of the loss, see `loss.terms_of`.
        width: channels of the decoder.
        project_first: see Decoder.
        frozen_encoders: "eval": they run as in prediction. "train": as published, in training the visual encoder drops
            paths (PVT) or normalises by the statistics of the batch (ResNet), whose running averages drift although no
            weight moves; then it belongs to the weights of a run.
    """

    def __init__(
        self,
        *,
        visual: VisualEncoder,
        audio: nn.Module,
        channels: int,
        terms: tuple[str, ...],
        width: int,
        project_first: bool,
        frozen_encoders: str = "eval",
    ):
        super().__init__()
        known(frozen_encoders, dict.fromkeys(("eval", "train")), "etavs: frozen_encoders", "mode")
        self.channels, self.frozen_encoders = channels, frozen_encoders
        self.weights = {terms[0]: 1.0} | dict.fromkeys(terms[1:], 0.0)
        self.visual = visual.requires_grad_(False).eval()
        self.audio = audio.requires_grad_(False).eval()
        self.messengers = nn.ModuleList(MessengerBlock(count) for count in visual.channels)
        self.decoder = Decoder(visual.channels, width=width, project_first=project_first, masks=channels)

    def encoders(self) -> dict[str, nn.Module]:
        return {"visual": self.visual, "audio": self.audio}

    def external_prefixes(self) -> list[str]:
        """Without a visual encoder whose state training changes."""
        drifts = self.frozen_encoders == "train"
        return [prefix for prefix in super().external_prefixes() if not (drifts and prefix == "visual.")]

    def train(self, mode: bool = True) -> "ETAVS":
        super().train(mode)
        if self.frozen_encoders == "train":
            self.visual.train(mode)
        return self

    def configure(self, recipe: dict) -> None:
        """Weights of the loss terms from the recipe's `loss`."""
        given = weights_of(recipe.get("loss", {}))
        self.weights = {name: given.get(name, weight) for name, weight in self.weights.items()}

    def forward(self, batch: Batch) -> Output:
        """logits [F,K,H,W] of the frames that `chosen`, bool [B,T], marks: in training the annotated, else the real."""
        chosen = batch.annotated if self.training and batch.annotated is not None else batch.real
        parts = (batch.frames, batch.sound("vggish_mel"), batch.real, chosen)
        frames, log_mel, real, wanted = (split_clips(x, GROUP) for x in parts)
        groups = real.any(dim=1)
        if self.visual.training:
            groups = torch.ones_like(groups)  # blank frames count in the published statistics
        images = normalize_frames(frames[groups], real[groups]).flatten(0, 1)
        with torch.no_grad():
            # Of padding too: as published, it takes part in its group, with what the network makes of zeros.
            sound = self.audio(log_mel[groups].flatten(0, 1))
        return {"logits": self.segment(images, sound, wanted[groups].flatten()), "chosen": chosen}

    def segment(self, images: Tensor, sound: Tensor, wanted: Tensor) -> Tensor:
        """The network on groups of five frames.

        Args:
            images: normalised [F,3,H,W].
            sound: [F,128].
            wanted: bool [F], the frames to decode.

        Returns:
            [f,K,H,W], f of them.
        """
        x, sound = images, sound[:, None]
        sounds, maps = [], []
        for stage, messenger in enumerate(self.messengers):
            with torch.set_grad_enabled(torch.is_grad_enabled() and stage > 0):
                x = self.visual.stage(stage, x)
            heard, pixels = messenger(sound, x.flatten(2).transpose(1, 2))
            x = pixels.transpose(1, 2).unflatten(2, x.shape[-2:])
            sounds.append(heard[wanted])
            maps.append(x[wanted])
        return self.decoder(sounds, maps)

    def scores(self, output: Output, size: tuple[int, int]) -> Tensor:
        """Frames that were not decoded score 0."""
        logits = resize(output["logits"], size)
        chosen = output["chosen"]
        if bool(chosen.all()):
            return logits.view(*chosen.shape, *logits.shape[1:])
        return logits.new_zeros(*chosen.shape, *logits.shape[1:]).index_put((chosen,), logits)

    def loss(self, output: Output, batch: Batch, step: int) -> dict[str, Tensor]:
        kept = batch.annotated[output["chosen"]]
        logits = resize(output["logits"][kept], tuple(batch.masks.shape[-2:]))
        return mask_losses(self.weights, logits, batch.masks[batch.annotated & output["chosen"]])

    @classmethod
    def rename_official(cls, key: str) -> str | None:
        """See `checkpoint.rename`; None for the layers that the authors' network stores and never uses."""
        return rename(key)


def resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, float32: [F,K,H,W] -> [F,K,h,w]."""
    logits = logits.float()
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def build(*, dataset: DatasetCard, scale: str, image_size: int, backbone: str, frozen_encoders: str = "eval") -> ETAVS:
    """ETAVS for a data set.

    Args:
        image_size: not used; any multiple of 32 works.
        backbone: family of the visual encoder: r50 or pvt.
        frozen_encoders: see ETAVS.
    """
    return ETAVS(
        visual=visual_encoder(backbone, scale),
        audio=audio_encoder("vggish", scale),
        channels=dataset.num_classes,
        terms=terms_of(semantic=dataset.task == "semantic", first_frame=dataset.supervision.startswith("first frame")),
        width=48 if scale == "mini" else 256,
        project_first=backbone != "pvt",
        frozen_encoders=frozen_encoders,
    )
