"""Whether the authors' checkpoint would load: files with their keys and shapes, in the forms they publish."""

import argparse
import json
import os
import re
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor

from avsbench import cards, registry
from avsbench.contract import Method
from avsbench.contract_checks.subject import SkipCheck, Subject
from avsbench.nn.containers import read_container

FULL_SIZE = 224


def check_official(subject: Subject) -> None:
    """the authors' checkpoint would load

    Files as authors publish them are written, and each loads strictly into the network of full scale.

    The key list is the reference's own (keys.json of the parity fixtures); tensors are placeholders of one value, so
    that the file of a large network stays small.
    """
    card = subject.variant.method
    if card.official is None:
        raise SkipCheck("the card names no official checkpoint")
    lists = key_lists(card.name)
    if not lists:
        raise SkipCheck(f"no keys.json for {card.name} among the parity fixtures")
    method = _full(subject)
    converted = {name: method.convert_official(state) for name, state in lists.items()}
    faults = {name: _differences(state, method.carried_state(state)) for name, state in converted.items()}
    nearest = min(faults, key=lambda name: len(faults[name]))
    if faults[nearest]:
        subject.fail(
            f"no known checkpoint of the authors fits; nearest is {nearest}, with {len(faults[nearest])} differences: "
            + "; ".join(faults[nearest][:4]),
            f"map the authors' names to ours in rename_official or convert_official of {subject.file}",
        )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # loading into a network without storage is a no-op, and says so
        for name, content in containers(lists[nearest]).items():
            file = Path(folder) / f"{name}.pth"
            torch.save(content, file)
            registry.load_own(method, method.convert_official(read_container(file)), f"{card.name} as {name}")


def key_lists(method: str) -> dict[str, dict[str, Tensor]]:
    """Fixture -> placeholder state dict, for every keys.json of a method in the project or under $AVSBENCH_PARITY."""
    project = cards.PROJECT / "tests" / "parity"
    roots = [project, Path(os.environ.get("AVSBENCH_PARITY") or project)]
    files = {file.parent.relative_to(root): file for root in roots for file in root.glob(f"{method}/**/keys.json")}
    found = {}
    for name, file in sorted(files.items()):
        found[str(name)] = {
            key: torch.zeros(1, dtype=getattr(torch, kind)).expand(shape)
            if shape
            else torch.zeros((), dtype=getattr(torch, kind))
            for key, shape, kind in read_keys(file)
        }
    return found


def read_keys(file: Path) -> list[list]:
    """(name, shape, type) of the tensors that a keys.json lists.

    A list that nobody could measure says how it follows from one in a folder beside it: `{"of": folder, "without":
    pattern of names, "shapes": {name: shape}, "with": [further entries]}`.
    """
    content = json.loads(file.read_text())
    if isinstance(content, list):
        return content
    shapes, without = content.get("shapes", {}), content.get("without")
    base = read_keys(file.parent.parent / content["of"] / file.name)
    return [
        [key, shapes.get(key, shape), kind] for key, shape, kind in base if not (without and re.match(without, key))
    ] + content.get("with", [])


def containers(state: dict[str, Tensor]) -> dict[str, object]:
    """Forms in which authors publish a state dict."""
    leftovers = {"total_ops": torch.zeros(1), "total_params": torch.zeros(1)}
    settings = argparse.Namespace(lr=1e-4, note="what a training script leaves beside its weights")
    return {
        "plain": state,
        "data_parallel": {f"module.{key}": value for key, value in {**state, **leftovers}.items()},
        "with_optimizer": {"model": state, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]}, "epoch": 3},
        "with_settings": {"state_dict": {f"module.{k}": v for k, v in state.items()}, "args": settings},
    }


def _full(subject: Subject) -> Method:
    """The network of full scale, without storage where its layers allow that."""
    try:
        with torch.device("meta"):
            return registry.build(subject.variant, subject.dataset, "full", FULL_SIZE)
    except (RuntimeError, TypeError):
        return registry.build(subject.variant, subject.dataset, "full", FULL_SIZE)


def _differences(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> list[str]:
    missing = [f"{key} is missing" for key in wanted if key not in state]
    surplus = [f"{key} is unknown" for key in state if key not in wanted]
    other = [
        f"{key} is {list(state[key].shape)} instead of {list(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    return missing + surplus + other
