"""TPAVI (Zhou et al., Audio-Visual Segmentation, ECCV 2022; https://github.com/OpenNLPLab/AVSBench, Apache-2.0).

Written from a specification of the released code. Changes: the attention is computed in its exact low-rank form, so no
pixel-by-pixel matrix is ever built; clips that are padding from end to end are skipped; the unused copies of layers
that the authors' checkpoints hold are not built.

Letters in shapes: B videos, T frames, N clips of 5 frames, F = 5 N frames, C channels of the neck, E = C / 2,
K score channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.cards import DatasetCard
from avsbench.contract import Batch, Method, Output, normalize_frames
from avsbench.errors import AvsbenchError
from avsbench.nn.backbones import visual_encoder
from avsbench.nn.clips import pad_frames, split_clips
from avsbench.nn.losses import bce_loss, semantic_loss
from avsbench.nn.vggish import EMBEDDING, audio_encoder, embed_frames

from .checkpoint import flatten_kernel, rename
from .loss import Matching, matching_term

CLIP = 5
"""Frames that see each other. A video of 10 is two clips."""


class DilatedNeck(nn.Module):
    """Four parallel 3x3 convolutions of growing dilation, summed: [F,C_i,h,w] -> [F,C,h,w].

    Args:
        deviation: of the initial weights.
    """

    def __init__(self, channels: int, width: int, deviation: float):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, width, kernel_size=3, padding=rate, dilation=rate) for rate in (3, 6, 12, 18)
        )
        for branch in self.branches:
            nn.init.normal_(branch.weight, std=deviation)

    def forward(self, x: Tensor) -> Tensor:
        return sum(branch(x) for branch in self.branches)


class TemporalPixelAttention(nn.Module):
    """Every pixel of a clip attends to the sound of each of its frames (`audio`), or to every pixel (`visual`).

    The paper forms f = query^T key / P over all P = 5 h w pixels and y = f value. There is no softmax in between, so

        y_p = query_p M,   M = 1/P sum_q key_q value_q^T   [E,E],

    and the P x P matrix (0.98 GB a clip at the first stage of 224 x 224) need not exist. A sound is the same at all
    pixels of its frame, and `value` is affine, which leaves M = 1/5 sum_t key_t value(mean pixel of t)^T.
    """

    def __init__(self, *, width: int, align_bias: bool):
        super().__init__()
        inner = width // 2
        self.align = nn.Linear(EMBEDDING, width, bias=align_bias)
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)
        self.output = nn.Linear(inner, width)
        # Starts at zero: the block is the identity until training moves it.
        self.output_norm = nn.BatchNorm1d(width)
        nn.init.zeros_(self.output_norm.weight)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, sound: Tensor | None) -> Tensor:
        """Maps [F,C,h,w], aligned sound [N,5,C] (None: attend to pixels) -> maps [F,C,h,w]."""
        frames, _, height, width = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(frames // CLIP, CLIP, height * width, -1)  # [N,5,hw,C]
        if sound is None:
            flat = pixels.flatten(1, 2)
            mixing = self.key(flat).transpose(1, 2) @ self.value(flat) / flat.shape[1]
        else:
            mixing = self.key(sound).transpose(1, 2) @ self.value(pixels.mean(dim=2)) / CLIP
        attended = self.output(self.query(pixels).flatten(1, 2) @ mixing)  # [N,P,C]
        z = pixels + self.output_norm(attended.flatten(0, 1)).view_as(pixels)
        return self.norm(z).view(frames, height, width, -1).permute(0, 3, 1, 2)


class ResidualUnit(nn.Module):
    """relu, conv, relu, conv, plus the *rectified* input: the published ReLU works in place, also on the skip."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(x)
        return self.conv2(functional.relu(self.conv1(x))) + x


class Fusion(nn.Module):
    """One step of the decoder: add the refined map of a finer stage, refine, double the size."""

    def __init__(self, width: int, *, with_skip: bool):
        super().__init__()
        self.skip = ResidualUnit(width) if with_skip else None
        self.refine = ResidualUnit(width)

    def forward(self, x: Tensor, finer: Tensor | None = None) -> Tensor:
        if finer is not None:
            x = x + self.skip(finer)
        return functional.interpolate(self.refine(x), scale_factor=2, mode="bilinear", align_corners=True)


class Head(nn.Module):
    """[F,C,h,w] -> logits [F,K,2h,2w]. No activation follows the first convolution."""

    def __init__(self, width: int, hidden: int, channels: int):
        super().__init__()
        self.reduce = nn.Conv2d(width, width // 2, kernel_size=3, padding=1)
        self.refine = nn.Conv2d(width // 2, hidden, kernel_size=3, padding=1)
        self.classify = nn.Conv2d(hidden, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.interpolate(self.reduce(x), scale_factor=2, mode="bilinear", align_corners=False)
        return self.classify(functional.relu(self.refine(x)))


class TPAVI(Method):
    """The network. Images go through the visual encoder, necks, attention to sound, and a top-down decoder.

    Args:
        visual: encoder with four stages of strides 4 to 32.
        audio: VGGish; frozen here.
        channels: K of the scores.
        width: channels C of neck and decoder.
        head_width: channels before the last convolution.
        neck_deviation: of the initial weights of the necks, 0.01 as published; a narrower network needs more to keep
            the size of its features.
        align_bias: whether the audio projection has a bias (the released semantic model has none).
        matching: the audio-visual matching loss.
        attend: what pixels attend to, "audio", "visual" or both; the results of both are averaged.
        skip_padding: leave clips out that are padding from end to end. Their scores are zero either way, but in
            training the released code lets their blank frames into the statistics of BatchNorm.
    """

    def __init__(
        self,
        *,
        visual: nn.Module,
        audio: nn.Module,
        channels: int,
        width: int,
        head_width: int,
        neck_deviation: float,
        align_bias: bool,
        matching: Matching,
        attend: tuple[str, ...] = ("audio",),
        skip_padding: bool = True,
    ):
        super().__init__()
        if not attend or set(attend) - {"audio", "visual"}:
            raise AvsbenchError("tpavi: nothing to attend to", found=attend, expected="audio, visual or both")
        self.channels, self.attend, self.skip_padding, self.matching = channels, tuple(attend), skip_padding, matching
        self.visual = visual
        self.audio = audio.requires_grad_(False).eval()
        self.necks = nn.ModuleList(DilatedNeck(count, width, neck_deviation) for count in visual.channels)
        self.attention = nn.ModuleList(
            TemporalPixelAttention(width=width, align_bias=align_bias) for _ in visual.channels
        )
        # Finest first, as the stages; the coarsest starts the decoder and has no map to add.
        self.fusion = nn.ModuleList(Fusion(width, with_skip=stage < 3) for stage in range(4))
        self.head = Head(width, head_width, channels)

    def encoders(self) -> dict[str, nn.Module]:
        return {"visual": self.visual, "audio": self.audio}

    def configure(self, recipe: dict) -> None:
        """Options of the matching loss from the recipe's `loss`."""
        self.matching = self.matching.replaced(recipe.get("loss", {}))

    def forward(self, batch: Batch) -> Output:
        """logits [B,T,K,H,W]; while training with the matching loss also its inputs, as `matching`."""
        real = batch.real
        sound = embed_frames(self.audio, batch.sound("vggish_mel"), real)
        images = normalize_frames(batch.frames, real)
        length = images.shape[1]
        images, sound, real = (pad_frames(x, CLIP) for x in (images, sound, real))  # one's own videos have any length
        clips = split_clips(real, CLIP)
        chosen = clips.any(dim=1) if self.skip_padding else torch.ones_like(clips[:, 0])
        logits, maps, sounds = self.segment(
            split_clips(images, CLIP)[chosen].flatten(0, 1),
            split_clips(sound, CLIP)[chosen],
            None if bool(clips.all()) else clips[chosen].flatten(),
        )
        whole = logits.view(-1, CLIP, *logits.shape[1:])
        if not bool(chosen.all()):
            whole = whole.new_zeros(len(clips), *whole.shape[1:]).index_put((chosen,), whole)
        output = {"logits": whole.view(*real.shape, *logits.shape[1:])[:, :length]}
        if self.training and self.matching.weight:
            output["matching"] = {"logits": logits, "maps": maps, "sounds": sounds, "real": clips, "chosen": chosen}
        return output

    def segment(self, images: Tensor, sound: Tensor, real: Tensor | None) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """The trained part of the network.

        Args:
            images: normalised [F,3,H,W], F = 5 N.
            sound: [N,5,128].
            real: bool [F], or None when no frame is padding.

        Returns:
            logits [F,K,H,W]; the rectified map [F,C,h,w] and the aligned sound [N,5,C] of every stage.
        """

        def blank(x: Tensor) -> Tensor:
            return x if real is None else x * real[:, None, None, None]

        stages = self.visual(images)
        sounds = [block.align(sound) for block in self.attention]
        maps = []
        for stage, neck, block, aligned in zip(stages, self.necks, self.attention, sounds, strict=True):
            x = blank(neck(stage))
            views = [block(x, aligned if target == "audio" else None) for target in self.attend]
            maps.append(blank(sum(views) / len(views) if len(views) > 1 else views[0]))
        x = blank(self.fusion[3](maps[3]))
        for stage in (2, 1, 0):
            x = blank(self.fusion[stage](x, maps[stage]))
        logits = blank(self.head(x))
        # The released decoder rectifies its inputs in place; the matching loss sees them so.
        return logits, [functional.relu(x) for x in maps], sounds

    def scores(self, output: Output, size: tuple[int, int]) -> Tensor:
        logits = output["logits"].float()
        if tuple(logits.shape[-2:]) == tuple(size):
            return logits
        resized = functional.interpolate(logits.flatten(0, 1), size=size, mode="bilinear", align_corners=False)
        return resized.view(*logits.shape[:3], *size)

    def loss(self, output: Output, batch: Batch, step: int) -> dict[str, Tensor]:
        function = bce_loss if self.channels == 1 else semantic_loss
        logits = self.scores(output, tuple(batch.masks.shape[-2:]))
        terms = {"segmentation": function(logits[batch.annotated], batch.masks[batch.annotated])}
        if "matching" in output:
            terms["matching"] = self.matching.weight * self._matching_term(output["matching"], batch.annotated)
        return terms

    def _matching_term(self, inputs: Output, annotated: Tensor) -> Tensor:
        flags = inputs["real"]
        if self.matching.form == "semantic":  # the others take every real frame, annotated or not
            flags = flags & split_clips(annotated, CLIP)
        flags = flags[inputs["chosen"]].flatten()
        return matching_term(self.matching, inputs["logits"], inputs["maps"], inputs["sounds"], flags)

    @classmethod
    def rename_official(cls, key: str) -> str | None:
        """See `checkpoint.rename`; None for the layers that the authors' network stores and never uses."""
        return rename(key)

    @classmethod
    def convert_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """By name; 1x1x1 convolutions become linear layers."""
        return {key: flatten_kernel(key, value) for key, value in super().convert_official(state).items()}


def build(
    *,
    dataset: DatasetCard,
    scale: str,
    image_size: int,
    backbone: str,
    attend: tuple[str, ...] = ("audio",),
    skip_padding: bool = True,
) -> TPAVI:
    """TPAVI for a data set.

    Args:
        image_size: not used; any multiple of 32 works.
        backbone: family of the visual encoder: r50 or pvt.
        attend, skip_padding: see TPAVI.
    """
    semantic = dataset.task == "semantic"
    first_frame = dataset.supervision.startswith("first frame")
    mini = scale == "mini"
    return TPAVI(
        visual=visual_encoder(backbone, scale),
        audio=audio_encoder("vggish", scale),
        channels=dataset.num_classes,
        width=32 if mini else 256,
        head_width=8 if mini and not semantic else 32,
        neck_deviation=0.04 if mini else 0.01,
        align_bias=not semantic,
        matching=Matching(form="semantic" if semantic else "cosine" if first_frame else "binary"),
        attend=attend,
        skip_padding=skip_padding,
    )
