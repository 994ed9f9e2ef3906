"""Audio networks of CAVP: a second of a video through VGGish's layers, three seconds of a still through a ResNet-18.

Letters in shapes: M sounds, C channels (1 mono, 2 stereo), S steps of 10 ms, D numbers of the embedding.
"""

from torch import Tensor, nn

from avsbench.nn.backbones import visual_encoder
from avsbench.nn.states import load_strict
from avsbench.nn.vggish import MINI, VGGish


class SecondNet(VGGish):
    """VGGish with a last layer of its own: log-mel [M,1,96,64] -> [M,D], not negative."""

    def __init__(self, embedding: int, scale: str):
        super().__init__(embedding=embedding, **(MINI if scale == "mini" else {}))
        last = self.embeddings[4]
        nn.init.kaiming_normal_(last.weight, nonlinearity="relu")
        nn.init.zeros_(last.bias)

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Load VGGish, strictly; its last layer, which is narrower, stays out."""
        load_strict(self, keep(self, state, "embeddings.4."))


class StillNet(nn.Module):
    """ResNet-18 on a log-mel picture, with the maximum over time and band: [M,C,S,64] -> [M,D]."""

    def __init__(self, embedding: int, channels: int, scale: str):
        super().__init__()
        self.trunk = visual_encoder("r18", scale, in_channels=channels)
        for layer in self.trunk.conv1.modules():
            if isinstance(layer, nn.Conv2d):
                layer.reset_parameters()
        self.fc = nn.Linear(self.trunk.channels[-1], embedding)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.fc(self.trunk(log_mel)[-1].amax(dim=(2, 3)))

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Load an ImageNet file, strictly, but for the classifier and the first convolution, which sees colours."""
        self.trunk.load_pretrained(keep(self.trunk, state, "conv1."))


def keep(module: nn.Module, state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """`state` with the module's own tensors in place of those that begin with `prefix`."""
    others = {key: value for key, value in state.items() if not key.startswith(prefix)}
    return others | {key: value for key, value in module.state_dict().items() if key.startswith(prefix)}
