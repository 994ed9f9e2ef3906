"""The part of a plan that says which runs are predicted again under sounds that do not belong to their pictures."""

import functools
from pathlib import Path

from avsbench import cards, digest
from avsbench.conditions import CONDITIONS, OFFSCREEN, REFERENCE
from avsbench.media import front_ends
from avsbench.paths import Paths

HEARD = ("s4", "ms3")
"""Data sets for which it is defined what lies outside the picture."""
REPLACED = frozenset({"vggish_mel", "combo_mel"})
"""Front ends that the authors' features for negatives have the shape of."""
OBJECTS = "metadata.csv"
"""AVSS's table, which alone says what sounds in the clips of MS3; it may lie in the folder of MS3."""


class Conditions:
    """Negatives of the runs that a configuration asks for."""

    config: dict
    paths: Paths
    study: object
    runs: list

    @functools.cached_property
    def asked_conditions(self) -> list[str]:
        """What the configuration asks for; a study has no page for it."""
        return [] if self.study else list(self.config.get("conditions", CONDITIONS))

    @functools.cached_property
    def condition_rules(self) -> list[tuple[str, str, list[str]]]:
        """(end of the name, data set, conditions) of each pair of rules: matched and reference features apart, because
        not every variant can hear the latter, and a rule's outputs are the same for all of its jobs."""
        rules = []
        for dataset in (name for name in HEARD if name in self.config.get("runs", {})):
            named = [c for c in self.asked_conditions if self._why_no_such(dataset, c) is None]
            reference = [condition for condition in named if condition.endswith(REFERENCE)]
            matched = [condition for condition in named if condition not in reference]
            rules += [(f"{dataset}{end}", dataset, c) for end, c in (("", matched), (REFERENCE, reference)) if c]
        return rules

    def conditions(self, run) -> dict[str, str | None]:
        """Condition -> why the run is not heard under it, None where it is; of all that the configuration asks for.

        Ensembles are not, nor what others predicted.
        """
        if run.dataset not in HEARD or run.ensemble or run.external:
            return {}
        return {
            condition: self._why_no_such(run.dataset, condition) or self._why_not(run, condition)
            for condition in self.asked_conditions
        }

    @property
    def condition_scores(self) -> list[str]:
        """Scores under negatives of every run, in the order of the configuration."""
        return [
            self.paths.scores(run.dataset, run.variant, run.seed, condition)
            for run in self.runs
            for condition, reason in self.conditions(run).items()
            if reason is None
        ]

    def negatives(self, dataset: str, variant: str) -> list[str]:
        """The list of partners that a training needs whose recipe mixes negatives in."""
        mixes = "negatives" in self.recipe(dataset, variant)
        return [self.paths.negatives(dataset, "train")] if mixes else []

    def partners(self, dataset: str, conditions: list[str]) -> list[str]:
        """The list of partners that predicting under such conditions needs: under `offscreen` alone."""
        needed = any(condition.removesuffix(REFERENCE) == OFFSCREEN for condition in conditions)
        return [self.paths.negatives(dataset, "test")] if needed else []

    def negatives_inputs(self, dataset: str, split: str) -> list[str]:
        """What partners are drawn from: the index; for MS3 also what says which objects sound."""
        files = [self.paths.index(dataset, split)]
        if dataset == "ms3":
            files.append(self.paths.acquired("ms3" if self._objects_beside else "avss"))
        return files

    def conditions_code(self, dataset: str, variant: str) -> str:
        """Digest of the stage: of the method, and of the front ends that it computes."""
        found = cards.variant(variant)
        ends = map(front_ends.module_of, [*found.front_ends_on(dataset), "robust_mel"])
        return digest.stage("conditions", found.method.name, parts=tuple(dict.fromkeys(ends)))

    def _why_no_such(self, dataset: str, condition: str) -> str | None:
        """Why nothing of a data set is heard under a condition."""
        outside = condition.removesuffix(REFERENCE) == OFFSCREEN
        avss = "avss" in self.config.get("runs", {}) or "avss" in self.config.get("roots", {})
        if outside and dataset == "ms3" and not self._objects_beside and not avss:
            return f"what sounds in MS3 stands in AVSS's {OBJECTS}: put it into the folder of MS3, or name roots.avss"
        return None

    def _why_not(self, run, condition: str) -> str | None:
        """Why a run is not heard under a condition that its data set has."""
        variant = cards.variant(run.variant)
        heard = variant.front_ends_on(run.dataset)
        if self.arrays(run.dataset, run.variant):
            return "it hears imported arrays, and whoever computed these has not computed negatives"
        sounding = [name for name, setting in self.features(run.variant).items() if setting.card.front_ends]
        if sounding:
            return f"it sees {', '.join(sounding)}, made from the sound, and no feature is made again under another one"
        if condition.endswith(REFERENCE) and not set(heard) <= REPLACED:
            return f"the authors' features stand for VGGish's log-mel alone, and it hears {', '.join(heard)}"
        return None

    @functools.cached_property
    def _objects_beside(self) -> bool:
        """True if the folder of MS3 holds AVSS's table; the embedded one does."""
        places = [self.paths.official("ms3"), self.config.get("roots", {}).get("ms3", "")]
        return self.paths.scale == "mini" or any((Path(place) / OBJECTS).is_file() for place in places if place)
