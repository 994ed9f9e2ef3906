"""The verb that sets two runs against each other."""

from pathlib import Path

from avsbench.cli.common import Verbs


def register(verbs: Verbs) -> None:
    added = verbs.verb(
        "compare", compare, "paired differences of two runs, with confidence, and the clips that changed most"
    )
    added.add_argument("a", metavar="RUN_A", help="folder of a scored run, such as results/mini/ms3/tpavi-r50/0")
    added.add_argument("b", metavar="RUN_B", help="another run on the same data set")
    added.add_argument("--grid", default="common", choices=("common", "512", "native"))
    added.add_argument("--condition", default="positive", help="what the runs heard (default %(default)s)")
    added.add_argument("--draws", type=int, default=2000, help="of the bootstrap (default %(default)s)")
    added.add_argument("--clips", type=int, default=10, help="to list a direction (default %(default)s)")


def compare(args) -> None:
    from avsbench.evaluation.resample import clip_sums, frames_file
    from avsbench.report.compare import comparison

    runs = [clip_sums(frames_file(run, args.condition), args.grid) for run in (args.a, args.b)]
    for table in comparison(*runs, draws=args.draws, most=args.clips):
        print("\n".join(["", table.title, "", table.markdown(), *(["", *table.notes] if table.notes else [])]))
    if all(Path(run).is_dir() for run in (args.a, args.b)):
        print(f"\nTo see these clips: avsbench explore {args.a} {args.b}")
