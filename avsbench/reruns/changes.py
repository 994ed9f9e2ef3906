"""Snakemake's reasons and parameters in the words of somebody who runs experiments."""

import ast
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SENTENCES = {
    "Missing output files:": "missing",
    "Incomplete output files:": "missing",
    "Updated input files:": "newer",
    "Input files updated by another job:": "follows",
    "Set of input files has changed": "inputs",
    "Code has changed": "command",
    "Params have changed": "params",
    "Software environment definition has changed": "software",
}
"""How Snakemake begins each sentence of a reason -> kind of the change."""
LONGEST = 100
MODULES = 6


@dataclass(frozen=True)
class Change:
    """Attributes:
    kind: one of the values above; of parameters `code`, `recipe`, `network` (options, encoders, inputs, image size of
        a run) or `settings`; `other` for words of Snakemake that are not known here.
    words: what changed.
    """

    kind: str
    words: str


def changes(reason: str, made: Mapping[str, dict], known: Mapping[str, dict]) -> list[Change]:
    """What a reason says.

    Args:
        reason: of Snakemake.
        made: source digest -> modules, of today.
        known: the same of earlier workflows.
    """
    starts = "|".join(map(re.escape, SENTENCES))
    found = []
    for sentence in re.split(rf"; (?={starts})", reason):
        kind = next((kind for start, kind in SENTENCES.items() if sentence.startswith(start)), "other")
        files = _listed(sentence.partition(": ")[2])
        match kind:
            case "missing":
                found.append(Change(kind, f"missing: {files}"))
            case "newer":
                found.append(Change(kind, f"newer than what was made of it: {files}"))
            case "follows":
                found.append(Change(kind, "what it reads is made again"))
            case "inputs":
                found.append(Change(kind, "it reads other files than then"))
            case "command":
                found.append(Change(kind, "the command of its rule changed"))
            case "software":
                found.append(Change(kind, "environment.yml, or how it is deployed, changed"))
            case "params":
                found += _parameters(sentence, {**known, **made}) or [Change("other", _short(sentence))]
            case _ if sentence:
                found.append(Change("other", _short(sentence)))
    return found


def code_change(before: str, now: str, known: Mapping[str, dict], commit: str | None = None) -> Change:
    """What the modules behind two source digests say; where they were not recorded, the commit of then must do."""
    if before not in known or now not in known:
        since = f" since commit {commit[:7]}" if commit else ""
        return Change("code", f"the code changed{since} (which modules, was not recorded then)")
    old, new = known[before], known[now]
    names = [f"{name} (new)" for name in new if name not in old]
    names += [f"{name} (gone)" for name in old if name not in new]
    names = sorted(name for name in new if name in old and old[name] != new[name]) + sorted(names)
    more = f" and {len(names) - MODULES} more" if len(names) > MODULES else ""
    return Change("code", f"the code changed: {', '.join(names[:MODULES])}{more}")


def differences(old: object, new: object, name: str = "") -> Iterator[str]:
    """Keys, nested ones with dots, with the value before and now."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
    elif old != new:
        yield f"{name} {_value(old)} → {_value(new)}".strip()


def _parameters(sentence: str, known: Mapping[str, dict]) -> list[Change]:
    """Parameters that differ; they come without names, each as Python writes it, so their form tells what they are."""
    before, now = _before_and_now(sentence)
    found = []
    for form in (_code, _mapping, _options):
        old, new = ([each for each in side if form(each) is not None] for side in (before, now))
        before, now = ([each for each in side if form(each) is None] for side in (before, now))
        if form is _code:
            found += [code_change(a, b, known) for b in new for a in old]
        else:
            found += _paired([form(each) for each in old], [form(each) for each in new])
    if before or now:
        old, new = (", ".join(map(_value, side)) or "nothing" for side in (before, now))
        found.append(Change("settings", f"settings: {old} → {new}"))
    return found


def _before_and_now(sentence: str) -> tuple[list, list]:
    """Both sides of a sentence about parameters; twice nothing where it has another form."""
    text = sentence.partition("before: ")[2].strip()
    for place in re.finditer(" now: ", text):  # a parameter may hold these letters too
        with contextlib.suppress(ValueError, SyntaxError):
            return _literals(text[: place.start()]), _literals(text[place.end() :])
    return [], []


def _literals(text: str) -> list:
    values = [] if text == "<nothing exclusive>" else ast.literal_eval(f"[{text}]")
    return [value for value in values if value not in ("", [])]


def _code(value: object) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{16}", value) else None


def _mapping(value: object) -> dict | None:
    """A JSON object: a recipe, settings; the last of a list is what an option of a verb says."""
    if isinstance(value, list) and value and str(value[0]).startswith("--"):
        inner = _mapping(value[-1])
        return {str(value[0]).lstrip("-"): inner} if inner is not None else None
    try:
        content = json.loads(value) if isinstance(value, str) and value.startswith("{") else None
    except ValueError:
        return None
    return content


def _options(value: object) -> dict | None:
    """Options of a verb, as it is called."""
    if not isinstance(value, str) or not value.startswith("--"):
        return None
    pairs = re.findall(r"--([\w-]+)(?: (?!--)(\S+))?", value)
    return dict(pairs)


def _paired(old: list[dict], new: list[dict]) -> Iterator[Change]:
    """Each object of now beside the one of before that has most keys in common with it."""
    for after in new:
        before = max(old, key=lambda each: len(each.keys() & after.keys()), default={})
        before = before if before.keys() & after.keys() else {}
        old = [each for each in old if each is not before]
        kind = _kind(after)
        yield Change(kind, f"{TITLES[kind]}: {_short(', '.join(differences(before, after)), 3 * LONGEST)}")
    for before in old:
        kind = _kind(before)
        yield Change(kind, f"{TITLES[kind]}: {_short(', '.join(differences(before, {})), 3 * LONGEST)}")


TITLES = {
    "recipe": "the recipe changed",
    "network": "options, inputs or encoders changed",
    "roots": "scale, size or folders changed",
    "settings": "settings changed",
}


def _kind(content: dict) -> str:
    if {"epochs", "optimizer", "select"} & content.keys():
        return "recipe"
    if {"encoders", "features", "array"} & content.keys():
        return "network"
    return "roots" if {"data-root", "weights-root"} & content.keys() else "settings"


def _listed(files: str) -> str:
    names = files.split(", ")
    return names[0] + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")


def _value(value: object) -> str:
    return "nothing" if value is None else _short(json.dumps(value, default=str))


def _short(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
