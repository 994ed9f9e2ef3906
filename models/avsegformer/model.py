"""AVSegFormer (Gao et al., AAAI 2024; https://github.com/vvvb-github/AVSegFormer, Apache-2.0).

Written from a specification of the released code, both of its releases. Changes: frames without a mask are left out of
the head in training, which mixes no frames; padding is skipped; the visual encoder runs as in prediction while it is
frozen; layers that the authors' files hold and never use are not built.

Letters in shapes: B clips, T frames, F frames that take part, C channels of the head, K score channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from avsbench.cards import DatasetCard, known
from avsbench.contract import Batch, Method, Output, normalize_frames
from avsbench.nn.backbones import visual_encoder
from avsbench.nn.vggish import EMBEDDING, audio_encoder

from .checkpoint import drop_left_over, rename
from .head import Classifier, Head, IntermediateMasks, QueryGenerator
from .loss import Agreement, Settings, mask_loss, resize_masks

LARGE = {"full": 512, "mini": 80}
"""Side of the pictures that the current release makes of those of S4 and MS3, by scale."""


class AVSegFormer(Method):
    """The network. It sees every frame by itself.

    Args:
        visual: encoder with four stages of strides 4 to 32.
        audio: VGGish; frozen here.
        head: see `Head`.
        channels: K of the scores.
        width: C of the head.
        resolution: side that frames are resized to; None: they stay as they are.
        skip_padding: leave padded frames out of the statistics of BatchNorm. The released code lets these blank
            frames in; their scores are zero either way.
        agreement: learns to tell clips with a sound of their own from others; None: there is none (see `Agreement`).
    """

    def __init__(
        self,
        *,
        visual: nn.Module,
        audio: nn.Module,
        head: Head,
        channels: int,
        width: int,
        resolution: int | None = None,
        skip_padding: bool = True,
        agreement: Agreement | None = None,
    ):
        super().__init__()
        self.channels, self.resolution, self.skip_padding = channels, resolution, skip_padding
        self.visual = visual
        self.audio = audio.requires_grad_(False).eval()
        self.sound = nn.Linear(EMBEDDING, width)
        self.head = head
        self.agreement = agreement
        self.configure({})

    def encoders(self) -> dict[str, nn.Module]:
        return {"visual": self.visual, "audio": self.audio}

    def configure(self, recipe: dict) -> None:
        """See `Settings`: keys of the recipe's `loss` and `method`."""
        self.settings = Settings.of(recipe)

    def on_epoch(self, epoch: int) -> None:
        """Freeze the visual encoder in the first epochs, then release it."""
        self.visual.requires_grad_(epoch >= self.settings.freeze_epochs)

    def train(self, mode: bool = True) -> "AVSegFormer":
        super().train(mode)
        if self.settings.frozen == "reference":
            self.visual.train(mode)
        return self

    def forward(self, batch: Batch) -> Output:
        """Masks of all real frames; while training of those that have a truth.

        Returns:
            logits: [F,K,H,W] at the network's resolution.
            chosen: bool [B,T], the F frames.
            auxiliary: while training, logits of further masks: of the mean mask feature [F,1,h,w], or (first release)
                of every decoder layer [F,K,H,W].
            similarity: while training with `agreement`, the cosine of sound and picture of every real frame.
        """
        chosen = batch.real
        if self.training and batch.annotated is not None and bool(batch.annotated.any()):
            chosen = batch.annotated
        wanted = self.training and self.settings.auxiliary > 0
        judged = self.training and self.agreement is not None
        seen = batch.real if judged else chosen
        maps, sound = self.look(batch, seen), self.listen(batch, seen)
        output = {"chosen": chosen}
        if judged:
            output["similarity"] = self.agreement(sound, maps[-1])
            maps, sound = [x[chosen[seen]] for x in maps], sound[chosen[seen]]
        output["logits"], features, masks = self.head(maps, sound, auxiliary=wanted)
        if wanted:
            output["auxiliary"] = masks or [features.mean(dim=1, keepdim=True)]
        return output

    def look(self, batch: Batch, chosen: Tensor) -> list[Tensor]:
        """Maps of the visual encoder for the chosen frames."""
        seen = chosen
        if any(isinstance(module, _BatchNorm) and module.training for module in self.visual.modules()):
            seen = batch.real if self.skip_padding else torch.ones_like(batch.real)
        frames = batch.frames[seen]
        if self.resolution is not None:
            frames = resize_frames(frames, self.resolution)
        maps = self.visual(normalize_frames(frames[None], batch.real[seen][None])[0])
        return maps if seen is chosen else [x[chosen[seen]] for x in maps]

    def listen(self, batch: Batch, chosen: Tensor) -> Tensor:
        """The sound of the chosen frames as tokens [F,1,C]."""
        with torch.no_grad():
            embedding = self.audio(batch.sound("vggish_mel")[chosen])
        return self.sound(embedding)[:, None]

    def scores(self, output: Output, size: tuple[int, int]) -> Tensor:
        logits, chosen = output["logits"].float(), output["chosen"]
        if tuple(logits.shape[-2:]) != tuple(size):
            logits = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        whole = logits.new_zeros(*chosen.shape, *logits.shape[1:])
        return whole.index_put((chosen,), logits)

    def loss(self, output: Output, batch: Batch, step: int) -> dict[str, Tensor]:
        """`segmentation`, and while training `auxiliary`, of the frames that have a truth; `agreement` of all."""
        used = batch.annotated[output["chosen"]]
        size = output["logits"].shape[-2:]
        masks = resize_masks(batch.masks[batch.annotated], size)
        kind, empty = "cross_entropy", "reference"
        if self.channels == 1:
            kind, empty = self.settings.binary, self.settings.empty
        terms = {"segmentation": mask_loss(output["logits"][used], masks, kind, empty)}
        if "auxiliary" in output:
            # The mean mask feature says where something sounds, not what.
            auxiliary_kind = kind if self.head.intermediate or self.channels == 1 else "dice"
            resized = (
                functional.interpolate(x[used], size=size, mode="bilinear", align_corners=False)
                for x in output["auxiliary"]
            )
            terms["auxiliary"] = self.settings.auxiliary * sum(
                mask_loss(x, masks, auxiliary_kind, empty) for x in resized
            )
        if "similarity" in output:
            own = batch.real if batch.aligned is None else batch.real & batch.aligned[:, None]
            terms["agreement"] = self.agreement.loss(output["similarity"], own[batch.real])
        return terms

    @classmethod
    def rename_official(cls, key: str) -> str | None:
        """See `checkpoint.rename`; None for a copy of two ResNet stages that the authors' network never uses."""
        return rename(key)

    @classmethod
    def convert_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """By name; a file of the current release loses what it took over from the first and does not use."""
        return super().convert_official(drop_left_over(state))


def resize_frames(frames: Tensor, side: int) -> Tensor:
    """Bilinear with antialiasing, rounded after each axis, as Pillow does: uint8 [F,3,H,W] -> uint8 [F,3,side,side]."""
    x = frames.float()
    for size in ((x.shape[-2], side), (side, side)):
        x = functional.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
        x = (x + 0.5).floor()  # halves up
    return x.clamp(0, 255).to(torch.uint8)


def build(
    *,
    dataset: DatasetCard,
    scale: str,
    image_size: int,
    backbone: str,
    query: str = "generator",
    auxiliary: str = "mix",
    resolution: str = "large",
    skip_padding: bool = True,
    agreement: bool = False,
) -> AVSegFormer:
    """AVSegFormer for a data set.

    Args:
        image_size: not used; any will do, but for `intermediate`, which needs a multiple of 32.
        backbone: family of the visual encoder: r50 or pvt.
        query: what queries are made of: `generator` (current release), or `repeat`, the sound itself (first release).
        auxiliary: auxiliary loss: `mix`, on the mask feature (current), or `intermediate`, on a mask of each decoder
            layer (first).
        resolution: `large`, frames of S4 and MS3 are resized to 512 x 512 (current), or `stored` (first).
        skip_padding: see AVSegFormer.
        agreement: learn to tell whether the sound is the picture's own (AVSBench-Robust; `negatives` in the recipe).
    """
    choices = {"query": ("generator", "repeat"), "auxiliary": ("mix", "intermediate")}
    choices["resolution"] = ("large", "stored")
    for name, value in {"query": query, "auxiliary": auxiliary, "resolution": resolution}.items():
        known(value, dict.fromkeys(choices[name]), f"options of avsegformer: {name}", "choice")
    mini, channels = scale == "mini", dataset.num_classes
    width, queries, heads, layers = (64, 16, 4, 2) if mini else (256, 300, 8, 6)
    last = 8 if mini and dataset.task == "binary" else 32
    visual = visual_encoder(backbone, scale)

    def classifier() -> Classifier:
        return Classifier(width=width, hidden=last, channels=channels)

    generator = QueryGenerator(queries=queries, width=width, hidden=4 * width, layers=layers, heads=heads)
    head = Head(
        in_channels=visual.channels,
        generator=generator if query == "generator" else nn.Identity(),
        classifier=classifier(),
        intermediate=IntermediateMasks(width=width, classifier=classifier()) if auxiliary == "intermediate" else None,
        width=width,
        queries=queries,
        depth=layers,
        hidden=(128, 128) if mini else (2048, 2048),
        heads=heads,
        groups=8 if mini else 32,
        dropout=0.0 if mini else 0.1,
    )
    return AVSegFormer(
        visual=visual,
        audio=audio_encoder("vggish", scale),
        head=head,
        channels=channels,
        width=width,
        resolution=LARGE["mini" if mini else "full"] if resolution == "large" and dataset.task == "binary" else None,
        skip_padding=skip_padding,
        agreement=Agreement(width=width, channels=visual.channels[-1]) if agreement else None,
    )
