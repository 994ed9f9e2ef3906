"""The page of a run as one file, beside the data that it loads clip by clip."""

import os
from pathlib import Path

import jinja2

from avsbench.paths import atomic
from avsbench.report.web.embed import content_hash, embedded

FOLDER = Path(__file__).parent
SHARED = FOLDER.parent / "web" / "dom.js"
TEMPLATE = "page.html.jinja"
SCRIPTS = ("files", "clips", "drawing", "tables", "player", "list", "explorer")
"""The last one starts the page."""


def write_page(file: str | os.PathLike, name: str, shared: str, title: str) -> None:
    """Write the page of a run.

    Args:
        name: of the run.
        shared: folder of what the runs of the data set share, relative to that of the page.
        title: of the data set.
    """
    style = (FOLDER / "explorer.css").read_text(encoding="utf-8")
    files = [SHARED, *(FOLDER / f"{script}.js" for script in SCRIPTS)]
    script = "\n".join(path.read_text(encoding="utf-8") for path in files)
    template = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True).from_string(
        (FOLDER / TEMPLATE).read_text(encoding="utf-8")
    )
    text = template.render(
        title=f"{title}: {name}", policy=_policy(style, script), style=style, script=script,
        data=embedded({"shared": shared}),
    )  # fmt: skip
    with atomic(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Content-Security-Policy: this style and this script run; beside them, only files of the same place are loaded."""
    own = "'self' file:"  # a page opened from disk has no origin of its own
    return (
        f"default-src 'none'; style-src '{content_hash(style)}'; script-src '{content_hash(script)}' {own}; "
        f"img-src {own} data:; media-src {own}; base-uri 'none'; form-action 'none'"
    )
