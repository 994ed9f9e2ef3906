"""The page of a run as one file, beside the data that it loads clip by clip."""

import os
from pathlib import Path

import jinja2

from avsbench.atomic import atomic
from avsbench.report.web.embed import content_hash, embedded

FOLDER = Path(__file__).parent
WEB = FOLDER.parent / "web"
"""The leaderboard's page, whose colours and ways to make elements are taken."""
TEMPLATE = "page.html.jinja"
SCRIPTS = ("files", "clips", "drawing", "tables", "player", "list", "explorer")
"""The last one starts the page."""


def write_page(file: str | os.PathLike, name: str, links: dict[str, str], title: str) -> None:
    """Write the page of a run.

    Args:
        name: of the run.
        links: from the folder of the page to `shared`, what the runs of the data set share, and to `board`, the page of
            the leaderboard, if there is one.
        title: of the data set.
    """
    style = _text([WEB / "colours.css", FOLDER / "explorer.css"])
    script = _text([WEB / "dom.js", *(FOLDER / f"{script}.js" for script in SCRIPTS)])
    template = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True).from_string(
        (FOLDER / TEMPLATE).read_text(encoding="utf-8")
    )
    text = template.render(
        title=f"{title}: {name}", policy=_policy(style, script), style=style, script=script,
        data=embedded(links), board=links.get("board"),
    )  # fmt: skip
    with atomic(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _text(files: list[Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def _policy(style: str, script: str) -> str:
    """Content-Security-Policy: this style and this script run; beside them, only files of the same place are loaded."""
    own = "'self' file:"  # a page opened from disk has no origin of its own
    return (
        f"default-src 'none'; style-src '{content_hash(style)}'; script-src '{content_hash(script)}' {own}; "
        f"img-src {own} data:; media-src {own}; base-uri 'none'; form-action 'none'"
    )
