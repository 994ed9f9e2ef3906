"""Train one run: network, encoders, data, loop, and the files that remain.

Outputs: weights.safetensors (the epoch that validation chose), weights_top/ where the recipe keeps several epochs,
run.json and curves.png; log.jsonl beside them. Each is opened and checked before the resume state is cleared.
"""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

import torch

from avsbench import cards, provenance, registry
from avsbench.cards import DatasetCard, Variant
from avsbench.contract import Method
from avsbench.devices import lease_for
from avsbench.engine import top
from avsbench.engine.checkpoint import StateStore, copy_file
from avsbench.engine.compute import Compute
from avsbench.engine.data import Division, StoredData
from avsbench.engine.distributed import Group, launch
from avsbench.engine.loop import LAST, Progress, Trainer
from avsbench.engine.seeds import seed_everything
from avsbench.engine.signals import StopSignals
from avsbench.engine.trackers import check_tracker, open_tracker
from avsbench.engine.trainlog import draw_curves
from avsbench.errors import AvsbenchError
from avsbench.evaluation.validate import Validator
from avsbench.spec import RunSpec

log = logging.getLogger(__name__)


def train_run(spec: RunSpec) -> dict:
    """Train one run, or continue it; returns what run.json says.

    Raises:
        AvsbenchError: recipe, weights or data do not fit together, the loss diverged, or a file cannot be written.
        SystemExit: the process was told to stop (SIGTERM); the state is saved.
    """
    variant, dataset = cards.variant(spec.variant), cards.dataset(spec.dataset)
    check_spec(spec, variant, dataset)
    check_tracker(spec.tracker)
    with lease_for(spec, variant) as devices:
        if devices[0].type == "cpu":
            devices = devices * (spec.processes or 1)
        devices = devices[: spec.recipe["batch"]]  # a device without a clip would only wait
        if len(devices) == 1:
            train_process(Group(), devices[0], spec)
        else:
            launch(devices, train_process, spec)
    return provenance.read_run(spec.paths.run_json(spec.dataset, spec.variant, spec.seed))


def train_process(group: Group, device: torch.device, spec: RunSpec) -> None:
    """What each process of a training does; the first writes the outputs."""
    variant, dataset = cards.variant(spec.variant), cards.dataset(spec.dataset)
    run = (spec.dataset, spec.variant, spec.seed)
    torch.set_num_threads(max(1, spec.threads // group.world))
    seed_everything(spec.seed, "initial weights")
    method = registry.build(variant, dataset, spec.scale, spec.image_size)
    method.configure(spec.recipe)
    started_from = load_initial(method, spec, variant)
    compute = Compute.of(spec.recipe)
    if compute.augment == "device" and method.device_transforms(spec.recipe) is None:
        raise AvsbenchError(
            f"{variant.method.path}: {variant.name} has no augmentation for the device",
            found="compute: {augment: device}",
            expected="compute: {augment: cpu}, the published one",
        )
    division = Division.of(spec.recipe, variant.resources(spec.scale)["gpu"], group.world)
    record = provenance.describe_run(spec, method, device)
    if group.first:
        trainable, total = (f"{record['parameters'][kind]:,}" for kind in ("trainable", "total"))
        log.info("%s: %s of %s parameters train", spec, trainable, total)
    record["data"] = provenance.index_digests(spec, ("train", "val"))
    record["initial_weights"] = started_from
    if not group.first:
        group.wait()  # the first one clears states of other settings away
    store = StateStore(spec.paths.state(*run), identity(spec, variant, record))
    if group.first:
        store.claim(anew=not spec.resume)
        group.wait()
    data = StoredData(
        spec,
        variant,
        dataset,
        method,
        on_gpu=device.type != "cpu",
        division=division,
        group=group,
        augment=compute.augment == "cpu",
    )
    if spec.recipe.get("sync_batchnorm") and device.type == "cuda" and group.world > 1:
        method = torch.nn.SyncBatchNorm.convert_sync_batchnorm(method)
    trainer = Trainer(
        method=method,
        recipe=spec.recipe,
        seed=spec.seed,
        device=device,
        data=data,
        validator=lambda: Validator(dataset),
        store=store,
        log_path=spec.paths.train_log(*run),
        name=str(spec),
        description=describe_weights(spec),
        save_every=spec.save_every,
        compute=compute,
        group=group,
        tracker=open_tracker(spec.tracker, spec.paths.tracker(*run, spec.tracker)) if group.first else None,
    )
    progress = trainer.run()
    if not group.first:
        group.wait()  # a process that is gone would look like a failure while the first one writes
        return
    record.update(_outcome(spec, progress, data, trainer.compute))
    if spec.scale == "smoke":
        record["full_run"] = full_run_estimate(variant, dataset, record["seconds"]["per_step"] / data.batch)
    _write_outputs(spec, method, trainer, record)
    with StopSignals(patient=True):  # too late to stop: half a removed state would cost the whole run
        store.clear()
    group.wait()


def check_spec(spec: RunSpec, variant: Variant, dataset: DatasetCard) -> None:
    """Find what would only fail after hours: wrong pairings, a metric that does not exist, no validation at all."""
    where = f"{variant.method.path}: recipe of {variant.name} on {dataset.name}"
    recipe = spec.recipe
    if not variant.method.trainable:
        raise AvsbenchError(f"{variant.name} needs no training", hint="take the stages describe and predict")
    if dataset.name not in variant.datasets:
        raise AvsbenchError(
            f"{variant.name} is not defined for {dataset.name}", expected=f"one of {', '.join(variant.datasets)}"
        )
    missing = [key for key in ("epochs", "batch", "optimizer", "select") if key not in recipe]
    if missing:
        raise AvsbenchError(f"{where}: keys are missing", found=", ".join(missing), hint="add them to the card")
    metrics = Validator(dataset).metrics
    if recipe["select"] != LAST:
        cards.known(recipe["select"], dict.fromkeys(metrics), f"{where}: select", "validation metric")
    top.check_recipe(recipe, where)
    start = recipe.get("validate", {}).get("start", 0)
    if recipe["select"] != LAST and start >= recipe["epochs"]:
        raise AvsbenchError(
            f"{where}: no epoch would be validated",
            found=f"validate.start {start}, epochs {recipe['epochs']}",
            expected="validate.start below epochs (both count from 0)",
        )
    if not str(spec.seed).isdigit():
        raise AvsbenchError(f"{where}: a training needs a number as seed", found=spec.seed)


def load_initial(method: Method, spec: RunSpec, variant: Variant) -> dict | None:
    """Pretrained encoders, or the weights of another run (`init: run:<data set>`); says what the latter were."""
    source = variant.init.removeprefix("run:") if variant.init.startswith("run:") else None
    from_run = source is not None and source != spec.dataset
    only_frozen = from_run or variant.init == "scratch"
    registry.load_encoders(method, variant, spec.dataset, spec.scale, spec.paths, external_only=only_frozen)
    if not from_run:
        return None
    file = spec.paths.run_weights(source, spec.variant, spec.seed)
    registry.load_own(method, registry.read_weights(file)[0], f"{file} (init: {variant.init})")
    return {"dataset": source, "seed": spec.seed, "sha256": provenance.file_digest(file)}


def identity(spec: RunSpec, variant: Variant, record: dict) -> str:
    """Digest of everything the trained weights depend on: a resume state of another identity is not continued."""
    parts = {key: record[key] for key in ("seed", "code", "recipe", "image_size", "init", "options", "data")}
    parts |= {key: record[key] for key in ("encoders", "arrays", "features", "initial_weights")}
    parts |= {"run": str(spec), "torch": torch.__version__, "device": record["device"]["type"]}
    # The index lists clips; sizes and dates of the shards tell whether their content was made anew.
    files = []
    for split in ("train", "val"):
        count = cards.dataset(spec.dataset).shards[spec.scale][split]
        for shard in range(count):
            files.append(spec.paths.shard(spec.dataset, split, shard, count))
            heard = [spec.arrays.get(end, end) for end in variant.front_ends_on(spec.dataset)]
            files += [spec.paths.audio(spec.dataset, name, split, shard, count) for name in heard]
            if variant.native:
                files.append(spec.paths.native(spec.dataset, split, shard, count))
            seen = [setting.stored for setting in spec.features.values()]
            files += [spec.paths.features(spec.dataset, name, split, shard, count) for name in seen]
    files += [spec.paths.negatives(spec.dataset, "train")] if "negatives" in spec.recipe else []
    parts["files"] = [
        (Path(file).name, os.path.getsize(file), os.stat(file).st_mtime_ns) for file in files if os.path.exists(file)
    ]
    return provenance.digest_of(parts)


def describe_weights(spec: RunSpec) -> dict:
    """The header of a weights file: what is needed to build the network again."""
    return {
        "variant": spec.variant,
        "dataset": spec.dataset,
        "scale": spec.scale,
        "image_size": spec.image_size,
        "seed": spec.seed,
        "code": spec.code,
        "recipe": spec.recipe,
        "features": {name: setting.chosen for name, setting in spec.features.items()},
    }


def _outcome(spec: RunSpec, progress: Progress, data: StoredData, compute: Compute) -> dict:
    """What training adds to the record."""
    steps = spec.recipe["epochs"] * data.steps_per_epoch
    seconds = progress.seconds
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "selection": {"split": "val", "metric": spec.recipe["select"]},
        "best_epoch": progress.best["epoch"] + 1 if progress.best else None,
        "validation": progress.best["scores"] if progress.best else None,
        "history": progress.history,
        "world_size": data.division.world,
        "effective_batch": data.batch,
        "micro_batch": data.division.micro_batch,
        "accumulation": data.division.accumulation,
        "compute": vars(compute),
        "deviations": [*data.division.notes, *compute.deviations],
        "clips": {"train": len(data.chosen), "val": len(data.held_out)},
        "steps": steps,
        "seconds": {**{k: round(v, 2) for k, v in seconds.items()}, "per_step": round(seconds["train"] / steps, 5)},
        "peak_memory_mb": progress.memory,
        "resumes": progress.resumes,
    }


def full_run_estimate(variant: Variant, dataset: DatasetCard, seconds_per_clip: float) -> dict:
    """Steps and hours of the full training at the pace of a smoke run, without validation; first steps are slow."""
    recipe = variant.recipe("full", dataset.name)
    clips = round(dataset.splits["full"]["train"] * recipe.get("train_share", 1)) * (2 if "negatives" in recipe else 1)
    steps = recipe["epochs"] * -(-clips // recipe["batch"])
    hours = round(seconds_per_clip * clips * recipe["epochs"] / 3600, 2)
    log.info("the full training: %d steps, about %.1f hours at this pace, validation apart", steps, hours)
    return {"steps": steps, "hours_at_this_pace": hours}


def _write_outputs(spec: RunSpec, method: Method, trainer: Trainer, record: dict) -> None:
    run = (spec.dataset, spec.variant, spec.seed)
    weights, curves = spec.paths.run_weights(*run), spec.paths.curves(*run)
    # What stands there is of an earlier training, and must not describe other weights than those beside it.
    Path(spec.paths.run_json(*run)).unlink(missing_ok=True)
    copy_file(trainer.best_state_file(), weights)
    registry.check_weights(weights, trainer.keys)
    record |= top.write_members(spec, trainer)
    draw_curves(
        spec.paths.train_log(*run),
        curves,
        title=str(spec),
        select=spec.recipe["select"],
        best_epoch=record["best_epoch"],
    )
    _check_picture(curves)
    record["weights"] = {"sha256": provenance.file_digest(weights), "mb": round(os.path.getsize(weights) / 1e6, 3)}
    provenance.write_run(spec.paths.run_json(*run), record)
    metric = spec.recipe["select"]
    score = record["validation"].get(metric)
    log.info("%s: epoch %d kept%s", spec, record["best_epoch"], "" if score is None else f", {metric} {score:.4f}")


def _check_picture(path: str) -> None:
    from PIL import Image

    with Image.open(path) as image:
        image.load()
