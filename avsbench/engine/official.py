"""Runs that are not trained here: the authors' checkpoint (seed `official`), methods without training (seed `none`)."""

import logging
import os
from datetime import UTC, datetime

import torch

from avsbench import cards, provenance, registry
from avsbench.devices import pick_device
from avsbench.engine.checkpoint import save_weights
from avsbench.engine.train import describe_weights
from avsbench.spec import RunSpec

log = logging.getLogger(__name__)


def official_run(spec: RunSpec) -> dict:
    """Convert the authors' checkpoint into a run's weights.safetensors and run.json; returns the record.

    Raises:
        AvsbenchError: no checkpoint in the card, the file is missing, or its tensors do not fit (listed).
    """
    variant, dataset = cards.variant(spec.variant), cards.dataset(spec.dataset)
    torch.set_num_threads(spec.threads)
    method = registry.build(variant, dataset, spec.scale, spec.image_size)
    file, state = registry.load_official(method, variant, dataset, spec.paths)
    run = (spec.dataset, spec.variant, spec.seed)
    weights = spec.paths.run_weights(*run)
    save_weights(weights, state, {**describe_weights(spec), "official": os.path.basename(file)})
    registry.check_weights(weights, set(state))
    record = provenance.describe_run(spec, method, pick_device("cpu"))
    record |= {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": None,
        "official": {
            "file": os.path.basename(file),
            "sha256": provenance.file_digest(file),
            "url": variant.method.official.get("url"),
            "note": variant.method.official.get("note"),
        },
        "weights": {"sha256": provenance.file_digest(weights), "mb": round(os.path.getsize(weights) / 1e6, 3)},
        "peak_memory_mb": provenance.memory_mb(torch.device("cpu")),
    }
    provenance.write_run(spec.paths.run_json(*run), record)
    log.info("%s: %s converted, %d tensors", spec, file, len(state))
    return record


def describe_run(spec: RunSpec) -> dict:
    """Write run.json of a method that needs no training; returns the record."""
    method = registry.build(spec.variant, spec.dataset, spec.scale, spec.image_size)
    record = provenance.describe_run(spec, method, pick_device(spec.device))
    record |= {"finished": datetime.now(UTC).isoformat(timespec="seconds"), "recipe": None}
    provenance.write_run(spec.paths.run_json(spec.dataset, spec.variant, spec.seed), record)
    return record
