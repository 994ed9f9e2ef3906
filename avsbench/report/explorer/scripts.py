"""Data files of the explorer: scripts that call a function of the page, because a page from disk may not fetch."""

import json
import os
from pathlib import Path

from avsbench.atomic import atomic

VERSION = 1
"""Of all files; a page refuses those of another one."""
FUNCTION = "avsbenchExplorer"
"""What the page defines."""


def write_script(file: str | os.PathLike, content: object) -> None:
    """A file that hands `content` over when a page loads it as a script."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    with atomic(file) as temporary:
        temporary.write_text(f"{FUNCTION}({text});\n", encoding="utf-8")


def read_script(file: str | os.PathLike) -> dict | None:
    """What `write_script` wrote; None where it is missing or of another form."""
    try:
        return json.loads(Path(file).read_text(encoding="utf-8").removeprefix(f"{FUNCTION}(").removesuffix(");\n"))
    except (FileNotFoundError, ValueError):
        return None
