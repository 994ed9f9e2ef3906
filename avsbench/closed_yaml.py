"""YAML files checked against closed schemas, with errors that name file, line and nearest key.

No torch and no librosa here: the workflow imports this module each time it plans.
"""

import difflib
import functools
from pathlib import Path

import jsonschema
import referencing
import yaml

from avsbench.errors import AvsbenchError

SCHEMAS = Path(__file__).resolve().parent / "schemas"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Each plan reads every card: libyaml, where PyYAML was built with it, takes a tenth of the time."""


def known(name: str, table: dict, where: str, kind: str):
    """`table[name]`, or an error that names the nearest entry."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(str(name), table, n=1, cutoff=0.4)
    raise AvsbenchError(
        f"{where}: unknown {kind} {name!r}",
        expected=f"one of {', '.join(sorted(table))}",
        hint=f"did you mean {near[0]!r}?" if near else "`avsbench list` prints what exists",
    )


def read_yaml(path: Path, schema: str, partial: bool = False) -> dict:
    """A YAML file, checked against `avsbench/schemas/<schema>.yaml`; errors name file, line and nearest key.

    A `partial` file may leave out required keys: it is laid over another.
    """
    text = Path(path).read_text()
    try:
        loader = LOADER(text)
        node = loader.get_single_node()
        content = loader.construct_document(node) if node else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise AvsbenchError(f"{where}: not valid YAML: {getattr(error, 'problem', error)}") from None
    validate(content, schema, path, node, partial)
    return content


def place(path: Path, keys: list) -> str:
    """`file:line` of an entry of a YAML file, for errors about what no schema knows."""
    return _at(path, _line(yaml.compose(Path(path).read_text()), keys))


@functools.cache
def _schema(name: str) -> dict:
    """A schema; `method#recipe` is the definition `recipe` in that of method cards."""
    name, _, part = name.partition("#")
    schema = yaml.load((SCHEMAS / f"{name}.yaml").read_text(), LOADER)
    return {"$ref": f"#/$defs/{part}", "$defs": schema["$defs"]} if part else schema


def _resource(name: str) -> referencing.Resource:
    return referencing.Resource.from_contents(_schema(name), referencing.jsonschema.DRAFT202012)


_SCHEMAS = referencing.Registry(retrieve=_resource)
"""Lets one schema refer to a part of another: `$ref: "method#/$defs/recipe"`."""


def validate(content: object, schema: str, where: object, node: yaml.Node | None = None, partial: bool = False) -> None:
    """Check `content` against a closed schema; raises AvsbenchError for the first fault in reading order."""
    validator = jsonschema.Draft202012Validator(_schema(schema), registry=_SCHEMAS)
    errors = (e for e in validator.iter_errors(content) if not (partial and e.validator == "required"))
    faults = [(_line(node, list(error.absolute_path)), error) for error in errors]
    if not faults:
        return
    _, error = min(faults, key=lambda pair: (pair[0] or 0, len(pair[1].absolute_path)))
    path = list(error.absolute_path)
    place = ".".join(map(str, path)) or "top level"
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        allowed = list(error.schema.get("properties", {}))
        stray = next(key for key in error.instance if key not in allowed)
        line = _line(node, [*path, stray])
        near = difflib.get_close_matches(str(stray), allowed, n=1, cutoff=0.4)
        raise AvsbenchError(
            f"{_at(where, line)}: unknown key {stray!r} in {place}",
            expected=f"one of {', '.join(allowed)}",
            hint=f"did you mean {near[0]!r}?" if near else "remove the key",
        )
    raise AvsbenchError(f"{_at(where, _line(node, path))}: {place}: {error.message}")


def _at(where: object, line: int | None) -> str:
    return f"{where}:{line}" if line else str(where)


def _line(node: yaml.Node | None, path: list) -> int | None:
    """Line (from 1) of the deepest part of `path` that the YAML tree has."""
    if node is None:
        return None
    line = node.start_mark.line + 1
    for step in path:
        if isinstance(node, yaml.MappingNode):
            pairs = [(k, v) for k, v in node.value if k.value == str(step)]
            if not pairs:
                break
            key, node = pairs[0]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode):  # a step is a position or a word of the list
            items = [item for index, item in enumerate(node.value) if step in (index, item.value)]
            if not items:
                break
            node = items[0]
            line = node.start_mark.line + 1
        else:
            break
    return line


def value_on(value: object, dataset: str | None) -> object:
    """What counts on a data set, of a value that may be one for all or {default: …, <data set>: …}."""
    return value.get(dataset, value["default"]) if isinstance(value, dict) and "default" in value else value
