"""The loss that TPAVI adds: the matching of sound and masked visual features.

Letters in shapes: F frames, C channels of a stage, K score channels.
"""

import dataclasses
import difflib
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from avsbench.errors import AvsbenchError

EPS = 1e-6


@dataclass(frozen=True)
class Matching:
    """The audio-visual matching term: features under the predicted mask shall resemble the sound of their frame.

    Attributes:
        form: the published term of a data set, "binary" (MS3), "semantic" (AVSS) or "cosine" (S4, off there).
        weight: lambda; 0 switches the term off.
        divergence: "kl" or "euclidean".
        normalise: L2-normalise both sides.
        threshold: a hard mask, and features averaged over its area; binary form only.
        closer: the target is not the sound but the visual feature of the frame whose sound is nearest.
        reference: repeat a slip of the released semantic term, where `closer` with "kl" still compares with the sound.
    """

    form: str
    weight: float = 0.0
    divergence: str = "kl"
    normalise: bool = False
    threshold: bool = False
    closer: bool = False
    reference: bool = False

    def replaced(self, settings: dict) -> "Matching":
        """With what a recipe's `loss` says: `matching` is the weight, other keys are attributes."""
        names = {"matching": "weight"} | {f.name: f.name for f in dataclasses.fields(self) if f.name != "weight"}
        for key, value in settings.items():
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1)
                raise AvsbenchError(
                    f"tpavi: unknown key {key!r} in the recipe's loss",
                    expected=f"one of {', '.join(names)}",
                    hint=f"did you mean {near[0]!r}?" if near else None,
                )
            if key == "divergence" and value not in ("kl", "euclidean"):
                raise AvsbenchError(
                    "tpavi: unknown divergence in the recipe's loss", found=value, expected="kl, euclidean"
                )
        return dataclasses.replace(self, **{names[key]: value for key, value in settings.items()})


def matching_term(options: Matching, logits: Tensor, maps: list[Tensor], sounds: list[Tensor], flags: Tensor) -> Tensor:
    """Mean over the stages of the distance between sound and masked visual feature.

    Args:
        options: which of the published forms.
        logits: [F,K,H,W].
        maps: of each stage, rectified, [F,C,h,w].
        sounds: of each stage, aligned, [N,5,C] with 5 N = F.
        flags: bool [F], frames that count.
    """
    terms = []
    for features, sound in zip(maps, sounds, strict=True):
        visual = masked_feature(options, logits, features)
        terms.append(stage_term(options, sound.flatten(0, 1), visual, flags))
    return sum(terms) / len(terms)


def masked_feature(options: Matching, logits: Tensor, features: Tensor) -> Tensor:
    """[F,K,H,W], [F,C,h,w] -> [F,C]: the features under the predicted mask.

    A plain spatial mean of features times mask, or (cosine, threshold) the mean over the area of a hard mask. Only the
    soft binary mask lets a gradient into the logits.
    """
    size = features.shape[-2:]
    if options.form == "semantic":
        mask = (logits.argmax(dim=1, keepdim=True) != 0).to(features.dtype)
        return (features * functional.adaptive_avg_pool2d(mask, size)).mean(dim=(2, 3))
    if options.form == "cosine":
        mask = functional.adaptive_avg_pool2d(logits.sigmoid(), size) > 0.5
    else:
        mask = functional.adaptive_avg_pool2d(logits, size).sigmoid()
        if not options.threshold:
            return (features * mask).mean(dim=(2, 3))
        mask = mask > 0.5
    mask = mask.to(features.dtype)
    return (features * mask).sum(dim=(2, 3)) / (mask.sum(dim=(2, 3)) + EPS)


def stage_term(options: Matching, sound: Tensor, visual: Tensor, flags: Tensor) -> Tensor:
    """[F,C], [F,C], bool [F] -> the term of one stage."""
    if options.form == "cosine":
        cosine = (functional.normalize(sound, dim=1) * functional.normalize(visual, dim=1)).sum(dim=1)
        return _mean(-(functional.relu(cosine) + EPS).log(), flags)
    if options.normalise:
        sound, visual = functional.normalize(sound, dim=1), functional.normalize(visual, dim=1)
    target = sound
    slip = options.reference and options.form == "semantic" and options.divergence == "kl"
    if options.closer and not slip:
        target = visual[nearest_other(sound)]
    if options.divergence == "euclidean":
        return _mean(functional.pairwise_distance(target, visual), flags)
    frames = _divergence(target, visual)
    # As published: MS3 sums over the frames of a batch, AVSS averages over those that count.
    return (frames * flags).sum() if options.form == "binary" else _mean(frames, flags)


def nearest_other(sound: Tensor) -> Tensor:
    """[F,C] -> for each frame the index of the frame with the nearest sound.

    Ten is added to the distance of a frame to itself, as published; it still picks itself when all others are farther.
    """
    distance = torch.cdist(sound, sound)
    return (distance + 10 * torch.eye(len(sound), device=sound.device)).argmin(dim=1)


def _divergence(target: Tensor, visual: Tensor) -> Tensor:
    """Kullback-Leibler divergence of softmax(visual) from softmax(target), [F]."""
    wanted, found = functional.log_softmax(target, dim=1), functional.log_softmax(visual, dim=1)
    return (wanted.exp() * (wanted - found)).sum(dim=1)


def _mean(frames: Tensor, flags: Tensor) -> Tensor:
    return (frames * flags).sum() / flags.sum().clamp_min(1)
