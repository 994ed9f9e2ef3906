"""Two visual encoders, of frames and of their maskiges: COMBO's Siam-Encoder Module (CVPR 2024), also NTAVS's.

Letters in shapes: N images, C channels of a level.
"""

from torch import Tensor, nn

from avsbench.nn.backbones import VisualEncoder


class Gate(nn.Sequential):
    """What share of each channel of a maskige's map is let through, from the map alone: [N,C,h,w] -> [N,C,1,1]."""

    def __init__(self, channels: int):
        hidden = max(channels // 16, 4)
        super().__init__(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels),
            nn.Sigmoid(),
            nn.Unflatten(1, (channels, 1, 1)),
        )

    @staticmethod
    def rename_official(key: str) -> str:
        """Our name of a key of the published gates, which call their layers fc1 and fc2."""
        return key.replace(".fc1.", ".2.").replace(".fc2.", ".4.")


class SiamEncoder(nn.Module):
    """Maps of the frames plus gated maps of the maskiges, level by level.

    The encoders are of one kind, but have weights of their own, which start alike.

    Args:
        frames: encoder of the frames.
        maskiges: encoder of the maskiges.
    """

    def __init__(self, frames: VisualEncoder, maskiges: VisualEncoder):
        super().__init__()
        self.frames, self.maskiges = frames, maskiges
        self.gates = nn.ModuleList(Gate(count) for count in frames.channels)

    def forward(self, frames: Tensor, maskiges: Tensor) -> list[Tensor]:
        """Normalised pictures [N,3,H,W] each -> four maps [N,C_i,h_i,w_i], finest first."""
        pairs = zip(self.gates, self.frames(frames), self.maskiges(maskiges), strict=True)
        return [frame + gate(maskige) * maskige for gate, frame, maskige in pairs]
