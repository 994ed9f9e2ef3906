"""Cards: what the suite knows about data sets, methods and encoders, read from YAML and checked against closed schemas.

No torch and no librosa here: the workflow imports this module each time it plans.
"""

import copy
import functools
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from avsbench import study_cards
from avsbench.closed_yaml import known, read_yaml, value_on
from avsbench.encoder_cards import EncoderCard, encoder, encoder_cards  # noqa: F401 - all cards are asked for here
from avsbench.errors import AvsbenchError

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent
SCALES = ("mini", "smoke", "full")
"""Embedded data; a few clips of the released data, to try everything before spending GPU-days; the released data."""
SMOKE_CLIPS = 16
"""Clips a split at scale smoke."""
SMOKE_RECIPE = {"epochs": 1, "epoch_steps": 2, "validate": {"every": 1, "start": 0}}


@dataclass(frozen=True)
class DatasetCard:
    """One data set (`avsbench/datasets/<name>.yaml`)."""

    name: str
    title: str
    task: str
    family: str
    frames: int
    splits: dict
    shards: dict
    resize: dict
    mel_fill: str
    access: str
    aliases: list = field(default_factory=list)
    clip_seconds: list = field(default_factory=list)
    supervision: str = ""
    classes: list = field(default_factory=list)
    counts_known: bool = True
    release: dict = field(default_factory=dict)
    construction: str = ""

    @property
    def num_classes(self) -> int:
        """K of the score maps: 1 for a binary task (a sigmoid), else the number of classes."""
        return 1 if self.task == "binary" else len(self.classes)

    @property
    def native(self) -> bool:
        """True where every clip keeps its own size in the store."""
        return "native" in self.resize.values()

    def stored_size(self, image_size: int) -> int:
        """`image_size` of shards and index: 0 where clips keep their own size."""
        return 0 if self.native else image_size


@dataclass(frozen=True)
class Variant:
    """A method with a backbone family and other named choices, as the card's `variants` list it.

    `encoders` are as the card writes them, see `encoders_on`; `inputs` are the card's, the variant's laid over them.
    `changes` are what the row of a study has laid over all that, see `changed`. `feature_settings` are what the card
    says of how a feature is made (feature -> as in a configuration).
    """

    name: str
    method: "MethodCard"
    options: dict
    inputs: dict
    encoders: dict
    init: str
    datasets: list
    fscore_batch: int | dict
    recipe_override: dict
    scale_recipes: dict = field(default_factory=dict)
    changes: dict = field(default_factory=dict)
    feature_settings: dict = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The name in its method's card: the row of a study has one of its own."""
        return self.name.partition("@")[0]

    @property
    def rule(self) -> str:
        """The name in a Snakemake rule: `train_<rule>`."""
        return self.name.replace("-", "_").replace("@", "__").replace(".", "__")

    def changed(self, name: str, changes: dict) -> "Variant":
        """This variant under another name, with `changes` laid over it; an encoder of None is not loaded."""
        encoders = merge(self.encoders, changes.get("encoders", {}))
        return replace(
            self,
            name=name,
            options=merge(self.options, changes.get("options", {})),
            inputs=merge(self.inputs, changes.get("inputs", {})),
            encoders={role: encoder for role, encoder in encoders.items() if encoder is not None},
            init=changes.get("init", self.init),
            changes=changes,
        )

    @property
    def features(self) -> list[str]:
        """Names of the derived arrays that it sees."""
        return self.inputs.get("features", [])

    @property
    def native(self) -> bool:
        """It sees pictures of the original size."""
        return self.inputs.get("native", False)

    def grids_on(self, dataset: DatasetCard) -> list[str]:
        """Scoring grids: `common`, then those the card asks for; `native` only where `common` is of another size."""
        return ["common", *(grid for grid in self.inputs.get("grids", []) if grid != "native" or not dataset.native)]

    def front_ends_on(self, dataset: str) -> list[str]:
        """Names of the audio front ends that it hears on a data set."""
        return value_on(self.inputs.get("front_ends", []), dataset)

    def inputs_on(self, dataset: str) -> dict:
        """`inputs` with what a data set chooses among them."""
        return {name: value_on(value, dataset) for name, value in self.inputs.items()}

    def encoders_on(self, dataset: str) -> dict[str, str]:
        """Role -> pretrained encoder of a run on a data set."""
        return {role: value_on(name, dataset) for role, name in self.encoders.items()}

    def loaded_on(self, dataset: str, scale: str) -> dict[str, str]:
        """Role -> pretrained encoder that has weights at a scale; at mini a network has parts without any."""
        return {role: name for role, name in self.encoders_on(dataset).items() if encoder(name).exists_at(scale)}

    def fscore_batch_on(self, dataset: str) -> int:
        """Clips per call of the published F on a data set."""
        return value_on(self.fscore_batch, dataset)

    def recipe(self, scale: str, dataset: str, override: dict | None = None) -> dict:
        """The resolved recipe: default < data set < variant < config override < study. Raises if the card has none."""
        if not self.method.trainable:
            return {}
        recipes = self.method.recipes.get("full" if scale == "smoke" else scale)
        if recipes is None:
            raise AvsbenchError(
                f"{self.method.path}: no recipe for scale {scale!r}",
                found=f"recipes: {sorted(self.method.recipes)}",
                expected=f"recipes.{scale}.default",
                hint="add the recipe to the card, or choose another scale",
            )
        studied = self.studied_recipe(scale, dataset)
        own = _recipe_of({"recipe": self.recipe_override, "recipes": self.scale_recipes}, scale, dataset)
        layers = [recipes["default"], recipes.get(dataset, {}), own, studied]
        if scale == "smoke":
            batch = min(functools.reduce(merge, layers, {}).get("batch", 1), SMOKE_CLIPS // SMOKE_RECIPE["epoch_steps"])
            layers += [SMOKE_RECIPE, {"batch": batch}, self.method.recipes.get("smoke", {}).get("default", {})]
        # What a study compares, no override of the configuration may even out; the few steps of smoke may.
        return functools.reduce(merge, [*layers, override or {}, {} if scale == "smoke" else studied], {})

    def studied_recipe(self, scale: str, dataset: str) -> dict:
        """What the row of a study changes of the recipe."""
        return _recipe_of(self.changes, scale, dataset)

    def resources(self, scale: str) -> dict:
        """gpu, mem_mb, runtime and threads; a smoke run takes what a full one does, for half an hour at most."""
        known = self.method.resources
        if scale == "smoke" and "smoke" not in known:
            return {**known["full"], "runtime": min(30, known["full"]["runtime"])}
        return known[scale]


@dataclass(frozen=True)
class MethodCard:
    """One method (`models/<name>/method.yaml`)."""

    name: str
    title: str
    paper: dict | None
    year: int | None
    source: str | None
    licence: str
    datasets: list
    inputs: dict
    fscore_batch: int
    variants: dict
    resources: dict
    path: Path
    recipes: dict = field(default_factory=dict)
    batch_independent: bool = False
    vote: str = "probability"
    trainable: bool = True
    hard: bool = False
    setting: str = "supervised"
    dead_parameters: list = field(default_factory=list)
    official: dict | None = None
    differences: list = field(default_factory=list)


def merge(base: dict, override: dict) -> dict:
    """`base` with `override` laid over it, key by key into nested mappings. Neither argument changes."""
    merged = copy.deepcopy(base)
    for key, value in override.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


@functools.cache
def dataset_cards() -> dict[str, DatasetCard]:
    """Name -> card of every data set in `avsbench/datasets/`."""
    cards = {}
    for path in sorted((PACKAGE / "datasets").glob("*.yaml")):
        content = read_yaml(path, "dataset")
        _same_name(path, content["name"], path.stem)
        full = content["splits"]["full"]
        content["splits"].setdefault("smoke", {split: min(SMOKE_CLIPS, count) for split, count in full.items()})
        content["shards"].setdefault("smoke", dict.fromkeys(full, 1))
        cards[content["name"]] = DatasetCard(**content)
    return cards


def method_folders() -> tuple[Path, ...]:
    """Folders that hold methods: the project's `models/` and those of $AVSBENCH_MODELS (separated as in $PATH)."""
    return _method_folders(PROJECT, os.environ.get("AVSBENCH_MODELS", ""))


@functools.cache  # asked thousands of times while planning: paths that are kept keep their hash
def _method_folders(project: Path, extra: str) -> tuple[Path, ...]:
    return (project / "models", *(Path(p) for p in extra.split(os.pathsep) if p))


def method_cards() -> dict[str, MethodCard]:
    """Name -> card of every discovered method (folders that begin with `_` are templates, not methods)."""
    return _method_cards(tuple(method_folders()))[0]


def variants() -> dict[str, Variant]:
    """Name -> variant over all methods."""
    return _method_cards(tuple(method_folders()))[1]


@functools.cache
def _method_cards(folders: tuple[Path, ...]) -> tuple[dict[str, MethodCard], dict[str, Variant]]:
    cards: dict[str, MethodCard] = {}
    variants: dict[str, Variant] = {}
    for folder in folders:
        for path in sorted(folder.glob("*/method.yaml")):
            if path.parent.name.startswith("_"):
                continue
            card = read_method_card(path)
            if card.name in cards:
                raise AvsbenchError(
                    f"{path}: the method name {card.name!r} is taken",
                    found=cards[card.name].path,
                    hint="rename one of the two folders and its card",
                )
            cards[card.name] = card
            for name, variant in card.variants.items():
                if name in variants:
                    raise AvsbenchError(
                        f"{path}: the variant name {name!r} is taken",
                        found=variants[name].method.path,
                        hint="variant names are unique over all methods",
                    )
                variants[name] = variant
    return cards, variants


def read_method_card(path: Path) -> MethodCard:
    """One method card, checked against the schema and against the data sets and encoders that it names."""
    path = Path(path)
    content = read_yaml(path, "method")
    if not path.parent.name.startswith("_"):
        _same_name(path, content["name"], path.parent.name)
    for name in content["datasets"]:
        known(name, dataset_cards(), f"{path}: datasets", "data set")
    trainable = content.get("trainable", True)
    if trainable and "recipes" not in content:
        raise AvsbenchError(
            f"{path}: a trainable method needs recipes",
            expected="recipes: {full: {default: …}, mini: {default: …}}",
            hint="add recipes, or set trainable: false for a method that needs no training",
        )
    variants = content.pop("variants")
    card = MethodCard(**content, variants={}, path=path)
    for name, options in variants.items():
        for choice in options.get("encoders", {}).values():
            for place, chosen in ({"default": choice} if isinstance(choice, str) else choice).items():
                known(chosen, encoder_cards(), f"{path}: variants.{name}.encoders", "encoder")
                if place != "default":
                    known(place, dict.fromkeys(content["datasets"]), f"{path}: variants.{name}.encoders", "data set")
        calls = options.get("fscore_batch", content["fscore_batch"])
        inputs = merge(content["inputs"], options.get("inputs", {}))
        for key, value in {"fscore_batch": calls, "inputs.front_ends": inputs.get("front_ends")}.items():
            for place in set(value if isinstance(value, dict) else ()) - {"default"}:
                known(place, dict.fromkeys(content["datasets"]), f"{path}: variants.{name}.{key}", "data set")
        card.variants[name] = Variant(
            name=name,
            method=card,
            options=options.get("options", {}),
            inputs=inputs,
            encoders=options.get("encoders", {}),
            init=options.get("init", "scratch" if trainable else "none"),
            datasets=options.get("datasets", content["datasets"]),
            fscore_batch=calls,
            recipe_override=options.get("recipe", {}),
            scale_recipes=options.get("recipes", {}),
            feature_settings=options.get("features", {}),
        )
    return card


def dataset(name: str) -> DatasetCard:
    """The card of one data set; an unknown name names the nearest known one."""
    return known(name, dataset_cards(), "data set", "data set")


def variant(name: str) -> Variant:
    """One variant, or `<variant>@<study>.<row>`; an unknown name names the nearest known one."""
    base, at, place = name.partition("@")
    found = known(base, variants(), "variant", "variant")
    return found.changed(name, study_cards.changes_of(place)) if at else found


def _recipe_of(changes: dict, scale: str, dataset: str) -> dict:
    """What a variant, or the row of a study, changes of the recipe: `recipe`, and over it the `recipes` of a scale."""
    layers = changes.get("recipes", {}).get("full" if scale == "smoke" else scale, {})
    return functools.reduce(merge, [changes.get("recipe", {}), layers.get("default", {}), layers.get(dataset, {})], {})


def _same_name(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise AvsbenchError(
            f"{path}: the name in the card differs from the place of the card",
            found=f"name: {found}",
            expected=f"name: {expected}",
        )
