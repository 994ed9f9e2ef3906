"""The report of `avsbench verify-data`: the table of a data set, its clips, and two files that say what was found."""

import functools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from avsbench.atomic import atomic
from avsbench.cards import DatasetCard
from avsbench.datasets import reader
from avsbench.datasets.clip import SPLITS, Reader
from avsbench.datasets.verify import verify_clips
from avsbench.datasets.verify_kinds import FAULT, KINDS, NOTE, Line, kind_of, sentence
from avsbench.errors import AvsbenchError

COLUMNS = ["split", "clip_id", "severity", "kind", "text", "file", "files"]
_SUFFIXES = {".png", ".jpg", ".jpeg", ".wav", ".mp4"}
_DERIVED = {"labels_semantic", "processed_frames", "processed_labels_semantic", "audio_log_mel"}
"""Folders with what other code bases make of the release."""


@dataclass(frozen=True)
class Report:
    """What `verify` found.

    Attributes:
        card: of the data set.
        root: folder of the data.
        clips: split -> clips of the table.
        expected: split -> clips according to the card.
        lines: the data set first, then clips in the order of the table.
    """

    card: DatasetCard
    root: Path
    clips: dict[str, int]
    expected: dict[str, int]
    lines: list[Line]

    @property
    def faults(self) -> int:
        return sum(line.severity == FAULT for line in self.lines)

    def usable(self, split: str) -> int:
        """Clips of a split without a fault."""
        faulty = {line.clip_id for line in self.lines if line.split == split and line.severity == FAULT}
        return self.clips[split] - len(faulty - {""})

    def table(self) -> pd.DataFrame:
        """One row per clip and kind: split, clip_id, severity, kind, text, file, files."""
        return pd.DataFrame([line.record() for line in self.lines], columns=COLUMNS).astype({"files": "int64"})

    def summary(self) -> str:
        """Counts per split, and how many clips each kind concerns."""
        counts = pd.DataFrame(
            {
                "split": SPLITS,
                "clips": [self.clips[split] for split in SPLITS],
                "expected": [_expected(self.card, self.expected, split) for split in SPLITS],
                "usable": [self.usable(split) for split in SPLITS],
            }
        )
        parts = [f"{self.card.title}: {self.root}", counts.to_markdown(index=False, tablefmt="simple")]
        found = Counter(line.kind for line in self.lines)
        body = [
            {"severity": severity, "kind": kind, "lines": found[kind], "meaning": meaning}
            for wanted in (FAULT, NOTE)
            for kind, (severity, meaning) in KINDS.items()
            if severity == wanted and found[kind]
        ]
        if body:
            parts.append(pd.DataFrame(body).to_markdown(index=False, tablefmt="simple"))
        parts.append(f"faults: {self.faults}, notes: {len(self.lines) - self.faults}")
        return "\n\n".join(parts)

    def text(self) -> str:
        """The summary, then one line per clip and kind."""
        lines = [
            f"[{line.severity}] {line.kind} {' '.join(filter(None, [line.split, line.clip_id])) or '-'}: {line.text}"
            for line in self.lines
        ]
        return "\n".join([self.summary(), "", *lines]).rstrip() + "\n"

    def write(self, table: str | os.PathLike, text: str | os.PathLike) -> None:
        """Both files, each written beside its place and renamed."""
        with atomic(table) as temporary:
            self.table().to_parquet(temporary, index=False)
        with atomic(text) as temporary:
            temporary.write_text(self.text(), encoding="utf-8")


def _expected(card: DatasetCard, expected: dict[str, int], split: str) -> str:
    return str(expected[split]) if card.counts_known else f"{expected[split]} (unverified)"


def verify(card: DatasetCard, root: str | Path, *, scale: str = "full", jobs: int = 1) -> Report:
    """Check the released data at `root`, clip by clip.

    Args:
        card: of the data set.
        root: its top folder in the official layout; need not have been acquired.
        scale: whose counts of the card are expected; smoke is the full release.
        jobs: processes.

    Raises:
        AvsbenchError: there is no reader for this data set.
    """
    root = Path(root).absolute()
    expected = card.splits["full" if scale == "smoke" else scale]
    make_reader = functools.partial(reader, card, root)
    source = make_reader()
    try:
        table = source.table()
    except AvsbenchError as error:
        line = Line(kind_of(error, "table"), sentence(error).replace(f"{root}/", ""))
        return Report(card, root, dict.fromkeys(SPLITS, 0), expected, [line])
    clips = {split: int((table["split"] == split).sum()) for split in SPLITS}
    rows = table.to_dict("records")
    lines = [*_counts(card, clips, expected, scale), *_two_splits(source, rows), *_strangers(source, rows)]
    return Report(card, root, clips, expected, lines + verify_clips(make_reader, rows, jobs, f"verify {card.name}"))


def _counts(card: DatasetCard, clips: dict[str, int], expected: dict[str, int], scale: str) -> list[Line]:
    lines = []
    for split in SPLITS:
        if clips[split] != expected[split]:
            # Fewer training clips train a weaker network; fewer clips of val or test are another benchmark.
            binding = card.counts_known and split != "train" and scale != "smoke"
            kind = "clip_count" if binding else "count_differs"
            lines.append(Line(kind, f"{clips[split]} clips, the card says {expected[split]}", split=split, files=0))
    return lines


def _two_splits(source: Reader, rows: list[dict]) -> list[Line]:
    """Clips of one name, or of one picture under two names (VPO-SS), in two splits."""
    first: dict[object, str] = {}
    lines = []
    for row in rows:
        picture = source.files(row).frames[0] if row["frames"] == 1 else None
        for what, key in (("clip", row["clip_id"]), ("picture", picture)):
            other = first.setdefault((what, key), row["split"]) if key else row["split"]
            if other != row["split"]:
                text = f"this {what} stands in {other} and {row['split']}"
                lines.append(Line("two_splits", text, row["clip_id"], row["split"], files=0))
                break
    return lines


def _strangers(source: Reader, rows: list[dict]) -> list[Line]:
    """How many pictures, sounds and videos beside those of the table there are."""
    folders: set[Path] = set()  # of one clip each
    known: set[Path] = set()
    tops: set[Path] = set()
    for row in rows:
        files = source.files(row)
        pictures = [*files.frames, *filter(None, files.masks)]
        if row["frames"] > 1:
            folders.update(file.parent for file in pictures)
            known.update([*files.sounds, *filter(None, [files.video])])
            tops.add(source.root / files.frames[0].relative_to(source.root).parts[0])
        else:  # pictures lie side by side, and sounds come from a pool that need not be used up
            known.update(pictures)
            tops.update(file.parent for file in pictures)
    count, first = 0, None
    for file in (file for top in sorted(tops) for file in _media(top)):
        if file not in known and file.parent not in folders:
            count, first = count + 1, first or file.relative_to(source.root)
    return [Line("not_in_table", f"{count} files, e.g. {first}", file=str(first), files=count)] if count else []


def _media(top: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(top):
        names[:] = sorted(set(names) - _DERIVED)
        yield from (Path(folder) / name for name in sorted(files) if Path(name).suffix.lower() in _SUFFIXES)
