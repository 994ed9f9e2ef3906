"""ESResNeXt-fbsp: AudioCLIP's audio tower (Guzhov et al., ICASSP 2022; IJCNN 2021; code MIT).

A learnt spectrogram of one channel, its thirds of frequency as three colours; ResNeXt-50 32x4d on top, each stage of
which is weighed by attention computed from the stage's input.

Letters in shapes: F sounds, A audio channels, S samples at 44.1 kHz, C channels, D embedding.
"""

import logging
import re

from timm.models.resnet import BasicBlock
from torch import Tensor, nn
from torch.nn import functional

from avsbench.nn.audioclip_files import tower_state
from avsbench.nn.backbones import ResNetEncoder
from avsbench.nn.fbsp import Spectrogram
from avsbench.nn.states import load_strict

log = logging.getLogger(__name__)

EMBEDDING = 1024
RESNEXT = {"cardinality": 32, "base_width": 4}
MINI = {
    "embedding": 64,
    "spectrogram": {"size": 512, "window": 512, "hop": 294},
    "repeats": 1,
    "block": BasicBlock,
    "layers": (1, 1, 1, 1),
    "widths": (16, 24, 32, 48),
    "stem_width": 16,
}
"""Arguments of the tower that trains in seconds on one second of sound."""
KERNELS = ((3, 1), (1, 5), (3, 1), (1, 5), (3, 5))
"""Bands and steps that the five attentions look at."""
_NAMES = {
    r"(window$)": r"spectrogram.\1",
    r"fbsp\.m$": "spectrogram.order",
    r"fbsp\.fb$": "spectrogram.bandwidth",
    r"fbsp\.fc$": "spectrogram.centre",
    r"((conv1|bn1|layer[1-4])\.)": r"trunk.\1",
    r"att([1-5])\.conv_": lambda m: f"gates.{int(m[1]) - 1}.",
    r"att([1-5])\.bn\.": lambda m: f"gates.{int(m[1]) - 1}.norm.",
    r"fc\.": "head.",
}


class Gate(nn.Module):
    """Attention of a stage: a factor in 0..1 for each value of its result, from its input.

    Args:
        channels: of the stage's input.
        out_channels: of its result.
        kernel: bands and steps that it looks at.
    """

    def __init__(self, channels: int, out_channels: int, kernel: tuple[int, int]):
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.depth = nn.Conv2d(channels, channels, kernel, padding=padding, groups=channels)
        self.point = nn.Conv2d(channels, out_channels, 1)
        self.norm = nn.BatchNorm2d(out_channels)
        for layer in (self.depth, self.point):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Factors of the shape [·,out_channels,*size] from a map [·,channels,h,w]."""
        return self.norm(self.point(self.depth(functional.adaptive_max_pool2d(x, size)))).sigmoid()


class ESResNeXt(nn.Module):
    """Waves [F,A,S] in -1..1, float -> embeddings [F,D], not normalised.

    Attributes:
        embedding: D.
        repeats: how many times a second is to be repeated before it is heard (`audioclip.one_second`).

    Args:
        embedding: D.
        amplitude: "fixed" | "reference", see Spectrogram.
        repeats: as the attribute; Sam4AVS repeats five times.
        spectrogram: arguments of Spectrogram.
        options: of the residual network, which is ResNeXt-50 32x4d by default.
    """

    def __init__(
        self,
        *,
        embedding: int = EMBEDDING,
        amplitude: str = "fixed",
        repeats: int = 5,
        spectrogram: dict[str, int] | None = None,
        **options,
    ):
        super().__init__()
        self.embedding, self.repeats = embedding, repeats
        self.spectrogram = Spectrogram(amplitude=amplitude, **(spectrogram or {}))
        self.trunk = ResNetEncoder(zero_init_last=False, **(options or RESNEXT))
        channels = (self.trunk.bn1.num_features, *self.trunk.channels)
        results = (*self.trunk.channels, channels[-1])
        self.gates = nn.ModuleList(map(Gate, channels, results, KERNELS))
        self.head = nn.Linear(channels[-1], embedding)

    def forward(self, waves: Tensor) -> Tensor:
        return self.head(self.pooled(self.decibels(waves)).sum(dim=1))

    def decibels(self, waves: Tensor) -> Tensor:
        """Waves [F,A,S] -> decibels in three bands [F,A,3,R,L]."""
        return self.spectrogram(waves.flatten(0, 1)).unflatten(0, waves.shape[:2])

    def pooled(self, decibels: Tensor) -> Tensor:
        """Decibels [F,A,3,R,L] -> [F,A,C]: what the head projects after summing over A."""
        x = self.trunk.stem(decibels.flatten(0, 1))
        stages = (self.trunk.layer1, self.trunk.layer2, self.trunk.layer3, self.trunk.layer4)
        for stage, gate in zip(stages, self.gates, strict=False):
            result = stage(x)
            x = result * gate(x, result.shape[-2:])
        mean = x.mean(dim=(2, 3), keepdim=True) * self.gates[-1](x, (1, 1))
        return mean.flatten(1).unflatten(0, decibels.shape[:2])

    @staticmethod
    def rename_official(key: str) -> str | None:
        """Our name of a key of the tower in a published file, without `audio.`; None for an empty tensor in it."""
        if key == "fbsp.bias":
            return None
        for pattern, name in _NAMES.items():
            renamed, count = re.subn(f"^{pattern}", name, key)
            if count:
                return renamed
        return key

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Load the tower out of a file of AudioCLIP or ours, or from one that holds it alone, strictly.

        One exception: the last layer of a file of the tower alone may be a classifier (527 classes of AudioSet in
        ESRNXFBSP.pt), or missing. Then ours stays as it is, and the log says so.

        Raises:
            AvsbenchError: names the keys that are missing, unexpected or of another shape.
        """
        tower = tower_state(state, "audio")
        renamed = {self.rename_official(key): value for key, value in tower.items()}
        renamed.pop(None, None)
        own = {f"head.{name}": value for name, value in self.head.state_dict().items()}
        if tower is state and any(key not in renamed or renamed[key].shape != own[key].shape for key in own):
            renamed |= own
            log.info("ESResNeXt: the file's last layer is not ours; ours stays as it was")
        load_strict(self, renamed)


def esresnext(scale: str, **options) -> ESResNeXt:
    """ESResNeXt-fbsp with random weights; at scale mini a tower that trains in seconds."""
    return ESResNeXt(**(MINI | options)) if scale == "mini" else ESResNeXt(**options)
