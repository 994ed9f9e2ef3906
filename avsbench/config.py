"""The configuration file: read, laid over, and checked against its schema and the cards. No torch here."""

import re
from pathlib import Path

from avsbench import cards, studies
from avsbench.closed_yaml import read_yaml, validate
from avsbench.errors import AvsbenchError
from avsbench.features import settings
from avsbench.media import front_ends


def load_config(path: str | Path, override: dict | None = None) -> dict:
    """The configuration file with `override` laid over it, checked against its schema."""
    path = Path(path)
    if not path.is_file():
        raise AvsbenchError(
            f"{path}: no such configuration",
            found=f"folder {Path.cwd()}",
            hint="run from the top folder of the project, or name the file with --config",
        )
    config = read_yaml(path, "config")
    return check_config(cards.merge(config, override or {}), path)


def check_config(config: dict, where: object = "config/config.yaml") -> dict:
    """Check a configuration (schema, then names against the cards) and return it."""
    if isinstance(config.get("seeds"), list):
        # `--config seeds=[1]` hands the numbers over as text.
        seeds = [int(seed) if isinstance(seed, str) and seed.isdigit() else seed for seed in config["seeds"]]
        config = {**config, "seeds": seeds}
    if isinstance(config.get("vpo_sources"), dict):  # numbers within a mapping come as text as well
        texts = ("coco", "vggsound", "masks")
        sources = {key: v if key in texts else _value(v) for key, v in config["vpo_sources"].items()}
        config = {**config, "vpo_sources": sources}
    for key in ("overrides", "features"):
        if isinstance(config.get(key), dict):
            config = {**config, key: _value(config[key])}
    if config.get("allow_incomplete") in ("true", "false"):  # Snakemake reads True and False alone as truth values
        config = {**config, "allow_incomplete": config["allow_incomplete"] == "true"}
    validate(config, "config", where)
    for dataset, variants in config["runs"].items():
        cards.known(dataset, cards.dataset_cards(), f"{where}: runs", "data set")
        for variant in variants:
            cards.known(variant, cards.variants(), f"{where}: runs.{dataset}", "variant")
    for dataset, arrays in config.get("arrays", {}).items():
        cards.known(dataset, cards.dataset_cards(), f"{where}: arrays", "data set")
        for front_end in arrays:
            cards.known(front_end, front_ends.FRONT_ENDS, f"{where}: arrays.{dataset}", "front end")
    for feature, chosen in config.get("features", {}).items():
        settings.check(feature, chosen, f"{where}: features")
    for dataset in config.get("roots", {}):
        cards.known(dataset, cards.dataset_cards(), f"{where}: roots", "data set")
    for dataset in config.get("mirrors", {}):
        cards.known(dataset, cards.dataset_cards(), f"{where}: mirrors", "data set")
    for target, recipe in config.get("overrides", {}).items():
        cards.known(target, cards.variants(), f"{where}: overrides", "variant")
        validate(recipe, "method#recipe", f"{where}: overrides.{target}")
    if "study" in config:
        studies.check(studies.study(config["study"]))
    return config


def _value(item: object) -> object:
    """The number or truth value that a text spells; anything else as it is, in nested mappings and lists too."""
    if isinstance(item, dict):
        return {key: _value(inner) for key, inner in item.items()}
    if isinstance(item, list):
        return [_value(inner) for inner in item]
    if not isinstance(item, str):
        return item
    if re.fullmatch(r"-?\d+", item):
        return int(item)
    if re.fullmatch(r"-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", item, re.IGNORECASE):
        return float(item)
    return {"true": True, "false": False}.get(item, item)
