"""From configuration and cards to lists of targets, and to the settings that each stage depends on.

Nothing here imports torch or librosa; a plan over 12,000 clips and 20 variants costs well under a second.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import yaml

from avsbench import cards, digest, studies
from avsbench.errors import AvsbenchError
from avsbench.front_end_groups import grouped, record
from avsbench.media import front_ends
from avsbench.paths import Paths
from avsbench.plan_features import Features
from avsbench.plan_sources import Sources, compact

SPLITS = ("train", "val", "test")
UNTRAINED = "none"
"""The seed of a variant that needs no training: one run, whatever seeds the configuration asks for."""
PRETRAIN_DATASETS = ("s4", "avss")
"""Stand-ins learn from these: S4 names a category per clip, AVSS a class per pixel; MS3 has neither."""


@dataclass(frozen=True, order=True)
class Run:
    """Data set × variant × seed: one checkpoint, one prediction store, one score table.

    With `members` above 1: the ensemble of that many epochs of the same training. It has no checkpoint of its own, but
    a prediction store and a score table. `features` are those that it sees, by their names in the store: runs that saw
    masks of another generator, or of other options, are other runs.
    """

    dataset: str
    variant: str
    seed: str
    members: int = 1
    features: tuple[str, ...] = ()

    @property
    def ensemble(self) -> bool:
        return self.members > 1

    @property
    def generator(self) -> str:
        """What made the masks that it sees; empty if it sees none."""
        return "+".join(stored.split("-")[1] for stored in self.features)

    @property
    def label(self) -> str:
        """The variant, with the generator of its masks: numbers with masks of two generators do not compare."""
        return f"{self.variant}+{self.generator}" if self.generator else self.variant

    def __str__(self) -> str:
        who = f"{self.label} (top-{self.members} ensemble)" if self.ensemble else self.label
        return f"{who} on {self.dataset}, seed {self.seed}"


@dataclass(frozen=True)
class Skip:
    """A run that the configuration asks for and the cards rule out; shown on the leaderboard with its reason."""

    run: Run
    reason: str


class Plan(Sources, Features):
    """Everything the workflow asks about a checked configuration."""

    def __init__(self, config: dict):
        self.config = config
        self.scale: str = config["scale"]
        roots = {key: config[key] for key in ("data_root", "results_root", "weights_root") if key in config}
        self.paths = Paths(self.scale, **roots)
        self.study = studies.study(config["study"]) if "study" in config else None

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
                if reason:
                    skips.append(Skip(run, reason))
                else:
                    runs.append(run)
        return runs, skips

    def run(self, dataset: str, variant: str, seed: str) -> Run:
        """A run with the features that the configuration gives it."""
        return Run(dataset, variant, seed, features=tuple(each.stored for each in self.features(variant).values()))

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

    @property
    def summary(self) -> str:
        """What is asked for, in half a sentence."""
        count = f"{len(self.runs)} run{'' if len(self.runs) == 1 else 's'}"
        study = f"study {self.study.name}, " if self.study else ""
        return f"{study}scale {self.scale}, {count} on {', '.join(self.datasets) or 'no data set'}"

    def page(self, extension: str, partial: bool = False) -> str:
        """What is asked for: the leaderboard, or the page of the study."""
        if self.study:
            return self.paths.study(self.study.name, extension, partial)
        return self.paths.leaderboard(extension, partial)

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
                files += self._audio(dataset, variant, front_end, split)
            files += self.feature_shards(dataset, variant, split)
        return files

    # front ends

    @cached_property
    def front_end_groups(self) -> dict[str, list[list[str]]]:
        """Data set -> groups of front ends; one job computes one group of one shard."""
        found = {
            dataset: grouped(self.paths, dataset, self._wanted_front_ends(dataset)) for dataset in cards.dataset_cards()
        }
        return {dataset: groups for dataset, groups in found.items() if groups}

    def front_end_group(self, dataset: str, front_end: str) -> int:
        """The number, from 1, of the group that a front end is in."""
        groups = self.front_end_groups[dataset]
        return 1 + next(number for number, group in enumerate(groups) if front_end in group)

    def record_front_ends(self) -> None:
        """Keep the groups beside the front ends."""
        record(self.paths, self.front_end_groups)

    def arrays(self, dataset: str, variant: str) -> dict[str, str]:
        """Front end -> the imported arrays that the configuration, or a study, puts in its place."""
        every = cards.merge(self.config.get("arrays", {}), cards.variant(variant).changes.get("arrays", {}))
        return every.get(dataset, {})

    def arrays_option(self, dataset: str, variant: str) -> str:
        """What the verbs of a run are told about imported arrays."""
        return "".join(f"--array {name}={stored} " for name, stored in self.arrays(dataset, variant).items())

    def _audio(self, dataset: str, variant: str, front_end: str, split: str) -> list[str]:
        """The shards of a front end of a split, or of what was imported in its place."""
        count, stored = self.shard_count(dataset, split), self.arrays(dataset, variant).get(front_end, front_end)
        files = [self.paths.audio(dataset, stored, split, shard, count) for shard in range(count)]
        missing = [file for file in files if stored != front_end and not Path(file).is_file()]
        if missing:
            raise AvsbenchError(
                f"{missing[0]}: the configuration puts {stored} in the place of {front_end}, and it was not imported",
                found=f"{len(files) - len(missing)} of {len(files)} shards",
                hint=f"avsbench import --dataset {dataset} --from FOLDER --what log_mel (see docs/data.md), "
                f"or remove arrays.{dataset} from the configuration",
            )
        return files

    def _wanted_front_ends(self, dataset: str) -> set[str]:
        """What the variants of the configuration, and stand-ins of pretrained encoders, hear of a data set."""
        wanted = set()
        if self.scale == "mini" and dataset in PRETRAIN_DATASETS:
            pairs = {(run.variant, run.dataset) for run in self.runs}
            encoders = {name for variant, on in pairs for name in cards.variant(variant).loaded_on(on, "mini").values()}
            wanted |= {front_end for name in encoders for front_end in cards.encoder(name).front_ends}
        for name in {run.variant for run in self.runs if run.dataset == dataset}:
            variant = cards.variant(name)
            where = f"{variant.method.path}: inputs.front_ends"
            for front_end in variant.front_ends_on(dataset):
                if not front_ends.has_family(front_end):
                    cards.known(front_end, front_ends.FRONT_ENDS, where, "front end")
            wanted |= set(variant.front_ends_on(dataset)) - set(self.arrays(dataset, name))
        return wanted

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
        found = cards.variant(variant)
        return found.recipe(self.scale, dataset, self.config.get("overrides", {}).get(found.base))

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

    def audio_code(self, group: list[str]) -> str:
        """Digest of what computes a group of front ends, and no other."""
        return digest.stage("audio", parts=tuple(map(front_ends.module_of, group)))

    def audio_settings(self, dataset: str) -> str:
        card = cards.dataset(dataset)
        return compact({"mel_fill": card.mel_fill, "frames": card.frames})

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
