"""What the tests of the page share: submissions made up, and a parser that reads a page as a browser does."""

import html.parser
import json
from dataclasses import asdict
from pathlib import Path

from avsbench.evaluation.score import FORMAT, VERSION
from avsbench.evaluation.submissions import Source
from avsbench.paths import Paths
from avsbench.plan import Run
from tests.unit.report_runs import BINARY, write


def submission(paths: Paths, name: str, hard: bool = False, **declared) -> Run:
    """Somebody's predictions, scored: what `avsbench submit` leaves behind."""
    run = Run("ms3", "external", name)
    source = Source(name=name, made_by=declared.pop("made_by", "somebody"), url="https://example.org/paper", **declared)
    record = {
        "variant": "external", "dataset": "ms3", "scale": paths.scale, "seed": name, "code": "x", "versions": {},
        "parameters": None, "image_size": 64, "clips_expected": 32, "finished": "-", "source": asdict(source),
    }  # fmt: skip
    row = {"grid": "common", "hard": hard, "size": [64, 64], "clips": 32, "frames": 160, "values": BINARY}
    write(paths.run_json(*names(run)), record)
    write(paths.scores(*names(run)), {"format": FORMAT, "version": VERSION, "scores": [row]})
    return run


def names(run: Run) -> tuple[str, str, str]:
    return run.dataset, run.variant, run.seed


class Parsed(html.parser.HTMLParser):
    """Texts of elements that hold raw text, attributes of all, and every tag."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self._open = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag if tag in ("script", "style") else None
        if self._open:
            self.texts.append((tag, dict(attrs), ""))

    def handle_data(self, data):
        if self._open:
            tag, attributes, text = self.texts[-1]
            self.texts[-1] = (tag, attributes, text + data)

    def handle_endtag(self, tag):
        self._open = None


def data_in(file: str | Path) -> dict:
    """The data that a page holds."""
    found = Parsed(Path(file).read_text(encoding="utf-8"))
    return json.loads(next(text for _, attributes, text in found.texts if attributes.get("id") == "data"))


def page(paths, partial: bool = False) -> Parsed:
    return Parsed(Path(paths.leaderboard("html", partial)).read_text(encoding="utf-8"))
