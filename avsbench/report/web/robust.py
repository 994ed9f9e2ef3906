"""The section "Does it listen?" of the page: the tables of `avsbench.report.robustness` as data."""

from avsbench import cards
from avsbench.conditions import CONDITIONS
from avsbench.report.board import Leaderboard
from avsbench.report.published import of_dataset
from avsbench.report.robustness import ALL, COMPONENTS, GLOBAL, KINDS, POSITIVE, Heard, by_condition, not_heard
from avsbench.report.tables import Entry
from avsbench.report.web.others import number
from avsbench.report.web.rows import identity, scores

SUMMARY = (*GLOBAL, "g_fpr")


def robustness(leaderboard: Leaderboard) -> dict | None:
    """See `payload`; None where nothing was asked for."""
    heard = leaderboard.heard
    if not heard.results and not heard.missing:
        return None
    section = next(section for section in leaderboard.board.sections if not section.dataset)
    names = dict.fromkeys(result.run.dataset for result in heard.results.get(POSITIVE, ()))
    return {
        "title": section.title,
        "about": section.about,
        "metrics": [*SUMMARY, *COMPONENTS],
        "datasets": [_dataset(heard, name) for name in names],
        "missing": [
            {"name": name, "dataset": dataset, "conditions": conditions, "reason": reason}
            for name, dataset, conditions, reason in not_heard(heard)
        ],
    }


def _dataset(heard: Heard, name: str) -> dict:
    card, found = cards.dataset(name), by_condition(heard, name)
    return {
        "name": name,
        "title": card.title,
        "kinds": [kind for end, words in KINDS.items() if (kind := _kind(name, found, end, words))["rows"]],
        "published": [number(card, line) for line in of_dataset(card, robust=True)],
    }


def _kind(dataset: str, found: dict[str, dict[str, Entry]], end: str, words: str) -> dict:
    """The rows of one way to compute negatives, best first; rows without a global value come last."""
    negatives = [name for name in CONDITIONS if found.get(f"{name}{end}")]
    rows = []
    for name, own in found[POSITIVE].items():
        heard = {c: found[f"{c}{end}"][name] for c in negatives if name in found[f"{c}{end}"]}
        if heard:
            whole = found.get(f"{ALL}{end}", {}).get(name)
            rows.append(
                {
                    "id": identity(dataset, name),
                    "name": name,
                    "seeds": [result.run.seed for result in (whole or own).results],
                    "clips": own.clips,
                    "own": scores(own, COMPONENTS),
                    "all": scores(whole, SUMMARY) if whole else {},
                    "conditions": {condition: scores(entry, COMPONENTS) for condition, entry in heard.items()},
                }
            )
    rows.sort(key=lambda row: -(row["all"].get("g_miou") or {"mean": -1})["mean"])
    return {"kind": words, "conditions": negatives, "rows": rows}
