"""Tables of the leaderboard for papers and spreadsheets: LaTeX, CSV, Markdown."""

import re

import pandas as pd

from avsbench import cards
from avsbench.report.tables import NOTHING, Section, Table

RANKING = "ranking"
"""What the table is called that has no title of its own: the ranked one."""
ALL = "all"
"""Stands for every table."""
_LATEX = {
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "–": "--",
    "…": r"\dots{}",
    "×": r"$\times$",
    "²": "$^2$",
    "·": r"$\cdot$",
    "Δ": r"$\Delta$",
}
"""Signs of our tables. Names may have other letters, which LaTeX knows where they are Latin."""
_ESCAPED = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def titles(sections: list[Section]) -> list[str]:
    """Names of all tables, each once."""
    return list(dict.fromkeys(table.title or RANKING for section in sections for table in section.tables))


def choose(sections: list[Section], dataset: str | None, title: str) -> list[tuple[Table, str]]:
    """(table, caption) of those with a title, or of all; with a data set those about it, in sections of any kind."""
    about = dataset and cards.dataset(dataset).title
    return [
        (table, f"{section.title}{f': {table.title}' if table.title else ''}")
        for section in sections
        for table in section.tables
        if title in (ALL, table.title or RANKING)
        and (about is None or dataset == section.dataset or (not section.dataset and table.title.startswith(about)))
    ]


def markdown(table: Table, caption: str) -> str:
    """A pipe table under its caption, and its notes."""
    return "\n".join([f"**{caption}**", "", table.markdown(), "", *(f"- {note}" for note in table.notes)])


def csv(table: Table, caption: str) -> str:
    """Comma-separated values with a header, the caption in a column of its own; an empty cell is a missing number."""
    frame = _frame(table).replace(NOTHING, "")
    frame.insert(0, "table", caption)
    return frame.to_csv(index=False, lineterminator="\n").rstrip("\n")


def latex(table: Table, caption: str) -> str:
    """A table for the package booktabs; notes as comments above it."""
    sides = "".join("r" if column.startswith(">") else "l" for column in table.columns)
    text = _frame(table).to_latex(index=False, escape=True, column_format=sides, caption=_tex(caption), position="t")
    notes = "".join(f"% {_tex(note)}\n" for note in table.notes)
    return notes + "".join(_LATEX.get(letter, letter) for letter in text).rstrip("\n")


FORMATS = {"markdown": markdown, "csv": csv, "latex": latex}


def _frame(table: Table) -> pd.DataFrame:
    headers = [column.removeprefix(">") for column in table.columns]
    return pd.DataFrame(
        [[" ".join(_plain(str(cell)).split()) for cell in row] for row in table.rows], columns=headers, dtype=str
    )


def _plain(text: str) -> str:
    """Words without the signs of Markdown: of a link its address, of code the code."""
    return re.sub(r"\[[^\]]*\]\(([^)]*)\)", r"\1", text).replace("`", "")


def _tex(text: str) -> str:
    """Words that LaTeX prints as they stand."""
    return re.sub(r"[&%$#_{}~^\\]", lambda sign: _ESCAPED.get(sign[0], rf"\{sign[0]}"), _plain(text))
