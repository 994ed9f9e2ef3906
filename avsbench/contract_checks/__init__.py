"""Contract checks: what the suite demands of every method, run over its card, and explained where it fails."""

import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate
from tqdm import tqdm

from avsbench import cards
from avsbench.cards import MethodCard
from avsbench.contract_checks.checks import CHECKS
from avsbench.contract_checks.subject import SkipCheck, Subject
from avsbench.errors import AvsbenchError

PASSED, FAILED, SKIPPED = "ok", "FAIL", "-"


@dataclass(frozen=True)
class Result:
    """One check on one variant and data set; `message` explains a failure or a skip."""

    variant: str
    dataset: str
    check: str
    status: str
    message: str = ""
    seconds: float = 0.0


def subjects(card: MethodCard, scale: str = "mini") -> Iterator[Subject]:
    """Every variant of a method on every data set that it names."""
    for variant in card.variants.values():
        for dataset in variant.datasets:
            yield Subject(variant, cards.dataset(dataset), scale)


def check_method(name: str) -> list[Result]:
    """All checks on all variants and data sets of one method (a name, or `_template`)."""
    if name == "_template":
        card = cards.read_method_card(cards.PROJECT / "models" / "_template" / "method.yaml")
    else:
        card = cards.known(name, cards.method_cards(), "check-method", "method")
    pairs = [(subject, check) for subject in subjects(card) for check in CHECKS]
    with tqdm(pairs, desc=f"check {name}", unit="check", disable=None, file=sys.stderr) as bar:
        return [run_check(subject, check) for subject, check in bar]


def run_check(subject: Subject, check: str) -> Result:
    """One check; nothing it raises gets out."""
    started = time.monotonic()
    status, message = PASSED, ""
    try:
        CHECKS[check](subject)
    except SkipCheck as skip:
        status, message = SKIPPED, str(skip)
    except (AssertionError, AvsbenchError) as error:
        status, message = FAILED, str(error)
    except Exception as error:
        status, message = FAILED, _explain(subject, error)
    return Result(
        subject.variant.name, subject.dataset.name, check, status, message, round(time.monotonic() - started, 2)
    )


def _explain(subject: Subject, error: Exception) -> str:
    """An unexpected exception with the deepest line of the method's own files."""
    folder = str(subject.variant.method.path.resolve().parent)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(folder)] or frames[-1:]
    place = f"{Path(own[-1].filename)}:{own[-1].lineno}, in {own[-1].name}"
    return (
        f"{subject.variant.name} on {subject.dataset.name}: {type(error).__name__}: {error}\n"
        f"  mend:     {place}: {own[-1].line}"
    )


def print_results(results: list[Result]) -> bool:
    """A table (a row a check, a column a variant and data set), then each failure in words; True if nothing failed."""
    columns = list(dict.fromkeys((r.variant, r.dataset) for r in results))
    cells = {(r.check, r.variant, r.dataset): r.status for r in results}
    rows = []
    for check in dict.fromkeys(r.check for r in results):
        title = CHECKS[check].__doc__.splitlines()[0]
        rows.append([check, title, *(cells.get((check, *column), "") for column in columns)])
    print(tabulate(rows, headers=["check", "promise", *("\n".join(column) for column in columns)]))
    for reason in dict.fromkeys(f"{r.check}: {r.message}" for r in results if r.status == SKIPPED):
        print(f"\n{SKIPPED} {reason}")
    failed = [r for r in results if r.status == FAILED]
    for result in failed:
        print(f"\n{FAILED} {result.check}: {result.message}")
    print(f"\n{sum(r.status == PASSED for r in results)} passed, {len(failed)} failed")
    return not failed
