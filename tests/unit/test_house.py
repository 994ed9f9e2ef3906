"""The house keeps its own rules: floors, one environment, one place for paths."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from avsbench import cards
from tests.conftest import FINISHED

FLOORS = [
    {"errors", "paths", "atomic", "syntax", "closed_yaml", "study_cards", "encoder_cards", "conditions", "running"},
    {"contract", "cards", "digest", "devices"},
    {"metrics", "media", "nn"},
    {"datasets", "store", "features", "transforms", "config", "front_end_groups"}
    | {"plan", "plan_conditions", "plan_features", "plan_front_ends", "plan_sources", "studies"},
    {"registry", "provenance", "spec"},
    {"evaluation", "predictor"},
    {"engine"},
    {"report"},
    {"contract_checks", "clean", "scaffold", "workflow", "doctor", "reruns"},
    {"cli"},
]
ROOM_FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
STRANGERS = {"metrics", "media", "nn"}


def modules():
    for path in sorted(cards.PACKAGE.rglob("*.py")):
        parts = path.relative_to(cards.PACKAGE).with_suffix("").parts
        yield path, parts[0]


def imported_rooms(path):
    """Rooms of the package that a file imports; imports inside functions count."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
            if node.module == "avsbench":
                names = [f"avsbench.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            yield "relative", node.lineno
        for name in names:
            parts = name.split(".")
            if parts[0] == "avsbench" and len(parts) > 1:
                yield parts[1], node.lineno
            elif parts[0] in ("models", "tests"):
                yield parts[0], node.lineno


@pytest.mark.parametrize(
    ("path", "room"), [pytest.param(*m, id=str(m[0].relative_to(cards.PACKAGE))) for m in modules()]
)
def test_imports_never_go_up(path, room):
    if room == "__init__":
        return
    assert room in ROOM_FLOOR, f"{path}: a new room; give it a floor in this test"
    for other, line in imported_rooms(path):
        assert other not in ("models", "tests"), f"{path}:{line} imports {other}"
        assert other != "relative", f"{path}:{line}: write imports in whole"
        if other == room:
            continue
        assert ROOM_FLOOR[other] <= ROOM_FLOOR[room], f"{path}:{line}: {room} imports {other}, which lies above it"
        if {room, other} <= STRANGERS:
            pytest.fail(f"{path}:{line}: {room} and {other} know nothing of each other")


def test_no_circles_between_rooms():
    graph: dict[str, set[str]] = {}
    for path, room in modules():
        graph.setdefault(room, set()).update(other for other, _ in imported_rooms(path) if other != room)

    def visit(room, trail):
        assert room not in trail, f"circle: {' -> '.join([*trail, room])}"
        for other in graph.get(room, ()):
            visit(other, [*trail, room])

    for room in graph:
        visit(room, [])


def test_conda_environment_equals_pyproject():
    project = tomllib.loads((cards.PROJECT / "pyproject.toml").read_text())["project"]
    conda = yaml.safe_load((cards.PROJECT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    assert sorted(pip) == sorted([*project["dependencies"], "-e ."])
    assert f"python{project['requires-python']}" in conda


def test_planning_imports_neither_torch_nor_librosa():
    import subprocess
    import sys

    code = (
        "import sys, avsbench.config, avsbench.plan, avsbench.digest, avsbench.workflow;"
        "avsbench.plan.Plan(avsbench.config.load_config('config/config.yaml')).runs;"
        "print([m for m in ('torch', 'librosa', 'pandas', 'h5py') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cards.PROJECT, check=True)
    assert done.stdout.strip() == "[]"


def test_paths_are_spelled_in_one_place():
    spelled = re.compile(r"""["'](data|weights|results)/""")
    for path, room in modules():
        if room in ("paths",):
            continue
        code = "\n".join(line.split("#")[0] for line in _code_lines(path))
        assert not spelled.search(code), f"{path} spells a path; use avsbench.paths"


def _code_lines(path: Path):
    from avsbench.digest import source

    return source(path).splitlines()


def test_what_looks_at_the_finished_workflow_shares_a_worker():
    tests = cards.PROJECT / "tests"
    asks = re.compile(r"^def \w+\((?:[^)]*, )?finished\b", re.MULTILINE)
    texts = {path.relative_to(cards.PROJECT).as_posix(): path.read_text() for path in tests.glob("e2e/test_*.py")}
    found = {name for name, text in texts.items() if asks.search(text) and "\ndef finished(" not in text}
    assert found == set(FINISHED)
