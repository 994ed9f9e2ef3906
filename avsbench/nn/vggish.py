"""VGGish: a VGG-like network that turns a log-mel example of 0.96 s into 128 numbers (Hershey et al., ICASSP 2017).

The layout of the public PyTorch port (Apache-2.0), whose parameter names these are; no PCA, no quantisation.
"""

import torch
from torch import Tensor, nn

from avsbench.errors import AvsbenchError
from avsbench.nn.states import load_strict

EMBEDDING = 128
MINI = {"widths": (8, 16, 24, 24, 32, 32), "hidden": 128}
"""Arguments of the network that trains in seconds."""


class VGGish(nn.Module):
    """Log-mel examples [N,1,96,64] -> embeddings [N,128] (or as wide as asked), not negative.

    Args:
        widths: of the six convolutions; a 2x2 max pool follows the first, the second, the fourth and the sixth.
        hidden: width of the two hidden linear layers.
        embedding: width of the last one.
    """

    def __init__(
        self,
        *,
        widths: tuple[int, ...] = (64, 128, 256, 256, 512, 512),
        hidden: int = 4096,
        embedding: int = EMBEDDING,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for place, width in enumerate(widths):
            layers += [nn.Conv2d(before, width, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
            if place in (0, 1, 3, 5):
                layers.append(nn.MaxPool2d(2, 2))
            before = width
        self.features = nn.Sequential(*layers)
        # Four pools leave 6 x 4 of the 96 x 64 steps and bands.
        self.embeddings = nn.Sequential(
            nn.Linear(6 * 4 * before, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, embedding),
            nn.ReLU(inplace=True),
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        maps = self.features(log_mel)  # [N,C,6,4]
        # Flattened as the original TensorFlow network did: height, width, channel.
        return self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Load the published file or our own state, strictly."""
        load_strict(self, state)


@torch.no_grad()
def embed_frames(network: nn.Module, log_mel: Tensor, real: Tensor) -> Tensor:
    """The frozen audio network on the real frames alone: [B,T,1,96,64], bool [B,T] -> [B,T,128], 0 for padding."""
    embedding = log_mel.new_zeros(*log_mel.shape[:2], EMBEDDING)
    embedding[real] = network(log_mel[real]).to(embedding.dtype)
    return embedding


def audio_encoder(family: str, scale: str) -> VGGish:
    """An audio network with random weights.

    Args:
        family: "vggish".
        scale: "full" for the published size, "mini" for one that trains in seconds.
    """
    if family != "vggish":
        raise AvsbenchError(f"no audio encoder of the family {family!r}", expected="vggish")
    return VGGish(**MINI) if scale == "mini" else VGGish()
