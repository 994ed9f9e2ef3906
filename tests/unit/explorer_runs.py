"""Scored runs with stored predictions on a made-up test split, for the tests of the clip explorer."""

from pathlib import Path

import numpy as np

from avsbench.cards import DatasetCard
from avsbench.evaluation.predictions import PredictionInfo, PredictionWriter
from avsbench.evaluation.score import score_predictions, stored_truth
from avsbench.paths import EXTERNAL, Paths, Scored
from avsbench.plan import Run
from tests.unit import external_fakes
from tests.unit.report_runs import make_run, write

VARIANTS = {"binary": "tpavi-r50", "semantic": "cavp-r50"}


def build(root: Path, name: str) -> tuple[Paths, DatasetCard]:
    """The store of a data set with four test clips."""
    return external_fakes.build(root, name)


def add_run(
    paths: Paths, card: DatasetCard, seed: str = "0", *, right: float = 0.8, ensemble: bool = False, source: str = ""
) -> str:
    """A run whose pixels are right with this probability, less in later clips; its folder.

    Args:
        ensemble: add that of the run instead.
        source: name of a submission of hard masks instead.
    """
    variant, seed = (EXTERNAL, source) if source else (VARIANTS[card.task], seed)
    run = Run(card.name, variant, seed, members=3 if ensemble else 1)
    folder = Path(paths.run(*(card.name, variant, seed))) / ("ensemble" if ensemble else "")
    if source:
        record = {"variant": variant, "dataset": card.name, "scale": "mini", "seed": seed, "code": "", "init": ""}
        write(
            f"{folder}/run.json",
            record | {"method": EXTERNAL, "init": "", "code": "", "versions": {}, "parameters": {}},
        )
    elif not ensemble:
        make_run(paths, run)
    files = Scored(str(folder))
    info = {"dataset": card.name, "variant": variant, "seed": seed, "task": card.task, "classes": card.num_classes}
    info = PredictionInfo(**info, condition="positive", hard=bool(source), members=run.members)
    predict(files.predictions, paths, card, info, right)
    truth = stored_truth(paths, card)
    score_predictions(files.predictions, truth, files.frames, files.scores, padded_to=card.frames)
    return files.folder


def add_negative(paths: Paths, card: DatasetCard, condition: str, *, without: int = 0, seed: str = "0") -> None:
    """What a run says under another sound: a mark in the corner; not of the first `without` clips."""
    variant = VARIANTS[card.task]
    info = PredictionInfo(card.name, variant, seed, condition, card.task, card.num_classes)
    with PredictionWriter(paths.predictions(card.name, variant, seed, condition), info) as writer:
        for clip in list(stored_truth(paths, card))[without:]:
            mask = np.zeros(clip.masks.shape, bool)
            mask[:, :4, :4] = True
            writer.add_binary("common", clip.clip_id, probability=mask * 0.8, mask=mask)


def predict(file: str, paths: Paths, card: DatasetCard, info: PredictionInfo, right: float) -> None:
    rng = np.random.default_rng(int(100 * right))
    with PredictionWriter(file, info) as writer:
        for number, clip in enumerate(stored_truth(paths, card)):
            wrong = rng.random(clip.masks.shape) > right - 0.1 * number
            if card.task == "semantic":
                writer.add_semantic("common", clip.clip_id, np.where(wrong, (clip.masks + 1) % 5, clip.masks))
                continue
            mask = (clip.masks == 1) ^ wrong
            if info.hard:
                writer.add_hard("common", clip.clip_id, mask)
            else:
                writer.add_binary("common", clip.clip_id, probability=mask * 0.6 + 0.2, mask=mask)
