"""What of a Python file runs, and what it imports; remembered from plan to plan.

Each plan asks for all files of the project, and to parse them all took half a second of it. What was found lies beside
the compiled modules, by the content of the file, so that it needs no clock and may be removed at any time.
"""

import ast
import atexit
import functools
import hashlib
import importlib.util
import json
import sys
from pathlib import Path

from avsbench.atomic import atomic

MEMORY = Path(importlib.util.cache_from_source(__file__)).with_suffix(".json")
MOST = 2000
"""So many files are remembered; older contents go when there are more."""

_found: dict[str, list] = {}


def parsed(path: Path) -> tuple[str, list[list]]:
    """The code of a file without comments, docstrings and layout, and its imports anywhere: [level, module, names]."""
    content = path.read_bytes()
    key = hashlib.sha256(content).hexdigest()
    remembered = _remembered()
    if key not in remembered:
        if not _found and not sys.dont_write_bytecode:
            atexit.register(_remember)
        remembered[key] = _found[key] = _parse(content, path)
    return tuple(remembered[key])


def _parse(content: bytes, path: Path) -> list:
    tree, imports = ast.parse(content, filename=str(path)), []
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # A bare string is a docstring, also below an assignment; it never runs.
            kept = [item for item in body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))]
            node.body = kept or [ast.Pass()]
        elif isinstance(node, ast.Import):
            imports += [[0, alias.name, []] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append([node.level, node.module or "", [alias.name for alias in node.names]])
    return [ast.unparse(tree), imports]


@functools.cache
def _remembered() -> dict[str, list]:
    """Digest of a file's content -> what was found; empty where nothing can be read, or this module is another one."""
    try:
        memory = json.loads(MEMORY.read_text())
        return memory["found"] if memory["by"] == _this_module() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _remember() -> None:
    _remembered.cache_clear()  # others may have written meanwhile
    found = _remembered() | _found
    found = found if len(found) <= MOST else _found
    try:
        with atomic(MEMORY) as temporary:
            temporary.write_text(json.dumps({"by": _this_module(), "found": found}))
    except OSError:
        return  # an installed package that belongs to somebody else: the next plan parses again


def _this_module() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
