"""What the Snakefile does besides naming files: stale locks, manifests in step with their csv, words to the user."""

import contextlib
import fcntl
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from avsbench import cards, devices, digest
from avsbench.conditions import CONDITIONS
from avsbench.engine import trackers
from avsbench.errors import AvsbenchError
from avsbench.plan import Plan, Run
from avsbench.plan_front_ends import PRETRAIN_DATASETS

LOOKS = "AVSBENCH_LOOKS"
"""Set where a dry run is to change nothing at all, not even the dates of what it would make anew."""

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


def works_here(folder: str | os.PathLike = ".snakemake") -> bool:
    """True while a Snakemake works in this folder; False also where that cannot be told."""
    try:
        # Open to be written: NFS locks no other file exclusively.
        with open(Path(folder) / "avsbench.alive", "r+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


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
    for dataset in outdated_manifests(plan):
        from avsbench.store.manifest import write_dataset_manifests

        write_dataset_manifests(cards.dataset(dataset), plan.paths)
        for path in plan.manifests(dataset):
            Path(path).touch()


def outdated_manifests(plan: Plan) -> Iterator[str]:
    """Data sets whose csv is newer than their manifests."""
    for dataset in cards.dataset_cards():
        acquired = Path(plan.paths.acquired(dataset))
        manifests = [Path(path) for path in plan.manifests(dataset)]
        if not acquired.is_file() or not all(path.is_file() for path in manifests):
            continue
        csv = Path(json.loads(acquired.read_text()).get("csv", ""))
        if csv.is_file() and csv.stat().st_mtime > min(path.stat().st_mtime for path in manifests):
            yield dataset


def refresh_submissions(plan: Plan) -> None:
    """Let predictions of others be scored again whose scores another version of the code made.

    The verb that submits writes the scores itself, so Snakemake does not know what they depend on.
    """
    for run in outdated_submissions(plan):
        Path(plan.paths.predictions(run.dataset, run.variant, run.seed)).touch()


def outdated_submissions(plan: Plan) -> Iterator[Run]:
    """Submissions that another version of the code scored."""
    code = digest.stage("score")
    for run in plan.submissions:
        try:
            record = json.loads(Path(plan.paths.run_json(run.dataset, run.variant, run.seed)).read_text())
        except ValueError:
            continue  # the leaderboard names the damaged file
        if record.get("code") != code:
            yield run


def record_code(plan: Plan) -> None:
    """Keep which modules the digests of this workflow stand for: `avsbench status --why` names those that changed."""
    file = Path(plan.paths.code_log())
    known = read_code(plan)
    lines = [
        json.dumps({"digest": name, "modules": modules}) + "\n"
        for name, modules in digest.made().items()
        if name not in known
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a") as log:
        log.write("".join(lines))


def read_code(plan: Plan) -> dict[str, dict[str, str]]:
    """What `record_code` has kept: digest -> module -> digest of its source; without lines that a full disk cut off."""
    file, known = Path(plan.paths.code_log()), {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        with contextlib.suppress(ValueError, KeyError):
            content = json.loads(line)
            known[content["digest"]] = content["modules"]
    return known


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


def accepted(plan: Plan) -> list[str]:
    """Runs whose old weights somebody accepted, and when: no reason to do anything but show it."""
    found = []
    for run in plan.runs:
        file = Path(plan.paths.run_json(run.dataset, run.variant, run.seed))
        text = file.read_bytes() if file.is_file() else b""
        with contextlib.suppress(ValueError, KeyError, TypeError):  # the leaderboard names a damaged file
            if b'"accepted"' in text:
                found.append(f"{run}: {json.loads(text)['accepted']['date']}")
    return found


def explorers(plan: Plan) -> list[str]:
    """Pages of the clip explorer, of every row that has scores now: no run begins for its page."""
    rows = [(r.dataset, r.variant, r.seed, r.ensemble) for r in [*plan.rows, *plan.submissions]]
    return [
        plan.paths.explorer_page(*names, ensemble)
        for *names, ensemble in rows
        if os.path.isfile(plan.paths.frame_scores(*names, ensemble=ensemble))
    ]


def stored_negatives(plan: Plan, dataset: str, variant: str, seed: str, ensemble: bool = False) -> list[str]:
    """Predictions of a row under negatives, of those that exist now."""
    files = [plan.paths.predictions(dataset, variant, seed, condition, ensemble) for condition in CONDITIONS]
    return [file for file in files if os.path.isfile(file)]


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
