"""Stand-ins for published encoders at scale mini: small networks trained on the embedded training clips.

A frozen random encoder hears nothing, and ImageNet or AudioSet weights do not fit a small network. So the small members
of both families learn to tell the embedded classes apart, in seconds, from training clips alone; methods load the
result as they load a published file. Each data set has a classifier of its own, since their class names differ.
The small AudioCLIP learns as its authors' did, see `pretrain_contrastive`.
"""

import logging
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avsbench.cards import DatasetCard, EncoderCard
from avsbench.contract import CLIP, IMAGENET
from avsbench.engine.checkpoint import save_weights
from avsbench.engine.pretrain_contrastive import learn_together
from avsbench.engine.pretrain_parts import Examples, flip, heard, minimise, mix_sounds, seen
from avsbench.engine.seeds import seed_everything
from avsbench.errors import AvsbenchError
from avsbench.nn.backbones import visual_encoder
from avsbench.nn.ced import ced
from avsbench.nn.clip_visual import clip_visual
from avsbench.nn.esresnext import esresnext
from avsbench.nn.vggish import EMBEDDING, VGGish, audio_encoder
from avsbench.paths import Paths
from avsbench.store.clips import ClipDataset

log = logging.getLogger(__name__)

EPOCHS = {"visual": 10, "audio": 16, "ced": 10, "esresnext": 12}
"""By family, or else by kind."""
BATCH, SMALL = 32, {"esresnext": 8}
"""Examples of a data set in a step; by family where more steps of less teach more."""
UNPUBLISHED = {"clip_stages": "pool.", "esresnext": "head."}
"""Family -> what the published file does not hold either, or only as a classifier of other classes."""


def pretrain_stand_in(
    *,
    encoder: EncoderCard,
    paths: Paths,
    datasets: list[DatasetCard],
    out: str,
    seed: int = 0,
    epochs: int | None = None,
) -> dict[str, float]:
    """Train the small member of an encoder's family on mini's training clips and write it to `out`.

    Args:
        encoder: its `kind` says what is learnt: visual, the class of an object's crop; audio, the classes heard.
        paths: where the shards of scale mini lie.
        datasets: their training splits are the examples.
        out: safetensors file with the encoder alone.
        epochs: 0 for the usual number.

    Returns:
        Data set -> accuracy on its training examples; near chance, it would explain a method that does not listen.
    """
    if paths.scale != "mini":
        raise AvsbenchError(
            f"stand-ins exist at scale mini only, {encoder.name} has a published file",
            found=f"scale {paths.scale}",
            expected=paths.weights(encoder.file),
        )
    seed_everything("stand-in", encoder.name, seed)
    start = time.perf_counter()
    splits = [ClipDataset(paths, card, "train", front_ends=encoder.front_ends, masks=True) for card in datasets]
    learn = learn_together if encoder.kind == "audiovisual" else learn_classes
    state, scores = learn(encoder, splits, epochs)
    accuracy = {card.name: value for card, value in zip(datasets, scores, strict=True)}
    about = {"encoder": encoder.name, "scale": paths.scale, "seed": seed, "accuracy": accuracy}
    save_weights(out, state, about)
    shown = ", ".join(f"{name} {value:.0%}" for name, value in accuracy.items())
    log.info("stand-in for %s: %s of the training examples in %.0f s", encoder.name, shown, time.perf_counter() - start)
    return accuracy


def learn_classes(
    encoder: EncoderCard, splits: list[ClipDataset], epochs: int | None = None
) -> tuple[dict[str, Tensor], list[float]]:
    """Train the small member of a family of one modality; its state, and its accuracy on each split."""
    network = vector_of(encoder, "mini")
    if encoder.kind == "audio":
        # What each front end makes of a data set is a set of its own; one classifier serves them all.
        examples, augment = [[heard(split, name) for name in encoder.front_ends] for split in splits], mix_sounds
    else:
        colours = CLIP if encoder.family.startswith("clip") else IMAGENET
        examples, augment = [[seen(split, colours)] for split in splits], flip
    heads = nn.ModuleList(nn.Linear(network.width, parts[0].classes) for parts in examples)
    usual = EPOCHS.get(encoder.family, EPOCHS[encoder.kind])
    batch = SMALL.get(encoder.family, BATCH)
    fit(network, heads, examples, augment, batch, epochs or usual, encoder.name)
    scores = [score(network, head, parts) for head, parts in zip(heads, examples, strict=True)]
    if isinstance(network.encoder, VGGish):
        _unit_scale(network.encoder, [part for parts in examples for part in parts])
    absent = UNPUBLISHED.get(encoder.family)
    state = network.encoder.state_dict()
    return {key: value for key, value in state.items() if not (absent and key.startswith(absent))}, scores


def _for_relu(module: nn.Module) -> None:
    """VGGish has no normalisation: with torch's default weights its signal dies on the way to the embedding."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)


@torch.no_grad()
def _unit_scale(network: nn.Module, examples: list[Examples]) -> None:
    """Scale the last layer so that embeddings deviate by 1, as a network on top expects of what it is fed.

    The classifier's training leaves them an order of magnitude larger; the last ReLU makes the scaling exact.
    """
    embedding = torch.cat([network(part) for each in examples for part in each.inputs.split(128)])
    last = network.embeddings[4]
    last.weight /= embedding.std()
    last.bias /= embedding.std()


class Vector(nn.Module):
    """An encoder, and how its result becomes one vector for a classifier: [N,…] -> [N,width]."""

    def __init__(self, encoder: nn.Module, width: int, pool: Callable[[nn.Module, Tensor], Tensor]):
        super().__init__()
        self.encoder, self.width, self.pool = encoder, width, pool

    def forward(self, inputs: Tensor) -> Tensor:
        return self.pool(self.encoder, inputs)


def vector_of(card: EncoderCard, scale: str) -> Vector:
    """The small member of a family with random weights; inputs are images [N,3,H,W], log-mel examples [N,1,S,M] or
    waves [N,S]."""
    if card.family == "clip_visual":
        seeing = clip_visual(scale)
        return Vector(seeing, seeing.embedding, lambda encoder, images: encoder.embed(images))
    if card.kind == "visual":
        visual = clip_visual(scale) if card.family == "clip_stages" else visual_encoder(card.family, scale)
        return Vector(visual, sum(visual.channels[-2:]), _mean_of_deepest)
    if card.family == "esresnext":
        tower = esresnext(scale)
        return Vector(tower, tower.head.in_features, _before_head)
    if card.family == "ced":
        hearing = _wide(ced(scale))
        return Vector(hearing, hearing.width, lambda encoder, mel: encoder(mel[:, 0].mT).mean(dim=1))
    return Vector(audio_encoder(card.family, scale).apply(_for_relu), EMBEDDING, lambda encoder, mel: encoder(mel))


def _wide(network: nn.Module) -> nn.Module:
    """A transformer that learns in a few hundred steps: CED's own weights of 0.02 need thousands to come off zero."""
    for name, parameter in network.named_parameters():
        if name.endswith("positions"):
            nn.init.normal_(parameter, std=0.2)
        elif parameter.ndim == 2:
            nn.init.xavier_uniform_(parameter)
    return network


def _mean_of_deepest(encoder: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([level.mean(dim=(2, 3)) for level in encoder(images)[-2:]], dim=1)


def _before_head(tower: nn.Module, waves: Tensor) -> Tensor:
    return tower.pooled(tower.decibels(waves[:, None])).sum(dim=1)


def fit(
    network: nn.Module,
    heads: nn.ModuleList,
    examples: list[list[Examples]],
    augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    batch: int,
    epochs: int,
    name: str,
) -> None:
    """Minimise the classification loss over all data sets; one batch of each a step, in equal parts of its sets."""
    share = batch // len(examples[0])
    steps = max(-(-len(part.inputs) // share) for parts in examples for part in parts) * epochs
    orders = [[torch.empty(0, dtype=torch.long) for _ in parts] for parts in examples]

    def loss() -> Tensor:
        total = torch.zeros(())
        for head, parts, order in zip(heads, examples, orders, strict=True):
            drawn = []
            for i, part in enumerate(parts):
                if len(order[i]) < min(share, len(part.inputs)):
                    order[i] = torch.randperm(len(part.inputs))
                chosen, order[i] = order[i][:share], order[i][share:]
                drawn.append(augment(part.inputs[chosen], part.targets[chosen]))
            inputs, targets = map(torch.cat, zip(*drawn, strict=True))
            total = total + _loss(head(network(inputs)), targets)
        return total

    minimise(nn.ModuleList([network, heads]), loss, steps, name)


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    if targets.is_floating_point():
        # Most of AVSBench's 71 classes never sound here: a plain mean would let them drown the others.
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(targets)
    return F.cross_entropy(logits, targets)


@torch.no_grad()
def score(network: nn.Module, head: nn.Module, sets: list[Examples]) -> float:
    """Share of examples whose class, or whose whole set of classes, is right."""
    logits = torch.cat([head(network(part)) for each in sets for part in each.inputs.split(128)])
    targets = torch.cat([each.targets for each in sets])
    if targets.is_floating_point():
        return ((logits > 0) == (targets > 0.5)).all(dim=1).float().mean().item()
    return (logits.argmax(dim=1) == targets).float().mean().item()
