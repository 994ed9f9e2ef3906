"""Visual encoders: four feature maps at strides 4, 8, 16 and 32, in a published size and in one for the embedded data.

| family | full | mini |
|---|---|---|
| `r50` | ResNet-50 (He et al., CVPR 2016), stride in the 3x3 convolution | residual net, a block a stage |
| `r50_deep` | the same with three 3x3 convolutions as stem | as `r50` |
| `r18` | ResNet-18 | as `r50`, with half the stem |
| `pvt` | PVT-v2-B5 (Wang et al., Computational Visual Media 2022) | PVT-v2, a block a stage |

The layers are timm's (Apache-2.0). Names of parameters are timm's too; `rename_official` maps the names of the files
that the authors published, which are also those inside most audio-visual checkpoints.
"""

import re
from collections.abc import Callable
from functools import partial

from timm.layers import freeze_batch_norm_2d
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from avsbench.errors import AvsbenchError
from avsbench.nn.states import load_strict


class VisualEncoder:
    """What every visual encoder offers beside being a module.

    Attributes:
        channels: of the four feature maps.
        strides: image size over map size.
    """

    channels: tuple[int, int, int, int]
    strides = (4, 8, 16, 32)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images [N,3,H,W] -> four maps [N,C_i,ceil(H/stride_i),ceil(W/stride_i)]."""
        x, maps = images, []
        for index in range(len(self.channels)):
            x = self.stage(index, x)
            maps.append(x)
        return maps

    def stage(self, index: int, x: Tensor) -> Tensor:
        """One stage alone, for methods that work between stages: the images (stage 0) or the map before -> its map."""
        raise TypeError(f"{type(self).__name__} must define stage(index, x)")

    @staticmethod
    def rename_official(key: str) -> str | None:
        """Our name of a key of the published classification file; None for its classifier."""
        raise TypeError("an encoder must define rename_official(key)")

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Load the published ImageNet file or our own state, strictly; the classifier is left out.

        Raises:
            AvsbenchError: names the keys that are missing, unexpected or of another shape.
        """
        renamed = {self.rename_official(key): value for key, value in state.items()}
        renamed.pop(None, None)
        load_strict(self, renamed)


class ResNetEncoder(VisualEncoder, ResNet):
    """A residual network without pooling and classifier.

    Args:
        block: timm's BasicBlock or Bottleneck.
        layers: blocks of the four stages.
        widths: base widths of the stages (a Bottleneck puts out four times that).
        stem_width: None for one 7x7 convolution of 64 channels; else three 3x3 convolutions, half and full this wide.
        in_channels: of the input.
        output_stride: 32, 16 or 8: image size over the size of the last map. A stage that would go beyond keeps the
            stride and doubles the dilation.
        last_dilations: of the blocks of the last stage, if they are others (DeepLab's multi-grid).
        frozen_norms: each BatchNorm is a fixed scale and shift, nothing of which trains or follows the data.
        options: further ones of timm's ResNet.
    """

    def __init__(
        self,
        *,
        block: type[BasicBlock] | type[Bottleneck] = Bottleneck,
        layers: tuple[int, ...] = (3, 4, 6, 3),
        widths: tuple[int, ...] = (64, 128, 256, 512),
        stem_width: int | None = None,
        in_channels: int = 3,
        output_stride: int = 32,
        last_dilations: tuple[int, ...] | None = None,
        frozen_norms: bool = False,
        **options,
    ):
        defaults = {"zero_init_last": not frozen_norms}  # a scale of 0 would stay
        if stem_width is not None:
            defaults |= {"stem_type": "deep", "stem_width": stem_width // 2}
        super().__init__(
            block,
            list(layers),
            num_classes=0,
            channels=widths,
            in_chans=in_channels,
            output_stride=output_stride,
            **(defaults | options),
        )
        self.channels = tuple(width * block.expansion for width in widths)
        self.strides = tuple(min(stride, output_stride) for stride in VisualEncoder.strides)
        if last_dilations is not None:
            for residual, dilation in zip(self.layer4, last_dilations, strict=True):
                for module in residual.modules():
                    if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                        module.dilation = module.padding = (dilation, dilation)
        if frozen_norms:
            freeze_batch_norm_2d(self)

    def stem(self, images: Tensor) -> Tensor:
        """What comes before the first stage: images [N,3,H,W] -> [N,C,H/4,W/4]."""
        return self.maxpool(self.act1(self.bn1(self.conv1(images))))

    def stage(self, index: int, x: Tensor) -> Tensor:
        if index == 0:
            x = self.stem(x)
        return (self.layer1, self.layer2, self.layer3, self.layer4)[index](x)

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        if not any(isinstance(module, nn.BatchNorm2d) for module in self.modules()):
            state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
        super().load_pretrained(state)

    @staticmethod
    def rename_official(key: str) -> str | None:
        return None if key in ("fc.weight", "fc.bias") else key

    @staticmethod
    def rename_detectron2(key: str) -> str:
        """Our name of a key of detectron2's ResNet: `stem.conv1`, `res2.0.conv1.norm`, `res2.0.shortcut`, …"""
        key = key.removeprefix("stem.")
        key = re.sub(r"^res([2-5])\.", lambda m: f"layer{int(m[1]) - 1}.", key)
        key = re.sub(r"\bshortcut\.(norm\.)?", lambda m: f"downsample.{int(m[1] is not None)}.", key)
        return re.sub(r"\bconv([123])\.norm\.", r"bn\1.", key)


class DeepStemEncoder(ResNetEncoder):
    """A residual network with three 3x3 convolutions as stem.

    Its ImageNet files come in two namings: the stem as a sequence (`conv1.0` to `conv1.6`, `bn1`), which is timm's too,
    or layer by layer (`conv1`, `bn1` to `conv3`, `bn3`).
    """

    STEM = {
        "conv1": "conv1.0", "bn1": "conv1.1", "conv2": "conv1.3", "bn2": "conv1.4", "conv3": "conv1.6", "bn3": "bn1",
    }  # fmt: skip

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        if "conv3.weight" in state:
            parts = {key: key.split(".", 1) for key in state}
            state = {".".join([self.STEM.get(first, first), rest]): state[key] for key, (first, rest) in parts.items()}
        super().load_pretrained(state)


class PVTEncoder(VisualEncoder, PyramidVisionTransformerV2):
    """Pyramid vision transformer v2 without classifier.

    Three epsilons of LayerNorm, as published: 1e-5 after a patch embedding and after the spatial reduction of keys and
    values, 1e-6 everywhere else.
    """

    def __init__(
        self,
        *,
        depths: tuple[int, ...] = (3, 6, 40, 3),
        widths: tuple[int, ...] = (64, 128, 320, 512),
        heads: tuple[int, ...] = (1, 2, 5, 8),
        mlp_ratios: tuple[int, ...] = (4, 4, 4, 4),
        reductions: tuple[int, ...] = (8, 4, 2, 1),
        drop_path: float = 0.1,
    ):
        super().__init__(
            num_classes=0,
            depths=depths,
            embed_dims=widths,
            num_heads=heads,
            mlp_ratios=mlp_ratios,
            sr_ratios=reductions,
            drop_path_rate=drop_path,
        )
        self.channels = tuple(widths)

    def stage(self, index: int, x: Tensor) -> Tensor:
        return self.stages[index](self.patch_embed(x) if index == 0 else x)

    @staticmethod
    def rename_official(key: str) -> str | None:
        """`patch_embed1`, `block1.0` and `norm1` of the authors' four stages -> timm's nested stages."""
        if key in ("head.weight", "head.bias"):
            return None
        key = key.replace("mlp.dwconv.dwconv.", "mlp.dwconv.")
        key = re.sub(r"^patch_embed1\.", "patch_embed.", key)
        key = re.sub(r"^patch_embed([234])\.", lambda m: f"stages.{int(m[1]) - 1}.downsample.", key)
        key = re.sub(r"^block([1-4])\.", lambda m: f"stages.{int(m[1]) - 1}.blocks.", key)
        return re.sub(r"^norm([1-4])\.", lambda m: f"stages.{int(m[1]) - 1}.norm.", key)


def rename_visual(key: str) -> str | None:
    """Our name of a key of an encoder in files of detectron2: its own ResNet, or PVT-v2 as its authors name it."""
    if key.startswith(("stem.", "res")):
        return ResNetEncoder.rename_detectron2(key)
    return PVTEncoder.rename_official(key)


_MINI = {"block": BasicBlock, "layers": (1, 1, 1, 1), "widths": (16, 32, 48, 64)}

BUILDERS: dict[tuple[str, str], Callable[..., VisualEncoder]] = {
    ("r50", "full"): ResNetEncoder,
    ("r50_deep", "full"): partial(DeepStemEncoder, stem_width=128),
    ("r18", "full"): partial(ResNetEncoder, block=BasicBlock, layers=(2, 2, 2, 2)),
    ("pvt", "full"): PVTEncoder,
    ("r50", "mini"): partial(ResNetEncoder, **_MINI, stem_width=16),
    ("r50_deep", "mini"): partial(DeepStemEncoder, **_MINI, stem_width=16),
    ("r18", "mini"): partial(ResNetEncoder, **_MINI, stem_width=8),
    ("pvt", "mini"): partial(
        PVTEncoder,
        depths=(1, 1, 1, 1),
        widths=(32, 48, 64, 96),
        heads=(1, 1, 2, 3),
        mlp_ratios=(2, 2, 2, 2),
        reductions=(4, 2, 1, 1),  # maps of 64 x 64 images are small
        drop_path=0.0,
    ),
}
"""(family, scale) -> encoder with random weights. Scale smoke takes the encoders of full."""


def visual_encoder(family: str, scale: str, **options) -> VisualEncoder:
    """A visual encoder with random weights.

    Args:
        family: one of the table above.
        scale: "full" for the published size, "mini" for one that trains on 64 x 64 images in seconds.
        options: of the family's class, as `output_stride`.
    """
    key = (family, "mini" if scale == "mini" else "full")
    if key not in BUILDERS:
        families = sorted({name for name, _ in BUILDERS})
        raise AvsbenchError(f"no visual encoder of the family {family!r}", expected=f"one of {', '.join(families)}")
    return BUILDERS[key](**options)
