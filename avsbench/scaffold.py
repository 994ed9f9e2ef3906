"""`avsbench new-method NAME`: a new folder in models/ from the template, which passes the contract tests as it is."""

import re
import shutil
from pathlib import Path

from avsbench import cards
from avsbench.errors import AvsbenchError

TEXT = (".py", ".yaml", ".md")


def new_method(name: str, models: Path | None = None) -> Path:
    """Copy `models/_template` to `models/<name>` with its names replaced; returns the new folder.

    Raises:
        AvsbenchError: the name is not lower-case letters, digits and `_`, or it is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise AvsbenchError(
            f"{name!r} cannot name a method",
            expected="lower-case letters, digits and _, beginning with a letter",
        )
    models = models or cards.PROJECT / "models"
    folder = models / name
    if folder.exists() or name in cards.method_cards():
        raise AvsbenchError(f"the method {name!r} exists", found=folder, hint="choose another name")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    shutil.copytree(cards.PROJECT / "models" / "_template", folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in folder.rglob("*"):
        if file.suffix in TEXT:
            text = file.read_text().replace("Template", class_name)
            # Variant names take "-" alone; cards refuse "_" in them.
            text = re.sub(r"\btemplate-", f"{name.replace('_', '-')}-", text)
            file.write_text(re.sub(r"\btemplate\b", name, text))
    return folder
