"""The trained part of AVSegFormer: queries made from sound, multi-scale features, and masks made from both.

Letters in shapes: F frames, Q queries, C channels, S tokens of three levels, K score channels, h w the map of stride 4.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.errors import AvsbenchError
from avsbench.nn.deformable import DeformableAttention, Sizes, split_levels
from avsbench.nn.transformer import DecoderLayer, DeformableEncoderLayer, encode_maps

STRIDE = 4
"""Image size over the size of the map that masks are made on."""


def upsample(x: Tensor, factor: int) -> Tensor:
    return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class QueryGenerator(nn.Module):
    """A table of queries that listen to the sound: [F,1,C] -> [F,Q,C].

    The sound is one token, so every query of a frame receives the same vector from it. Nothing is dropped in training.
    """

    def __init__(self, *, queries: int, width: int, hidden: int, layers: int, heads: int):
        super().__init__()
        self.table = nn.Parameter(torch.empty(queries, width))
        self.layers = nn.ModuleList(
            DecoderLayer(width, hidden, activation=nn.GELU, heads=heads, bias=False) for _ in range(layers)
        )

    def forward(self, sound: Tensor) -> Tensor:
        x = self.table[None]
        for layer in self.layers:
            x = layer(x, sound)
        return x


class Mixer(nn.Module):
    """Gates the channels of a map by the sound, which attends to its pixels: [F,C,h,w], [F,1,C] -> [F,C,h,w].

    There is one query a frame. Its scores are q^T W_k m and its result W_v sum(a m), so keys and values of single
    pixels m need not be computed.
    """

    def __init__(self, *, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.gate = nn.Linear(width, width)

    def forward(self, x: Tensor, sound: Tensor) -> Tensor:
        pixels = x.flatten(2)  # [F,C,hw]
        key, value = self.key_value.weight.view(2, self.heads, -1, x.shape[1])  # [heads,D,C]
        query = self.query(sound[:, 0]).unflatten(1, (self.heads, -1)) * key.shape[1] ** -0.5
        weights = (torch.einsum("fhd,hdc->fhc", query, key) @ pixels).softmax(dim=-1)  # [F,heads,hw]
        attended = torch.einsum("fhc,hdc->fhd", weights @ pixels.transpose(1, 2), value)
        return x * self.gate(attended.flatten(1)).sigmoid()[:, :, None, None]


class Classifier(nn.Sequential):
    """A map of stride 4 to logits of the image's size: [F,C,h,w] -> [F,K,4h,4w]."""

    def __init__(self, *, width: int, hidden: int, channels: int):
        super().__init__(
            nn.Conv2d(width, width // 2, kernel_size=3, padding=1),
            nn.Upsample(scale_factor=STRIDE, mode="bilinear", align_corners=False),
            nn.Conv2d(width // 2, hidden, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, kernel_size=1, bias=False),
        )


class IntermediateMasks(nn.Module):
    """First release: a mask from what a decoder layer's queries looked at, a training signal of its own."""

    def __init__(self, *, width: int, classifier: Classifier):
        super().__init__()
        self.steps = nn.ModuleList(nn.Conv2d(width, width, kernel_size=3, padding=1) for _ in range(3))
        self.classifier = classifier

    def forward(self, queries: Tensor, weights: Tensor, sizes: Sizes) -> Tensor:
        """Queries [F,Q,C], their attention to all tokens [F,Q,S] -> logits [F,K,4h,4w]."""
        for (fine_h, fine_w), (coarse_h, coarse_w) in itertools.pairwise(sizes):
            if (fine_h, fine_w) != (2 * coarse_h, 2 * coarse_w):
                raise AvsbenchError(
                    "avsegformer: the masks of the first release's decoder layers need maps that double in size",
                    found=f"maps of {', '.join(f'{h}x{w}' for h, w in sizes)}",
                    expected="frames whose height and width are multiples of 32",
                    hint="choose another image_size, or the option auxiliary: mix",
                )
        fine, middle, coarse = split_levels(weights.transpose(1, 2) @ queries, sizes)
        x = self.steps[0](upsample(coarse, 2)) + middle
        x = self.steps[1](upsample(x, 2)) + fine
        return self.classifier(self.steps[2](upsample(x, 2)))


class Head(nn.Module):
    """Maps of strides 4 to 32 and a sound token -> masks. No operation mixes frames.

    Args:
        in_channels: of the four maps.
        channels: K.
        generator: what turns the sound [F,1,C] into queries, [F,Q,C] or one for all [F,1,C]; a learned table is added.
        intermediate: makes the auxiliary masks of the decoder layers; None: there are none.
        width: C; a multiple of `heads` and of `groups`.
        queries: Q.
        depth: layers of the encoder and of the decoder.
        hidden: of the feed-forward blocks, and of the block that turns Q responses into C channels.
        classifier: of the masks.
        groups: of GroupNorm.
        dropout: in encoder and decoder.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        generator: nn.Module,
        classifier: Classifier,
        intermediate: IntermediateMasks | None = None,
        width: int = 256,
        queries: int = 300,
        depth: int = 6,
        hidden: tuple[int, int] = (2048, 2048),
        heads: int = 8,
        groups: int = 32,
        dropout: float = 0.1,
    ):
        super().__init__()
        shape = {"activation": nn.GELU, "dropout": dropout, "heads": heads}

        def convolution(before: int, kernel: int, *end: nn.Module) -> nn.Sequential:
            layer = nn.Conv2d(before, width, kernel, padding=kernel // 2)
            return nn.Sequential(layer, nn.GroupNorm(groups, width), *end)

        self.projections = nn.ModuleList(convolution(count, 1) for count in in_channels)
        self.levels = nn.Parameter(torch.empty(3, width))
        self.generator = generator
        self.queries = nn.Parameter(torch.empty(queries, width))
        self.encoder = nn.ModuleList(DeformableEncoderLayer(width, hidden[0], **shape) for _ in range(depth))
        self.decoder = nn.ModuleList(DecoderLayer(width, hidden[0], **shape) for _ in range(depth))
        self.lateral = convolution(width, 1)
        self.output = convolution(width, 3, nn.ReLU(inplace=True))
        self.mixer = Mixer(width=width, heads=heads)
        self.responses = nn.Sequential(
            nn.Conv2d(queries, hidden[1], 1), nn.ReLU(inplace=True), nn.Conv2d(hidden[1], hidden[1], 1),
            nn.ReLU(inplace=True), nn.Conv2d(hidden[1], width, 1),
        )  # fmt: skip
        self.classifier = classifier
        self.intermediate = intermediate
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As published: whatever has two dimensions is Xavier-uniform, but for deformable attention and the levels."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        for module in self.modules():
            if isinstance(module, DeformableAttention):
                module.reset_parameters()
        nn.init.normal_(self.levels)

    def forward(
        self, maps: list[Tensor], sound: Tensor, *, auxiliary: bool = False
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """One mask a frame.

        Args:
            maps: of the visual encoder, [F,C_i,h_i,w_i], finest first.
            sound: [F,1,C].
            auxiliary: compute the intermediate masks.

        Returns:
            logits [F,K,4h,4w]; the mixed features [F,C,h,w]; the intermediate masks, like the logits.
        """
        fine, *coarser = (layer(x) for layer, x in zip(self.projections, maps, strict=True))
        memory, sizes = encode_maps(self.encoder, coarser, self.levels)
        queries, masks = self.decode(self.generator(sound) + self.queries, memory, sizes, auxiliary)
        finest = split_levels(memory, sizes)[0]
        finest = functional.interpolate(finest, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        features = self.mixer(self.output(self.lateral(fine) + finest), sound)
        responses = (queries @ features.flatten(2)).unflatten(2, features.shape[-2:])  # [F,Q,h,w]
        return self.classifier(features + self.responses(responses)), features, masks

    def decode(self, x: Tensor, memory: Tensor, sizes: Sizes, auxiliary: bool) -> tuple[Tensor, list[Tensor]]:
        """Queries [F,Q,C] or [F,1,C] and memory [F,S,C] -> queries of the last layer, intermediate masks."""
        masks = []
        for layer in self.decoder:
            if auxiliary and self.intermediate is not None:
                x, weights = layer(x, memory, with_weights=True)
                masks.append(self.intermediate(x, weights, sizes))
            else:
                x = layer(x, memory)
        return x, masks
