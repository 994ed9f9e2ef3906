"""The verb `verify-data`: what is wrong with released data, before anything is made of them."""

import os
from pathlib import Path

from avsbench import cards
from avsbench.cli.common import Verbs, plan_of
from avsbench.errors import AvsbenchError


def register(verbs: Verbs) -> None:
    added = verbs.of_dataset("verify-data", verify_data, "check every clip of a data set; exit code 1 if any is faulty")
    added.add_argument("--root", help="folder of the released data (default: what the configuration names)")
    added.add_argument("--jobs", type=int, default=min(8, max(2, os.cpu_count() or 1)), help="processes")
    added.add_argument("--out", help="folder of the report (default: results/<scale>/data)")


def verify_data(args) -> int:
    from avsbench.datasets.verify_report import verify

    if args.root and not args.scale:
        args.scale = "full"  # who names a folder means the release, whatever the configuration runs
    plan = plan_of(args)
    card = cards.dataset(args.dataset)
    report = verify(card, _root(args, plan, card), scale=plan.scale, jobs=args.jobs)
    table, text = (plan.paths.verified(card.name, extension, args.out) for extension in ("parquet", "txt"))
    report.write(table, text)
    print(f"{report.summary()}\n\n{text}")
    return 1 if report.faults else 0


def _root(args, plan, card: cards.DatasetCard) -> Path:
    """The folder to check: the option, the configuration, or what was acquired at this scale."""
    from avsbench.datasets.acquire import find_root

    named = args.root or (plan.root(card.name) if plan.scale != "mini" else None)
    official = Path(plan.paths.official(card.name))
    if named:
        try:
            return find_root(card, Path(named).expanduser())
        except AvsbenchError:
            # An archive, or several folders: what `acquire` made of them.
            if args.root or not official.is_dir():
                raise
    if not official.is_dir():
        raise AvsbenchError(
            f"{card.name}: no data to check",
            found=f"no --root, no roots.{card.name} in the configuration, nothing at {official}",
            expected="a folder of released data",
            hint=card.access,
        )
    return official.resolve()
