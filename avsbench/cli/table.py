"""The verb that prints tables of the leaderboard."""

from avsbench import cards
from avsbench.cli.common import Verbs, plan_of
from avsbench.closed_yaml import known


def register(verbs: Verbs) -> None:
    added = verbs.verb("table", table, "print tables of the leaderboard for a paper or a spreadsheet")
    added.add_argument("--format", default="markdown", choices=("latex", "csv", "markdown"))
    added.add_argument("--dataset", help="default: all")
    added.add_argument("--table", default="ranking", help="its title on the leaderboard (default: the ranked one)")


def table(args) -> None:
    from avsbench.report.formats import FORMATS, RANKING, titles
    from avsbench.report.leaderboard import titled
    from avsbench.report.stage import board

    plan = plan_of(args)
    if args.dataset:
        known(args.dataset, dict.fromkeys(plan.datasets), "--dataset", "data set of the configuration")
    found = board(plan)
    known(args.table, dict.fromkeys(titles(found)), "--table", "table")
    chosen = titled(cards.dataset(args.dataset).title, plan.scale) if args.dataset else None
    parts = [
        FORMATS[args.format](each, f"{section.title}{f': {each.title}' if each.title else ''}")
        for section in found.sections
        for each in section.tables
        if (each.title or RANKING) == args.table and chosen in (None, section.title)
    ]
    print("\n\n".join(parts))
