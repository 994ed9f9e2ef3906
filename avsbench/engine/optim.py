"""Optimisers and schedules from a recipe and the method's parameter groups.

A schedule is a pure function of the step, so a resumed training needs no schedule state. With p the share of the steps
after warm-up that are done and f = `final`: `constant` 1, `cosine` f + (1 - f)(1 + cos(pi p)) / 2,
`poly` f + (1 - f)(1 - p)^power, `step` gamma^(milestones passed). Warm-up rises linearly to 1. No factor is below
`floor`, and with `delay` d step s has the factor of step s - d, as where code sets a rate after the step it was for.
"""

import difflib
import math
from collections.abc import Callable

import torch
from torch import nn

from avsbench.contract import Method
from avsbench.errors import AvsbenchError

GROUP_KEYS = ("params", "lr", "weight_decay", "optimizer", "schedule")
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
ACCEPTS = {
    "adam": ("lr", "weight_decay", "betas"),
    "adamw": ("lr", "weight_decay", "betas"),
    "sgd": ("lr", "weight_decay", "momentum"),
}


def schedule_factor(schedule: dict, total_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
    """Step (from 0) -> factor on the learning rate.

    Args:
        schedule: `name`, and what it takes: warmup_steps, power, final, milestones (epochs), gamma, floor, delay.
    """
    name = schedule.get("name", "constant")
    warmup = schedule.get("warmup_steps", 0)
    final = schedule.get("final", 0.0)
    power = schedule.get("power", 0.9)
    gamma = schedule.get("gamma", 0.1)
    milestones = schedule.get("milestones", [])
    floor, delay = schedule.get("floor", 0.0), schedule.get("delay", 0)
    span = max(1, total_steps - warmup)
    shapes: dict[str, Callable[[float, int], float]] = {
        "constant": lambda p, epoch: 1.0,
        "cosine": lambda p, epoch: final + (1 - final) * (1 + math.cos(math.pi * p)) / 2,
        "poly": lambda p, epoch: final + (1 - final) * (1 - p) ** power,
        "step": lambda p, epoch: gamma ** sum(epoch >= m for m in milestones),
    }
    if name not in shapes:
        raise AvsbenchError(f"recipe: unknown schedule {name!r}", expected=f"one of {', '.join(shapes)}")
    shape = shapes[name]

    def factor(step: int) -> float:
        step = max(0, step - delay)
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / span)
        return max(floor, shape(progress, step // steps_per_epoch))

    return factor


class Optimizers:
    """All optimisers of a run behind one `step`: groups that name the same optimiser share one.

    Args:
        method: its `parameter_groups(recipe)` decide what trains, and how.
        recipe: `optimizer`, `schedule` and `clip_norm` are read here.
        fused: one kernel for a whole update; otherwise torch chooses.

    Raises:
        AvsbenchError: a group has an unknown key, a parameter is in two groups, or in none though it trains.
    """

    def __init__(self, method: Method, recipe: dict, *, total_steps: int, steps_per_epoch: int, fused: bool = False):
        self.clip_norm = recipe.get("clip_norm")
        groups = method.parameter_groups(recipe)
        _check_groups(method, groups)
        gathered: dict[str, list[dict]] = {}
        for group in groups:
            if not group["params"]:
                continue
            settings = _settings(group, recipe)
            name = settings.pop("name")
            schedule = group.get("schedule") or recipe.get("schedule", {"name": "constant"})
            entry = {key: settings[key] for key in ACCEPTS[name] if key in settings}
            entry["params"] = [parameter for _, parameter in group["params"]]
            # Under a name of its own: torch keeps it in the state, and the factor is not part of that.
            entry["base_lr"] = settings["lr"]
            entry["factor"] = schedule_factor(schedule, total_steps, steps_per_epoch)
            gathered.setdefault(name, []).append(entry)
        self._factors = [[entry.pop("factor") for entry in entries] for entries in gathered.values()]
        # torch's fused SGD fails when parameters join later, as those of an encoder that is released after some epochs.
        self._parts = [
            OPTIMIZERS[name](entries, fused=(fused and name != "sgd") or None) for name, entries in gathered.items()
        ]
        self.parameters: list[nn.Parameter] = [
            p for part in self._parts for group in part.param_groups for p in group["params"]
        ]

    def set_step(self, step: int) -> list[float]:
        """Set every group's learning rate for `step`; returns the rates, group by group."""
        rates = []
        for part, factors in zip(self._parts, self._factors, strict=True):
            for group, factor in zip(part.param_groups, factors, strict=True):
                group["lr"] = group["base_lr"] * factor(step)
                rates.append(group["lr"])
        return rates

    def zero_grad(self) -> None:
        for part in self._parts:
            part.zero_grad(set_to_none=True)

    def step(self) -> torch.Tensor | None:
        """Clip the gradient (when the recipe says so) and update; returns the norm before clipping, on its device."""
        norm = None
        if self.clip_norm is not None:
            norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        for part in self._parts:
            part.step()
        return norm

    def state_dict(self) -> list[dict]:
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, states: list[dict]) -> None:
        for part, state in zip(self._parts, states, strict=True):
            part.load_state_dict(state)


def _settings(group: dict, recipe: dict) -> dict:
    """name, lr and the rest of one group: recipe < the group's optimiser < the group's own lr and weight decay."""
    chosen = group.get("optimizer") or {}
    chosen = {"name": chosen} if isinstance(chosen, str) else chosen
    settings = {"name": "adam", **recipe.get("optimizer", {}), **chosen}
    settings.update({key: group[key] for key in ("lr", "weight_decay") if key in group})
    if settings["name"] not in OPTIMIZERS:
        raise AvsbenchError(f"unknown optimizer {settings['name']!r}", expected=f"one of {', '.join(OPTIMIZERS)}")
    if "lr" not in settings:
        raise AvsbenchError("the recipe names no learning rate", expected="optimizer: {name: adam, lr: 1.0e-4}")
    return settings


def _check_groups(method: Method, groups: list[dict]) -> None:
    where = f"{type(method).__name__}.parameter_groups"
    owner: dict[int, str] = {}
    for group in groups:
        for key in group:
            if key not in GROUP_KEYS:
                near = difflib.get_close_matches(key, GROUP_KEYS, n=1)
                raise AvsbenchError(
                    f"{where}: unknown key {key!r}",
                    expected=f"one of {', '.join(GROUP_KEYS)}",
                    hint=f"did you mean {near[0]!r}?" if near else None,
                )
        for item in group["params"]:
            if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], nn.Parameter)):
                raise AvsbenchError(
                    f"{where}: params holds a {type(item).__name__}", expected="(name, parameter) pairs"
                )
            name, parameter = item
            if id(parameter) in owner:
                raise AvsbenchError(f"{where}: a parameter is in two groups", found=f"{owner[id(parameter)]}, {name}")
            owner[id(parameter)] = name
    orphans = [name for name, p in method.named_parameters() if p.requires_grad and id(p) not in owner]
    if orphans:
        raise AvsbenchError(
            f"{where}: {len(orphans)} parameters ask for a gradient and are in no group",
            found=", ".join(orphans[:5]),
            hint="add them to a group, or set requires_grad to False",
        )
