"""The verb that draws the leaderboard."""

import functools

from avsbench.cli.common import Verbs, plan_of


def register(verbs: Verbs) -> None:
    added = verbs.verb("figures", figures, "draw the leaderboard for a paper: ranking, protocols, cost, who listens")
    added.add_argument("--out", help="folder (default: figures/ beside the leaderboard)")
    added.add_argument("--format", nargs="+", default=("svg", "png"), choices=("svg", "png", "pdf"))
    added.add_argument("--config-json", help="the effective configuration of a workflow")


def figures(args) -> None:
    from avsbench.report.figures import write_figures
    from avsbench.report.stage import leaderboard

    plan = plan_of(args)
    target = functools.partial(plan.paths.figure, folder=args.out)
    write_figures(leaderboard(plan), target, args.format)
