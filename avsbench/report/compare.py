"""Two runs side by side: paired differences with confidence, and the clips that changed most."""

import numpy as np

from avsbench import cards
from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError
from avsbench.evaluation.resample import DRAWS, LEVEL, ClipSums, compare
from avsbench.metrics import metric
from avsbench.report.columns import PUBLISHED_F, clip_metric, layout
from avsbench.report.tables import NOTHING, Table, header


def comparison(a: ClipSums, b: ClipSums, *, draws: int = DRAWS, most: int = 10) -> list[Table]:
    """A table of metrics, and one of the clips whose headline metric changed most in either direction.

    Args:
        draws: of the bootstrap.
        most: clips to list a direction.

    Raises:
        AvsbenchError: the runs are of two data sets, or were scored on other clips.
    """
    sets = [sums.about["dataset"] for sums in (a, b)]
    if sets[0] != sets[1]:
        raise AvsbenchError(
            "runs of two data sets do not compare",
            found=" and ".join(f"{name(sums)} on {of}" for sums, of in zip((a, b), sets, strict=True)),
            expected="two runs on one data set",
        )
    card = cards.dataset(sets[0])
    known = [name for table in layout(card).values() for name in table if name != PUBLISHED_F]
    names = [name for name in known if metric(name).direction in ("higher", "lower")]  # the others describe the data
    return [_metrics(a, b, names, draws), *_clips(card, a, b, most)]


def name(sums: ClipSums) -> str:
    """What a run is called."""
    about = sums.about
    seed = f", seed {about['seed']}" if str(about["seed"]).isdigit() else ""
    heard = "" if about["condition"] == "positive" else f", {about['condition']}"
    return f"{about['variant']}{seed}{heard}"


def _metrics(a: ClipSums, b: ClipSums, names: list[str], draws: int) -> Table:
    body = [
        [
            header(d.metric).removeprefix(">"),
            _percent(d.a),
            _percent(d.b),
            _signed(d.b - d.a),
            f"{_signed(d.low)} … {_signed(d.high)}",
            "yes" if d.clear else "no",
        ]
        for d in compare(a, b, names, draws)
    ]
    columns = ["metric", f">A: {name(a)}", f">B: {name(b)}", ">B - A", f">{LEVEL:.0%} of draws", "clear"]
    notes = [
        f"Percent. Paired bootstrap over {len(a.clips)} clips, {draws} draws: `clear` where the interval of the "
        "difference leaves out 0. It says how far other clips would change the difference, not another seed."
    ]
    return Table(f"{a.about['dataset']}, test split", columns, body, notes)


def _clips(card: DatasetCard, a: ClipSums, b: ClipSums, most: int) -> list[Table]:
    """Those that gained and those that lost."""
    shown = clip_metric(card)
    first, second = a.each(shown), b.each(shown)
    gaps = np.nan_to_num(second - first)
    tables = []
    for title, order in (("gained", np.argsort(-gaps, kind="stable")), ("lost", np.argsort(gaps, kind="stable"))):
        chosen = [i for i in order[:most] if (gaps[i] > 0 if title == "gained" else gaps[i] < 0)]
        body = [[a.clips[i], _percent(first[i]), _percent(second[i]), _signed(gaps[i])] for i in chosen]
        if body:
            columns = ["clip", ">A", ">B", ">B - A"]
            tables.append(Table(f"Clips that {title} most, by `{shown}` of the clip alone", columns, body))
    return tables


def _percent(value: float) -> str:
    return f"{100 * value:.2f}" if np.isfinite(value) else NOTHING


def _signed(value: float) -> str:
    return f"{100 * value:+.2f}" if np.isfinite(value) else NOTHING
