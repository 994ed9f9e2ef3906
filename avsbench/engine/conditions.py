"""Predict the test split under sounds that do not belong to its pictures: with the weights that a run has."""

from collections.abc import Sequence

from avsbench.conditions import OFFSCREEN
from avsbench.engine.predict import SPLIT, predict_run
from avsbench.errors import AvsbenchError
from avsbench.spec import RunSpec
from avsbench.store.negatives import HeardClips
from avsbench.store.offscreen import read_partners


def predict_conditions(spec: RunSpec, conditions: Sequence[str]) -> None:
    """One prediction file a condition, as `predict_run` writes that of the true sound.

    Raises:
        AvsbenchError: as `predict_run`; or no clip of the split has a partner, which `offscreen` needs.
    """
    for condition in conditions:
        outside = condition.startswith(OFFSCREEN)
        partners = read_partners(spec.paths.negatives(spec.dataset, SPLIT)) if outside else {}

        def hear(clips, condition=condition, partners=partners):
            heard = HeardClips(clips, condition, partners)
            if not len(heard):
                raise AvsbenchError(
                    f"{spec.paths.negatives(spec.dataset, SPLIT)}: no clip has a sound from outside",
                    hint=f"leave {condition} out of `conditions`",
                )
            return heard

        predict_run(spec, condition, hear=hear)
