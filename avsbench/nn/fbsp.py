"""A learnt spectrogram of frequency B-spline wavelets (Guzhov et al., "ESResNe(X)t-fbsp", IJCNN 2021).

Each row of an analysis matrix is a wave of some centre frequency under an envelope of some bandwidth and order, all
three learnt. At the start it is a Fourier transform. Letters in shapes: N sounds, S samples, R rows, L steps.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.errors import AvsbenchError
from avsbench.nn.precision import float32

GAINS = {"fixed": 32768.0, "reference": 1.0}
"""Amplitude -> what a sound is multiplied by before it is taken for int16."""
EPSILON = 1e-8
FLOOR = 1e-18
"""Power of what has none: -180 dB."""
SMALLEST = 1e-37
"""An envelope's square is never below: its power would have no gradient, and at 0 no value."""


class Spectrogram(nn.Module):
    """Sounds [N,S] -> decibels in three bands [N,3,R // 3,L], float32 even under autocast.

    The arguments of sine and cosine reach thousands, where float32 steps by 2e-4: a matrix computed more exactly is
    another one than the published network was trained with.

    Args:
        size: samples that a row of the matrix spans; R is size / 2 + 1.
        window: samples of a frame; zeros on both sides fill it up to `size`.
        hop: samples from frame to frame.
        amplitude: how the sound is scaled before. AudioCLIP maps the range of int16 to -1..1 and was trained on such
            numbers. "fixed": so that a sound in -1..1 comes out as it went in, as AudioCLIP was trained.
            "reference": a sound in -1..1 is taken for int16, as in Sam4AVS: 90 dB less on a constant, in steps of
            1/512 to 1/256 of full scale.
    """

    def __init__(self, *, size: int = 2048, window: int = 1654, hop: int = 561, amplitude: str = "fixed"):
        super().__init__()
        if amplitude not in GAINS:
            raise AvsbenchError(f"no amplitude {amplitude!r}", expected=f"one of {', '.join(GAINS)}")
        self.gain, self.size, self.hop = GAINS[amplitude], size, hop
        rows = size // 2 + 1
        self.order = nn.Parameter(torch.zeros(rows))
        self.bandwidth = nn.Parameter(torch.ones(rows))
        self.centre = nn.Parameter(torch.arange(rows, dtype=torch.float32))
        self.register_buffer("window", blackman_harris(window))
        self._kept: tuple[Tensor, Tensor] | None = None

    def forward(self, waves: Tensor) -> Tensor:
        with torch.autocast(waves.device.type, enabled=False), float32():
            frames, matrix = self.frames(waves), self.current_matrix()
            start = (matrix.shape[1] - frames.shape[2]) // 2
            rows = matrix[:, start : start + frames.shape[2]]  # beyond, frames are 0
            rows = rows[: rows.shape[0] // 3 * 3]
            power = (frames @ rows.real.mT).square() + (frames @ rows.imag.mT).square()  # [N,L,R]
            power = torch.where(power > 0, power, FLOOR)
            return 10 * power.log10().mT.unflatten(1, (3, -1))

    def scaled(self, waves: Tensor) -> Tensor:
        """Sounds as the network takes them; in float32 and in this order, whose rounding it was trained with."""
        return ((waves.float() * self.gain + 32768) * 2) / 65535 - 1

    @torch.no_grad()
    def frames(self, waves: Tensor) -> Tensor:
        """Windowed frames [N,L,window] of sounds [N,S]; zeros around them let the last frame end with the sound."""
        scaled, width = self.scaled(waves), len(self.window)
        missing = width - scaled.shape[1]
        missing = missing if missing >= 0 else missing % self.hop
        scaled = functional.pad(scaled, (missing // 2, missing - missing // 2))
        return scaled.unfold(1, width, self.hop) * self.window

    def current_matrix(self) -> Tensor:
        """`matrix`, computed anew where it has to learn, else once for as long as its parameters stay the same.

        What is kept is computed on the processor, whose rounding it was published with.
        """
        parameters = [self.order, self.bandwidth, self.centre]
        if torch.is_grad_enabled() and any(p.requires_grad for p in parameters):
            for parameter in parameters:
                _learn_by_unit_gradients(parameter)
            return self.matrix(*parameters)
        with torch.inference_mode(False), torch.no_grad():  # whoever asks first, training must be able to use it
            current = torch.stack(parameters)
            if self._kept is None or self._kept[0].device != current.device or not torch.equal(self._kept[0], current):
                self._kept = current, self.matrix(*current.cpu()).to(current.device)
        return self._kept[1]

    def matrix(self, order: Tensor, bandwidth: Tensor, centre: Tensor) -> Tensor:
        """The analysis matrix, complex64 [R,size], of parameters [R]. Bandwidths are positive."""
        order, bandwidth, centre = order[:, None], bandwidth[:, None], centre[:, None]
        time = (math.pi * torch.linspace(-1, 1, self.size, device="cpu") + EPSILON).to(order)
        spread = bandwidth * time / (order + EPSILON)
        spline = spread.sin() / spread
        # A negative number to a broken power, on the principal branch.
        magnitude = spline.square().clamp_min(SMALLEST) ** (0.5 * order)
        angle = torch.where(spline < 0, math.pi, 0.0) * order
        carrier = centre * time
        wavelet = torch.polar(magnitude, angle) * torch.polar(torch.ones_like(carrier), -carrier)
        return bandwidth.sqrt() * wavelet / math.sqrt(self.size)

    def norm_loss(self) -> Tensor:
        """How far the rows are from length 1, the mean over rows of the squared difference: AudioCLIP's regulariser."""
        rows = torch.view_as_real(self.current_matrix()).flatten(1)
        return (rows.norm(dim=1) - 1).square().mean()


def blackman_harris(length: int) -> Tensor:
    """The periodic four-term window, float32 [length]."""
    turns = torch.arange(length, dtype=torch.float64) / length * 2 * math.pi
    terms = ((-1) ** k * a * (k * turns).cos() for k, a in enumerate((0.35875, 0.48829, 0.14128, 0.01168)))
    return sum(terms).float()


def _learn_by_unit_gradients(parameter: nn.Parameter) -> None:
    """From now on divide its gradients by their largest entry, as the authors trained. Copies have to be told again."""
    if parameter.requires_grad and _divide_by_largest not in (parameter._backward_hooks or {}).values():
        parameter.register_hook(_divide_by_largest)


def _divide_by_largest(gradient: Tensor) -> Tensor:
    return gradient / (gradient.abs().max() + EPSILON)
