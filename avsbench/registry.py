"""Card -> network: method folders loaded by file path, weights put in strictly.

A method folder is imported as a package of its own, so `model.py` may write `from .loss import …` for its sibling
files; nothing has to be installed or on the import path.
"""

import hashlib
import importlib
import inspect
import json
import sys
import traceback
import types
from collections.abc import Iterable
from pathlib import Path

import yaml
from torch import Tensor

from avsbench import cards
from avsbench.cards import DatasetCard, MethodCard, Variant
from avsbench.contract import Method
from avsbench.errors import AvsbenchError
from avsbench.nn.states import misfits
from avsbench.paths import Paths

SIGNATURE = "build(*, dataset: DatasetCard, scale: str, image_size: int, **options) -> Method"


# building


def build(variant: str | Variant, dataset: str | DatasetCard, scale: str, image_size: int) -> Method:
    """A network with random weights, as the method's `model.py` builds it.

    Raises:
        AvsbenchError: the folder has no usable `build`, or what it returns breaks the contract; says where to mend it.
    """
    variant = cards.variant(variant) if isinstance(variant, str) else variant
    dataset = cards.dataset(dataset) if isinstance(dataset, str) else dataset
    card = variant.method
    file = card.path.parent / "model.py"
    function = getattr(method_module(card), "build", None)
    if not callable(function):
        raise AvsbenchError(f"{file}: no function `build`", expected=SIGNATURE, hint="add it to the end of the file")
    arguments = {"dataset": dataset, "scale": scale, "image_size": image_size, **variant.options}
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise AvsbenchError(
            f"{file}: build does not take what the card gives it",
            found=f"{error}; the card's options of {variant.name}: {variant.options}",
            expected=SIGNATURE,
            hint=f"change the parameters of build, or variants.{variant.name}.options in {card.path}",
        ) from None
    method = function(**arguments)
    _check_method(method, file, card, dataset)
    return method


def method_module(card: MethodCard) -> types.ModuleType:
    """The module `model.py` of a method folder, imported once under a name that no other folder has."""
    folder = card.path.resolve().parent
    package = f"avsbench_method_{card.name}_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    name = f"{package}.model"
    if name in sys.modules:
        return sys.modules[name]
    file = folder / "model.py"
    if not file.is_file():
        raise AvsbenchError(f"{folder}: a method needs model.py", expected=SIGNATURE, hint="see models/_template")
    parent = types.ModuleType(package)
    parent.__path__ = [str(folder)]
    sys.modules[package] = parent
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except AvsbenchError:
        raise
    except Exception as error:
        for loaded in [key for key in sys.modules if key == package or key.startswith(f"{package}.")]:
            del sys.modules[loaded]
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(folder))]
        line = getattr(error, "lineno", None) or (frames[-1].lineno if frames else "?")
        where = frames[-1].filename if frames else getattr(error, "filename", None) or file
        raise AvsbenchError(f"{where}:{line}: cannot be imported", found=f"{type(error).__name__}: {error}") from error


def _check_method(method: object, file: Path, card: MethodCard, dataset: DatasetCard) -> None:
    if not isinstance(method, Method):
        raise AvsbenchError(
            f"{file}: build returned something else than a method",
            found=type(method).__name__,
            expected="an instance of a subclass of avsbench.contract.Method",
        )
    needed = ["forward", "scores", *(["loss"] if card.trainable else [])]
    absent = [name for name in needed if getattr(type(method), name) is getattr(Method, name)]
    if absent:
        raise AvsbenchError(
            f"{file}: {type(method).__name__} lacks {' and '.join(absent)}",
            expected=f"definitions of {', '.join(needed)}",
            hint="avsbench/contract.py says what each takes and returns",
        )
    channels = (1, 2) if dataset.task == "binary" else (dataset.num_classes,)
    if method.channels not in channels:
        raise AvsbenchError(
            f"{file}: {type(method).__name__}.channels does not fit {dataset.name}",
            found=method.channels,
            expected=f"{' or '.join(map(str, channels))} ({dataset.task} task)",
            hint="set self.channels = dataset.num_classes in build",
        )


# weights


def load_encoders(
    method: Method,
    variant: Variant,
    dataset: str,
    scale: str,
    paths: Paths,
    external_only: bool = False,
    carried: Iterable[str] = (),
) -> None:
    """Put pretrained weights into the encoders that the variant's card names.

    Args:
        dataset: the run's; encoders may differ between data sets.
        external_only: load frozen encoders alone; the trained ones come with a run's weights.
        carried: names of tensors that come from elsewhere; a frozen encoder among them needs no file of its own.
    """
    from avsbench.nn.weights import load_encoder

    roles, loaded = method.encoders(), variant.loaded_on(dataset, scale)
    method.random_encoders = frozenset(roles) - set(loaded)
    unknown = sorted(set(loaded) - set(roles))
    if unknown:
        raise AvsbenchError(
            f"{variant.method.path}: variants.{variant.name}.encoders names a role that the network does not have",
            found=", ".join(unknown),
            expected=f"one of {', '.join(roles) or 'none: encoders() returns nothing'}",
            hint=f"encoders() in {variant.method.path.parent / 'model.py'} maps roles to modules",
        )
    carried, prefixes = list(carried), {id(module): f"{name}." for name, module in method.named_modules()}
    for role, name in loaded.items():
        frozen = not any(p.requires_grad for p in roles[role].parameters())
        comes = any(key.startswith(prefixes[id(roles[role])]) for key in carried)
        if not (frozen and comes) and (frozen or not external_only):
            load_encoder(roles[role], cards.encoder(name), scale, paths)


def load_own(method: Method, state: dict[str, Tensor], where: object, keys: set[str] | None = None) -> None:
    """Load everything but the external encoders that `state` leaves out, strictly.

    Args:
        state: tensors by our names.
        where: file that errors name.
        keys: the keys to fill; by default those of `carried_state`.
    """
    full = method.state_dict()
    expected = {key: full[key] for key in keys} if keys is not None else method.carried_state(state)
    found = misfits(state, expected)
    if found:
        raise AvsbenchError(
            f"{where}: the weights do not fit {type(method).__name__}",
            found="\n            ".join(found),
            expected=f"{len(expected)} tensors",
            hint="check variant, data set and scale; weights of an older network have to be trained again",
        )
    method.load_state_dict(state, strict=False)


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """(state, description) of a run's `weights.safetensors`; the description is {} for files of another origin."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise AvsbenchError(f"{path}: no such weights", hint="train the run first, or give another path")
    try:
        with safe_open(str(path), framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
            return state, json.loads((file.metadata() or {}).get("run", "{}"))
    except (SafetensorError, OSError) as error:
        raise AvsbenchError(
            f"{path}: cannot be read", found=error, expected="a safetensors file", hint="remove it and train again"
        ) from None


def check_weights(path: str | Path, keys: set[str]) -> None:
    """Open a weights file again: every tensor is there and finite."""
    import torch

    state, _ = read_weights(path)
    if set(state) != keys:
        raise AvsbenchError(f"{path}: written incompletely", found=f"{len(state)} tensors", expected=f"{len(keys)}")
    broken = [key for key, value in state.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if broken:
        raise AvsbenchError(
            f"{path}: weights that are not finite",
            found=", ".join(broken[:5]),
            hint="lower the learning rate; the training log shows when it went wrong",
        )


def load_official(
    method: Method, variant: Variant, dataset: DatasetCard, paths: Paths
) -> tuple[str, dict[str, Tensor]]:
    """Read the authors' checkpoint of a run, convert its names and load it strictly.

    Returns:
        The file, and what it held by our names; frozen encoders may be among it.

    Raises:
        AvsbenchError: the card names no checkpoint, the file is missing, or its tensors do not fit; says which.
    """
    from avsbench.nn.containers import read_container

    file = official_file(variant, dataset, paths)
    official = variant.method.official
    if not Path(file).is_file():
        place = official.get("url") or official.get("note")
        raise AvsbenchError(
            f"{file}: the authors' checkpoint of {variant.name} on {dataset.name} is missing",
            expected=f"{Path(file).name}" + (f", sha256 {official['sha256']}" if official.get("sha256") else ""),
            hint=(f"get it from {place} and " if official.get("url") else f"{place}; " if place else "")
            + f"put it at {file}",
        )
    state = method.convert_official(read_container(file))
    load_own(method, state, file)
    return file, state


def official_file(variant: Variant, dataset: DatasetCard, paths: Paths) -> str:
    """Where the authors' checkpoint of a run is expected."""
    official = variant.method.official
    if official is None:
        raise AvsbenchError(
            f"{variant.method.path}: the card names no official checkpoint",
            expected="official: {file: …}",
            hint="seed `official` exists for methods whose authors published weights",
        )
    return paths.weights("official/" + official["file"].format(variant=variant.base, dataset=dataset.name))


def load_method(
    variant: str | Variant,
    dataset: str | DatasetCard,
    *,
    scale: str,
    image_size: int,
    paths: Paths,
    weights: str | Path | None = None,
) -> Method:
    """A network ready to predict (eval mode, CPU): frozen encoders from their files, the rest from `weights`.

    Args:
        weights: a run's safetensors file; None for a method without training.
    """
    variant = cards.variant(variant) if isinstance(variant, str) else variant
    dataset = cards.dataset(dataset) if isinstance(dataset, str) else dataset
    if weights is None and variant.method.trainable:
        raise AvsbenchError(f"{variant.name} predicts with trained weights", hint="train it, or name a weights file")
    method = build(variant, dataset, scale, image_size)
    state = {} if weights is None else read_weights(weights)[0]
    load_encoders(method, variant, dataset.name, scale, paths, external_only=weights is not None, carried=state)
    if weights is not None:
        load_own(method, state, weights)
    return method.eval()


def scale_image_size(scale: str) -> int:
    """Side of the stored frames at a scale, in pixels, unless a configuration says otherwise."""
    return yaml.safe_load((cards.PROJECT / "config" / "scales" / f"{scale}.yaml").read_text())["image_size"]
