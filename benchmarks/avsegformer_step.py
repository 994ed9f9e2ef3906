"""A training step of AVSegFormer-R50, visual encoder frozen: this suite's network against a direct one, lever by lever.

    python -m benchmarks.avsegformer_step [--rounds 3] [--threads 1]

One clip of 5 x 224 x 224, float32: forward pass, loss and backward pass, without the update. Direct is the plainest
form of the same network with the same weights: all frames through everything, torch's own attention and dropout, the
usual deformable attention, keys and values of every pixel in the mixer. A lever is measured by putting its direct form
back into ours. All forms live in one process and take turns, so ratios are round by round; seconds are CPU seconds,
which a busy machine stretches less. Before anything is timed, loss and gradients must agree with those of ours, with
dropout off: of each lever in a small network, of the direct form in the one that is measured.

Twice: with a truth for each frame (MS3), and for the first alone (S4), where the other frames need no head. Beside them
a forward and backward pass of timm's ResNet-50 on the same frames, as a measure of the machine. Exits with 1 if ours is
less than 1.1 times as fast as direct.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from unittest.mock import patch

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

import avsbench.nn.attention
from avsbench import cards, registry
from avsbench.contract import Batch, Output
from avsbench.nn.attention import Attention
from avsbench.nn.deformable import DeformableAttention
from avsbench.nn.dropout import Dropout
from avsbench.nn.vggish import audio_encoder
from benchmarks.common import Alone, Row, in_turns, markdown, peak_mb, ratios
from benchmarks.deformable_attention import Direct as DirectDeformableAttention

TOPIC = "AVSegFormer's step"
BAR, AIM = 1.1, 9
TOLERANCE = 1e-3
CARD = cards.method_cards()["avsegformer"]
MODULE = registry.method_module(CARD)
HEAD = sys.modules[MODULE.Head.__module__]
FRAMES = 5


# direct forms


def every_frame(self: nn.Module, batch: Batch) -> Output:
    """The whole network on all frames; the loss picks those with a truth."""
    maps, sound = self.look(batch, batch.real), self.listen(batch, batch.real)
    logits, features, _ = self.head(maps, sound)
    return {"logits": logits, "chosen": batch.real, "auxiliary": [features.mean(dim=1, keepdim=True)]}


def repeated_table(self: nn.Module, sound: Tensor) -> Tensor:
    """The query generator with a copy of its table for each frame."""
    x = self.table.expand(len(sound), -1, -1).contiguous()
    for layer in self.layers:
        x = layer(x, sound)
    return x


def torch_attention(self: Attention, query: Tensor, key: Tensor, value: Tensor | None = None, **_: object) -> Tensor:
    """As `nn.MultiheadAttention`, also for a single key."""
    images = max(len(query), len(key))
    key, value = (x.expand(images, -1, -1).transpose(0, 1) for x in (key, key if value is None else value))
    attended, _ = functional.multi_head_attention_forward(
        query.expand(images, -1, -1).transpose(0, 1),
        key,
        value,
        query.shape[-1],
        self.heads,
        self.in_proj.weight,
        self.in_proj.bias,
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=self.dropout,
        out_proj_weight=self.out_proj.weight,
        out_proj_bias=self.out_proj.bias,
        training=self.training,
        need_weights=False,
    )
    return attended.transpose(0, 1)


def mixer_of_pixels(self: nn.Module, x: Tensor, sound: Tensor) -> Tensor:
    """Keys and values of every pixel, then attention of the one query."""
    pixels = self.key_value(x.flatten(2).transpose(1, 2)).unflatten(2, (2, self.heads, -1))
    key, value = pixels.permute(2, 0, 3, 1, 4)  # [F,heads,hw,D]
    query = self.query(sound).unflatten(2, (self.heads, -1)).transpose(1, 2)
    weights = (query @ key.transpose(2, 3) * key.shape[-1] ** -0.5).softmax(dim=-1)
    attended = (weights @ value).flatten(1)
    return x * self.gate(attended).sigmoid()[:, :, None, None]


def rectified_copy(self: nn.ReLU, x: Tensor) -> Tensor:
    """Not in place where gradients are kept; frozen encoders stay as they are."""
    return functional.relu(x, self.inplace and not x.requires_grad)


DIRECT: dict[str, list] = {
    "frames without a truth left out": [(MODULE.AVSegFormer, "forward", every_frame)],
    "dropout: four numbers a draw, in place": [
        (Dropout, "forward", lambda self, x: functional.dropout(x, self.p, self.training)),
        (avsbench.nn.attention, "drop", functional.dropout),
    ],
    "attention": [(Attention, "forward", torch_attention)],
    "deformable attention": [
        (DeformableAttention, "forward", DirectDeformableAttention.forward),
        (DeformableAttention, "sample", DirectDeformableAttention.sample),
    ],
    "query generator: one table for all frames": [(HEAD.QueryGenerator, "forward", repeated_table)],
    "rectifiers in place": [
        (nn.ReLU, "forward", lambda self, x: functional.relu(x, self.inplace and not x.requires_grad))
    ],
    "mixer: no keys and values of pixels": [(HEAD.Mixer, "forward", mixer_of_pixels)],
}
"""Lever -> (owner, name, direct form) of what it replaces."""


class Step:
    """A training of the whole network in any of its forms, and a ResNet-50."""

    def __init__(self, annotated: int, threads: int, scale: str = "full", size: int = 224):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.model = MODULE.build(
            dataset=cards.dataset("ms3"), scale=scale, image_size=size, backbone="r50", resolution="stored"
        )
        self.model.configure(CARD.variants["avsegformer-r50"].recipe(scale, "ms3"))
        self.model.on_epoch(0)
        for module in self.model.modules():
            if isinstance(module, DeformableAttention):
                # Away from the initial points, which lie on pixels, where the gradient of a bilinear sample jumps.
                nn.init.normal_(module.sampling_offsets.weight, std=0.05)
        self.model.audio = audio_encoder("vggish", scale).requires_grad_(False)
        self.batch = Batch(
            frames=torch.randint(0, 256, (1, FRAMES, 3, size, size), dtype=torch.uint8),
            real=torch.ones(1, FRAMES, dtype=torch.bool),
            clip_ids=["clip"],
            audio={"vggish_mel": torch.randn(1, FRAMES, 1, 96, 64)},
            masks=torch.randint(0, 2, (1, FRAMES, size, size)),
            annotated=torch.arange(FRAMES)[None] < annotated,
        )
        self.encoder = timm.create_model("resnet50" if scale == "full" else "resnet18", num_classes=0).train()
        self.pictures = torch.randn(FRAMES, 3, size, size)
        self.model.train()

    def run(self, direct: tuple[str, ...]) -> float:
        """CPU seconds of a step with the direct form of these levers."""
        self.model.zero_grad()
        with ExitStack() as stack:
            for owner, name, form in (one for lever in direct for one in DIRECT[lever]):
                stack.enter_context(patch.object(owner, name, form, create=True))
            start = time.process_time()
            self.loss = sum(self.model.loss(self.model(self.batch), self.batch, 0).values())
            self.loss.backward()
            return time.process_time() - start

    def run_resnet(self) -> float:
        """CPU seconds of a forward and backward pass of ResNet-50 on the same number of frames."""
        self.encoder.zero_grad()
        start = time.process_time()
        self.encoder(self.pictures).square().mean().backward()
        return time.process_time() - start

    def difference(self, forms: list[tuple[str, ...]]) -> float:
        """Largest difference of a gradient between ours and any of these forms, as a share of its norm.

        Dropout rests meanwhile: the forms draw their random numbers differently.

        Raises:
            RuntimeError: it is more than `TOLERANCE`.
        """
        with ExitStack() as stack:
            for module in self.model.modules():
                name = {Dropout: "p", Attention: "dropout"}.get(type(module))
                if name:
                    stack.enter_context(patch.object(module, name, 0.0))
            ours, *others = (self._gradients(direct) for direct in ((), *forms))
        floor = 1e-6 * max(gradient.norm() for gradient in ours.values())
        errors = [(one[key] - ours[key]).norm() / ours[key].norm().clamp_min(floor) for one in others for key in ours]
        if max(errors) > TOLERANCE:
            raise RuntimeError(f"forms differ by {max(errors):.1e} of a gradient's norm, more than {TOLERANCE}")
        return float(max(errors))

    def _gradients(self, direct: tuple[str, ...]) -> dict[str, Tensor]:
        """The loss, and the gradient of each parameter that gets one."""
        self.run(direct)
        named = self.model.named_parameters()
        return {"loss": self.loss.detach()} | {key: p.grad for key, p in named if p.grad is not None}

    def memory(self) -> float:
        """Peak memory in MB."""
        return peak_mb()


def measure(annotated: int, levers: tuple[str, ...], threads: int, rounds: int, *network: object) -> dict:
    """CPU seconds of ours, of direct, of ours with the direct form of each lever, and of ResNet-50, round by round."""
    with Alone(Step, annotated, threads, *network) as step:
        difference = step.call("difference", [tuple(DIRECT)])  # also the round that does not count
        step.call("run_resnet")
        forms = {"ours": (), "direct": tuple(DIRECT), **{lever: (lever,) for lever in levers}}
        measures = {name: lambda form=form: step.call("run", form) for name, form in forms.items()}
        seconds = in_turns(measures | {"resnet": lambda: step.call("run_resnet")}, rounds)
        return {"seconds": seconds, "mb": step.call("memory"), "difference": difference}


def rows(quick: bool = False, rounds: int = 3, threads: int = 1, network: tuple = ()) -> Iterator[Row]:
    """With all frames annotated, lever by lever (`quick`: at once); then with the first frame alone."""
    with Alone(Step, 2, threads, "mini", 64) as small:
        small.call("difference", [(lever,) for lever in DIRECT])
    cases = {
        f"{FRAMES} frames with a truth": (FRAMES, () if quick else tuple(DIRECT)[1:]),
        "1 frame with a truth": (1, ()),
    }
    for case, (annotated, levers) in cases.items():
        found = measure(annotated, levers, threads, 1 if quick else rounds, *network)
        seconds = found["seconds"]
        lowest, median = ratios(seconds["direct"], seconds["ours"])
        resnet = ratios(seconds["ours"], seconds["resnet"])[1]
        yield Row(
            TOPIC,
            f"{case}, ours",
            statistics.median(seconds["ours"]),
            "CPU s",
            found["mb"],
            f"{median:.2f}× as fast as direct ({lowest:.2f}× in its worst round), bar {BAR}×; {resnet:.1f} times as "
            f"long as ResNet-50, aim {AIM}; gradients differ by {found['difference']:.0e} of their norm",
        )
        yield Row(TOPIC, f"{case}, direct", statistics.median(seconds["direct"]), "CPU s")
        for lever in levers:
            lowest, median = ratios(seconds[lever], seconds["ours"])
            note = f"without it {median:.2f}× as long ({lowest:.2f}× in its best round)"
            yield Row(TOPIC, f"{case}, {lever}", statistics.median(seconds[lever]), "CPU s", note=note)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    found = []
    for row in rows(threads=arguments.threads, rounds=arguments.rounds):
        found.append(row)
        print(*markdown([row]).splitlines()[2 if len(found) > 1 else 0 :], sep="\n", flush=True)
    slow = [row for row in found if row.case.endswith("ours") and float(row.note.split("×")[0]) < BAR]
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
