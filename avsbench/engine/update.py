"""One step of a training: forward and backward over this process's shares of it, then the optimisers."""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from avsbench.contract import Batch, Method
from avsbench.engine.compute import Compute
from avsbench.engine.data import Share
from avsbench.engine.distributed import Group
from avsbench.engine.optim import Optimizers
from avsbench.engine.seeds import mix
from avsbench.errors import AvsbenchError


class TrainingStep(nn.Module):
    """Forward pass and loss as one module, so that what is wrapped for several devices has the loss terms as output:
    a parameter that no term depends on is then told from one that is late.
    """

    def __init__(self, method: Method, compute: Compute):
        super().__init__()
        self.method, self.compute = method, compute

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Named scalar terms, float32."""
        terms = self.method.loss(self.compute.forward(self.method, batch), batch, step)
        return {name: term.float() for name, term in terms.items()}


@dataclass
class Launched:
    """A step that the device may still be busy with: reading its numbers waits, so the loop does so one step later.

    Attributes:
        step: from 0, over all epochs.
        names: of the loss terms.
        numbers: their values over all processes, [terms].
        norm: of the gradient before clipping, or None.
        rates: learning rate of each group.
        clip_ids: of this process's shares.
        clips: seen by all processes.
    """

    step: int
    names: list[str]
    numbers: Tensor
    norm: Tensor | None
    rates: list[float]
    clip_ids: list[str]
    clips: int


class Updater:
    """Updates a method's weights step by step, together with the other processes of its group.

    Args:
        method: on its device.
        optimizers: of all that ever trains.
        compute: precision and the like.
        group: the processes that train together.
        device: of this process.
        seed: of the run.
        augment: `Method.device_transforms`, or None.
    """

    def __init__(
        self,
        *,
        method: Method,
        optimizers: Optimizers,
        compute: Compute,
        group: Group,
        device: torch.device,
        seed: object,
        augment=None,
    ):
        self.method, self.optimizers, self.compute, self.group = method, optimizers, compute, group
        self.device, self.seed, self.augment = device, seed, augment
        self.model: nn.Module = TrainingStep(method, compute)
        self._wrapped: set[str] | None = None

    def begin_epoch(self) -> None:
        """Wrap the step for several processes, anew when an epoch trains other parameters than the one before."""
        trained = {name for name, parameter in self.method.named_parameters() if parameter.requires_grad}
        if trained != self._wrapped:
            self.model = self.group.wrap(TrainingStep(self.method, self.compute), self.device)
            self._wrapped = trained

    def launch(self, shares: list[Share], step: int) -> Launched:
        """Queue one update on the device."""
        rates = self.optimizers.set_step(step)
        self.optimizers.zero_grad()
        sums, world = None, self.group.world
        for number, share in enumerate(shares, 1):
            batch = share.batch.to(self.device)
            if self.augment is not None:
                batch = self.augment(batch, self._generator(step, number))
            with self._apart(last=number == len(shares)):
                terms = self.model(batch, step)
                parts = self._weighed(terms, share.weight)
                total = torch.stack(parts).sum()
                # Gradients are averaged over processes, and shall add up.
                (total * world if world > 1 else total).backward()
            numbers = torch.stack([part.detach() for part in parts])
            sums = numbers if sums is None else sums + numbers
        norm = self.optimizers.step()
        clip_ids = [name for share in shares for name in share.batch.clip_ids]
        # Shares may differ by a clip: the step's number follows from what part of it these are.
        mine = [share for share in shares if share.weight]
        clips = round(sum(len(share.batch) for share in mine) / sum(share.weight for share in mine)) if mine else 1
        return Launched(step, list(terms), self.group.add(sums), norm, rates, clip_ids, clips)

    def settle(self, launched: Launched, where: str) -> tuple[dict[str, float], float | None]:
        """The loss terms and the gradient's norm (when clipped) of a step, once the device has them.

        Raises:
            AvsbenchError: they are not finite; names the step, `where` (the run and its epoch) and the clips.
        """
        numbers = launched.numbers.tolist()
        values = dict(zip(launched.names, numbers, strict=True))
        norm = None if launched.norm is None else float(launched.norm)
        finite_loss = math.isfinite(sum(numbers))
        if finite_loss and math.isfinite(norm or 0.0):
            return values, norm
        raise AvsbenchError(
            f"{where}: the {'gradient' if finite_loss else 'loss'} is not finite at step {launched.step}",
            found="; ".join(
                [
                    ", ".join(f"{name} = {value:.4g}" for name, value in values.items()),
                    f"learning rate {', '.join(f'{rate:.3g}' for rate in launched.rates)}",
                    f"clips {', '.join(launched.clip_ids)}",
                ]
            ),
            expected="finite numbers",
            hint="lower optimizer.lr or set clip_norm (overrides in the configuration), or look at these clips",
        )

    def _weighed(self, terms: dict[str, Tensor], weight: float) -> list[Tensor]:
        """Terms so that shares add up to the whole step: a mean weighs as its clips, a sum counts in full."""
        full = 1.0 if weight else 0.0
        return [term * (full if name in self.method.summed_terms else weight) for name, term in terms.items()]

    def _apart(self, *, last: bool) -> AbstractContextManager:
        """Processes exchange gradients with the last share of a step alone."""
        return nullcontext() if last or self.group.world == 1 else self.model.no_sync()

    def _generator(self, step: int, share: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(mix(self.seed, "augment", step, share, self.group.rank))
