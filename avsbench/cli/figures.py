"""The verb that draws the leaderboard."""

import functools
import json

from avsbench import cards
from avsbench.cli.common import Verbs, config_overrides
from avsbench.config import check_config, load_config
from avsbench.plan import Plan


def register(verbs: Verbs) -> None:
    added = verbs.verb("figures", figures, "draw the leaderboard for a paper: ranking, protocols, cost, who listens")
    added.add_argument("--out", help="folder (default: figures/ beside the leaderboard)")
    added.add_argument("--format", nargs="+", default=("svg", "png"), choices=("svg", "png", "pdf"))
    added.add_argument("--config-json", help="the effective configuration of a workflow")


def figures(args) -> None:
    from avsbench.report.figures import write_figures
    from avsbench.report.stage import leaderboard

    config = json.loads(args.config_json) if args.config_json else load_config(args.config)
    plan = Plan(check_config(cards.merge(config, config_overrides(args))))
    target = functools.partial(plan.paths.figure, folder=args.out)
    write_figures(leaderboard(plan), target, args.format)
