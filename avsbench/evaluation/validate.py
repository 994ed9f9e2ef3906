"""Scores of a validation epoch, for the engine to choose the epoch by."""

import numpy as np
from torch import Tensor

from avsbench.cards import DatasetCard
from avsbench.contract import Batch
from avsbench.evaluation.predictions import foreground_probability
from avsbench.metrics.binary import BinaryIoU, binary_counts
from avsbench.metrics.dataset_level import DatasetScores
from avsbench.metrics.fscore import ThresholdF, level_histograms, levels
from avsbench.metrics.pairs import frame_areas
from avsbench.metrics.semantic import ClassScores


class Validator:
    """Accumulates one validation epoch; the result does not depend on batch size order of batches or number of workers.

    Frames without ground truth and padded frames do not count; protocol C adds its padding in closed form.

    Args:
        card: the data set; says task, classes and frames per clip.
    """

    def __init__(self, card: DatasetCard):
        self.card = card
        self.binary = card.task == "binary"
        if self.binary:
            self.parts = [BinaryIoU(), ThresholdF(), DatasetScores(2)]
        else:
            self.parts = [ClassScores(card.num_classes), DatasetScores(card.num_classes)]

    @property
    def metrics(self) -> list[str]:
        """Names that `compute` gives: what a recipe may select by."""
        return list(Validator(self.card).compute())

    def update(self, scores: Tensor, masks: Tensor, batch: Batch) -> None:
        """Take in one batch.

        Args:
            scores: logits [B,T,K,h,w].
            masks: the method's hard decision: bool (binary) or class ids [B,T,h,w].
            batch: with masks and annotated.
        """
        scored = batch.real & batch.annotated
        prediction, label = masks[scored].cpu().numpy(), batch.masks[scored].cpu().numpy()
        if self.binary:
            iou, curves, dataset = self.parts
            counts = binary_counts(prediction, label)
            iou.update(counts)
            dataset.update_binary(counts)
            clip = np.array(batch.clip_ids)[scored.nonzero()[:, 0].cpu().numpy()]
            curves.update(clip, *level_histograms(levels(foreground_probability(scores[scored])), label))
        else:
            per_class, dataset = self.parts
            areas = frame_areas(prediction, label, self.card.num_classes)
            per_class.update(areas)
            dataset.update(areas)
            per_class.add_padded(int((self.card.frames - batch.real.sum(dim=1)).clamp(min=0).sum()))

    def merge(self, other: "Validator") -> "Validator":
        """Add what another process has validated."""
        for mine, theirs in zip(self.parts, other.parts, strict=True):
            mine.merge(theirs)
        return self

    def compute(self) -> dict[str, float]:
        """Every value of protocols A and D (and B with one clip per call), or of C and D; NaN where undefined."""
        if self.binary:
            iou, curves, dataset = self.parts
            b = curves.compute([1])  # the other values of B need the order of the csv
            return iou.compute() | {name: b[name] for name in ("fscore_b1", "fscore_valid")} | dataset.compute()
        per_class, dataset = self.parts
        return per_class.compute() | dataset.compute()
