"""Template: sound modulates visual features. (CHANGE: method, paper, venue, repository, licence, what differs.)

Frame by frame, the sound scales and shifts every channel of a fused feature map (feature-wise modulation, Perez et al.,
AAAI 2018) before a small convolutional head. It learns, and passes every contract check: a place to begin.

Letters in shapes: B videos, T frames, F = B T, C channels, K score channels.
"""

from torch import Tensor, nn
from torch.nn import functional

from avsbench.cards import DatasetCard
from avsbench.contract import IGNORE, Batch, Method, Output, normalize_frames
from avsbench.nn.backbones import visual_encoder
from avsbench.nn.vggish import EMBEDDING, audio_encoder, embed_frames


class Template(Method):
    """The network.

    Sub-modules are passed in, and arguments are plain values: no card or configuration object inside. CHANGE all of it.

    Args:
        visual: encoder with four stages of strides 4 to 32.
        audio: VGGish, frozen here. Frozen encoders are not stored with a run's weights.
        channels: K of the scores: 1 for a binary task, else the number of classes.
        width: channels of the fused map.
    """

    def __init__(self, *, visual: nn.Module, audio: nn.Module, channels: int, width: int = 64):
        super().__init__()
        self.channels = channels
        self.visual = visual
        self.audio = audio.requires_grad_(False).eval()
        self.laterals = nn.ModuleList(nn.Conv2d(count, width, kernel_size=1) for count in visual.channels)
        self.norm = nn.GroupNorm(8, width)
        self.modulation = nn.Linear(EMBEDDING, 2 * width)
        self.refine = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.classify = nn.Conv2d(width, channels, kernel_size=1)

    def encoders(self) -> dict[str, nn.Module]:
        """Modules that start from pretrained weights, by the roles that the card's `encoders` name."""
        return {"visual": self.visual, "audio": self.audio}

    def forward(self, batch: Batch) -> Output:
        """What loss and scores need, and no more: here logits [B,T,K,H/4,W/4].

        `batch` holds bytes: normalise here, with padded frames zeroed afterwards. Never change it in place.
        """
        images = normalize_frames(batch.frames, batch.real)  # [B,T,3,H,W]
        sound = embed_frames(self.audio, batch.audio["vggish_mel"], batch.real)  # [B,T,128]
        fused = self._fuse(self.visual(images.flatten(0, 1)))  # [F,C,H/4,W/4]
        scale, shift = self.modulation(sound.flatten(0, 1))[:, :, None, None].chunk(2, dim=1)
        heard = functional.relu(self.norm(fused) * (1 + scale) + shift)
        logits = self.classify(functional.relu(self.refine(heard)))
        return {"logits": logits.unflatten(0, batch.real.shape)}

    def _fuse(self, stages: list[Tensor]) -> Tensor:
        """Four maps -> their sum at the size of the first."""
        size = stages[0].shape[-2:]
        maps = [lateral(stage) for lateral, stage in zip(self.laterals, stages, strict=True)]
        return sum(functional.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in maps)

    def scores(self, output: Output, size: tuple[int, int]) -> Tensor:
        """Logits float32 [B,T,K,h,w] at `size` = (h, w)."""
        logits = output["logits"].float()
        resized = functional.interpolate(logits.flatten(0, 1), size=size, mode="bilinear", align_corners=False)
        return resized.unflatten(0, logits.shape[:2])

    def loss(self, output: Output, batch: Batch, step: int) -> dict[str, Tensor]:
        """Named terms; the engine minimises their sum. Pixels of 255 must not count, nor frames without a mask."""
        logits = self.scores(output, tuple(batch.masks.shape[-2:]))[batch.annotated]  # [n,K,H,W]
        masks = batch.masks[batch.annotated]
        known = masks != IGNORE
        if self.channels == 1:
            target = (masks == 1).float()
            pixels = functional.binary_cross_entropy_with_logits(logits[:, 0], target, reduction="none")
        else:
            pixels = functional.cross_entropy(logits, masks, ignore_index=IGNORE, reduction="none")
        # max(…, 1): a batch in which nothing is annotated gives 0, not NaN.
        return {"segmentation": (pixels * known).sum() / known.sum().clamp_min(1)}

    # Also there to override, each with a default (avsbench/contract.py): masks, configure, parameter_groups, on_epoch,
    # transforms, extra_state, and rename_official, which maps the names of the authors' checkpoint to yours.


def build(*, dataset: DatasetCard, scale: str, image_size: int, backbone: str) -> Template:
    """The one function that the suite calls.

    Args:
        dataset: task, number of classes and frames of the data set.
        scale: "mini" takes small encoders, everything else the published ones.
        image_size: side of the frames in pixels; not used here.
        backbone: from the card, like every other key of a variant's `options`.
    """
    return Template(
        visual=visual_encoder(backbone, scale),
        audio=audio_encoder("vggish", scale),
        channels=dataset.num_classes,
        width=64 if scale == "mini" else 256,
    )
