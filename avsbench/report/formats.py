"""Tables of the leaderboard for papers and spreadsheets: LaTeX, CSV, Markdown."""

import re

import pandas as pd

from avsbench.report.leaderboard import Board
from avsbench.report.tables import NOTHING, Table

RANKING = "ranking"
"""What the table is called that has no title of its own: the ranked one."""
_LATEX = {
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "–": "--",
    "…": r"\dots{}",
    "×": r"$\times$",
    "²": "$^2$",
}


def titles(board: Board) -> list[str]:
    """Names of all tables, each once."""
    return list(dict.fromkeys(table.title or RANKING for section in board.sections for table in section.tables))


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
        [[" ".join(str(cell).split()) for cell in row] for row in table.rows], columns=headers, dtype=str
    )


def _tex(text: str) -> str:
    """Words that LaTeX prints as they stand."""
    return re.sub(r"([&%$#_{}])", r"\\\1", text.replace("`", ""))
