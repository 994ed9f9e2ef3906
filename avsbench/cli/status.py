"""The verbs that say how far everything is, what would run again, and that keep old weights."""

import functools
import json
import logging
from collections import Counter
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from avsbench import cards
from avsbench.cli.common import Verbs, config_overrides
from avsbench.closed_yaml import read_yaml
from avsbench.config import load_config
from avsbench.plan import Plan

log = logging.getLogger("avsbench")
CONFIG = "config/config.yaml"
"""What the Snakefile reads itself."""


def register(verbs: Verbs) -> None:
    added = verbs.verb("status", status, "say what is done, runs, failed or is missing; changes nothing")
    added.add_argument("--why", action="store_true", help="what Snakemake would run, and because of what")
    added.add_argument("--format", default="table", choices=("table", "json"))
    added.add_argument(
        "--check", action="store_true", help="exit code 1 unless all is done (with --why: nothing to run)"
    )
    _add_layers(added)
    added = verbs.verb("accept", accept, "keep the weights of a run though code or recipe changed; shown as such")
    added.add_argument("folder", metavar="RUN", help="folder of a run, e.g. results/mini/ms3/tpavi-r50/0")
    added.add_argument("--reason", default="", help="stands on the leaderboard")
    _add_layers(added)


def _add_layers(added) -> None:
    added.add_argument("--study", help="of the runs of a study")
    added.add_argument(
        "--configfile", nargs="+", default=[], metavar="FILE", help="laid over the configuration, as Snakemake does"
    )


def _asked(args) -> tuple[Plan, dict]:
    """The plan of the workflow that Snakemake would see, called with the same files, and keys laid over these."""
    keys = config_overrides(args) | ({"study": args.study} if args.study else {})
    layers = [read_yaml(file, "config", partial=True) for file in args.configfile]
    return Plan(load_config(args.config, functools.reduce(cards.merge, [*layers, keys], {}))), keys


def _call(args, keys: dict):
    from avsbench.reruns.dry_run import Call

    own = [] if Path(args.config).resolve() == Path(CONFIG).resolve() else [args.config]
    return Call((*own, *args.configfile), keys)


def status(args) -> int:
    plan, keys = _asked(args)
    if args.why:
        return _why(args, plan, keys)
    from avsbench.report.status import prepared, run_statuses
    from avsbench.workflow import works_here

    runs, data = run_statuses(plan), prepared(plan)
    if args.format == "json":
        every = [{**asdict(each.run), "name": str(each.run), **asdict(replace(each, run=None))} for each in runs]
        for each in every:
            del each["run"]
        datasets = {name: {stage: asdict(count) for stage, count in counts.items()} for name, counts in data.items()}
        content = {"scale": plan.scale, "workflow": works_here(), "datasets": datasets, "runs": every}
        print(json.dumps(content, indent=2, default=datetime.isoformat))
    else:
        _print(plan, runs, data, works_here())
    return int(args.check and any(each.state not in ("done", "skipped") for each in runs))


def _print(plan: Plan, runs: list, data: dict, works: bool) -> None:
    from tabulate import tabulate

    states = Counter(each.state for each in runs)
    counts = ", ".join(f"{count} {state}" for state, count in states.most_common())
    print(f"{plan.summary}\n{counts or 'nothing is asked for'}; {'a' if works else 'no'} workflow runs in this folder")
    stages = list(dict.fromkeys(stage for counts in data.values() for stage in counts))
    rows = [[name, *(_counted(counts.get(stage)) for stage in stages)] for name, counts in data.items()]
    print(f"\n{tabulate(rows, ['data set', *stages], disable_numparse=True)}")
    for name, counts in data.items():
        for stage, count in counts.items():
            if count.reasons:
                more = f", and {len(count.reasons) - 1} more" if len(count.reasons) > 1 else ""
                print(f"{name}, {stage} failed: {count.reasons[0]}{more}")
    print(f"\n{tabulate([[each.state, str(each.run), _about(each)] for each in runs], ['', 'run', ''])}")


def _counted(count) -> str:
    if count is None:
        return "–"
    told = [f"{count.done} of {count.total}"] if count.done < count.total else ["done"]
    told += [f"{count.running} running"] if count.running else []
    return ", ".join(told + ([f"{count.failed} failed"] if count.failed else []))


def _about(each) -> str:
    if each.state != "running":
        return f"{each.reason} ({each.log})" if each.log else each.reason
    text, at = each.stage, each.progress
    if at is not None:
        text += f": epoch {at.epoch} of {at.epochs}, step {at.step} of {at.steps}"
        text += f", until about {at.until.astimezone():%Y-%m-%d %H:%M}" if at.until else ""
    return f"{text}; since {datetime.fromisoformat(each.sign.since).astimezone():%Y-%m-%d %H:%M} on {each.sign.place}"


def _why(args, plan: Plan, keys: dict) -> int:
    from avsbench.reruns.dry_run import dry_run
    from avsbench.reruns.reasons import explain_jobs, told

    groups = explain_jobs(plan, dry_run(_call(args, keys)))
    if args.format == "json":
        print(json.dumps([asdict(group) for group in groups], indent=2, default=str))
    else:
        print(told(groups))
    return int(args.check and bool(groups))


def accept(args) -> None:
    from avsbench.reruns.accept import accept_run

    plan, keys = _asked(args)
    for change in accept_run(plan, args.folder, _call(args, keys), args.reason):
        log.info("accepted: %s", change)
    log.info("the next workflow shows it on the leaderboard")
