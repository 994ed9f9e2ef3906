"""Segment Anything (arXiv 2304.02643) under prompts, in two steps, by the package `segment-anything`.

The generator `sam` of the feature `image_embedding` is the first step; methods take the second one from what it stored.
An optional extra: pip install "avsbench[sam]".
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from avsbench import cards
from avsbench.errors import AvsbenchError
from avsbench.features.promptable import Promptable
from avsbench.nn.precision import float32
from avsbench.nn.states import load_strict
from avsbench.nn.weights import load_file

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


class SamPrompts(Promptable):
    """What `SamPredictor.set_image` and `predict` of the package do, with the embedding in between in one's own hands.

    Args:
        network: of the package.
        precision: type of stored embeddings. They are computed in float32, and prompted in it.
        at_once: pictures that the encoder sees together; memory only.
    """

    def __init__(self, network: "Sam", *, precision: str = "float32", at_once: int = 4):
        super().__init__()
        from segment_anything.utils.transforms import ResizeLongestSide

        self.network = network
        self.precision, self.at_once = precision, at_once
        self.resize = ResizeLongestSide(network.image_encoder.img_size)

    @torch.inference_mode()
    @float32()
    def embed(self, frames: np.ndarray) -> np.ndarray:
        """The output of the image encoder, of the type `precision`: [F,256,64,64] for the published networks."""
        resized = np.stack([self.resize.apply_image(frame) for frame in frames])  # by Pillow, as `set_image` does
        images = torch.from_numpy(resized).permute(0, 3, 1, 2).to(self.network.device)
        parts = [self.network.image_encoder(self.network.preprocess(part)) for part in images.split(self.at_once)]
        return torch.cat(parts).cpu().numpy().astype(self.precision)

    @torch.no_grad()
    def masks(
        self,
        embedding: Tensor,
        size: tuple[int, int],
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        several: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """As the base class says; scores are the network's own guesses of the IoU."""
        network, resized = self.network, self.resize.get_preprocess_shape(*size, self.resize.target_length)
        sparse, dense = network.prompt_encoder(
            points=None if points is None else (_scaled(points, size, resized), labels),
            boxes=None if boxes is None else _scaled(boxes, size, resized),
            masks=None,
        )
        logits, scores = network.mask_decoder(
            image_embeddings=embedding[None].float(),
            image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=several,
        )
        return network.postprocess_masks(logits, resized, size) > network.mask_threshold, scores

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """The published file, strictly; without the image encoder where there is none."""
        if isinstance(self.network.image_encoder, _Elsewhere):
            state = {key: value for key, value in state.items() if not key.startswith("image_encoder.")}
        load_strict(self.network, state)


def _scaled(places: Tensor, size: tuple[int, int], resized: tuple[int, int]) -> Tensor:
    """Points [P,n,2] or boxes [P,4] in pixels of the resized picture, float32; multiplied in float64, as published."""
    factor = torch.tensor([resized[1] / size[1], resized[0] / size[0]], dtype=torch.float64, device=places.device)
    return (places.unflatten(-1, (-1, 2)) * factor).flatten(-2).view(places.shape).float()


class _Elsewhere(nn.Module):
    """Stands for the image encoder where embeddings come from the store: 637 of 641 million weights of `vit_h`."""

    img_size = 1024


def sam_prompts(model: str, *, encoder: bool = True, **options) -> SamPrompts:
    """The network `model` (vit_h, vit_l, vit_b) with random weights; `options` of SamPrompts.

    Args:
        encoder: False leaves the image encoder out, which makes the three models one.

    Raises:
        AvsbenchError: the package is missing.
    """
    try:
        from segment_anything import modeling, sam_model_registry
    except ModuleNotFoundError:
        raise AvsbenchError(
            "Segment Anything needs the package segment-anything, which is not installed",
            hint='pip install "avsbench[sam]", or choose another generator in the configuration: features',
        ) from None
    if encoder:
        return SamPrompts(sam_model_registry[model](checkpoint=None), **options)
    width, side = 256, _Elsewhere.img_size
    network = modeling.Sam(
        image_encoder=_Elsewhere(),
        prompt_encoder=modeling.PromptEncoder(
            embed_dim=width, image_embedding_size=(side // 16,) * 2, input_image_size=(side,) * 2, mask_in_chans=16
        ),
        mask_decoder=modeling.MaskDecoder(
            num_multimask_outputs=3,
            transformer=modeling.TwoWayTransformer(depth=2, embedding_dim=width, num_heads=8, mlp_dim=2048),
            transformer_dim=width,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
    )
    return SamPrompts(network, **options)


def loaded(model: str, weights: str | None, device: str, **options) -> SamPrompts:
    """The network `model` with the published weights, in eval mode on its device.

    Raises:
        AvsbenchError: the package or the file is missing, or the file is another one than published.
    """
    segmenter = sam_prompts(model, **options)
    load_file(segmenter, cards.encoder(f"sam_{model}"), weights)
    return segmenter.eval().to(device)


def build(*, weights: str | None, device: str, scale: str, model: str, precision: str) -> SamPrompts:
    """The generator of embeddings, stored as float16 or float32."""
    return loaded(model, weights, device, precision=precision)
