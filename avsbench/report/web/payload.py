"""The data of the page: a leaderboard as one dict that JSON can hold. The script of the page reads nothing else.

The same leaderboard gives the same dict. Scores are percent, rounded to what the Markdown page prints; a missing number
is null; every address is relative to the folder of the leaderboard, so that it works from a disk. Notes and abouts are
plain sentences in which `backticks` mark code and **asterisks** what is important; everything else is text of any kind
(logs, what submitters declare) and must be put on the page as text, never as HTML.

    scale, planned, complete, problems, first_failure, partial     as of `board.Board`
    notes           [text]: what must be known of the whole page
    metrics         {name: {label, protocol, unit: "%", direction: higher | lower | none, title, help}}, of all tables;
                    `title` is what is averaged, `help` the whole sentence
    badges          {badge: what it means}, of all that occur
    datasets        [{
        name, title, about: [text], task: binary | semantic, family
        settings    [{name, title}]: supervised, zero-shot; each is ranked apart (title "" for the first)
        protocols   [{name, title, ranks_by, metrics: [name]}], the headline one first
        rows        [{id, name, method, title, paper, url, source, year, setting, badges: [badge], masks: generator of
                      the masks it sees or "", init, selection, seeds: [text], planned, clips, expected,
                      places: {protocol: place by its `ranks_by` among rows of its setting, null without one},
                      grids: {grid: {metric: {mean, spread, low, high, each: [one a seed]}}}; `common` alone is ranked;
                      spread is null of one seed, low and high bound the mean (95 % of draws of clips), null without
                      draws and left out of other grids, which have the metrics of the headline alone,
                      cost: {parameters, trainable, gflops_per_frame, frames_per_second, memory_mb, train_minutes,
                      device}, null of external rows; notes: [text],
                      runs: [{seed, code, finished, device, record, frames, log, curve, explorer}]: addresses of
                      run.json, the per-frame table, the training log and the explorer's page (null where there is
                      none); curve as of `curves.curve`, or null}]
        cost_notes  [text]: how the columns of cost were measured
        absent      [{name, seed, setting, status: failed | running | not run | skipped, reason, log: address or null}]
        pairs       {metric: [[i, j, low, high]]}: bounds of row i minus row j (95 % of paired draws of clips), i < j in
                    the order of `rows`, for the metric that ranks a protocol; "clear" where 0 lies outside
        published   [{method, venue, year, backbone, pretrained, size, setting, protocol, metric: as printed, ours: our
                      metric or null, published: as printed, source, url, note,
                      variant: row's name or null, measured, gap: points or null}]; with a variant, measured and gap
                      where one of our rows is comparable; never at another scale than full
        unknown     the same, of numbers whose protocol no source states: these get no gap
    }]
    robustness      null, or {title, about: [text], metrics: [name],
                      missing: [{name, dataset, conditions: [name], reason}], datasets: [{
                      name, title, kinds: [{kind: "" or how its tables are called, conditions: [name], rows: [{id, name,
                      seeds: [text], own: {metric: mean}, all: {g_miou, g_f, g_fpr}, conditions: {condition: {metric:
                      mean}}, clips}]}], published: as above}]}; rows by g_miou, best first; `own` is under the clips'
                      own sound, whose fpr is the area that is segmented; each score is {mean, spread, each}
    other_sets      {name: count}: published numbers on data sets that have no card here
"""

from collections.abc import Iterable

from avsbench import cards
from avsbench.cards import DatasetCard
from avsbench.metrics import metric
from avsbench.paths import Paths
from avsbench.report import tables
from avsbench.report.board import SCALE_NOTES, Leaderboard
from avsbench.report.collect import Absent, RunResult
from avsbench.report.columns import comparison, layout, rank
from avsbench.report.confidence import pairs
from avsbench.report.tables import Entry
from avsbench.report.web.others import published_numbers
from avsbench.report.web.robust import robustness
from avsbench.report.web.rows import BADGES, existing, percent, row

PROTOCOLS = {
    "A": "mean over frames",
    "B": "best threshold a call of k clips",
    "C": "mean over frames, class by class",
    "D": "all pixels of the test split together",
}

ABOUT = (
    "Scores are percent. Numbers of different protocols are never ranked together. Only the grid `common` is ranked, "
    "by one metric a protocol, and rows that were trained apart from those that were not. A mean is over seeds, ± the "
    "sample standard deviation: what another seed changes. An interval holds 95 % of draws of the test clips: what "
    "other clips would change."
)


def payload(leaderboard: Leaderboard, paths: Paths) -> dict:
    """The data of the page; links to logs, curves and explorers are those that exist now."""
    board = leaderboard.board
    datasets = [
        dataset(
            cards.dataset(section.dataset),
            section,
            [r for r in leaderboard.results if r.run.dataset == section.dataset],
            [a for a in leaderboard.absent if a.run.dataset == section.dataset],
            paths,
        )
        for section in board.sections
        if section.dataset
    ]
    heard = robustness(leaderboard)
    used = {name for each in datasets for protocol in each["protocols"] for name in protocol["metrics"]}
    shown = {badge for each in datasets for line in each["rows"] for badge in line["badges"]}
    return {
        "scale": board.scale,
        "planned": board.planned,
        "complete": board.complete,
        "problems": board.problems,
        "first_failure": board.first_failure,
        "partial": board.partial,
        "notes": [note for note in (SCALE_NOTES[board.scale], ABOUT) if note],
        "metrics": metrics([*sorted(used), *(heard or {}).get("metrics", [])]),
        "badges": {badge: text for badge, text in BADGES.items() if badge in shown},
        "datasets": datasets,
        "robustness": heard,
        "other_sets": board.other_sets,
    }


def dataset(
    card: DatasetCard, section: tables.Section, results: list[RunResult], absent: list[Absent], paths: Paths
) -> dict:
    """One data set; `section` says what a reader must know of it."""
    settings = [name for name in tables.SETTINGS if any(tables.setting(e) == name for e in (*results, *absent))]
    entries = [
        entry
        for name in settings
        for _, entry in tables.entries(
            card, *([e for e in found if tables.setting(e) == name] for found in (results, absent))
        )
    ]
    known = protocols(card, entries)
    names = list(dict.fromkeys(name for protocol in known for name in protocol["metrics"]))
    places = {each["name"]: _places(entries, each) for each in known}
    return {
        "name": card.name,
        "title": section.title,
        "about": section.about,
        "task": card.task,
        "family": card.family,
        "settings": [{"name": name, "title": tables.SETTINGS[name]} for name in settings],
        "protocols": known,
        "rows": [
            row(card, entry, names, {name: found[i] for name, found in places.items()}, paths)
            for i, entry in enumerate(entries)
        ],
        "absent": [_absent(each, paths) for each in tables.by_status(absent)],
        "cost_notes": tables.cost(ours).notes if (ours := [each for each in entries if not each.external]) else [],
        "pairs": {each["ranks_by"]: _pairs(entries, each["ranks_by"]) for each in known},
        **published_numbers(card, entries),
    }


def protocols(card: DatasetCard, entries: list[Entry]) -> list[dict]:
    """Protocols of a data set with the metrics that some row has, that of the headline first."""
    calls = [
        cards.variant(entry.first.run.variant).fscore_batch_on(card.name) for entry in entries if not entry.external
    ]
    first = layout(card)["headline"]
    found = {metric(first[0]).protocol: first}
    for name, names in comparison(card, calls).items():
        found[name] = [*found.get(name, []), *(n for n in names if any(entry.numbers(n) for entry in entries))]
    return [
        {"name": name, "title": PROTOCOLS[name], "ranks_by": names[0], "metrics": names}
        for name, names in found.items()
        if names
    ]


def _places(entries: list[Entry], protocol: dict) -> list[int | None]:
    """Place of each row by the metric that ranks a protocol, among the rows of its setting.

    Hard masks have no place under B: they leave it no threshold to choose.
    """
    places: list[int | None] = [None] * len(entries)
    for setting in tables.SETTINGS:
        ours = [
            i
            for i, entry in enumerate(entries)
            if tables.setting(entry.first) == setting and not (entry.hard and protocol["name"] == "B")
        ]
        name = protocol["ranks_by"]
        found = rank([(entries[i].measurement(name), entries[i].mean(name)) for i in ours])
        for i, place in zip(ours, found, strict=True):
            places[i] = place
    return places


def _pairs(entries: list[Entry], name: str) -> list[list]:
    return [[i, j, percent(low), percent(high)] for i, j, low, high in pairs(entries, name)]


def metrics(names: Iterable[str]) -> dict[str, dict]:
    """What a reader must know of each metric."""
    return {
        name: {
            "label": name,
            "protocol": metric(name).protocol,
            "unit": "%",
            "direction": metric(name).direction,
            "title": metric(name).title,
            "help": tables.legend([name])[0],
        }
        for name in dict.fromkeys(names)
    }


def _absent(each: Absent, paths: Paths) -> dict:
    return {
        "name": tables.entry_name(each.run),
        "seed": each.run.seed,
        "setting": tables.setting(each),
        "status": each.status,
        "reason": each.reason,
        "log": existing(each.log, paths) if each.log else None,
    }
