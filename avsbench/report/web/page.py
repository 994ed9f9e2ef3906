"""The page as one file: data, style and script stand in it, so it opens from a disk and asks nothing of a network."""

from pathlib import Path

import jinja2

from avsbench.atomic import atomic
from avsbench.paths import Paths
from avsbench.report.board import Leaderboard
from avsbench.report.titles import titled
from avsbench.report.web.embed import content_hash, embedded
from avsbench.report.web.payload import payload

FOLDER = Path(__file__).parent
TEMPLATE = "page.html.jinja"
LAST = "main.js"
"""What starts the page; the other scripts define what it needs."""


def write_html(leaderboard: Leaderboard, paths: Paths) -> str:
    """Write leaderboard.html, or leaderboard.partial.html; returns the file. The same data give the same bytes."""
    partial = leaderboard.board.partial
    file = paths.leaderboard("html", partial)
    text = render(
        titled("Leaderboard", leaderboard.board.scale),
        payload(leaderboard, paths),
        markdown=Path(paths.leaderboard("md", partial)).name,
    )
    with atomic(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return file


def render(title: str, data: dict, markdown: str) -> str:
    """The page.

    Args:
        data: see `payload`.
        markdown: name of the page with the same numbers, for readers without scripts.
    """
    style, script = _text("*.css"), _text("*.js")
    template = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True).from_string(
        (FOLDER / TEMPLATE).read_text(encoding="utf-8")
    )
    return template.render(
        title=title, policy=_policy(style, script), style=style, script=script, data=embedded(data), markdown=markdown
    )


def _text(pattern: str) -> str:
    """Files of a kind, one after the other by name, `LAST` last."""
    files = sorted(FOLDER.glob(pattern), key=lambda path: (path.name == LAST, path.name))
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def _policy(style: str, script: str) -> str:
    """Content-Security-Policy: this style and this script run, and nothing else; nothing is loaded or sent."""
    return (
        f"default-src 'none'; style-src '{content_hash(style)}'; script-src '{content_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
