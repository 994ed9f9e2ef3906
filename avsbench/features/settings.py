"""What makes a feature: a generator, its options and its weights, resolved from the configuration. No torch here.

All three stand in the name of what is stored, so that the masks of two generators never mix.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from avsbench import cards
from avsbench.closed_yaml import known
from avsbench.digest import file_digest
from avsbench.errors import AvsbenchError
from avsbench.features import MASKIGE, GeneratorCard, generator
from avsbench.paths import Paths, atomic

FEATURES = (MASKIGE,)
KEYS = ("generator", "options", "weights", "pictures")
"""What a configuration, a study or an option of a verb may say about a feature."""
PICTURES = ("stored", "native")
"""What a generator sees: the frames of the store (published reading B of AVSS), or those of the release (reading A)."""


@dataclass(frozen=True)
class Setting:
    """A feature as a run sees it.

    Attributes:
        feature: its name on method cards.
        generator: name of the generator.
        version: of the generator.
        options: resolved.
        pictures: stored or native.
        weights: the file, where one is needed.
        named: the configuration names that file; else it is the published one, in the folder of weights.
        weights_digest: sha256 of it, or the name of a published file of which no sha256 is known.
    """

    feature: str
    generator: str
    version: int
    options: dict = field(default_factory=dict)
    pictures: str = "stored"
    weights: str | None = None
    named: bool = False
    weights_digest: str | None = None

    @property
    def card(self) -> GeneratorCard:
        return generator(self.generator)

    @property
    def encoder(self) -> cards.EncoderCard | None:
        """What is known of its weights; None where it needs none."""
        card = self.card
        return cards.encoder(card.weights[self.options[card.weights_by]]) if card.needs_weights else None

    @property
    def record(self) -> dict:
        """All that the masks depend on, wherever the weights lie."""
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
            **({"weights": self.weights} if self.named else {}),
        }

    def __str__(self) -> str:
        options = ", ".join(f"{key} {value}" for key, value in self.options.items())
        native = ", on the original pictures" if self.pictures == "native" else ""
        return f"{self.generator}{native}" + (f" ({options})" if options else "")


def resolve(feature: str, paths: Paths, *layers: dict) -> Setting:
    """The setting of a feature: `layers` laid over the scale's defaults; a layer with another generator starts anew.

    Raises:
        AvsbenchError: an unknown feature, generator or option, or weights that the configuration names and that do not
            exist.
    """
    known(feature, dict.fromkeys(FEATURES), "inputs.features", "feature")
    chosen = scale_defaults(paths.scale).get(feature, {})
    for layer in layers:
        check(feature, layer)
        other = layer.get("generator", chosen["generator"]) != chosen["generator"]
        chosen = dict(layer) if other else cards.merge(chosen, layer)
    check(feature, chosen)
    card = generator(chosen["generator"])
    options = {**card.options, **chosen.get("options", {})}
    weights, digest = _weights(card, options, chosen.get("weights"), paths)
    return Setting(
        feature=feature,
        generator=card.name,
        version=card.version,
        options=options,
        pictures=chosen.get("pictures", "stored"),
        weights=weights,
        named="weights" in chosen,
        weights_digest=digest,
    )


def check(feature: str, chosen: dict, where: str = "features") -> None:
    """Raise AvsbenchError for a feature, key, generator or option that does not exist; names the nearest one."""
    known(feature, dict.fromkeys(FEATURES), where, "feature")
    for key in chosen:
        known(key, dict.fromkeys(KEYS), f"{where}.{feature}", "key")
    known(chosen.get("pictures", PICTURES[0]), dict.fromkeys(PICTURES), f"{where}.{feature}.pictures", "choice")
    if "generator" not in chosen:
        return
    card = generator(chosen["generator"])
    for option, value in chosen.get("options", {}).items():
        default = known(option, card.options, f"{where}.{feature}.options", f"option of {card.name}")
        if not _fits(value, default):
            raise AvsbenchError(
                f"{where}.{feature}.options.{option}: not of the kind that {card.name} takes",
                found=repr(value),
                expected=f"{type(default).__name__}, such as {default!r}",
            )
    if chosen.get("weights") and not card.needs_weights:
        raise AvsbenchError(f"{where}.{feature}.weights: {card.name} takes no weights", hint="remove the key")


def _fits(value: object, default: object) -> bool:
    """Whether a value is of the kind of an option's default; whole numbers are numbers, None stands for any kind."""
    kinds = (int, float) if isinstance(default, float) else (type(default),)
    return default is None or (isinstance(value, kinds) and not isinstance(value, bool))


def scale_defaults(scale: str) -> dict:
    """Feature -> what `config/scales/<scale>.yaml` chooses."""
    content = yaml.safe_load((cards.PROJECT / "config" / "scales" / f"{scale}.yaml").read_text())
    return content.get("features", {})


def _weights(card: GeneratorCard, options: dict, named: str | None, paths: Paths) -> tuple[str | None, str | None]:
    """The file of the weights and what stands for its content."""
    if not card.needs_weights:
        return None, None
    choice = options[card.weights_by]
    encoder = cards.encoder(known(choice, card.weights, f"features: option {card.weights_by} of {card.name}", "choice"))
    if named is None:
        return paths.weights(encoder.file), encoder.sha256 or encoder.file
    if not Path(named).expanduser().is_file():
        raise AvsbenchError(
            f"{named}: the weights of {card.name} that features.{MASKIGE}.weights names do not exist",
            expected=f"{encoder.file}, about {encoder.size_mb} MB",
            hint=f"get it from {encoder.url}, or name another file, or none, in features.{MASKIGE}.weights",
        )
    return str(Path(named).expanduser()), _digest(Path(named).expanduser(), Path(paths.weights("digests.json")))


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
