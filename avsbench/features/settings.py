"""What makes a feature: a generator, its options and its weights, resolved from cards and configuration. No torch here.

All three stand in the name of what is stored, so that the arrays of two generators never mix.
"""

import functools
import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from avsbench import cards
from avsbench.atomic import atomic
from avsbench.closed_yaml import known, place
from avsbench.digest import file_digest
from avsbench.errors import AvsbenchError
from avsbench.features import FEATURES, MASKIGE, PROPOSALS, Feature, GeneratorCard, generator, generators
from avsbench.paths import Paths

KEYS = ("generator", "options", "weights", "pictures")
"""What a configuration, a study or an option of a verb may say about a feature."""
MASKS = 60
"""Of a frame, where room on the disk is estimated."""
PICTURES = ("stored", "native")
"""What a generator sees: the frames of the store (published reading B of AVSS), or those of the release (reading A)."""

PRECISIONS = ("float16", "float32")
"""Types that an option of a generator may choose for its arrays."""


@dataclass(frozen=True)
class Setting:
    """A feature as a run sees it.

    Attributes:
        feature: its name on method cards.
        generator: name of the generator.
        version: of the generator.
        options: resolved.
        pictures: stored or native.
        weights: the file, or role -> file, where one is needed.
        named: what the configuration says of these; others are published, or at mini stand-ins, in the weights' folder.
        weights_digest: sha256 of the file, or the name of a published one of which no sha256 is known, or that it is a
            stand-in; where weights have roles, role -> such a word.
    """

    feature: str
    generator: str
    version: int
    options: dict = field(default_factory=dict)
    pictures: str = "stored"
    weights: str | dict | None = None
    named: str | dict | None = None
    weights_digest: str | dict | None = None

    @property
    def card(self) -> GeneratorCard:
        return generator(self.generator, self.feature)

    @property
    def kind(self) -> Feature:
        return FEATURES[self.feature]

    @property
    def files(self) -> dict[str, cards.EncoderCard]:
        """File -> what is known of it, of all weights."""
        encoders = _encoders(self.card, self.options)
        files = self.weights if isinstance(self.weights, dict) else {"": self.weights}
        return {files[role]: encoder for role, encoder in encoders.items()}

    def gpu(self, scale: str) -> bool:
        """Whether a job takes a GPU: networks of full size alone do."""
        small = scale == "mini" and all(encoder.exists_at(scale) for encoder in self.files.values())
        return self.card.needs_gpu and not small

    def frame(self, size: tuple[int, int]) -> tuple[str, tuple[int, ...]]:
        """Type and shape of what is stored of a frame of `size` (H, W); an estimate for masks and boxes, which vary."""
        if self.feature == MASKIGE:
            return "uint8", size
        if self.feature == PROPOSALS:
            return "uint8", (MASKS, -(-size[0] * size[1] // 8))  # a bit a pixel, before compression
        words = {**self.options, "height": size[0], "width": size[1]}
        return words.get(self.card.dtype, self.card.dtype), tuple(words.get(n, n) for n in self.card.shape)

    def frame_bytes(self, size: tuple[int, int]) -> int:
        """What is stored of a frame, in bytes."""
        import numpy as np

        dtype, shape = self.frame(size)
        return np.dtype(dtype).itemsize * math.prod(shape)

    @property
    def record(self) -> dict:
        """All that the arrays depend on, wherever the weights lie."""
        return {key: value for key, value in asdict(self).items() if key not in ("weights", "named")}

    @property
    def stored(self) -> str:
        """The name of the arrays in the store."""
        text = json.dumps(self.record, sort_keys=True)
        return f"{self.feature}-{self.generator}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def chosen(self) -> dict:
        """What a configuration would have to say to get this."""
        return {
            "generator": self.generator,
            "options": self.options,
            "pictures": self.pictures,
            **({"weights": self.named} if self.named else {}),
        }

    def __str__(self) -> str:
        options = ", ".join(f"{key} {value}" for key, value in self.options.items())
        native = ", on the original pictures" if self.pictures == "native" else ""
        return f"{self.generator}{native}" + (f" ({options})" if options else "")


def resolve(feature: str, paths: Paths, *layers: dict, card: dict | None = None) -> Setting:
    """The setting of a feature: `layers` laid over the scale's defaults; a layer with another generator starts anew.

    Args:
        layers: what the configuration, and then a study, says.
        card: what the card of the variant that sees it says. It lies between the scale's and the configuration, and
            speaks for all generators: options that the chosen one does not have are of no account.

    Raises:
        AvsbenchError: an unknown feature, generator or option, or weights that the configuration names and that do not
            exist.
    """
    known(feature, FEATURES, "inputs.features", "feature")
    default, said = scale_defaults(paths.scale)[feature], dict(card or {})
    options = said.pop("options", {})
    kept, name = [], ""
    for layer in (default, said, *layers):
        check(feature, layer)
        if layer.get("generator", name) != name:
            kept, name = [], layer["generator"]
        kept.append(layer)
    fitting = {key: value for key, value in options.items() if key in generator(name, feature).options}
    kept.insert(kept[0] is default, {"options": fitting})
    chosen = functools.reduce(cards.merge, kept, {})
    # An option that differs between data sets is said whole: no layer takes over half of another's.
    chosen["options"] = {option: value for layer in kept for option, value in layer.get("options", {}).items()}
    check(feature, chosen)
    found = generator(chosen["generator"], feature)
    options = {**found.options, **chosen.get("options", {})}
    weights, digest = _weights(found, feature, options, chosen.get("weights"), paths)
    return Setting(
        feature=feature,
        generator=found.name,
        version=found.version,
        options=options,
        pictures=chosen.get("pictures", "stored"),
        weights=weights,
        named=chosen.get("weights"),
        weights_digest=digest,
    )


def check(feature: str, chosen: dict, where: str = "features") -> None:
    """Raise AvsbenchError for a feature, key, generator or option that does not exist; names the nearest one."""
    known(feature, FEATURES, where, "feature")
    where = f"{where}.{feature}"
    for key in chosen:
        known(key, dict.fromkeys(KEYS), where, "key")
    known(chosen.get("pictures", PICTURES[0]), dict.fromkeys(PICTURES), f"{where}.pictures", "choice")
    if "generator" not in chosen:
        return
    card = generator(chosen["generator"], feature)
    for option, value in chosen.get("options", {}).items():
        known(option, card.options, f"{where}.options", f"option of {card.name}")
        _check_option(card, option, value, f"{where}.options.{option}")
        if option == card.dtype:
            known(value, dict.fromkeys(PRECISIONS), f"{where}.options.{option}", "choice")
    if chosen.get("pictures") == "native" and not FEATURES[feature].of_masks:
        raise AvsbenchError(  # masks follow the frames' cropping and squashing; cells of a map or an embedding cannot
            f"{where}.pictures: what {card.name} makes belongs to places of the stored frames",
            found="native",
            expected="stored",
            hint="remove the key",
        )
    weights = chosen.get("weights")
    if weights and not card.needs_weights:
        raise AvsbenchError(f"{where}.weights: {card.name} takes no weights", hint="remove the key")
    if weights and isinstance(weights, dict) == bool(card.weights_by):
        roles = f"{{{', '.join(f'{role}: FILE' for role in card.weights)}}}"
        raise AvsbenchError(
            f"{where}.weights: not what {card.name} takes",
            found=repr(weights),
            expected="one file" if card.weights_by else roles,
        )
    for role in weights if isinstance(weights, dict) else ():
        known(role, card.weights, f"{where}.weights", f"weights of {card.name}")


def check_card(variant: cards.Variant) -> None:
    """Raise AvsbenchError for an option that no generator of the feature has; names the line of the method's card."""
    for feature, chosen in variant.feature_settings.items():

        def where(*keys: str, feature: str = feature) -> str:
            at = ["variants", variant.base, "features", feature, *keys]
            return f"{place(variant.method.path, at)}: {'.'.join(at)}"

        if feature not in variant.features:
            known(feature, dict.fromkeys(variant.features), where(), "feature")
        made = generators(feature)
        name = chosen.get("generator")
        if name is not None and name not in made:
            known(name, made, where("generator"), "generator")
        candidates = [made[name]] if name else list(made.values())
        for option, value in chosen.get("options", {}).items():
            if not (having := [card for card in candidates if option in card.options]):
                every = {other: None for card in candidates for other in card.options}
                known(option, every, where("options", option), "option")
            for card in having:
                if not _fits(value, card.options[option]):
                    _check_option(card, option, value, where("options", option))


def check_readers(variant: cards.Variant, settings: dict[str, Setting], scale: str) -> None:
    """Raise AvsbenchError where a method would go on with another network than the one that made a feature.

    All three decoders of Segment Anything take the embeddings of any of its encoders, and make nonsense of two.
    """
    for feature, setting in settings.items():
        role = setting.kind.reader
        if role not in variant.encoders:
            continue
        made = next((encoder.name for encoder in setting.files.values()), None)
        for read in {variant.loaded_on(dataset, scale).get(role) for dataset in variant.datasets} - {made}:
            both = f"; a row of a study may say both features and encoders: {{{role}: {made}}}" if made and read else ""
            raise AvsbenchError(
                f"{variant.name} cannot read the {feature} that {setting} makes",
                found=made or "no weights",
                expected=read or f"no weights, at scale {scale}",
                hint=f"change features.{feature}{both}",
            )


def _check_option(card: GeneratorCard, option: str, value: object, where: str) -> None:
    default = card.options[option]
    if not _fits(value, default):
        raise AvsbenchError(
            f"{where}: not of the kind that {card.name} takes",
            found=repr(value),
            expected=f"{type(default).__name__}, such as {default!r}",
        )


def _fits(value: object, default: object) -> bool:
    """Whether a value is of the kind of an option's default; whole numbers are numbers, None stands for any kind."""
    if isinstance(default, dict) and "default" in default:  # one for each data set, or one for all
        values = value.values() if isinstance(value, dict) and "default" in value else [value]
        return all(_fits(each, default["default"]) for each in values)
    kinds = (int, float) if isinstance(default, float) else (type(default),)
    return default is None or (isinstance(value, kinds) and not isinstance(value, bool))


@functools.cache
def scale_defaults(scale: str) -> dict:
    """Feature -> what `config/scales/<scale>.yaml` chooses."""
    content = yaml.safe_load((cards.PROJECT / "config" / "scales" / f"{scale}.yaml").read_text())
    return content.get("features", {})


def _encoders(card: GeneratorCard, options: dict) -> dict[str, cards.EncoderCard]:
    """Role -> encoder whose weights the generator needs; the role of a single one is empty."""
    if not card.weights_by:
        return {role: cards.encoder(name) for role, name in card.weights.items()}
    where = f"features: option {card.weights_by} of {card.name}"
    return {"": cards.encoder(known(options[card.weights_by], card.weights, where, "choice"))}


def _weights(card: GeneratorCard, feature: str, options: dict, named: str | dict | None, paths: Paths) -> tuple:
    """The file, or role -> file, of the weights, and what stands for its content; two None where none are needed."""
    if not card.needs_weights:
        return None, None
    chosen = named if isinstance(named, dict) else {"": named}
    found = {
        role: _file(card, feature, encoder, chosen.get(role), paths)
        for role, encoder in _encoders(card, options).items()
    }
    if "" in found:
        return found[""]
    return {role: file for role, (file, _) in found.items()}, {role: digest for role, (_, digest) in found.items()}


def _file(
    card: GeneratorCard, feature: str, encoder: cards.EncoderCard, named: str | None, paths: Paths
) -> tuple[str, str]:
    """A file and what stands for its content."""
    if named is None:
        if paths.scale == "mini" and encoder.exists_at("mini"):
            return paths.stand_in(encoder.name), f"stand-in for {encoder.name}"
        return paths.weights(encoder.file), encoder.sha256 or encoder.file
    file = Path(named).expanduser()
    if not file.is_file():
        raise AvsbenchError(
            f"{named}: the weights of {card.name} that features.{feature}.weights names do not exist",
            found="a folder" if file.is_dir() else None,
            expected=f"the file {encoder.file}, about {encoder.size_mb} MB",
            hint=f"get it from {encoder.url}, or name another file, or none, in features.{feature}.weights",
        )
    return str(file), _digest(file, Path(paths.weights("digests.json")))


def _digest(file: Path, notes: Path) -> str:
    """sha256 of a file, read once and then noted with its size and date: planning asks at each start."""
    stat = file.stat()
    key = f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    try:
        noted = json.loads(notes.read_text())
    except (OSError, ValueError):
        noted = {}
    if key not in noted:
        noted[key] = file_digest(file)
        if os.access(next(path for path in notes.parents if path.exists()), os.W_OK):
            with atomic(notes) as temporary:
                temporary.write_text(json.dumps(noted, indent=2) + "\n")
    return noted[key]
