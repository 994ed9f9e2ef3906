"""Finished runs and the reasons for those that are not: everything that tables are made of.

A run is complete when its run.json and its scores both exist and are valid.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from avsbench import cards
from avsbench.closed_yaml import value_on
from avsbench.errors import AvsbenchError
from avsbench.evaluation.draws import Draws, read_draws
from avsbench.evaluation.score import read_scores
from avsbench.evaluation.submissions import Source
from avsbench.metrics import metric
from avsbench.paths import Paths
from avsbench.plan import UNTRAINED, Run, Skip
from avsbench.provenance import read_run
from avsbench.report.columns import GRID
from avsbench.report.failures import Failure, outdated
from avsbench.store.complete import read_complete


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A complete run.

    Attributes:
        run: data set, variant and seed.
        scale: mini or full.
        method: name of the method's card.
        init: what training started from, with the encoders; stand-ins are called so.
        selection: the split that chose the epoch; "authors" for their checkpoint, "-" where nothing was trained.
        members: epochs that predicted together; 1 but for an ensemble.
        arrays: names of imported arrays that stood in the place of front ends.
        features: what made the masks that it saw, with options.
        deviations: what its training did otherwise than published, in words.
        image_size: side of the stored frames in pixels.
        grids: grid -> score row (grid, hard, size, clips, frames, values).
        clips_expected: clips of the test split, usable or not.
        parameters, trainable: numbers of parameters, frozen encoders included; None where others predicted, and
            parameters also where nothing but features computes.
        train_seconds: training and validation; None where nothing was trained.
        frames_per_second: of predicting; None where it was not stored.
        gflops_per_frame: of predicting, 10^9 operations, a multiply-add being two; None where it was not counted, or
            where nothing but features computes.
        memory_mb: peak in 10^6 bytes, of the GPU where one was used, else of the process.
        code: digest of the source that made the run.
        device: name of the device.
        finished: when, as run.json says.
        link: run.json, relative to the folder of the leaderboard.
        source: of predictions that others made, what they declare; None for ours.
        accepted: in words, what changed since its training and `avsbench accept` let pass; None where nothing
            was.
        draws_file: every metric on draws of the clips; "" where its scores are of another sound.
    """

    run: Run
    scale: str
    method: str
    init: str
    selection: str
    members: int
    arrays: tuple[str, ...]
    features: tuple[str, ...]
    deviations: tuple[str, ...]
    image_size: int | None
    grids: dict[str, dict]
    clips_expected: int
    parameters: int | None
    trainable: int | None
    train_seconds: float | None
    frames_per_second: float | None
    memory_mb: float | None
    code: str
    device: str
    finished: str
    link: str
    source: Source | None = None
    gflops_per_frame: float | None = None
    accepted: str | None = None
    draws_file: str = ""

    @property
    def votes_by_class(self) -> bool:
        """An ensemble whose members vote for a class each pixel, as its method's card says."""
        semantic = cards.dataset(self.run.dataset).task == "semantic"
        return self.run.ensemble and semantic and cards.variant(self.run.variant).method.vote == "class"

    def value(self, name: str, grid: str = GRID) -> float | None:
        """A score as stored; None where it is undefined or was not computed."""
        return self.grids[grid]["values"].get(name) if grid in self.grids else None

    def ends(self, name: str, grid: str = GRID) -> tuple[float | None, float | None]:
        """Ends of a score's interval as stored; None where scoring made none."""
        return tuple(self.grids[grid].get("intervals", {}).get(name, (None, None)))

    @cached_property
    def draws(self) -> Draws | None:
        """Every metric on draws of the clips, read when it is first asked for; None for runs scored before there were
        any. Raises AvsbenchError for a damaged file.
        """
        return read_draws(self.draws_file) if os.path.isfile(self.draws_file) else None


@dataclass(frozen=True)
class Absent:
    """A run without a score, and why; `status` is running, failed, skipped or not run."""

    run: Run
    status: str
    reason: str
    log: str | None = None


def entry_name(run) -> str:
    """How a run's row is called: seeds of a variant share one; ensembles and the authors' checkpoint have their own.

    What sees masks is called after their generator too: with another one it is another method.
    """
    if run.ensemble:
        return f"{run.label} (top-{run.members} ensemble)"
    return f"{run.label} (official)" if run.seed == "official" else run.label


def collect(
    runs: Iterable[Run],
    skips: Iterable[Skip],
    paths: Paths,
    *,
    partial: bool = False,
    failures: Mapping[Run, Failure] | None = None,
) -> tuple[list[RunResult], list[Absent]]:
    """Read every planned run.

    Args:
        partial: the workflow stopped halfway: a damaged file makes its run a failed one (otherwise it is an error), and
            scores that are older than their run's record belong to weights that are gone.
        failures: why runs have no score, where that is known.

    Raises:
        AvsbenchError: a file exists but cannot be read; names the file.
    """
    failures = failures or {}
    results, absent = [], []
    for run in runs:
        record, scores = _files(run, paths)
        missing = [file for file in (record, scores) if not os.path.isfile(file)]
        if missing:
            why = failures.get(run) or Failure("not run", f"{missing[0]} does not exist")
            absent.append(Absent(run, why.status, why.reason, why.log))
            continue
        try:
            result = read_result(run, paths)
            _ = partial and result.draws  # read later, damaged ones would stop the page
        except AvsbenchError as error:
            if not partial:
                raise
            found = f" ({error.found})" if error.found is not None else ""
            absent.append(Absent(run, "failed", error.what + found))
            continue
        if partial and outdated(record, scores):
            absent.append(Absent(run, "not run", "its scores are older than its weights"))
        else:
            results.append(result)
    return results, absent + [Absent(skip.run, "skipped", skip.reason) for skip in skips]


def read_result(run: Run, paths: Paths) -> RunResult:
    """One complete run. Raises AvsbenchError for a file that is damaged or belongs to another run."""
    file, scores = _files(run, paths)
    record = read_run(file)
    expected = {"dataset": run.dataset, "variant": run.variant, "seed": run.seed, "scale": paths.scale}
    found = {key: str(record[key]) for key in expected}
    if found != expected:
        raise AvsbenchError(f"{file}: describes another run", found=found, expected=expected, hint="run it again")
    seen = tuple(feature["stored"] for feature in record.get("features", {}).values())
    if seen != run.features:
        raise AvsbenchError(
            f"{file}: the run saw masks of another generator, or of other options",
            found=", ".join(seen) or "none",
            expected=", ".join(run.features) or "none",
            hint="run it again, or choose in the configuration, under features, what the file says",
        )
    variant = cards.variant(run.variant)
    grids = read_grids(scores, variant.grids_on(cards.dataset(run.dataset)))
    try:
        return RunResult(
            run=run,
            scale=paths.scale,
            method=variant.method.name,
            init=_init(record),
            selection=_selection(record),
            members=grids[GRID].get("members", 1),
            arrays=tuple(record.get("arrays", {}).values()),
            features=tuple(_feature(name, made, run.dataset) for name, made in record.get("features", {}).items()),
            deviations=tuple(record.get("deviations", ())),
            image_size=record.get("image_size"),
            grids=grids,
            clips_expected=_expected_clips(run.dataset, paths),
            parameters=_of_network(int(record["parameters"]["total"]), record),
            trainable=int(record["parameters"]["trainable"]),
            train_seconds=_train_seconds(record),
            frames_per_second=grids[GRID].get("frames_per_second"),
            memory_mb=_memory(record),
            code=record["code"],
            device=record.get("device", {}).get("name") or "-",
            finished=record.get("finished") or "-",
            link=link_to(file, paths),
            accepted=_accepted(record),
            gflops_per_frame=_of_network(grids[GRID].get("gflops_per_frame"), record),
            draws_file=paths.draws(run.dataset, run.variant, run.seed, ensemble=run.ensemble),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise another_form(file, error) from None


def link_to(file: str, paths: Paths) -> str:
    """A file as the leaderboard links to it."""
    return Path(os.path.relpath(file, Path(paths.leaderboard()).parent)).as_posix()


def _files(run: Run, paths: Paths) -> tuple[str, str]:
    """run.json and scores; an ensemble has the record of the training that made its members."""
    names = (run.dataset, run.variant, run.seed)
    return paths.run_json(*names), paths.scores(*names, ensemble=run.ensemble)


def _expected_clips(dataset: str, paths: Paths) -> int:
    """What `check_split` found; the card's number where results lie without their data."""
    found = read_complete(paths, dataset)
    return found["expected"] if found else cards.dataset(dataset).splits[paths.scale]["test"]


def read_grids(file: str, names: list[str]) -> dict[str, dict]:
    """Grid -> score row, each with all that tables read."""
    try:
        grids = {grid: read_scores(file, grid) for grid in names}
        for row in grids.values():
            for name in row["values"]:
                metric(name)
            for key in ("hard", "size", "clips", "frames"):
                row[key]
    except (KeyError, TypeError, AttributeError) as error:
        raise another_form(file, error) from None
    return grids


def another_form(file: str, error: Exception) -> AvsbenchError:
    """The error about a file that this version did not write."""
    return AvsbenchError(
        f"{file}: of another form than this version writes", found=repr(error), hint="remove it and run again"
    )


def _init(record: dict) -> str:
    """What training started from. At mini no published weights exist, so encoders start from small stand-ins."""
    init = record.get("init") or "-"
    names = ", ".join(dict.fromkeys(encoder["name"] for encoder in record.get("encoders", {}).values()))
    if record["scale"] != "mini":
        return f"{init} ({names})" if names else init
    if not names:  # what features were derived with
        return f"stand-in for {init}" if init in cards.encoder_cards() else init
    stand_ins = f"stand-ins for {names}"
    return f"{init} ({stand_ins})" if init.startswith("run:") else stand_ins


def _selection(record: dict) -> str:
    if str(record["seed"]) == UNTRAINED:
        return "-"
    return record["selection"]["split"] if "selection" in record else "authors"


def _feature(name: str, made: dict, dataset: str) -> str:
    """What a record says about a feature: its generator, options as they count on the data set, and weights."""
    options = [f"{key} {value_on(value, dataset)}" for key, value in made["options"].items()]
    options += ["original pictures"] if made["pictures"] == "native" else []
    digests = made["weights_digest"] or {}
    for digest in digests.values() if isinstance(digests, dict) else [digests]:
        options.append(f"weights {digest[:16] if len(digest) == 64 else digest}")  # of a sha256 the beginning
    return f"{name} by {made['generator']} ({', '.join(options) or 'no options'})"


def _accepted(record: dict) -> str | None:
    mark = record.get("accepted")
    if mark is None:
        return None
    reason = f"; {mark['reason']}" if mark["reason"] else ""
    return f"{mark['date'][:10]}: {'; '.join(mark['changes'])}{reason}"


def _of_network(counted: float | None, record: dict) -> float | None:
    """A cost. Not the 0 of a method whose networks all made features, in another stage: it is not for nothing."""
    return None if counted == 0 and record.get("features") else counted


def _train_seconds(record: dict) -> float | None:
    seconds = record.get("seconds")
    return seconds["train"] + seconds["validation"] if seconds else None


def _memory(record: dict) -> float | None:
    peak = record.get("peak_memory_mb") or {}
    return peak.get("cuda", peak.get("rss"))


def long_table(results: Iterable[RunResult]) -> pd.DataFrame:
    """One row per run, grid and metric, with its protocol and where it comes from.

    `low` and `high`: the 95 % interval of the run over draws of the clips, where there is one.
    """
    rows = [
        {
            "dataset": result.run.dataset,
            "scale": result.scale,
            "variant": result.run.variant,
            "method": result.method,
            "seed": result.run.seed,
            "init": result.init,
            "selection": result.selection,
            "members": result.members,
            "source": result.source and str(result.source),
            "generator": result.run.generator,
            "grid": grid,
            "hard": bool(scores["hard"]),
            "protocol": metric(name).protocol,
            "metric": name,
            "value": value,
            "low": result.ends(name, grid)[0],
            "high": result.ends(name, grid)[1],
            "unit": metric(name).unit,
            "direction": metric(name).direction,
            "clips": scores["clips"],
            "clips_expected": result.clips_expected,
            "frames": scores["frames"],
            "image_size": result.image_size,
            "parameters": result.parameters,
            "trainable": result.trainable,
            "train_seconds": result.train_seconds,
            "frames_per_second": result.frames_per_second,
            "gflops_per_frame": result.gflops_per_frame,
            "memory_mb": result.memory_mb,
            "code": result.code,
            "accepted": result.accepted,
            "device": result.device,
            "finished": result.finished,
            "run_json": result.link,
        }
        for result in results
        for grid, scores in result.grids.items()
        for name, value in scores["values"].items()
    ]
    return pd.DataFrame(rows, columns=list(TYPES)).astype(TYPES)


TYPES = {
    "dataset": "string", "scale": "string", "variant": "string", "method": "string", "seed": "string", "init": "string",
    "selection": "string", "members": "int64", "source": "string", "generator": "string", "grid": "string",
    "hard": "bool", "protocol": "string", "metric": "string", "value": "float64", "low": "float64", "high": "float64",
    "unit": "string", "direction": "string", "clips": "int64", "clips_expected": "int64", "frames": "int64",
    "image_size": "Int64", "parameters": "Int64", "trainable": "Int64", "train_seconds": "float64",
    "frames_per_second": "float64", "gflops_per_frame": "float64", "memory_mb": "float64", "code": "string",
    "accepted": "string", "device": "string", "finished": "string", "run_json": "string",
}  # fmt: skip
"""Columns of the long table; an empty one has them too."""
