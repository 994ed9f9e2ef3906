"""Stand-ins for published encoders at scale mini: small networks trained on the embedded training clips.

A frozen random encoder hears nothing, and ImageNet or AudioSet weights do not fit a small network. So the small members
of both families learn to tell the embedded classes apart, in seconds, from training clips alone; methods load the
result as they load a published file. Each data set has a classifier of its own, since their class names differ.
"""

import logging
import time
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
from avsbench.nn.vggish import EMBEDDING, audio_encoder
from avsbench.paths import Paths
from avsbench.store.clips import ClipDataset

log = logging.getLogger(__name__)

FRONT_END = "vggish_mel"
EPOCHS = {"visual": 10, "audio": 16}
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
    splits = [ClipDataset(paths, card, "train", front_ends=(FRONT_END,), masks=True) for card in datasets]
    if encoder.kind == "audio":
        network: nn.Module = audio_encoder(encoder.family, paths.scale)
        network.apply(_for_relu)
        width, examples, augment = EMBEDDING, [heard(split) for split in splits], mix_sounds
    else:
        network = Pooled(visual_encoder(encoder.family, paths.scale))
        width, examples, augment = network.width, [seen(split) for split in splits], flip
    heads = nn.ModuleList(nn.Linear(width, part.classes) for part in examples)
    fit(network, heads, examples, augment, epochs or EPOCHS[encoder.kind], encoder.name)
    accuracy = {card.name: score(network, heads[i], examples[i]) for i, card in enumerate(datasets)}
    inner = network.encoder if isinstance(network, Pooled) else network
    if encoder.kind == "audio":
        _unit_scale(network, examples)
    about = {"encoder": encoder.name, "scale": paths.scale, "seed": seed, "accuracy": accuracy}
    save_weights(out, inner.state_dict(), about)
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


class Pooled(nn.Module):
    """A visual encoder with its two deepest maps averaged over space: images [N,3,H,W] -> [N,width]."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.width = sum(encoder.channels[-2:])

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([level.mean(dim=(2, 3)) for level in self.encoder(images)[-2:]], dim=1)


def heard(split: ClipDataset) -> Examples:
    """Log-mel examples and what sounds in each: the clip's category, or the classes in the mask of that second."""
    inputs, targets = [], []
    categories = _categories(split)
    for clip in _clips(split):
        mel, masks = clip["audio"][FRONT_END], clip["masks"]
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


def fit(network: nn.Module, heads: nn.ModuleList, examples: list[Examples], augment, epochs: int, name: str) -> None:
    """Minimise the classification loss over all data sets; one batch of each data set a step."""
    parameters = [*network.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=1e-2)
    steps = max(-(-len(part.inputs) // BATCH) for part in examples) * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    network.train()
    orders = [torch.empty(0, dtype=torch.long) for _ in examples]
    for _ in tqdm(range(steps), desc=f"stand-in for {name}", unit="step", disable=None):
        loss = torch.zeros(())
        for i, part in enumerate(examples):
            if len(orders[i]) < min(BATCH, len(part.inputs)):
                orders[i] = torch.randperm(len(part.inputs))
            chosen, orders[i] = orders[i][:BATCH], orders[i][BATCH:]
            inputs, targets = augment(part.inputs[chosen], part.targets[chosen])
            loss = loss + _loss(heads[i](network(inputs)), targets)
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
def score(network: nn.Module, head: nn.Module, examples: Examples) -> float:
    """Share of examples whose class, or whose whole set of classes, is right."""
    logits = torch.cat([head(network(part)) for part in examples.inputs.split(128)])
    if examples.targets.is_floating_point():
        return ((logits > 0) == (examples.targets > 0.5)).all(dim=1).float().mean().item()
    return (logits.argmax(dim=1) == examples.targets).float().mean().item()


def _categories(split: ClipDataset) -> list[str]:
    """The categories of a data set that names one per clip; none for a semantic one, whose masks say more."""
    return [] if split.card.task == "semantic" else sorted(set(split.index["category"]))


def _clips(split: ClipDataset):
    with split:
        for number, category in enumerate(split.index["category"]):
            yield {**split[number], "category": category}
