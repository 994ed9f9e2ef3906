"""What the Snakefile does besides naming files: stale locks, manifests in step with their csv, words to the user."""

import fcntl
import json
import logging
import os
import sys
from pathlib import Path

from avsbench import cards, devices, digest
from avsbench.engine import trackers
from avsbench.errors import AvsbenchError
from avsbench.plan import Plan
from avsbench.plan_front_ends import PRETRAIN_DATASETS

_locks: list = []


def release_stale_lock(folder: str | os.PathLike = ".snakemake") -> bool:
    """Remove the lock files of a Snakemake that died; True if any were removed.

    Snakemake's own lock survives `kill -9`, so the documented command would refuse to run again. Every process that
    reads the Snakefile holds a shared advisory lock, which the kernel drops with the process; whoever can take it
    exclusively is alone in this folder, and what lies in .snakemake/locks belongs to the dead.
    """
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    handle = open(folder / "avsbench.alive", "a")  # noqa: SIM115 - held until the process ends
    _locks.append(handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        alone = False
    else:
        alone = True
    removed = False
    if alone:
        for stale in (folder / "locks").glob("*.lock"):
            stale.unlink(missing_ok=True)
            removed = True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
    except OSError as error:
        logging.getLogger(__name__).warning("no advisory locks in %s (%s): a killed run needs --unlock", folder, error)
    return removed


def put_environment_on_path() -> None:
    """Let rules find `avsbench` when Snakemake was called by its path, without activating its environment."""
    here = str(Path(sys.executable).parent)
    if here not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", os.defpath)])


def pass_on(plan: Plan) -> None:
    """Tell the jobs which tracker and device the configuration names; as settings of rules these would retrain."""
    os.environ[trackers.VARIABLE] = plan.config.get("tracker", "none")
    os.environ[devices.VARIABLE] = plan.config.get("device", "auto")


def refresh_manifests(plan: Plan) -> None:
    """Bring manifests in step with a csv that changed after they were written.

    Only manifests whose clips changed get new content; the others get a new date, and Snakemake compares small inputs
    by content. So a clip added at the end of the csv reruns its own shard and no other.
    """
    for dataset in cards.dataset_cards():
        acquired = Path(plan.paths.acquired(dataset))
        manifests = [Path(path) for path in plan.manifests(dataset)]
        if not acquired.is_file() or not all(path.is_file() for path in manifests):
            continue
        csv = Path(json.loads(acquired.read_text()).get("csv", ""))
        if csv.is_file() and csv.stat().st_mtime > min(path.stat().st_mtime for path in manifests):
            from avsbench.store.manifest import write_dataset_manifests

            write_dataset_manifests(cards.dataset(dataset), plan.paths)
            for path in manifests:
                path.touch()


def refresh_submissions(plan: Plan) -> None:
    """Let predictions of others be scored again whose scores another version of the code made.

    The verb that submits writes the scores itself, so Snakemake does not know what they depend on.
    """
    code = digest.stage("score")
    for run in plan.submissions:
        try:
            record = json.loads(Path(plan.paths.run_json(run.dataset, run.variant, run.seed)).read_text())
        except ValueError:
            continue  # the leaderboard names the damaged file
        if record.get("code") != code:
            Path(plan.paths.predictions(run.dataset, run.variant, run.seed)).touch()


def pretrain_inputs(plan: Plan, encoder: str) -> list[str]:
    """Training data from which `pretrain_mini` makes the stand-in of an encoder; nothing at other scales."""
    if plan.scale != "mini":
        return []
    files = []
    for dataset in PRETRAIN_DATASETS:
        count = plan.shard_count(dataset, "train")
        files += [plan.paths.index(dataset, "train"), *plan.shards(dataset, "train")]
        files += [
            plan.paths.audio(dataset, front_end, "train", shard, count)
            for front_end in cards.encoder(encoder).front_ends
            for shard in range(count)
        ]
    return files


def config_argument(plan: Plan) -> str:
    """The effective configuration, in its order, as one JSON argument for verbs that need the whole plan."""
    return json.dumps({key: value for key, value in plan.config.items() if key not in ("tracker", "device", "retries")})


def announcement(plan: Plan) -> str:
    """What is about to happen, in a few lines."""
    lines = [f"avsbench: {plan.summary}"]
    lines += [f"  skipped: {skip.run}: {skip.reason}" for skip in plan.skips]
    try:
        trackers.check_tracker(plan.config.get("tracker", "none"))
    except AvsbenchError as error:  # a warning: rules may run in environments of their own
        lines.append(f"  each training will stop at its start: {error}")
    return "\n".join(lines)


def write_partial_leaderboard(plan: Plan) -> None:
    """After a failure: results/leaderboard.partial.md from what exists; the declared file stays as it is."""
    from avsbench.report.stage import render

    path = render(plan, partial=True)
    logging.getLogger("avsbench").warning("some runs failed; what exists is in %s", path)
    print(f"avsbench: some runs failed; see {path}", flush=True)
