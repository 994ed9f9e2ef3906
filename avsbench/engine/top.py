"""The weights of the best epochs of a training, in `weights_top/`: what a recipe with `keep_best: k` leaves behind."""

import logging
import shutil
from pathlib import Path

from avsbench import provenance, registry
from avsbench.atomic import atomic_folder
from avsbench.engine.checkpoint import copy_file
from avsbench.engine.loop import LAST, Trainer
from avsbench.errors import AvsbenchError
from avsbench.spec import RunSpec

log = logging.getLogger(__name__)


def check_recipe(recipe: dict, where: object) -> None:
    """Several epochs are ranked by a score of the validation split; `select: last` has none."""
    if recipe.get("keep_best", 1) > 1 and recipe["select"] == LAST:
        raise AvsbenchError(
            f"{where}: keep_best ranks epochs by a validation metric",
            found=f"keep_best: {recipe['keep_best']}, select: {LAST}",
            expected="select: one of the validation metrics, e.g. miou",
            hint="name a metric, or leave keep_best out",
        )


def write_members(spec: RunSpec, trainer: Trainer) -> dict:
    """Write `weights_top/` and return what the record says of it: `members`, best first, each with its file, epoch
    (from 1), validation score and sha256. Without `keep_best: 2` or more nothing is written, and {} is returned.

    There are fewer members than `keep_best` where fewer epochs had a finite score; the record tells.
    """
    folder = Path(spec.paths.weights_top(spec.dataset, spec.variant, spec.seed))
    wanted = spec.recipe.get("keep_best", 1)
    if wanted == 1:
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier recipe: it does not belong to these weights
        return {}
    members = [
        {"file": spec.paths.member(rank, row["epoch"] + 1), "epoch": row["epoch"] + 1, "score": row["score"]}
        for rank, row in enumerate(trainer.progress.top, 1)
    ]
    with atomic_folder(folder) as temporary:
        for source, member in zip(trainer.top_state_files(), members, strict=True):
            copy_file(source, temporary / member["file"])
    for member in members:
        registry.check_weights(folder / member["file"], trainer.keys)
        member["sha256"] = provenance.file_digest(folder / member["file"])
    if len(members) < wanted:
        log.warning("%s: %d epochs have a finite score, keep_best asks for %d", spec, len(members), wanted)
    return {"members": members}
