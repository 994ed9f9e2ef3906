"""Published numbers for the page, each beside the row of ours that may be compared with it."""

import re

from avsbench import cards
from avsbench.cards import DatasetCard
from avsbench.report.published import UNKNOWN, Published, counterparts, metric_name, of_dataset
from avsbench.report.published_tables import SHOWN, comparable
from avsbench.report.tables import Entry
from avsbench.report.web.rows import percent


def published_numbers(card: DatasetCard, entries: list[Entry]) -> dict[str, list[dict]]:
    """`published` (beside ours where that is allowed) and `unknown`, in the order of the file."""
    known, unknown = [], []
    matches = _matches(card, entries)
    for line in of_dataset(card):
        if line.measure(card)[0] == UNKNOWN:
            unknown.append(number(card, line))
        else:
            found = [each for other, each in matches if other == line]
            known += [number(card, line) | each for each in found] or [number(card, line)]
    return {"published": known, "unknown": unknown}


def number(card: DatasetCard, line: Published) -> dict:
    """One printed number, compared with nothing."""
    protocol, ours = line.measure(card)
    return {
        "method": line.method,
        "venue": line.venue,
        "year": line.year,
        "backbone": line.visual_backbone,
        "pretrained": line.visual_pretrain,
        "size": line.image_size,
        "setting": line.setting,
        "protocol": protocol,
        "metric": SHOWN[line.metric],
        "ours": ours,
        "published": line.value,
        "source": line.source,
        "url": address(line.source),
        "note": line.note,
        "variant": None,
        "measured": None,
        "gap": None,
    }


def _matches(card: DatasetCard, entries: list[Entry]) -> list[tuple[Published, dict]]:
    """Published number and ours beside it, for every row that may be compared."""
    found = []
    for entry in filter(comparable, entries):
        variant = cards.variant(entry.first.run.variant)
        for line in counterparts(variant, card, entry.first.image_size):
            name = metric_name(line, card, variant.fscore_batch_on(card.name))
            mean = entry.mean(name)
            if mean is not None:
                gap = round(100 * mean - float(line.value), 2)
                found.append((line, {"variant": entry.name, "ours": name, "measured": percent(mean), "gap": gap}))
    return found


def address(source: str) -> str | None:
    """Where a source can be read, where its name says so: a repository, a thread in one, or a preprint."""
    if preprint := re.match(r"arXiv (\d{4}\.\d{4,5})", source):
        return f"https://arxiv.org/abs/{preprint[1]}"
    if thread := re.match(r"GitHub issue ([\w.-]+/[\w.-]+)#(\d+)", source):
        return f"https://github.com/{thread[1]}/issues/{thread[2]}"
    repository = re.match(r"([\w-]+/[\w.-]+) README", source)
    return f"https://github.com/{repository[1]}" if repository else None
