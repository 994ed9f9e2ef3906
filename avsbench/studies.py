"""Studies in a plan: their rows checked against the cards, and the runs that their tables need."""

import ast
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from avsbench import cards
from avsbench.closed_yaml import known, place
from avsbench.errors import AvsbenchError
from avsbench.features import FEATURES, generators, settings
from avsbench.media import front_ends
from avsbench.metrics import METRICS, metric
from avsbench.study_cards import Study, study

__all__ = ["Line", "Study", "check", "lines", "study", "variants"]


@dataclass(frozen=True)
class Line:
    """A row of a study on a data set.

    Attributes:
        table: number of its table among those of the data set, from 0.
        row: its name in the study.
        base: the variant that it changes.
        variant: what runs; `base` itself where nothing is changed.
    """

    dataset: str
    table: int
    row: str
    base: str
    variant: str


def lines(found: Study, same: Callable[[str, str, str], bool]) -> list[Line]:
    """Every row on every data set, in the order of the page.

    Args:
        same: whether on a data set a variant is what another one is: a row that says what holds anyway is no run of
            its own.
    """
    every = []
    for dataset in found.datasets:
        for table, group in enumerate(found.groups):
            for row, base in group:
                variant = found.variant(row, base)
                if variant != base and dataset in cards.variant(base).datasets and same(dataset, variant, base):
                    variant = base
                every.append(Line(dataset, table, row, base, variant))
    return every


def variants(found: Study | None) -> dict[str, cards.Variant]:
    """Name -> variant of every row that changes something."""
    names = [found.variant(row, base) for group in found.groups for row, base in group] if found else []
    return {name: cards.variant(name) for name in names if "@" in name}


def check(found: Study) -> None:
    """Find what would only fail in the middle of a run.

    Raises:
        AvsbenchError: a name that no card, method or metric knows; says file, line and the nearest valid name.
    """
    named = [name for name, row in found.rows.items() if "variant" in row]
    if named if found.variants else len(named) < len(found.rows):
        raise AvsbenchError(
            f"{found.path}: which variant do the rows change?",
            found=f"variants: {found.variants or 'none'}; rows that name one: {', '.join(named) or 'none'}",
            expected="`variants` for all rows, or a `variant` in each row",
        )
    _all_known(found, found.datasets, ["datasets"], cards.dataset_cards(), "data set")
    _all_known(found, found.variants, ["variants"], cards.variants(), "variant")
    for index, name in enumerate(found.columns):
        try:
            metric(name)
        except KeyError:
            known(name, METRICS, f"{place(found.path, ['columns', index])}: columns", "metric")
    for name, row in found.rows.items():
        _check_row(found, name, row)


def _check_row(found: Study, name: str, row: dict) -> None:
    at = ["rows", name]
    if "variant" in row:
        _all_known(found, [row["variant"]], [*at, "variant"], cards.variants(), "variant")
    for role, choice in row.get("encoders", {}).items():
        choices = choice if isinstance(choice, dict) else {"default": choice}
        _all_known(found, filter(None, choices.values()), [*at, "encoders", role], cards.encoder_cards(), "encoder")
        _all_known(found, set(choices) - {"default"}, [*at, "encoders", role], cards.dataset_cards(), "data set")
    heard = row.get("inputs", {}).get("front_ends", [])
    for dataset, ends in heard.items() if isinstance(heard, dict) else [(None, heard)]:
        place_of = [*at, "inputs", "front_ends", *filter(None, [dataset])]
        strange = [end for end in ends if not front_ends.has_family(end)]
        _all_known(found, strange, place_of, front_ends.FRONT_ENDS, "front end")
    _all_known(found, row.get("arrays", {}), [*at, "arrays"], cards.dataset_cards(), "data set")
    for dataset, arrays in row.get("arrays", {}).items():
        _all_known(found, arrays, [*at, "arrays", dataset], front_ends.FRONT_ENDS, "front end")
    for scale, recipes in row.get("recipes", {}).items():
        _all_known(found, set(recipes) - {"default"}, [*at, "recipes", scale], cards.dataset_cards(), "data set")
    for feature, chosen in row.get("features", {}).items():
        within = [*at, "features", feature]
        names = [chosen["generator"]] if "generator" in chosen else []
        _all_known(
            found,
            names,
            [*within, "generator"],
            generators(feature),
            "mask generator" if FEATURES[feature].of_masks else "generator",
        )
        settings.check(feature, chosen, f"{place(found.path, within)}: {'.'.join(within[:-1])}")
    for base in [row["variant"]] if "variant" in row else found.variants:
        method = cards.variant(base).method
        roles = dict.fromkeys(role for variant in method.variants.values() for role in variant.encoders)
        _all_known(found, row.get("encoders", {}), [*at, "encoders"], roles, f"role of an encoder of {base}")
        arguments = _build_arguments(method.path.parent / "model.py")
        if arguments is not None:
            _all_known(found, row.get("options", {}), [*at, "options"], dict.fromkeys(arguments), f"option of {base}")


def _all_known(found: Study, names: Iterable[str], at: list, table: dict, kind: str) -> None:
    """Each name is in `table`; errors name the line of the name, or of the list that it stands in."""
    for name in names:
        if name not in table:
            known(name, table, f"{place(found.path, [*at, name])}: {'.'.join(at)}", kind)


@functools.cache
def _build_arguments(file: Path) -> tuple[str, ...] | None:
    """What `build` of a method takes from the options of a card; None where that shows only when it is called."""
    if not file.is_file():
        return None
    for node in ast.parse(file.read_text(), filename=str(file)).body:
        if isinstance(node, ast.FunctionDef) and node.name == "build" and node.args.kwarg is None:
            names = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
            return tuple(name for name in names if name not in ("dataset", "scale", "image_size"))
    return None
