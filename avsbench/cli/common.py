"""What verbs share: the options of a data set, a shard and a run, and the plan that they lead to."""

import argparse
import json
import os
from collections.abc import Callable

from avsbench import cards, devices
from avsbench.config import check_config, load_config
from avsbench.features import settings
from avsbench.plan import SPLITS, Plan

__all__ = ["SPLITS", "Verbs", "config_overrides", "plan_of", "run_spec"]


class Verbs:
    """Adds verbs to the command line; each topic of this package registers its own."""

    def __init__(self, parser: argparse.ArgumentParser):
        self._verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        self._shared = argparse.ArgumentParser(add_help=False)
        group = self._shared.add_argument_group("where and how large (defaults: the configuration)")
        group.add_argument("--config", default="config/config.yaml")
        group.add_argument("--scale", choices=cards.SCALES)
        group.add_argument("--image-size", type=int)
        group.add_argument("--data-root")
        group.add_argument("--results-root")
        group.add_argument("--weights-root")
        group.add_argument("--log", help="also write messages to this file")

    def verb(self, name: str, run: Callable, text: str, **options) -> argparse.ArgumentParser:
        """A verb `name` that calls `run(args)`, which returns an exit code or None; add its options to the result."""
        added = self._verbs.add_parser(name, help=text, description=text, parents=[self._shared], **options)
        added.set_defaults(run=run)
        return added

    def of_dataset(self, name: str, run: Callable, text: str) -> argparse.ArgumentParser:
        added = self.verb(name, run, text)
        added.add_argument("--dataset", required=True)
        return added

    def of_shard(self, name: str, run: Callable, text: str) -> argparse.ArgumentParser:
        added = self.of_dataset(name, run, text)
        added.add_argument("--split", required=True, choices=SPLITS)
        added.add_argument("--shard", required=True, type=int)
        return added

    def of_run(self, name: str, run: Callable, text: str, *, needed: bool = True) -> argparse.ArgumentParser:
        """A verb of a run; unless `needed`, it may go without a variant."""
        added = self.of_dataset(name, run, text)
        added.add_argument("--variant", required=needed)
        added.add_argument("--seed", default="0")
        added.add_argument("--device", choices=devices.CHOICES, help="default: the configuration's")
        added.add_argument("--gpus", type=int, help="how many to use (default: what the card asks for)")
        added.add_argument("--threads", type=int, help="of torch and of the data loader (default: the card's)")
        added.add_argument("--code", help="source digest, when a workflow has computed it")
        added.add_argument(
            "--array", action="append", metavar="FRONT_END=NAME", help="imported arrays in the place of a front end"
        )
        added.add_argument("--features", type=json.loads, help="what makes each feature (default: the configuration)")
        added.add_argument("--recipe", help="resolved recipe as JSON (default: from the card)")
        return added


def config_overrides(args) -> dict:
    """The options that stand for keys of the configuration."""
    keys = ("scale", "image_size", "data_root", "results_root", "weights_root")
    return {key: getattr(args, key) for key in keys if getattr(args, key) is not None}


def plan_of(args, **keys) -> Plan:
    """The plan of the configuration, from its file or from a workflow, and of the options and `keys` laid over it."""
    keys = config_overrides(args) | keys
    if getattr(args, "config_json", None):
        return Plan(check_config(cards.merge(json.loads(args.config_json), keys)))
    return Plan(load_config(args.config, keys))


def run_spec(args):
    """What each stage of a run takes."""
    from avsbench import digest
    from avsbench.engine import trackers
    from avsbench.spec import RunSpec

    plan = plan_of(args)
    variant = cards.variant(args.variant)
    trains = variant.method.trainable
    return RunSpec(
        scale=plan.scale,
        dataset=args.dataset,
        variant=args.variant,
        seed=args.seed,
        recipe=json.loads(args.recipe) if args.recipe else plan.recipe(args.dataset, args.variant),
        image_size=plan.image_size,
        paths=plan.paths,
        threads=args.threads or variant.resources(plan.scale)["threads"],
        device=args.device or os.environ.get(devices.VARIABLE) or plan.config.get("device", "auto"),
        gpus=args.gpus,
        processes=getattr(args, "processes", None),
        resume=not getattr(args, "restart", False),
        save_every=300.0 if (seconds := getattr(args, "save_every", None)) is None else seconds,
        features=_features(plan, args),
        arrays=dict(pair.split("=", 1) for pair in args.array or ()) or plan.arrays(args.dataset, args.variant),
        tracker=trackers.chosen(getattr(args, "tracker", None), plan.config),
        code=args.code
        or (plan.train_code(args.dataset, args.variant) if trains else digest.stage("predict", variant.method.name)),
    )


def _features(plan: Plan, args) -> dict:
    """Feature -> setting of a run: what the option says, or the configuration."""
    if not args.features:
        return plan.features(args.variant)
    return {name: settings.resolve(name, plan.paths, chosen) for name, chosen in args.features.items()}
