"""The files of `models/cavp` as modules, for tests."""

import importlib
from types import ModuleType, SimpleNamespace

from avsbench import cards, registry

MODEL = registry.method_module(SimpleNamespace(name="cavp", path=cards.PROJECT / "models" / "cavp" / "method.yaml"))


def part(name: str) -> ModuleType:
    """`models/cavp/<name>.py`."""
    return importlib.import_module(f"{MODEL.__package__}.{name}")
