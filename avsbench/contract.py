"""What data hands to a method, and what a method owes the suite.

Letters in shapes: B clips, T frames, K classes or score channels, H W pixels.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from avsbench.errors import AvsbenchError

IGNORE = 255
"""Mask value of a pixel that is not annotated or must not count."""

Output = dict[str, Any]
"""What `forward` returns: named tensors (or lists of them) that the loss and the scores need, and nothing else."""


@dataclass
class Batch:
    """B clips of T frames, padded to one length.

    Attributes:
        frames: uint8 [B,T,3,H,W], RGB, neither normalised nor augmented on disk.
        real: bool [B,T], False for padding. Padded frames are zeroed by the method *after* normalisation.
        clip_ids: B names.
        audio: front end name -> Tensor [B,T,...] (or waveforms); zeros where `real` is False.
        features: feature name -> Tensor [B,T,...].
        masks: int64 [B,T,H,W] class ids (binary: 0/1), 255 = ignore or not annotated; None in predict.
        annotated: bool [B,T], True where a ground-truth mask exists and trains; None in predict.
        aligned: bool [B], False for a clip with a sound that is not its own; None unless a recipe mixes such clips in.
    """

    frames: Tensor
    real: Tensor
    clip_ids: list[str]
    audio: dict[str, Tensor] = field(default_factory=dict)
    features: dict[str, Tensor] = field(default_factory=dict)
    masks: Tensor | None = None
    annotated: Tensor | None = None
    aligned: Tensor | None = None

    def to(self, device, non_blocking: bool = True) -> "Batch":
        """The same batch with every tensor on `device`."""

        def move(value):
            if isinstance(value, Tensor):
                return value.to(device, non_blocking=non_blocking)
            if isinstance(value, dict):
                return {key: move(item) for key, item in value.items()}
            return value

        return Batch(**{f.name: move(getattr(self, f.name)) for f in fields(self)})

    def pin_memory(self) -> "Batch":
        """Called by the loader's pinning thread."""
        pinned = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                value = value.pin_memory()
            elif isinstance(value, dict):
                value = {key: item.pin_memory() for key, item in value.items()}
            pinned[f.name] = value
        return Batch(**pinned)

    def sound(self, front_end: str) -> Tensor:
        """What `audio` holds of a front end, [B,T,...].

        Raises:
            AvsbenchError: it holds nothing of it; says what there is instead.
        """
        return _held(self.audio, front_end, "front end", "front_ends", "sound")

    def feature(self, name: str) -> Tensor:
        """What `features` holds under this name, [B,T,...].

        Raises:
            AvsbenchError: it holds nothing of it; says what there is instead.
        """
        return _held(self.features, name, "feature", "features", "features")

    def __len__(self) -> int:
        return len(self.clip_ids)


def _held(found: dict[str, Tensor], name: str, word: str, key: str, what: str) -> Tensor:
    if name not in found:
        raise AvsbenchError(
            f"the batch holds nothing of the {word} {name}",
            found=", ".join(found) or f"no {what}",
            expected=name,
            hint=f"name {name} under inputs.{key} of the method's card, and build its shards",
        )
    return found[name]


class Method(nn.Module):
    """Base class of every method. A method folder's `model.py` offers `build(...) -> Method`.

    Attributes:
        channels: K of `scores`: 1 = sigmoid, 2 = softmax of channel 1, otherwise argmax over K classes.
        trainable: False for a method without a train rule (`loss` is never called).
        random_encoders: roles of `encoders` that no file fills (the loader sets it). Frozen or not, a run stores them.
        summed_terms: names of loss terms that are sums over the batch. The others are means over it, so that the engine
            may weigh the parts of a batch that devices and accumulation see apart.
    """

    channels: int = 1
    trainable: bool = True
    random_encoders: frozenset[str] = frozenset()
    summed_terms: frozenset[str] = frozenset()

    def forward(self, batch: Batch) -> Output:
        """Everything that `loss` and `scores` need, and never more than that."""
        raise TypeError(f"{type(self).__name__} must define forward(batch)")

    def scores(self, output: Output, size: tuple[int, int]) -> Tensor:
        """Logits float32 [B,T,K,h,w] at `size` = (h, w): bilinear, align_corners False, float32 even under autocast."""
        raise TypeError(f"{type(self).__name__} must define scores(output, size)")

    def masks(self, scores: Tensor) -> Tensor:
        """The method's own hard decision from `scores`: bool [B,T,h,w] (K <= 2) or class ids int64 [B,T,h,w].

        K = 1 is strict (a logit of 0 is background); ties of an argmax go to the lowest class. An ensemble asks
        about its mean probability, as float64 logits.
        """
        if self.channels == 1:
            return scores[:, :, 0] > 0
        labels = scores.argmax(dim=2)
        return labels.bool() if self.channels == 2 else labels

    def loss(self, output: Output, batch: Batch, step: int) -> dict[str, Tensor]:
        """Named scalar terms; the engine minimises their sum."""
        raise TypeError(f"{type(self).__name__} must define loss(output, batch, step)")

    def configure(self, recipe: dict) -> None:
        """Take what the recipe says to the method (its keys `loss` and `method`). Called once, before training."""

    def parameter_groups(self, recipe: dict) -> list[dict]:
        """Optimiser groups. Each has `params` (list of (name, parameter)) and may set `lr`, `weight_decay`,
        `optimizer` and `schedule`; what is not set comes from the recipe. Default: one group of everything trainable.
        """
        return [{"params": [(n, p) for n, p in self.named_parameters() if p.requires_grad]}]

    def on_epoch(self, epoch: int) -> None:
        """Called before each training epoch (from 0): freeze, release, switch a bank."""

    def extra_state(self) -> dict:
        """State beside parameters and buffers (a sound bank …): tensors, numbers, strings; part of the resume state."""
        return {}

    def load_extra_state(self, state: dict) -> None:
        """Take back what `extra_state` gave; its tensors come on the CPU."""

    def transforms(self, recipe: dict):
        """Published training augmentation: a callable (clip: dict, generator: torch.Generator) -> dict, or None."""
        return None

    def device_transforms(self, recipe: dict):
        """A faster training augmentation for batches on the device, for recipes with `compute: {augment: device}`: a
        callable (Batch, torch.Generator) -> Batch, or None where the method offers none. Never the published numbers.
        """
        return None

    def encoders(self) -> dict[str, nn.Module]:
        """Role -> sub-module that starts from pretrained weights, e.g. {"visual": …, "audio": …}.

        Each has `load_pretrained(state)`, strict. An encoder whose parameters are all frozen (`requires_grad` False) is
        *external*: it is not stored with a run's weights but loaded from its own file every time.
        """
        return {}

    def external_prefixes(self) -> list[str]:
        """State-dict prefixes ("audio_encoder.") of frozen encoders."""
        filled = [module for role, module in self.encoders().items() if role not in self.random_encoders]
        external = [m for m in filled if not any(p.requires_grad for p in m.parameters())]
        return [f"{name}." for name, module in self.named_modules() if any(module is e for e in external)]

    def own_state(self) -> dict[str, Tensor]:
        """The state dict without external encoders: what a run stores and an official checkpoint holds."""
        outside = tuple(self.external_prefixes())
        return {k: v for k, v in self.state_dict().items() if not (outside and k.startswith(outside))}

    def carried_state(self, names: Iterable[str]) -> dict[str, Tensor]:
        """What a file with tensors of these `names` has to fill: `own_state`, and every external encoder of which it
        holds anything (authors' checkpoints often carry their frozen encoders).
        """
        names = list(names)
        outside = tuple(p for p in self.external_prefixes() if not any(name.startswith(p) for name in names))
        return {k: v for k, v in self.state_dict().items() if not (outside and k.startswith(outside))}

    @classmethod
    def rename_official(cls, key: str) -> str | None:
        """Our name of one key of the authors' checkpoint; None drops it (say why in the override)."""
        return key

    @classmethod
    def convert_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The authors' state dict in our names, key by key through `rename_official`."""
        renamed = ((cls.rename_official(key), value) for key, value in state.items())
        return {key: value for key, value in renamed if key is not None}

    def train(self, mode: bool = True) -> "Method":
        """Train mode, except for external (frozen) encoders: they stay in eval mode and keep BatchNorm statistics."""
        super().train(mode)
        for encoder in self.encoders().values():
            if not any(p.requires_grad for p in encoder.parameters()):
                encoder.eval()
        return self

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        return (p for p in self.parameters() if p.requires_grad)


Colours = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and deviation of red, green and blue, of values in 0..1."""

IMAGENET: Colours = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP: Colours = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def normalize_frames(frames: Tensor, real: Tensor, colours: Colours = IMAGENET) -> Tensor:
    """uint8 [B,T,3,H,W] -> float32 normalised by these colours; padded frames are zero afterwards."""
    mean, std = _on_device(colours, frames.device)
    normalised = (frames.float() / 255 - mean) / std
    return normalised * real[:, :, None, None, None]


def _on_device(colours: Colours, device: torch.device) -> tuple[Tensor, ...]:
    """Mean and deviation, [3,1,1] each. Kept: a copy to a GPU in each step would wait for its queue."""
    if (colours, device) not in _COLOURS:
        with torch.inference_mode(False):  # whoever asks first, training must be able to use them
            _COLOURS[colours, device] = tuple(torch.tensor(values, device=device).view(3, 1, 1) for values in colours)
    return _COLOURS[colours, device]


_COLOURS: dict[tuple[Colours, torch.device], tuple[Tensor, ...]] = {}
