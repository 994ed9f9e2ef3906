"""The page as one file: data, style and script stand in it, so it opens from a disk and asks nothing of a network."""

import base64
import hashlib
import json
from pathlib import Path

import jinja2

from avsbench.paths import Paths, atomic
from avsbench.report.board import Leaderboard, titled
from avsbench.report.web.payload import payload

FOLDER = Path(__file__).parent
TEMPLATE = "page.html.jinja"
LAST = "main.js"
"""What starts the page; the other scripts define what it needs."""
_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


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


def embedded(data: object) -> str:
    """JSON that can stand inside a <script> element, whatever texts it holds.

    It is ASCII (so lone surrogates and U+2028 come as escapes), and holds neither a tag nor a comment nor an entity.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(data, allow_nan=False, separators=(",", ":")).translate(_ESCAPED)


def _policy(style: str, script: str) -> str:
    """Content-Security-Policy: this style and this script run, and nothing else; nothing is loaded or sent."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
