"""Predict the test split under sounds that do not belong to its pictures: with the weights that a run has."""

import functools
from collections.abc import Sequence

import torch

from avsbench.conditions import OFFSCREEN
from avsbench.engine.predict import SPLIT, predict_run
from avsbench.errors import AvsbenchError
from avsbench.features import build
from avsbench.spec import RunSpec
from avsbench.store.negatives import HeardClips, Makers
from avsbench.store.offscreen import read_partners


def predict_conditions(spec: RunSpec, conditions: Sequence[str], ensemble: bool = False) -> None:
    """One prediction file a condition, as `predict_run` writes that of the true sound.

    Features that are made from the sound are made again, of the stored frames and the changed sound.

    Raises:
        AvsbenchError: as `predict_run`; or no clip of the split has a partner, which `offscreen` needs.
    """

    @functools.cache
    def makers(device: torch.device) -> Makers:
        """What makes them, ready to run; built once for all conditions."""
        sounding = {name: setting for name, setting in spec.features.items() if setting.card.front_ends}
        return {
            name: (each, build(each.card, each.options, each.weights, str(device), spec.scale, spec.dataset))
            for name, each in sounding.items()
        }

    for condition in conditions:
        outside = condition.startswith(OFFSCREEN)
        partners = read_partners(spec.paths.negatives(spec.dataset, SPLIT)) if outside else {}

        def hear(clips, device, condition=condition, partners=partners):
            heard = HeardClips(clips, condition, partners, makers(device))
            if not len(heard):
                raise AvsbenchError(
                    f"{spec.paths.negatives(spec.dataset, SPLIT)}: no clip has a sound from outside",
                    hint=f"leave {condition} out of `conditions`",
                )
            return heard

        predict_run(spec, condition, ensemble, hear)
