"""What must be known beside the numbers of a table: lines beneath it, each about some of its rows."""

from typing import TYPE_CHECKING

from avsbench.cards import DatasetCard
from avsbench.report.collect import entry_name

if TYPE_CHECKING:  # tables show remarks
    from avsbench.report.tables import Entry


def remarks(card: DatasetCard, rows: "list[Entry]") -> list[str]:
    """What must be known beside the numbers of some rows."""
    notes = [*_incomplete(card, rows), *_imported(rows), *_generated(rows), *_deviations(rows), *_ensembles(rows)]
    return [*notes, *_accepted(rows), *_external(rows)]


def _incomplete(card: DatasetCard, rows: "list[Entry]") -> list[str]:
    """A warning where a row was scored on a part of the test split."""
    few = [f"{entry.name} ({entry.clips} clips)" for entry in rows if entry.incomplete]
    if not few:
        return []
    return [
        f"**Incomplete test split**, allowed by `allow_incomplete`: {', '.join(few)}. These numbers do not compare "
        f"with numbers on the whole split; `avsbench verify-data --dataset {card.name}` lists what is wrong."
    ]


def _imported(rows: "list[Entry]") -> list[str]:
    """Which rows heard arrays that somebody else computed."""
    heard = [f"{entry.name} ({', '.join(entry.first.arrays)})" for entry in rows if entry.first.arrays]
    return [f"Heard imported arrays in the place of our front ends: {', '.join(heard)}."] if heard else []


def _generated(rows: "list[Entry]") -> list[str]:
    """What made the features that rows see, with all options."""
    made: dict[str, list[str]] = {}
    for entry in rows:
        for feature in entry.first.features:
            made.setdefault(feature, []).append(entry.name)
    # A study has names of its own.
    named = any(entry.name == entry_name(entry.first.run) for entry in rows if entry.first.run.generator)
    about = "A name with + sees masks of the generator that follows. " if named else ""
    text = ". ".join(f"{', '.join(names)}: {feature}" for feature, names in made.items())
    return [f"{about}Numbers of two generators do not compare. {text}."] if made else []


def _deviations(rows: "list[Entry]") -> list[str]:
    """Which rows were trained on other devices, or otherwise computed, than published, where that changes numbers."""
    found = {
        entry.name: dict.fromkeys(deviation for result in entry.results for deviation in result.deviations)
        for entry in rows
    }
    named = [f"{name} ({'; '.join(deviations)})" for name, deviations in found.items() if deviations]
    return [f"Trained otherwise than published: {', '.join(named)}."] if named else []


def _ensembles(rows: "list[Entry]") -> list[str]:
    """What a row of several epochs is, and where it has fewer of them than its name says."""
    voting = [entry for entry in rows if entry.first.run.ensemble]
    if not voting:
        return []
    notes = [
        "A top-k ensemble is selected on validation: the k epochs with the best validation score predict together, the "
        "mean of their probabilities is quantised. It is a row of its own and in no mean over single weights."
    ]
    classes = [entry.name for entry in voting if entry.first.votes_by_class]
    notes += [f"The class that most epochs say, not the mean, decides for {', '.join(classes)}."] if classes else []
    few = [
        f"{entry.name}, seed {r.run.seed}: {r.members}"
        for entry in voting
        for r in entry.results
        if r.members < r.run.members
    ]
    return notes + ([f"Fewer epochs than asked for had a score: {', '.join(few)}."] if few else [])


def _accepted(rows: "list[Entry]") -> list[str]:
    """Which rows have weights that today's code or recipe would not have made."""
    kept = [f"{e.name}, seed {r.run.seed} ({r.accepted})" for e in rows for r in e.results if r.accepted]
    return [f"Old weights, kept by `avsbench accept`: {', '.join(kept)}."] if kept else []


def _external(rows: "list[Entry]") -> list[str]:
    """Where rows of others come from."""
    named = [f"{entry.name}: {entry.first.source}" for entry in rows if entry.external]
    about = "External rows are predictions of others, scored here; what is said of them was not checked. "
    return [f"{about}{'. '.join(named)}."] if named else []
