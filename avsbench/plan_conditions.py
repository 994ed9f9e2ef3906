"""The part of a plan that says which runs are predicted again under sounds that do not belong to their pictures."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from avsbench import cards, digest
from avsbench.conditions import CONDITIONS, OFFSCREEN, REFERENCE, REPLACED
from avsbench.errors import AvsbenchError
from avsbench.features.settings import Setting
from avsbench.media import front_ends
from avsbench.paths import Paths

HEARD = ("s4", "ms3")
"""Data sets for which it is defined what lies outside the picture."""
OBJECTS = "metadata.csv"
"""AVSS's table, which alone says what sounds in the clips of MS3; it may lie in the folder of MS3."""


@dataclass(frozen=True)
class ConditionRule:
    """A rule that predicts runs under conditions, and one that scores them.

    Attributes:
        name: data set and end of the conditions; of the logs.
        dataset: of the runs.
        conditions: that a job covers.
        ensemble: of runs that keep several epochs: a job covers the best one, and the ensemble after it.
        variant: pattern of the wildcard, and what follows it; of two rules for one file, Snakemake would take neither.
    """

    name: str
    dataset: str
    conditions: list[str]
    ensemble: bool
    variant: str

    @property
    def outputs(self) -> list[tuple[str, bool]]:
        """(condition, whether of the ensemble) of what a job predicts."""
        return [(name, of) for of in ((False, True) if self.ensemble else (False,)) for name in self.conditions]


class Conditions:
    """Negatives of the runs that a configuration asks for."""

    config: dict
    paths: Paths
    study: object
    variants: dict
    rows: list

    @functools.cached_property
    def asked_conditions(self) -> list[str]:
        """What the configuration asks for; a study has no page for it."""
        return [] if self.study else list(self.config.get("conditions", CONDITIONS))

    @functools.cached_property
    def condition_rules(self) -> list[ConditionRule]:
        """Matched and reference features apart, because not every variant can hear the latter, and runs with and
        without an ensemble: a rule's outputs are the same for all of its jobs."""
        rules = []
        for dataset in (name for name in HEARD if name in self.config.get("runs", {})):
            named = [c for c in self.asked_conditions if self._why_no_such(dataset, c) is None]
            reference = [condition for condition in named if condition.endswith(REFERENCE)]
            matched = [condition for condition in named if condition not in reference]
            voting = {run.variant for run in self.rows if run.dataset == dataset and run.ensemble}
            ensembles = rf"(?:{'|'.join(map(re.escape, sorted(voting)))})(?=/\d+/)"
            others = "|".join(map(re.escape, self.variants))
            patterns = {False: rf"(?!{ensembles})(?:{others})", True: ensembles} if voting else {False: others}
            rules += [
                ConditionRule(f"{dataset}{end}", dataset, asked, *pattern)
                for end, asked in (("", matched), (REFERENCE, reference))
                for pattern in patterns.items()
                if asked
            ]
        return rules

    def conditions(self, run) -> dict[str, str | None]:
        """Condition -> why the run is not heard under it, None where it is; of all that the configuration asks for."""
        if run.dataset not in HEARD:
            return {}
        if run.external:
            return dict.fromkeys(self.asked_conditions, "others predicted it, under the sound of the clips alone")
        return {
            condition: self._why_no_such(run.dataset, condition) or self._why_not(run, condition)
            for condition in self.asked_conditions
        }

    @property
    def condition_scores(self) -> list[str]:
        """Scores under negatives of every run and ensemble, in the order of the configuration."""
        return [
            self.paths.scores(run.dataset, run.variant, run.seed, condition, run.ensemble)
            for run in self.rows
            for condition, reason in self.conditions(run).items()
            if reason is None
        ]

    def negatives(self, dataset: str, variant: str) -> list[str]:
        """The list of partners that a training needs whose recipe mixes negatives in."""
        return [self.paths.negatives(dataset, "train")] if self._mixes(dataset, variant) else []

    def train_code(self, dataset: str, variant: str) -> str:
        """Digest of the stage: of the method, and of what makes negatives where the recipe mixes them in."""
        parts = (digest.NEGATIVES,) if self._mixes(dataset, variant) else ()
        return digest.stage("train", cards.variant(variant).method.name, parts=parts)

    def why_not_mixed(self, dataset: str, variant: str) -> str | None:
        """Why a training cannot mix in the negatives that its recipe asks for; None where it can, or asks for none."""
        if not self._mixes(dataset, variant):
            return None
        if dataset not in HEARD:
            return f"its recipe mixes negatives in, which are defined for {' and '.join(HEARD)}"
        reason = self._why_no_such(dataset, OFFSCREEN)
        return reason and f"its recipe mixes negatives in, and {reason}"

    def _mixes(self, dataset: str, variant: str) -> bool:
        try:
            return "negatives" in self.recipe(dataset, variant)
        except AvsbenchError:  # no recipe at this scale, so that nothing is trained
            return False

    def sounding(self, variant: str) -> dict[str, Setting]:
        """The features of a variant that are made from sound, and so again under another one."""
        return {name: setting for name, setting in self.features(variant).items() if setting.card.front_ends}

    def makers(self, variant: str) -> list[str]:
        """The weights of what makes these."""
        return [file for setting in self.sounding(variant).values() for file in setting.files]

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

    def conditions_minutes(self, rule: ConditionRule, variant: str) -> int:
        """What a job may take: of each condition and network as `predict` of one."""
        return 120 * len(rule.conditions) * ((1 + self.keep_best(rule.dataset, variant)) if rule.ensemble else 1)

    def conditions_code(self, dataset: str, variant: str) -> str:
        """Digest of the stage: of the method, and of the front ends and features that it computes."""
        ends = map(front_ends.module_of, [*self._heard(dataset, variant), "robust_mel"])
        makers = (setting.card.module for setting in self.sounding(variant).values())
        return digest.stage("conditions", cards.variant(variant).method.name, tuple(dict.fromkeys([*ends, *makers])))

    def _heard(self, dataset: str, variant: str) -> list[str]:
        """The front ends of a variant, and those that its features are made of."""
        made = (end for setting in self.sounding(variant).values() for end in setting.card.front_ends)
        return list(dict.fromkeys([*cards.variant(variant).front_ends_on(dataset), *made]))

    def _why_no_such(self, dataset: str, condition: str) -> str | None:
        """Why nothing of a data set is heard under a condition."""
        outside = condition.removesuffix(REFERENCE) == OFFSCREEN
        avss = "avss" in self.config.get("runs", {}) or "avss" in self.config.get("roots", {})
        if outside and dataset == "ms3" and not self._objects_beside and not avss:
            return f"what sounds in MS3 stands in AVSS's {OBJECTS}: put it into the folder of MS3, or name roots.avss"
        return None

    def _why_not(self, run, condition: str) -> str | None:
        """Why a run is not heard under a condition that its data set has."""
        heard = self._heard(run.dataset, run.variant)
        if self.arrays(run.dataset, run.variant):
            return "it hears imported arrays, and whoever computed these has not computed negatives"
        if condition.endswith(REFERENCE) and not set(heard) <= REPLACED:
            return f"the authors' features stand for VGGish's log-mel alone, and it hears {', '.join(heard)}"
        return None

    @functools.cached_property
    def _objects_beside(self) -> bool:
        """True if the folder of MS3 holds AVSS's table; the embedded one does."""
        places = [self.paths.official("ms3"), self.config.get("roots", {}).get("ms3", "")]
        return self.paths.scale == "mini" or any((Path(place) / OBJECTS).is_file() for place in places if place)
