"""From configuration and cards to lists of targets, and to the settings that each stage depends on.

Nothing here imports torch or librosa; a plan over 12,000 clips and 20 variants costs well under a second.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import yaml

from avsbench import cards, studies
from avsbench.errors import AvsbenchError
from avsbench.features import MASKIGE
from avsbench.paths import EXTERNAL, Paths
from avsbench.plan_conditions import Conditions
from avsbench.plan_features import Features
from avsbench.plan_front_ends import FrontEnds
from avsbench.plan_sources import Sources, compact

SPLITS = ("train", "val", "test")
UNTRAINED = "none"
"""The seed of a variant that needs no training: one run, whatever seeds the configuration asks for."""


@dataclass(frozen=True, order=True)
class Run:
    """Data set × variant × seed: one checkpoint, one prediction store, one score table.

    With `members` above 1: the ensemble of that many epochs of the same training. It has no checkpoint of its own, but
    a prediction store and a score table. `features` are those that it sees, by their names in the store: runs that saw
    masks of another generator, or of other options, are other runs. `chosen` are generators that stand in the place of
    the scale's own, of features that these usually make.
    """

    dataset: str
    variant: str
    seed: str
    members: int = 1
    features: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()

    @property
    def ensemble(self) -> bool:
        return self.members > 1

    @property
    def external(self) -> bool:
        """Predictions that others made; `seed` is their name."""
        return self.variant == EXTERNAL

    @property
    def generator(self) -> str:
        """What made the maskiges that it sees, and whatever the scale does not choose; empty if there is neither."""
        names = [stored.split("-") for stored in self.features]
        return "+".join([*(name[1] for name in names if name[0] == MASKIGE), *self.chosen])

    @property
    def label(self) -> str:
        """The variant, with the generator of its masks: numbers with features of two generators do not compare."""
        if self.external:
            return f"{self.seed} ({EXTERNAL})"
        return f"{self.variant}+{self.generator}" if self.generator else self.variant

    def __str__(self) -> str:
        who = f"{self.label} (top-{self.members} ensemble)" if self.ensemble else self.label
        return f"{who} on {self.dataset}" + ("" if self.external else f", seed {self.seed}")


@dataclass(frozen=True)
class Skip:
    """A run that the configuration asks for and the cards rule out; shown on the leaderboard with its reason."""

    run: Run
    reason: str


class Plan(Sources, FrontEnds, Features, Conditions):
    """Everything the workflow asks about a checked configuration."""

    def __init__(self, config: dict):
        self.config = config
        self.scale: str = config["scale"]
        roots = {key: config[key] for key in ("data_root", "results_root", "weights_root") if key in config}
        self.paths = Paths(self.scale, **roots)
        self.study = studies.study(config["study"]) if "study" in config else None
        self._recipes: dict[tuple[str, str], dict] = {}

    @cached_property
    def image_size(self) -> int:
        """Side of the stored frames and of the `common` grid, in pixels."""
        scale = yaml.safe_load((cards.PROJECT / "config" / "scales" / f"{self.scale}.yaml").read_text())
        return self.config.get("image_size", scale["image_size"])

    # runs

    @cached_property
    def _requested(self) -> tuple[list[Run], list[Skip]]:
        runs, skips = [], []
        pairs = [(dataset, name) for dataset, names in self.config["runs"].items() for name in names]
        if self.study:
            pairs = dict.fromkeys((line.dataset, line.variant) for line in self.lines)
        for dataset, name in pairs:
            variant = cards.variant(name)
            for seed in map(str, self.seeds if variant.method.trainable else [UNTRAINED]):
                run = self.run(dataset, name, seed)
                reason = _why_not(variant, dataset, seed)
                if not reason and seed.isdigit():
                    reason = self.why_not_mixed(dataset, name)
                if reason:
                    skips.append(Skip(run, reason))
                else:
                    runs.append(run)
        return runs, skips

    def run(self, dataset: str, variant: str, seed: str) -> Run:
        """A run with the features that the configuration gives it."""
        seen = self.features(variant)
        return Run(dataset, variant, seed, features=tuple(s.stored for s in seen.values()), chosen=self.chosen(variant))

    @property
    def seeds(self) -> list:
        """Those of the configuration, unless a study has its own."""
        return (self.study and self.study.seeds) or self.config["seeds"]

    @cached_property
    def lines(self) -> list[studies.Line]:
        """The rows of the study; one that says what holds anyway is the plain run."""

        def same(dataset: str, variant: str, base: str) -> bool:
            return all(of(dataset, variant) == of(dataset, base) for of in (self.run_settings, self.recipe_json))

        return studies.lines(self.study, same) if self.study else []

    @cached_property
    def variants(self) -> dict[str, cards.Variant]:
        """All that the cards know, so a rule exists before a configuration asks for it, and the rows of the study."""
        return cards.variants() | studies.variants(self.study)

    @property
    def runs(self) -> list[Run]:
        return self._requested[0]

    @property
    def skips(self) -> list[Skip]:
        return self._requested[1]

    @cached_property
    def rows(self) -> list[Run]:
        """What is predicted and scored: every run, and after one that keeps several epochs the ensemble of these."""
        found = []
        for run in self.runs:
            members = self.keep_best(run.dataset, run.variant) if run.seed.isdigit() else 1
            found += [run, replace(run, members=members)] if members > 1 else [run]
        return found

    @cached_property
    def submissions(self) -> list[Run]:
        """What others submitted at this scale; the page of a study shows none."""
        names = [] if self.study else cards.dataset_cards()
        return [Run(dataset, EXTERNAL, name) for dataset in names for name in self.paths.submissions(dataset)]

    @property
    def summary(self) -> str:
        """What is asked for, in half a sentence."""
        count = f"{len(self.runs)} run{'' if len(self.runs) == 1 else 's'}"
        study = f"study {self.study.name}, " if self.study else ""
        return f"{study}scale {self.scale}, {count} on {', '.join(self.datasets) or 'no data set'}"

    @property
    def pages(self) -> dict[str, str]:
        """Forms of the page -> extension; that of a study is Markdown alone."""
        return {"markdown": "md"} if self.study else {"markdown": "md", "html": "html"}

    def page(self, extension: str, partial: bool = False) -> str:
        """What is asked for: the leaderboard, or the page of the study."""
        if self.study:
            return self.paths.study(self.study.name, extension, partial)
        return self.paths.leaderboard(extension, partial)

    @property
    def figures(self) -> list[tuple[str, str]]:
        """(kind, data set) of what is drawn of the leaderboard; the last has no data set, a study has no figure."""
        if self.study:
            return []
        # Nobody knows the cost of what others predicted.
        drawn = [(kind, dataset) for dataset in self.datasets for kind in ("ranking", "protocols", "cost")]
        others = dict.fromkeys(run.dataset for run in self.submissions if run.dataset not in self.datasets)
        drawn += [(kind, dataset) for dataset in others for kind in ("ranking", "protocols")]
        return drawn + ([("robustness", "")] if self.condition_scores else [])

    @cached_property
    def datasets(self) -> list[str]:
        """Data sets that some run needs, in the order of the configuration."""
        return list(dict.fromkeys(run.dataset for run in self.runs))

    @cached_property
    def trained_variants(self) -> list[str]:
        """Variants with a train rule."""
        return [name for name, variant in self.variants.items() if variant.method.trainable]

    @cached_property
    def train_rules(self) -> list[tuple[str, str, list[str], bool]]:
        """(name, variant, data sets, whether several epochs are kept) of each train rule.

        One a variant; a second where it keeps several epochs on some of its data sets alone, because a rule declares
        the same outputs for all of its jobs.
        """
        rules = []
        for name in self.trained_variants:
            variant = cards.variant(name)
            keeps = [dataset for dataset in variant.datasets if self.keep_best(dataset, name) > 1]
            single = [dataset for dataset in variant.datasets if dataset not in keeps]
            both = bool(keeps and single)
            rules += [(f"train_{variant.rule}", name, single, False)] if single else []
            # Two underscores: no other variant's rule is called so.
            rules += [(f"train_{variant.rule}{'__top' if both else ''}", name, keeps, True)] if keeps else []
        return rules

    @cached_property
    def untrained_variants(self) -> list[str]:
        """Variants that only predict."""
        return [name for name, variant in self.variants.items() if not variant.method.trainable]

    # inputs of stages

    def shard_count(self, dataset: str, split: str) -> int:
        return cards.dataset(dataset).shards[self.scale][split]

    def manifests(self, dataset: str) -> list[str]:
        return [
            self.paths.manifest(dataset, split, shard, self.shard_count(dataset, split))
            for split in SPLITS
            for shard in range(self.shard_count(dataset, split))
        ]

    def shards(self, dataset: str, split: str) -> list[str]:
        count = self.shard_count(dataset, split)
        return [self.paths.shard(dataset, split, shard, count) for shard in range(count)]

    def originals(self, dataset: str, split: str) -> list[str]:
        """Shards of original pictures; none where the shards of clips hold these."""
        if cards.dataset(dataset).native:
            return []
        count = self.shard_count(dataset, split)
        return [self.paths.native(dataset, split, shard, count) for shard in range(count)]

    def truth(self, dataset: str, variant: str) -> list[str]:
        """What scoring compares with: the test shards, and those of originals for the grid `native`."""
        scored_native = "native" in cards.variant(variant).grids_on(cards.dataset(dataset))
        return [*self.shards(dataset, "test"), *(self.originals(dataset, "test") if scored_native else [])]

    def faults(self, dataset: str, split: str) -> list[str]:
        count = self.shard_count(dataset, split)
        return [self.paths.faults(dataset, split, shard, count) for shard in range(count)]

    def data(self, dataset: str, variant: str, splits: tuple[str, ...]) -> list[str]:
        """Shards, front ends, features and index of `splits`: what training (train, val) or predicting (test) reads."""
        found = cards.variant(variant)
        files = []
        for split in splits:
            files += [self.paths.index(dataset, split), *self.shards(dataset, split)]
            if found.native:
                files += self.originals(dataset, split)
            for front_end in found.front_ends_on(dataset):
                files += self.audio_files(dataset, variant, front_end, split)
            files += self.feature_shards(dataset, variant, split)
        return files

    def weights(self, dataset: str, variant: str, seed: str) -> list[str]:
        """The checkpoint of a run; none where nothing was trained."""
        return [] if seed == UNTRAINED else [self.paths.run_weights(dataset, variant, seed)]

    def encoder_files(self, dataset: str, variant: str) -> list[str]:
        """Files of the pretrained encoders that a run starts from; one may serve several roles."""
        names = dict.fromkeys(cards.variant(variant).loaded_on(dataset, self.scale).values())
        return [self.encoder_file(name) for name in names]

    def encoder_file(self, encoder: str) -> str:
        """Published file at full, the stand-in of `pretrain_mini` at mini."""
        card = cards.encoder(encoder)
        return self.paths.stand_in(encoder) if self.scale == "mini" else self.paths.weights(card.file)

    def initial_run(self, dataset: str, variant: str) -> list[str]:
        """`init: run:<data set>` starts from that run's weights (same seed)."""
        init = cards.variant(variant).init
        if not init.startswith("run:"):
            return []
        source = init.removeprefix("run:")
        return [] if source == dataset else [self.paths.run_weights(source, variant, "{seed}")]

    def official_file(self, variant: str, dataset: str) -> str:
        """Where the authors' checkpoint of a run is expected."""
        official = cards.variant(variant).method.official or {"file": f"{variant}_{dataset}.pth"}
        base = cards.variant(variant).base
        return self.paths.weights("official/" + official["file"].format(variant=base, dataset=dataset))

    def recipe(self, dataset: str, variant: str) -> dict:
        """The resolved recipe of a run."""
        if (dataset, variant) not in self._recipes:
            found = cards.variant(variant)
            override = self.config.get("overrides", {}).get(found.base)
            self._recipes[dataset, variant] = found.recipe(self.scale, dataset, override)
        return self._recipes[dataset, variant]

    def keep_best(self, dataset: str, variant: str) -> int:
        """How many epochs a training keeps; 1 also where the card has no recipe at this scale, so that none is run."""
        try:
            return self.recipe(dataset, variant).get("keep_best", 1)
        except AvsbenchError:
            return 1

    # settings that decide about a rerun, beside the source digest

    def data_settings(self, dataset: str) -> str:
        """What frames and masks depend on."""
        card = cards.dataset(dataset)
        settings = {
            "image_size": self.image_size,
            "resize": card.resize,
            "frames": card.frames,
            "classes": card.classes,
        }
        return compact(settings)

    def count_settings(self, dataset: str, split: str) -> str:
        """How many clips a split must have."""
        card = cards.dataset(dataset)
        return compact({"clips": card.splits[self.scale][split], "known": card.counts_known})

    def run_settings(self, dataset: str, variant: str) -> str:
        """What a network is, apart from its source: options, encoders, inputs, image size."""
        found = cards.variant(variant)
        settings = {
            "options": found.options,
            "encoders": found.encoders_on(dataset),
            "init": found.init,
            "inputs": found.inputs_on(dataset),
            "image_size": self.image_size,
        }
        if self.arrays(dataset, variant):
            settings["arrays"] = self.arrays(dataset, variant)
        if found.features:
            settings["features"] = [setting.stored for setting in self.features(variant).values()]
        return compact(settings)

    def recipe_json(self, dataset: str, variant: str) -> str:
        return compact(self.recipe(dataset, variant))

    def cli_options(self) -> str:
        """Options that carry this plan's scale and folders to `avsbench <verb>`."""
        paths = self.paths
        return (
            f"--scale {self.scale} --image-size {self.image_size} --data-root {paths.data_root} "
            f"--results-root {paths.results_root} --weights-root {paths.weights_root}"
        )


def _why_not(variant: cards.Variant, dataset: str, seed: str) -> str | None:
    if dataset not in variant.datasets:
        return f"{variant.name} is not defined for {dataset} (its card lists {', '.join(variant.datasets)})"
    if seed == "official" and variant.method.official is None:
        return f"the card of {variant.method.name} names no official checkpoint"
    return None
