"""The part of a plan that says which features are derived, of what, by which generator, and for how long."""

import functools

from avsbench import cards, digest
from avsbench.errors import AvsbenchError
from avsbench.features import FEATURES, MASKIGE
from avsbench.features.settings import Setting, check_card, check_readers, resolve, scale_defaults
from avsbench.paths import Paths
from avsbench.plan_sources import compact


class Features:
    """Features of the variants that a configuration runs."""

    config: dict
    paths: Paths
    runs: list

    def features(self, variant: str) -> dict[str, Setting]:
        """Feature -> what makes it, of all that a variant sees."""
        if variant not in self._features:
            found, configured = cards.variant(variant), self.config.get("features", {})
            check_card(found)
            said, studied = found.feature_settings, found.changes.get("features", {})
            try:
                settings = {
                    name: self._setting(name, configured.get(name, {}), studied.get(name, {}), card=said.get(name))
                    for name in dict.fromkeys(found.features)
                }
                check_readers(found, settings, self.paths.scale)
            except AvsbenchError as error:
                if not studied:
                    raise
                what = f"{variant}: {error.what}"  # what the configuration does not say, a row of a study does
                raise AvsbenchError(what, found=error.found, expected=error.expected, hint=error.hint) from None
            self._features[variant] = settings
        return self._features[variant]

    def _setting(self, feature: str, *layers: dict, card: dict | None) -> Setting:
        setting = resolve(feature, self.paths, *layers, card=card)
        if setting.options.get("root", "") is None:  # said now, and not after hours of extracting
            raise AvsbenchError(
                f"features.{feature}.options.root: {setting.generator} needs a folder",
                expected="that of the downloaded maskiges; docs/data.md says what is looked for in it",
                hint=f"--config 'features={{{feature}: {{generator: {setting.generator}, options: {{root: FOLDER}}}}}}'"
                ", or the same in config/config.yaml",
            )
        return setting

    def chosen(self, variant: str) -> tuple[str, ...]:
        """Generators of what a variant sees that are not the scale's; maskiges apart: theirs is always said."""
        own = scale_defaults(self.paths.scale)
        seen = ((name, setting.generator) for name, setting in self.features(variant).items() if name != MASKIGE)
        return tuple(generator for name, generator in seen if generator != own[name]["generator"])

    @functools.cached_property
    def _features(self) -> dict[str, dict[str, Setting]]:
        return {}

    @functools.cached_property
    def feature_settings(self) -> dict[str, Setting]:
        """Name in the store -> setting, of all that some run sees."""
        return {setting.stored: setting for run in self.runs for setting in self.features(run.variant).values()}

    def feature_splits(self, dataset: str, stored: str) -> list[str]:
        """The splits of a data set that some run sees with such features: the test split alone where none trains."""
        seeds = [run.seed for run in self.runs if run.dataset == dataset and stored in run.features]
        return [*(["train", "val"] if any(map(str.isdigit, seeds)) else []), *(["test"] if seeds else [])]

    @functools.cached_property
    def feature_rules(self) -> list[tuple[str, str, bool]]:
        """(name, pattern of feature names, whether arrays go when nothing needs them any more) of each rule."""
        gone = self.config.get("temporary", [])
        rules = [
            ("features", [name for name in FEATURES if name not in gone], False),
            ("features_temporary", gone, True),
        ]
        return [(rule, "|".join(names), temporary) for rule, names, temporary in rules if names]

    def feature_setting(self, stored: str) -> Setting:
        """The setting behind a name in the store."""
        if stored not in self.feature_settings:
            raise AvsbenchError(
                f"{stored}: no run of this configuration sees these features",
                expected=f"one of {', '.join(self.feature_settings) or 'none'}",
            )
        return self.feature_settings[stored]

    def feature_shards(self, dataset: str, variant: str, split: str) -> list[str]:
        """The shards of all features of a variant, of one split."""
        count = cards.dataset(dataset).shards[self.paths.scale][split]
        names = [setting.stored for setting in self.features(variant).values()]
        return [self.paths.features(dataset, name, split, shard, count) for name in names for shard in range(count)]

    def feature_inputs(self, stored: str, dataset: str, split: str, shard: object, shards: object) -> list[str]:
        """What a shard of features is made of: the shard of clips, the original pictures, sound, the weights."""
        setting, place = self.feature_setting(stored), (dataset, split, shard, shards)
        native = setting.pictures == "native" and not cards.dataset(dataset).native
        files = [self.paths.shard(*place), *([self.paths.native(*place)] if native else [])]
        heard = [self.paths.audio(dataset, front_end, *place[1:]) for front_end in setting.card.front_ends]
        return [*files, *heard, *setting.files]

    def feature_code(self, stored: str) -> str:
        """Digest of the stage and of the one generator that it runs."""
        module = self.feature_setting(stored).card.module
        return digest.stage("features", parts=(module,) if module else ())

    def feature_gpus(self, stored: str) -> int:
        """GPUs of a job: one where the generator wants it and the configuration does not forbid it."""
        return int(self.feature_setting(stored).gpu(self.paths.scale) and self.config.get("device") != "cpu")

    def feature_option(self, stored: str) -> list[str]:
        """What the verb `features` is told."""
        setting = self.feature_setting(stored)
        return ["--feature", setting.feature, "--settings", compact(setting.chosen)]

    def features_option(self, variant: str) -> list[str]:
        """What the verbs of a run are told about its features."""
        settings = self.features(variant)
        return ["--features", compact({name: each.chosen for name, each in settings.items()})] if settings else []
