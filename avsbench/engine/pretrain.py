"""Stand-ins for published encoders at scale mini: small networks trained on the embedded training clips.

A frozen random encoder hears nothing, and ImageNet or AudioSet weights do not fit a small network. So the small members
of both families learn to tell the embedded classes apart, in seconds, from training clips alone; methods load the
result as they load a published file. Each data set has a classifier of its own, since their class names differ.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from avsbench.cards import DatasetCard, EncoderCard
from avsbench.engine.checkpoint import save_weights
from avsbench.engine.seeds import seed_everything
from avsbench.errors import AvsbenchError
from avsbench.nn.backbones import visual_encoder
from avsbench.nn.ced import ced
from avsbench.nn.vggish import EMBEDDING, VGGish, audio_encoder
from avsbench.paths import Paths
from avsbench.store.clips import ClipDataset

log = logging.getLogger(__name__)

EPOCHS = {"visual": 10, "audio": 16, "ced": 10}
"""By family, or else by kind."""
RATE = 3e-3
BATCH = 32
CROP = 64
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class Examples:
    """Training examples of one data set: inputs [N,…]; targets: class ids int64 [N], or several at once float [N,K]."""

    inputs: Tensor
    targets: Tensor
    classes: int


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
    network = vector_of(encoder, paths.scale)
    if encoder.kind == "audio":
        # What each front end makes of a data set is a set of its own; one classifier serves them all.
        examples, augment = [[heard(split, name) for name in encoder.front_ends] for split in splits], mix_sounds
    else:
        examples, augment = [[seen(split)] for split in splits], flip
    heads = nn.ModuleList(nn.Linear(network.width, parts[0].classes) for parts in examples)
    usual = EPOCHS.get(encoder.family, EPOCHS[encoder.kind])
    fit(network, heads, examples, augment, epochs or usual, encoder.name)
    accuracy = {card.name: score(network, heads[i], examples[i]) for i, card in enumerate(datasets)}
    if isinstance(network.encoder, VGGish):
        _unit_scale(network.encoder, [part for parts in examples for part in parts])
    about = {"encoder": encoder.name, "scale": paths.scale, "seed": seed, "accuracy": accuracy}
    save_weights(out, network.encoder.state_dict(), about)
    shown = ", ".join(f"{name} {value:.0%}" for name, value in accuracy.items())
    log.info("stand-in for %s: %s of the training examples in %.0f s", encoder.name, shown, time.perf_counter() - start)
    return accuracy


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
    """The small member of a family with random weights; inputs are images [N,3,H,W] or log-mel examples [N,1,S,M]."""
    if card.kind == "visual":
        visual = visual_encoder(card.family, scale)
        return Vector(visual, sum(visual.channels[-2:]), _mean_of_deepest)
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


def heard(split: ClipDataset, front_end: str) -> Examples:
    """Log-mel examples and what sounds in each: the clip's category, or the classes in the mask of that second."""
    inputs, targets = [], []
    categories = _categories(split)
    for clip in _clips(split):
        mel, masks = clip["audio"][front_end], clip["masks"]
        for t in range(len(mel)):
            if categories:
                target = F.one_hot(torch.tensor(categories.index(clip["category"])), len(categories))
            elif clip["annotated"][t]:
                target = torch.zeros(split.card.num_classes)
                target[[int(c) for c in masks[t].unique() if 0 < c < split.card.num_classes]] = 1
            else:
                continue
            inputs.append(mel[t])
            targets.append(target.float())
    return Examples(torch.stack(inputs), torch.stack(targets), len(targets[0]))


def seen(split: ClipDataset) -> Examples:
    """Crops around annotated objects, normalised [N,3,64,64], and the class of each."""
    inputs, targets = [], []
    categories = _categories(split)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))
    for clip in _clips(split):
        for t in clip["annotated"].nonzero()[:, 0].tolist():
            mask = clip["masks"][t]
            for c in [int(c) for c in mask.unique() if 0 < c < 255]:
                rows, columns = (mask == c).nonzero(as_tuple=True)
                if len(rows) < 16:
                    continue  # a sliver at the border shows nothing
                top, left = max(int(rows.min()) - 3, 0), max(int(columns.min()) - 3, 0)
                crop = clip["frames"][t][:, top : int(rows.max()) + 4, left : int(columns.max()) + 4].float() / 255
                crop = F.interpolate(crop[None], (CROP, CROP), mode="bilinear", align_corners=False)[0]
                inputs.append((crop - mean) / deviation)
                targets.append(categories.index(clip["category"]) if categories else c)
    return Examples(torch.stack(inputs), torch.tensor(targets), len(categories) or split.card.num_classes)


def fit(
    network: nn.Module, heads: nn.ModuleList, examples: list[list[Examples]], augment, epochs: int, name: str
) -> None:
    """Minimise the classification loss over all data sets; one batch of each a step, in equal parts of its sets."""
    parameters = [*network.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=1e-2)
    share = BATCH // len(examples[0])
    steps = max(-(-len(part.inputs) // share) for parts in examples for part in parts) * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    network.train()
    orders = [[torch.empty(0, dtype=torch.long) for _ in parts] for parts in examples]
    for _ in tqdm(range(steps), desc=f"stand-in for {name}", unit="step", disable=None):
        loss = torch.zeros(())
        for head, parts, order in zip(heads, examples, orders, strict=True):
            drawn = []
            for i, part in enumerate(parts):
                if len(order[i]) < min(share, len(part.inputs)):
                    order[i] = torch.randperm(len(part.inputs))
                chosen, order[i] = order[i][:share], order[i][share:]
                drawn.append(augment(part.inputs[chosen], part.targets[chosen]))
            inputs, targets = map(torch.cat, zip(*drawn, strict=True))
            loss = loss + _loss(head(network(inputs)), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    if targets.is_floating_point():
        # Most of AVSBench's 71 classes never sound here: a plain mean would let them drown the others.
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(targets)
    return F.cross_entropy(logits, targets)


def mix_sounds(mel: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Loudness by up to a factor of two, and half of the examples joined with the sound of another: both are heard."""
    # log(power + 0.01) -> magnitude and back, as `vggish_mel` made it
    magnitude = (mel.exp() - 0.01).clamp(min=0) * torch.empty(len(mel), 1, 1, 1).uniform_(0.5, 2)
    other = torch.randperm(len(mel))
    joined = torch.rand(len(mel)) < 0.5
    magnitude = magnitude + magnitude[other] * joined.view(-1, 1, 1, 1)
    return (magnitude + 0.01).log(), torch.maximum(targets, targets[other] * joined[:, None])


def flip(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the crops mirrored."""
    mirrored = torch.rand(len(images)) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images), targets


@torch.no_grad()
def score(network: nn.Module, head: nn.Module, sets: list[Examples]) -> float:
    """Share of examples whose class, or whose whole set of classes, is right."""
    logits = torch.cat([head(network(part)) for each in sets for part in each.inputs.split(128)])
    targets = torch.cat([each.targets for each in sets])
    if targets.is_floating_point():
        return ((logits > 0) == (targets > 0.5)).all(dim=1).float().mean().item()
    return (logits.argmax(dim=1) == targets).float().mean().item()


def _categories(split: ClipDataset) -> list[str]:
    """The categories of a data set that names one per clip; none for a semantic one, whose masks say more."""
    return [] if split.card.task == "semantic" else sorted(set(split.index["category"]))


def _clips(split: ClipDataset):
    with split:
        for number, category in enumerate(split.index["category"]):
            yield {**split[number], "category": category}
