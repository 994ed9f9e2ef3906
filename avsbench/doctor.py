"""What is installed, what is there, and what of a configuration can run now. Never fails because something is broken:
each probe reports its own exception.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from avsbench import cards
from avsbench.cards import DatasetCard
from avsbench.config import load_config
from avsbench.datasets import archives, release, space
from avsbench.errors import AvsbenchError
from avsbench.features.settings import Setting
from avsbench.plan import SPLITS, UNTRAINED, Plan, Run

OK, TO_DO, WARNING, MISSING = "ok", "to do", "warning", "missing"
"""Marks. `to do` is what the workflow makes or downloads by itself; `missing` is what only the user can mend."""
SHOWN = ("torch", "torchvision", "timm", "numpy", "h5py", "av", "soundfile", "snakemake")
"""Packages that are named even when nothing is wrong with them."""


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, how it is, and what to do about it."""

    section: str
    name: str
    mark: str
    text: str
    next: str = ""


def diagnose(config: str | Path, override: dict | None = None) -> list[Finding]:
    """All findings for a configuration file with `override` laid over it."""
    findings = [*_try("software", "packages", _packages), *_try("software", "libsndfile", _libsndfile)]
    findings += [*_try("machine", "processor", _processor), *_try("machine", "GPU", _gpus)]
    findings += _try("configuration", str(config), lambda: _configuration(config, override))
    if any(f.section == "configuration" and f.mark == MISSING for f in findings):
        return findings
    plan = Plan(load_config(config, override))
    for root in sorted({plan.paths.data_root, plan.paths.results_root, plan.paths.weights_root}):
        findings += _try("disk", root, lambda root=root: _root(root))
    findings += _try("disk", "room", lambda: _room(plan))
    encoders = (cards.variant(run.variant).loaded_on(run.dataset, plan.scale) for run in plan.runs)
    for name in sorted({name for roles in encoders for name in roles.values()}):
        findings += _try("weights", name, lambda name=name: [_encoder(plan, name)])
    for setting in plan.feature_settings.values():
        findings += _try("weights", setting.generator, lambda setting=setting: _generator(setting, plan.scale))
    findings += _try("weights", "official checkpoints", lambda: _officials(plan))
    for name in plan.datasets:
        findings += _try("data", name, lambda name=name: _data(plan, name))
    blockers = [f for f in findings if f.mark == MISSING and f.section in ("software", "machine", "disk")]
    for run in plan.runs:
        findings += _try("runs", str(run), lambda run=run: [_run(plan, run, blockers)])
    findings += [Finding("runs", str(skip.run), WARNING, f"skipped: {skip.reason}") for skip in plan.skips]
    return findings


def ready(findings: list[Finding]) -> bool:
    """True when everything that the configuration selects can run."""
    marks = [f.mark for f in findings if f.section == "runs"]
    return OK in marks and MISSING not in marks


def as_text(findings: list[Finding]) -> str:
    """The report for people: a block a section, marks in front."""
    lines, section = [], ""
    wide = min(44, max(len(f.name) for f in findings))
    for finding in findings:
        if finding.section != section:
            section = finding.section
            lines += ["", section]
        lines.append(f"  {finding.mark:8} {finding.name:{wide}}  {finding.text}")
        if finding.next:
            lines.append(f"  {'':8} {'':{wide}}  next: {finding.next}")
    can = sum(f.section == "runs" and f.mark == OK for f in findings)
    cannot = sum(f.section == "runs" and f.mark == MISSING for f in findings)
    summary = "everything that the configuration selects can run: snakemake --cores all"
    if not ready(findings):
        summary = f"{can} runs can start, {cannot} cannot; see `missing` above" if can + cannot else "nothing can run"
    return "\n".join([*lines[1:], "", summary])


def as_json(findings: list[Finding]) -> str:
    """The report for machines."""
    return json.dumps({"ready": ready(findings), "findings": [asdict(f) for f in findings]}, indent=2)


def _try(section: str, name: str, probe: Callable[[], list[Finding]]) -> list[Finding]:
    """What a probe finds; whatever it raises is a finding too."""
    try:
        return list(probe())
    except AvsbenchError as error:
        details = "; ".join(str(part) for part in (error.what, error.found and f"found {error.found}") if part)
        return [Finding(section, name, MISSING, details, error.hint or "")]
    except Exception as error:  # a broken installation may raise anything
        return [Finding(section, name, MISSING, f"{type(error).__name__}: {error}".splitlines()[0])]


# the machine


def _packages() -> Iterator[Finding]:
    """Python, and the packages that the project requires, against the versions that it asks for."""
    from packaging.requirements import Requirement

    yield Finding("software", "python", OK, f"{platform.python_version()} ({sys.executable})")
    for line in importlib.metadata.requires("avsbench") or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name, install = requirement.name, f"pip install '{requirement.name}{requirement.specifier}'"
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding("software", name, MISSING, "not installed", install)
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            yield Finding("software", name, MISSING, f"{found}, {requirement.specifier} is needed", install)
        elif name in SHOWN:
            yield from _try("software", name, lambda name=name, found=found: [_imports(name, found)])


def _imports(name: str, version: str) -> Finding:
    """Packages with compiled parts may be there and not load; Snakemake runs as a program of its own."""
    if name in ("torch", "h5py", "av", "soundfile", "numpy"):
        __import__(name)
    return Finding("software", name, OK, version)


def _libsndfile() -> Iterator[Finding]:
    import soundfile

    yield Finding("software", "libsndfile", OK, soundfile.__libsndfile_version__)


def _processor() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("machine", "processor", OK, f"{cores} cores, {platform.machine()}")
    yield Finding("machine", "memory", OK, space.readable(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))


def _gpus() -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available():
        yield Finding(
            "machine", "GPU", WARNING, f"none that torch {torch.__version__} can use; networks run on the CPU"
        )
        return
    driver = _driver()
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        half = "bf16" if about.major >= 8 else "no bf16"
        text = f"{about.name}, {space.readable(about.total_memory)}, CUDA {torch.version.cuda}, driver {driver}, {half}"
        yield Finding("machine", f"GPU {index}", OK, text)


def _driver() -> str:
    """Version of the driver, as its own tool says it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=3, check=True)
        return done.stdout.splitlines()[0].strip()
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


def _configuration(config: str | Path, override: dict | None) -> Iterator[Finding]:
    plan = Plan(load_config(config, override))
    yield Finding("configuration", str(config), OK, plan.summary)
    if plan.config.get("device") == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise AvsbenchError("device: cuda, and torch sees none", hint="set device: auto in the configuration")


def _root(root: str) -> Iterator[Finding]:
    """A folder of the project: can files be written and locked there?"""
    import fcntl

    folder = Path(root).absolute()
    while not folder.exists():
        folder = folder.parent
    text = f"{space.readable(shutil.disk_usage(folder).free)} free, {Path(root).absolute()}"
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                yield Finding("disk", root, WARNING, f"{text}; no file locks: {error}", "one workflow at a time here")
                return
    except OSError as error:
        hint = "change its permissions, or name another folder: data_root, results_root, weights_root"
        yield Finding("disk", root, MISSING, f"cannot be written: {error}", hint)
        return
    yield Finding("disk", root, OK, text)


def _room(plan: Plan) -> Iterator[Finding]:
    """Free bytes against what the shards of clips that do not exist yet take."""
    needed = sum(
        space.shard_bytes(cards.dataset(name), plan.scale, split, plan.image_size)
        for name in plan.datasets
        for split in SPLITS
        for shard in plan.shards(name, split)
        if not Path(shard).is_file()
    )
    free = space.free_bytes(plan.paths.data_root)
    text = f"about {space.readable(needed)} of shards are still to be made"
    yield Finding("disk", "room", OK if needed < free else WARNING, text, "" if needed < free else "free some space")


# weights and data


def _encoder(plan: Plan, name: str) -> Finding:
    card, file = cards.encoder(name), Path(plan.encoder_file(name))
    if file.is_file():
        return Finding("weights", name, OK, f"{file}, {space.readable(file.stat().st_size)}")
    if plan.scale == "mini":
        return Finding("weights", name, TO_DO, f"{file}: the workflow trains this stand-in")
    text = f"{file}: the workflow downloads {card.size_mb} MB"
    return Finding("weights", name, TO_DO, text, f"avsbench fetch-weights {card.file}, or put there {card.url}")


def _generator(setting: Setting, scale: str) -> Iterator[Finding]:
    """The weights of a generator, or the folder that it reads."""
    for file, card in setting.files.items():
        if Path(file).is_file():
            text = f"{file}, {space.readable(Path(file).stat().st_size)}"
            yield Finding("weights", setting.generator, OK, text)
        elif scale == "mini" and card.exists_at(scale):
            yield Finding("weights", setting.generator, TO_DO, f"{file}: the workflow trains this stand-in")
        else:
            text = f"{file}: the workflow downloads {card.size_mb} MB"
            yield Finding("weights", setting.generator, TO_DO, text, f"avsbench fetch-weights {card.file}")
    if "root" in setting.options and not Path(setting.options["root"] or "/nowhere").expanduser().is_dir():
        text = f"features.{setting.feature}.options.root: {setting.options['root']} is no folder"
        yield Finding("weights", setting.generator, MISSING, text, "name the folder of the maskiges")


def _officials(plan: Plan) -> Iterator[Finding]:
    """Authors' checkpoints of what is selected: those that are here, and those that a run needs."""
    for dataset, variant in dict.fromkeys((run.dataset, run.variant) for run in plan.runs):
        if cards.variant(variant).method.official is not None:
            found = _official(plan, dataset, variant)
            if found.mark == OK or plan.run(dataset, variant, "official") in plan.runs:
                yield found


def _official(plan: Plan, dataset: str, variant: str) -> Finding:
    file, about = Path(plan.official_file(variant, dataset)), cards.variant(variant).method.official
    if file.is_file():
        return Finding("weights", file.name, OK, f"{file}, {space.readable(file.stat().st_size)}")
    place = about.get("url") or about.get("note") or "the authors"
    return Finding("weights", file.name, MISSING, f"{file}: not here", f"get it from {place} and put it there")


def _data(plan: Plan, name: str) -> Iterator[Finding]:
    """The source of a data set, and how much of what the workflow makes of it exists."""
    yield _source(plan, cards.dataset(name))
    variants = {run.variant for run in plan.runs if run.dataset == name}
    ends = {end for variant in variants for end in cards.variant(variant).front_ends_on(name)}
    made = (setting for variant in variants for setting in plan.features(variant).values())
    ends = sorted(ends | {end for setting in made for end in setting.card.front_ends})
    for split in SPLITS:
        count = plan.shard_count(name, split)
        made = {"shards": plan.shards(name, split), "index": [plan.paths.index(name, split)]}
        made |= {end: [plan.paths.audio(name, end, split, shard, count) for shard in range(count)] for end in ends}
        have = {what: sum(Path(file).is_file() for file in files) for what, files in made.items()}
        text = ", ".join(f"{what} {have[what]} of {len(files)}" for what, files in made.items())
        whole = all(have[what] == len(files) for what, files in made.items())
        yield Finding("data", f"{name} {split}", OK if whole else TO_DO, text)


def _source(plan: Plan, card: DatasetCard) -> Finding:
    """Whether the data set is there, comes by itself, or has to be got by the user."""
    acquired, root = Path(plan.paths.acquired(card.name)), plan.config.get("roots", {}).get(card.name)
    if acquired.is_file():
        return Finding("data", card.name, OK, f"acquired: {json.loads(acquired.read_text()).get('source', '?')}")
    if plan.scale == "mini":
        return Finding("data", card.name, TO_DO, "the workflow renders it")
    if root is not None:
        return _release_at(card, Path(root).expanduser())
    if card.construction:
        sources = plan.config.get("vpo_sources", {})
        lacking = [key for key in ("coco", "vggsound") if not Path(sources.get(key, "/nowhere")).expanduser().exists()]
        if not lacking:
            return Finding("data", card.name, TO_DO, "the workflow builds it")
        text = f"no folder of {' and '.join(lacking)} to build it from"
        return Finding("data", card.name, MISSING, text, f"name vpo_sources.{lacking[0]} in the configuration")
    if release.is_top(card, Path(plan.paths.official(card.name))) or Path(plan.paths.downloads(card.name)).is_dir():
        return Finding("data", card.name, TO_DO, "the release is here; the workflow takes it")
    if card.release.get("mirrors"):
        return Finding("data", card.name, TO_DO, "the workflow downloads it")
    return Finding(
        "data",
        card.name,
        MISSING,
        f"not here, and no roots.{card.name} in the configuration",
        " ".join(card.access.split()),
    )


def _release_at(card: DatasetCard, root: Path) -> Finding:
    """What a configured root holds, without unpacking it."""
    where = f"roots.{card.name}: {root}"
    if not root.exists():
        return Finding("data", card.name, MISSING, f"{where}: no such folder", "correct it in the configuration")
    if root.is_dir():
        lacking = release.missing(card, release.locate(card, [root]))
        if lacking and not release.chosen(card, archives.archives_in(root)):
            text = f"{where}: no {', '.join(lacking)}"
            return Finding("data", card.name, MISSING, text, f"avsbench acquire --dataset {card.name} says what to do")
    return Finding("data", card.name, TO_DO, f"{where}: the workflow takes it")


# runs


def _run(plan: Plan, run: Run, blockers: list[Finding]) -> Finding:
    """Whether a run can start now, or everything before it by the workflow alone."""
    variant = cards.variant(run.variant)
    files = [plan.paths.run_json(run.dataset, run.variant, run.seed)]
    if run.seed != UNTRAINED:
        files.append(plan.paths.run_weights(run.dataset, run.variant, run.seed))
    sources = [run.dataset]
    if variant.init.startswith("run:"):
        sources.append(variant.init.removeprefix("run:"))
    needs = [*blockers, *(_source(plan, cards.dataset(name)) for name in sources)]
    needs += [_encoder(plan, name) for name in dict.fromkeys(variant.loaded_on(run.dataset, plan.scale).values())]
    needs += [found for setting in plan.features(run.variant).values() for found in _generator(setting, plan.scale)]
    if run.seed == "official":
        needs.append(_official(plan, run.dataset, run.variant))
    stops = [need for need in needs if need.mark == MISSING]
    if stops:
        text = "; ".join(f"{stop.name}: {stop.text}" for stop in stops)
        fetch = f"avsbench acquire --dataset {stops[0].name} --scale {plan.scale} says how to get the data"
        return Finding("runs", str(run), MISSING, text, fetch if stops[0].section == "data" else stops[0].next)
    if all(Path(file).is_file() for file in files):
        return Finding("runs", str(run), OK, "trained" if run.seed != UNTRAINED else "described")
    waits = [need.name for need in needs if need.mark == TO_DO]
    return Finding("runs", str(run), OK, "can run" + (f", after {', '.join(dict.fromkeys(waits))}" if waits else ""))
