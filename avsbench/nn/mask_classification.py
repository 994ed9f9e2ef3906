"""What methods share that answer with queries, each a mask and its class, from frames and maskiges: COMBO and NTAVS.

Letters in shapes: B clips, T frames, F real frames of all clips, Q queries, K classes, h w the size of predicted masks.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from avsbench.cards import known
from avsbench.contract import Batch, Method, Output, normalize_frames
from avsbench.nn.backbones import rename_visual
from avsbench.nn.mask_decoder import MaskDecoder, Prediction
from avsbench.nn.mask_losses import MaskCriterion
from avsbench.nn.matcher import Matcher
from avsbench.nn.pixel_decoder import PixelDecoder
from avsbench.nn.siam import Gate, SiamEncoder

_OFFICIAL = {
    "backbone.": ("siam.frames.", rename_visual),
    "pre_sam_backbone.": ("siam.maskiges.", rename_visual),
    "scale_factor_module.": ("siam.gates.", Gate.rename_official),
    "sem_seg_head.pixel_decoder.": ("pixel_decoder.", PixelDecoder.rename_official),
    "sem_seg_head.predictor.": ("decoder.", MaskDecoder.rename_official),
}
"""How a name of the authors' begins -> how ours does, and what becomes of the rest."""
UNDECAYED = (nn.LayerNorm, nn.GroupNorm, _BatchNorm, nn.Embedding)
"""Modules whose parameters do not decay."""


class MaskClassification(Method):
    """All but the network between the encoders and the predictions, which a subclass gives in `segment`.

    A class map is the sum over queries of the chance of that class times the mask. As published S4 and MS3 take the
    softmax of both maps as if they were logits. Of more classes only the largest is asked for: there scores are the
    maps' logarithms, whose softmax are the maps normalised.

    Args:
        siam: encoder of frames and maskiges.
        audio: encoder of the sound; frozen here.
        channels: K; 2 for S4 and MS3, where background is a class.

    Attributes:
        loss_settings: what the recipe may say under `loss`: weights of terms; `points`, at which masks are compared.
        method_settings: and under `method`: `backbone_rate`, of the visual encoders' learning rate; `augment`, see
            `avsbench.transforms.clips`.
    """

    loss_settings: ClassVar[dict[str, float]] = {"class": 2.0, "mask": 5.0, "dice": 5.0, "points": 12544}
    method_settings: ClassVar[dict[str, object]] = {"backbone_rate": 0.1, "augment": None}

    def __init__(self, *, siam: SiamEncoder, audio: nn.Module, channels: int):
        super().__init__()
        self.channels = channels
        self.siam = siam
        self.audio = audio.requires_grad_(False).eval()
        self.configure({})

    def segment(self, maps: list[Tensor], batch: Batch) -> list[Prediction]:
        """Maps of the real frames [F,C_i,h_i,w_i], finest first -> predictions, the last of which counts."""
        raise TypeError(f"{type(self).__name__} must define segment(maps, batch)")

    def encoders(self) -> dict[str, nn.Module]:
        return {"visual": self.siam.frames, "maskige": self.siam.maskiges, "audio": self.audio}

    def configure(self, recipe: dict) -> None:
        """Keys of the recipe's `loss` and `method`, see `loss_settings` and `method_settings`."""
        found = {}
        for place, settings in {"loss": self.loss_settings, "method": self.method_settings}.items():
            given = recipe.get(place, {})
            for key in given:
                known(key, settings, f"recipe of {type(self).__name__}: {place}", "key")
            found[place] = {**settings, **given}
        loss = found["loss"]
        weights = {f"{name}_weight": loss[name] for name in ("class", "mask", "dice")}
        matcher = Matcher(**weights, points=loss["points"])
        self.settings = found
        self.criterion = MaskCriterion(matcher=matcher, **weights, points=loss["points"])

    def forward(self, batch: Batch) -> Output:
        """Predictions for the real frames.

        Returns:
            predictions: class logits [F,Q,K+1] and mask logits [F,Q,h,w]; while training of every layer, first to last.
            real: bool [B,T], the F frames.
        """
        real = batch.real
        maskiges = batch.feature("maskige")
        frames, maskiges = (normalize_frames(x[real][None], real[real][None])[0] for x in (batch.frames, maskiges))
        predictions = self.segment(self.siam(frames, maskiges), batch)
        return {"predictions": predictions if self.training else predictions[-1:], "real": real}

    def scores(self, output: Output, size: tuple[int, int]) -> Tensor:
        """Padded frames score 0."""
        real = output["real"]
        maps = MaskDecoder.semantic(output["predictions"][-1], size)
        if self.channels > 2:
            maps = maps.clamp_min(torch.finfo(maps.dtype).tiny).log()
        return maps.new_zeros(*real.shape, *maps.shape[1:]).index_put((real,), maps)

    def loss(self, output: Output, batch: Batch, step: int) -> dict[str, Tensor]:
        """Terms of the frames that have a truth, see `MaskCriterion`."""
        # Found once: to pick by flags a GPU's queue must run empty, each time.
        judged = batch.annotated[output["real"]].nonzero()[:, 0]
        predictions = [tuple(x.index_select(0, judged) for x in pair) for pair in output["predictions"]]
        return self.criterion(predictions, batch.masks[batch.annotated])

    def parameter_groups(self, recipe: dict) -> list[dict]:
        """Visual encoders learn at `backbone_rate` times the recipe's rate; norms and embeddings do not decay."""
        encoders = (self.siam.frames, self.siam.maskiges)
        slow = {id(p) for encoder in encoders for p in encoder.parameters()}
        kept = {id(p) for m in self.modules() if isinstance(m, UNDECAYED) for p in m.parameters(recurse=False)}
        groups: dict[tuple[bool, bool], list] = {}
        for name, p in self.named_parameters():
            if p.requires_grad:
                groups.setdefault((id(p) in slow, id(p) in kept), []).append((name, p))
        lr, rate = recipe["optimizer"]["lr"], self.settings["method"]["backbone_rate"]
        return [
            {"params": params, "lr": lr * (rate if is_slow else 1.0)} | ({"weight_decay": 0.0} if is_kept else {})
            for (is_slow, is_kept), params in groups.items()
        ]

    @classmethod
    def rename_official(cls, key: str) -> str | None:
        """Our name of a key that files of COMBO and NTAVS share, for subclasses with the attributes `pixel_decoder` and
        `decoder`; other keys stay. None for the weights of classes in the loss, which `MaskCriterion` has.
        """
        if key == "criterion.empty_weight":
            return None
        for theirs, (ours, rename) in _OFFICIAL.items():
            if key.startswith(theirs):
                return ours + rename(key.removeprefix(theirs))
        return key
