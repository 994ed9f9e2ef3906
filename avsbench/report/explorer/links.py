"""Links from the page of the leaderboard to explorers that were written after it."""

from pathlib import Path

from filelock import FileLock

from avsbench.atomic import atomic
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths, Scored
from avsbench.report.web.embed import embedded, read_embedded


def refresh_links(paths: Paths) -> str | None:
    """Let leaderboard.html link to the explorers that exist now; returns its path, or None where there is no such page.

    Nothing else of the page changes: it may be that of another configuration, whose runs are not ours to judge.

    Raises:
        AvsbenchError: the page holds no data.
    """
    page = Path(paths.leaderboard("html"))
    with FileLock(page.with_name(f".{page.name}.lock")):  # two jobs may have written a page each
        if not page.is_file():
            return None
        text = page.read_text(encoding="utf-8")
        try:
            data = read_embedded(text)
        except ValueError as error:
            raise AvsbenchError(
                f"{page}: not a page of this version", found=error, hint="`avsbench leaderboard` writes it again"
            ) from None
        before = embedded(data)
        for run in (run for dataset in data["datasets"] for row in dataset["rows"] for run in row["runs"]):
            if run["frames"]:  # <folder>/scores/<table>
                explorer = Path(Scored(str(Path(run["frames"]).parents[1])).explorer)
                run["explorer"] = explorer.as_posix() if (page.parent / explorer).is_file() else None
        if embedded(data) != before:
            with atomic(page) as temporary:
                temporary.write_text(text.replace(before, embedded(data), 1), encoding="utf-8")
    return str(page)
