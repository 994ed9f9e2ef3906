"""Source digests: what a stage's result depends on in our own code.

A digest covers the syntax trees, without comments and docstrings, of the modules that a stage's entry module imports,
followed through the project. An edit to a loss changes the digest of training; a comment or a table template does not.
"""

import functools
import hashlib
from pathlib import Path

from avsbench import cards
from avsbench.syntax import parsed

PLUMBING = frozenset(
    ["avsbench"]
    + [
        f"avsbench.{name}"
        for name in ("errors", "paths", "atomic", "cards", "plan", "spec", "digest", "cli", "devices")
    ]
    + [
        f"avsbench.{name}"
        for name in ("plan_features", "plan_front_ends", "plan_sources", "features", "features.settings")
    ]
    + [f"avsbench.{name}" for name in ("study_cards", "encoder_cards", "studies", "plan_conditions")]
    + ["avsbench.closed_yaml", "avsbench.provenance", "avsbench.engine.trainlog", "avsbench.engine.trackers"]
    + ["avsbench.datasets.space", "avsbench.store.feature_report"]
)
"""Modules that move files and messages about but decide no number. What cards say reaches a rule by its settings."""

NEGATIVES = "avsbench.store.negatives"
CHOSEN = frozenset([NEGATIVES])
"""Modules that are imported where a setting asks for them: they count where a stage or its `parts` name them."""

STAGES = {
    "acquire": ["avsbench.datasets"],
    "vpo_sources": ["avsbench.datasets.vpo_build.mini_sources"],
    "vpo_candidates": ["avsbench.datasets.vpo_build.candidates"],
    "vpo_audio_pool": ["avsbench.datasets.vpo_build.audio_pool"],
    "vpo_build": ["avsbench.datasets.vpo_build.build"],
    "manifests": ["avsbench.store.manifest"],
    "extract": ["avsbench.store.extract", "avsbench.datasets"],
    "native": ["avsbench.store.native", "avsbench.datasets"],
    "audio": ["avsbench.store.audio"],
    "features": ["avsbench.store.features", "avsbench.datasets"],
    "index": ["avsbench.store.index"],
    "check_split": ["avsbench.store.complete"],
    "verify": ["avsbench.datasets.verify_report", "avsbench.datasets"],
    "negatives": ["avsbench.store.offscreen"],
    "pretrain": ["avsbench.engine.pretrain"],
    "train": ["avsbench.engine.train"],
    "official": ["avsbench.engine.official"],
    "predict": ["avsbench.engine.predict"],
    "conditions": ["avsbench.engine.conditions", NEGATIVES],
    "score": ["avsbench.evaluation.score"],
    "report": ["avsbench.report.leaderboard"],
    "study": ["avsbench.report.study"],
    "figures": ["avsbench.report.figures"],
    "explorer_media": ["avsbench.report.explorer.shared"],
    "explorer": ["avsbench.report.explorer.build"],
}
"""Stage -> entry modules. `train`, `predict` and `conditions` add the files of the method."""

_VPO_TABLES = ["datasets/vpo_build/*.yaml"]
_SHARED_WITH_PAGE = ["report/web/colours.css", "report/web/dom.js"]
DATA_FILES = {
    "report": ["report/*.jinja", "report/*.csv", "report/web/*.jinja", "report/web/*.css", "report/web/*.js"],
    "study": ["report/*.jinja"],
    "figures": ["report/*.csv"],
    "explorer": [*(f"report/explorer/*.{kind}" for kind in ("jinja", "css", "js")), *_SHARED_WITH_PAGE],
    **dict.fromkeys(("vpo_sources", "vpo_candidates", "vpo_audio_pool", "vpo_build"), _VPO_TABLES),
}
"""Files beside the code, relative to the package, that a stage renders."""


@functools.cache
def stage(name: str, method: str | None = None, parts: tuple[str, ...] = ()) -> str:
    """Digest (16 hex digits) of everything that stage `name` and the modules `parts` import.

    With `method`, of that method's folder too. `parts` are what a stage imports by name, chosen by its settings.
    """
    entries = (*STAGES[name], *parts)
    modules: dict[str, Path] = {}
    others = (PLUMBING | CHOSEN) - set(entries)
    for entry in entries:
        if _file(entry) is None:
            raise LookupError(f"stage {name!r} names the module {entry}, which does not exist")
        _collect(entry, modules, others)
    if method is not None:
        folder = cards.method_cards()[method].path.parent
        for path in sorted(folder.glob("*.py")):
            modules[f"models.{method}.{path.stem}"] = path
            for imported in _imports(path, None):
                _collect(imported, modules, others)
    for module in list(modules):
        # Packages above a module run when it is imported; what they import for others is none of its business.
        while path := _file(module := module.rpartition(".")[0]):
            if module not in PLUMBING:
                modules.setdefault(module, path)
    digest, made_of = hashlib.sha256(), {}
    for module, path in sorted(modules.items()):
        digest.update(f"{module}\n{source(path)}\n".encode())
        made_of[module] = _short(source(path))
    for pattern in DATA_FILES.get(name, []):
        for path in sorted(cards.PACKAGE.glob(pattern)):
            digest.update(f"{path.name}\n".encode() + path.read_bytes())
            made_of[path.name] = _short(path.read_text())
    _made[digest.hexdigest()[:16]] = made_of
    return digest.hexdigest()[:16]


_made: dict[str, dict[str, str]] = {}


def made() -> dict[str, dict[str, str]]:
    """Every digest that this process computed -> module (or file) -> digest of its source (8 hex digits)."""
    return _made


@functools.cache
def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def file_digest(path: str | Path) -> str:
    """sha256 of a file of any kind."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source(path: Path) -> str:
    """The code of a file without comments, docstrings and layout."""
    return _parsed(path)[0]


_parsed = functools.cache(parsed)


def _collect(module: str, found: dict[str, Path], others: frozenset[str]) -> None:
    """Add `module` and the project modules that it imports, at any depth of the file, to `found`; none of `others`."""
    path = _file(module)
    if path is None or module in found or module in others:
        return
    found[module] = path
    for imported in _imports(path, module):
        _collect(imported, found, others)


@functools.cache
def _file(module: str) -> Path | None:
    """The file of a project module, None for anything else."""
    parts = module.split(".")
    if parts[0] != "avsbench":
        return None
    base = cards.PACKAGE.joinpath(*parts[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@functools.cache
def _imports(path: Path, module: str | None) -> tuple[str, ...]:
    """Names that may be modules and that a file imports anywhere; `from a import b` gives both a and a.b."""
    names: list[str] = []
    package = None
    if module is not None:
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for level, base, imported in _parsed(path)[1]:
        if level:
            if package is None:
                continue  # a method folder's own files are listed one by one
            parents = package.split(".")[: len(package.split(".")) - level + 1]
            base = ".".join([*parents, base] if base else parents)
        names += [base, *(f"{base}.{name}" for name in imported)]
    return tuple(names)
