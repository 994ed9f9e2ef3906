"""Predict the test split with one run's weights, or with its best epochs together: between training and scoring."""

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.data import Dataset

from avsbench import cards, provenance, registry
from avsbench.contract import Method
from avsbench.devices import lease_for
from avsbench.engine.compute import exact
from avsbench.engine.data import own_sizes, stored_features
from avsbench.engine.seeds import seed_everything
from avsbench.errors import AvsbenchError
from avsbench.evaluation.ensemble import Ensemble, member_files
from avsbench.evaluation.predict import Timing, predict_clips
from avsbench.evaluation.predictions import PredictionInfo, PredictionReader, PredictionWriter
from avsbench.plan import UNTRAINED
from avsbench.spec import RunSpec
from avsbench.store.loader import ClipDataset, make_loader

log = logging.getLogger(__name__)

SPLIT = "test"


Hear = Callable[[ClipDataset, torch.device], Dataset]
"""Clips -> the same under another sound, as `avsbench.store.negatives` makes them; features on that device."""


def predict_run(spec: RunSpec, condition: str = "positive", ensemble: bool = False, hear: Hear | None = None) -> Timing:
    """Store the predictions of a run on the test split, on every grid that the card asks for.

    Args:
        condition: what the method hears.
        hear: puts that sound under the clips; None: they keep their own.
        ensemble: predict with the best epochs that the run kept together (see `Ensemble`), not with the best one alone.

    Raises:
        AvsbenchError: weights or run.json are missing or belong to another run, the run kept no members, or scores are
            not finite.
    """
    variant, dataset = cards.variant(spec.variant), cards.dataset(spec.dataset)
    run = (spec.dataset, spec.variant, spec.seed)
    record = provenance.read_run(spec.paths.run_json(*run))
    if record.get("image_size") != spec.image_size:
        raise AvsbenchError(
            f"{spec.paths.run_json(*run)}: the run has another image size",
            found=record.get("image_size"),
            expected=spec.image_size,
            hint="train again at this size, or set image_size in the configuration",
        )
    with lease_for(spec, variant, most=1) as devices:
        return _predict(spec, variant, dataset, condition, devices[0], ensemble, hear)


def _predict(
    spec: RunSpec,
    variant: cards.Variant,
    dataset: cards.DatasetCard,
    condition: str,
    device: torch.device,
    ensemble: bool,
    hear: Hear | None,
) -> Timing:
    run = (spec.dataset, spec.variant, spec.seed)
    torch.set_num_threads(spec.threads)
    exact()
    # Methods that sample when they predict give the same masks each time.
    seed_everything(spec.seed, "predict", condition)
    members = member_files(spec.paths, *run) if ensemble else []
    method = _load(spec, members)
    clips = ClipDataset(
        spec.paths,
        dataset,
        SPLIT,
        front_ends=variant.front_ends_on(dataset.name),
        features=stored_features(spec, variant),
        arrays=spec.arrays,
        masks=False,
        native=variant.native,
        image_size=spec.image_size,
    )
    if hear is not None:
        clips = hear(clips, device)
    independent = variant.method.batch_independent and not own_sizes(variant, dataset)
    loader = make_loader(clips, batch=spec.recipe.get("batch", 1) if independent else 1)
    info = PredictionInfo(
        dataset=spec.dataset,
        variant=spec.variant,
        seed=str(spec.seed),
        condition=condition,
        task=dataset.task,
        classes=dataset.num_classes,
        hard=variant.method.hard and dataset.task == "binary",
        members=max(1, len(members)),
    )
    grids = variant.grids_on(dataset)
    path = spec.paths.predictions(*run, condition, ensemble)
    with PredictionWriter(path, info) as writer:
        timing = predict_clips(
            method,
            loader,
            writer,
            device=device,
            grids=grids,
            common_size=None if dataset.native else (spec.image_size, spec.image_size),
            native_sizes={name: clips.original_size(name) for name in clips.clip_ids} if "native" in grids else None,
            batch_independent=independent,
            total=len(loader),
        )
    with PredictionReader(path) as reader:
        if reader.clips != clips.clip_ids:
            raise AvsbenchError(
                f"{path}: predictions do not cover the split",
                found=f"{len(reader.clips)} clips",
                expected=f"{len(clips)} clips",
            )
    return timing


def _load(spec: RunSpec, members: list[Path]) -> Method:
    """The network with the run's weights, or an ensemble of `members`."""

    def network(weights):
        return registry.load_method(
            spec.variant, spec.dataset, scale=spec.scale, image_size=spec.image_size, paths=spec.paths, weights=weights
        )

    if members:
        return Ensemble([network(file) for file in members], cards.variant(spec.variant).method.vote)
    untrained = spec.seed == UNTRAINED
    return network(None if untrained else spec.paths.run_weights(spec.dataset, spec.variant, spec.seed))
