"""Measured scores beside published ones: the same method, backbone, data set and protocol, or nothing."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

from avsbench import cards
from avsbench.errors import AvsbenchError
from avsbench.features import MASKIGE, generator, generators
from avsbench.metrics import metric
from avsbench.plan import Plan, Run
from avsbench.report import published
from avsbench.report.collect import read_result
from avsbench.report.columns import GRID, layout
from avsbench.report.tables import NOTHING, Table

log = logging.getLogger(__name__)

TOLERANCE = 0.5
"""Points (percent) that a measured score may differ from a published one."""

NO_VALUE = "no published value"


@dataclass(frozen=True)
class Comparison:
    """One metric, measured and published.

    Attributes:
        metric: our name of it; its protocol is that of the published number.
        measured: percent.
        published: percent as printed; None where no source has a comparable number.
        source: of the published number.
        status: "pass", "fail" or "no published value".
    """

    metric: str
    measured: float | None
    published: str | None
    source: str
    status: str

    @property
    def protocol(self) -> str:
        return metric(self.metric).protocol

    @property
    def gap(self) -> float | None:
        """Measured minus published, in points."""
        if self.measured is None or self.published is None:
            return None
        return round(self.measured - float(self.published), 6)


def compare_with_published(
    dataset: str, variant: str, scores: Mapping[str, float | None], tolerance: float = TOLERANCE, image_size: int = 224
) -> list[Comparison]:
    """Scores of a run at full scale beside every published number that may be compared with them.

    Args:
        scores: metric -> fraction, on the common grid.
        tolerance: points; a difference in either direction counts.
        image_size: of the run; numbers printed for another size are no match.

    Returns:
        A row per metric and source; a metric that the method's authors are expected to report and that no source has is
        there with status "no published value".
    """
    card, found = cards.dataset(dataset), cards.variant(variant)
    k = found.fscore_batch_on(dataset)
    rows = published.counterparts(found, card, image_size)
    named = [(published.metric_name(row, card, k), row) for row in rows]
    expected = {"binary": ["miou", f"fscore_b{k}"], "semantic": layout(card)["headline"][:1]}[card.task]
    comparisons = []
    for name in dict.fromkeys([*expected, *(name for name, _ in named)]):
        value = scores.get(name)
        measured = None if value is None else 100 * value
        matches = [row for other, row in named if other == name]
        for row in matches:
            close = measured is not None and abs(measured - float(row.value)) <= tolerance + 1e-9
            comparisons.append(Comparison(name, measured, row.value, row.source, "pass" if close else "fail"))
        if not matches:
            comparisons.append(Comparison(name, measured, None, "", NO_VALUE))
    return comparisons


NOTE = (
    "Percent; gap is measured minus published, in points. Only numbers of one method, backbone, data set and protocol "
    "are compared."
)


def comparison_table(title: str, rows: list[tuple[str, str, Comparison]], *, status: bool) -> Table:
    """(variant, seeds, comparison) -> a table; with `status`, the last column says pass or fail."""
    columns = ["variant", "seeds", "metric", "protocol", ">measured", ">published", ">gap", "source"]
    body = []
    for variant, seeds, row in rows:
        measured = NOTHING if row.measured is None else f"{row.measured:.2f}"
        gap = NOTHING if row.gap is None else f"{row.gap:+.2f}"
        cells = [variant, seeds, f"`{row.metric}`", row.protocol, measured, row.published or NOTHING, gap]
        body.append([*cells, row.source or NOTHING, *([row.status] if status else [])])
    return Table(title, columns + (["status"] if status else []), body, [NOTE])


def verified(comparisons: list[Comparison]) -> bool:
    """True if something was compared, and every metric that has published numbers agrees with at least one of them."""
    judged = {row.metric for row in comparisons if row.status != NO_VALUE}
    passed = {row.metric for row in comparisons if row.status == "pass"}
    return bool(judged) and judged == passed


def masks_as_published(run: Run) -> bool:
    """False for a run that sees features of another generator than published numbers rest on."""
    made = (stored.split("-")[:2] for stored in run.features)
    return all(feature in generator(name, feature).published for feature, name in made)


def verify_runs(plan: Plan, dataset: str, variant: str, tolerance: float = TOLERANCE) -> bool:
    """Print measured scores of the authors' checkpoint against published ones; True if they agree.

    Raises:
        AvsbenchError: another scale than full, the run `official` has not been scored yet, or it saw other masks.
    """
    run = plan.run(cards.dataset(dataset).name, cards.variant(variant).name, "official")
    if plan.scale != "full":
        raise AvsbenchError(
            "published numbers are those of the released data",
            found=f"scale {plan.scale}",
            expected="scale full",
            hint=f"avsbench verify-weights --scale full --dataset {dataset} --variant {variant}",
        )
    file = plan.paths.scores(run.dataset, run.variant, run.seed)
    if not os.path.isfile(file):
        raise AvsbenchError(
            f"{run} has no scores yet",
            expected=file,
            hint=f"snakemake --cores 8 --resources gpu=1 --config scale=full -- {file}",
        )
    if not masks_as_published(run):
        raise AvsbenchError(
            f"{run} saw other masks than published numbers rest on",
            found=run.generator,
            expected=" or ".join(name for name, card in generators().items() if MASKIGE in card.published),
            hint="choose one of these in the configuration, under features, and run it again",
        )
    values = read_result(run, plan.paths).grids[GRID]["values"]
    comparisons = compare_with_published(dataset, variant, values, tolerance, plan.image_size)
    rows = [(run.label, run.seed, row) for row in comparisons]
    print(comparison_table("", rows, status=True).markdown())
    agrees = verified(comparisons)
    if all(row.status == NO_VALUE for row in comparisons):
        print("\nNot verified: no source prints a number for this method, backbone, data set and protocol.")
    else:
        print(f"\n{'Agrees' if agrees else 'Does not agree'} with published numbers within {tolerance:g} points.")
    return agrees
