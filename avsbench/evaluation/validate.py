"""Scores of a validation epoch under every protocol of the data set, for the log and to choose the epoch by.

They are those of the score table (evaluation.score), by the same names; `metrics.metric` says each one's protocol. Left
out is what needs the order of the csv: of protocol B all values with several clips per call.
"""

import numpy as np
from torch import Tensor

from avsbench.cards import DatasetCard
from avsbench.contract import Batch
from avsbench.metrics.binary import BinaryIoU, binary_counts
from avsbench.metrics.dataset_level import DatasetScores
from avsbench.metrics.fscore import ThresholdF, level_histograms, levels
from avsbench.metrics.pairs import frame_areas
from avsbench.metrics.semantic import ClassScores
from avsbench.nn.probability import foreground_probability


class Validator:
    """Accumulates one validation epoch; the result does not depend on size or order of batches, or number of processes.

    Frames without ground truth and padded frames do not count; protocol C adds its padding in closed form.

    Args:
        card: the data set; says task, classes and frames per clip. S4 and MS3 have protocols A, B and D, AVSS C and D
            (and D over frames of several sources), VPO D.
    """

    def __init__(self, card: DatasetCard):
        self.card = card
        if card.task == "binary":
            self.parts = {"A": BinaryIoU(), "B": ThresholdF(), "D": DatasetScores(2)}
        else:
            self.parts = {} if card.family == "vpo" else {"C": ClassScores(card.num_classes)}
            self.parts["D"] = DatasetScores(card.num_classes)

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
        if self.card.task == "binary":
            counts = binary_counts(prediction, label)
            self.parts["A"].update(counts)
            clip = np.array(batch.clip_ids)[scored.nonzero()[:, 0].cpu().numpy()]
            level = levels(foreground_probability(scores[scored]))
            self.parts["B"].update(clip, *level_histograms(level, label))
            self.parts["D"].update_binary(counts)
            return
        areas = frame_areas(prediction, label, self.card.num_classes)
        for part in self.parts.values():
            part.update(areas)
        if "C" in self.parts:
            self.parts["C"].add_padded(int((self.card.frames - batch.real.sum(dim=1)).clamp(min=0).sum()))

    def merge(self, other: "Validator") -> "Validator":
        """Add what another process has validated."""
        for protocol, part in self.parts.items():
            part.merge(other.parts[protocol])
        return self

    def compute(self) -> dict[str, float]:
        """Metric -> value, protocol by protocol; NaN where undefined."""
        values: dict[str, float] = {}
        for protocol, part in self.parts.items():
            values |= part.compute([1]) if protocol == "B" else part.compute()
        if "C" in self.parts:
            values |= self.parts["D"].compute(ms=True)
        return values
