"""The Python face: `load` gives a trained or official model that predicts clips and videos of one's own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avsbench import cards, registry
from avsbench.cards import DatasetCard, Variant
from avsbench.contract import Batch, Method
from avsbench.errors import AvsbenchError
from avsbench.evaluation.ensemble import Ensemble, member_files
from avsbench.features import MASKIGE, PROPOSALS, Deriver, Generator, build
from avsbench.features.maskige import coloured
from avsbench.features.settings import Setting, check_readers, resolve
from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FRONT_ENDS
from avsbench.media.images import resize_image
from avsbench.media.sound import Sound, read_wav
from avsbench.nn.precision import float32
from avsbench.paths import Paths
from avsbench.store.features import derived
from avsbench.store.masks import stacked


def load(
    variant: str,
    dataset: str = "s4",
    weights: str | Path | None = None,
    *,
    scale: str | None = None,
    image_size: int | None = None,
    seed: int = 0,
    ensemble: bool = False,
    device: str = "auto",
    features: dict | None = None,
    results_root: str | Path | None = None,
    weights_root: str | Path | None = None,
) -> "Predictor":
    """A model with `predict(frames, wav)`.

    Args:
        variant: as `avsbench list` prints it.
        dataset: decides classes and preprocessing: s4, ms3, avss, …
        weights: a run's weights.safetensors; "official" for the authors' checkpoint; None for the run that the suite
            trained with `seed` (of scale full if there is one, else mini).
        ensemble: predict with the best epochs of that run together (recipe key `keep_best`).
        scale, image_size: by default what the weights were trained with.
        features: feature -> what makes it, as in the configuration; by default what made those that the training saw,
            or, where nothing was trained, what scale, card and the row of a study choose.
        results_root, weights_root: by default the folders of the project, whatever the working directory.
    """
    from avsbench.devices import pick_device

    chosen, card = cards.variant(variant), cards.dataset(dataset)
    roots = {
        "results_root": str(results_root or cards.PROJECT / "results"),
        "weights_root": str(weights_root or cards.PROJECT / "weights"),
    }
    official = weights == "official"
    if ensemble and weights is not None:
        raise AvsbenchError(
            "load: an ensemble has its own weights", found=f"weights={weights}", hint="leave weights out"
        )
    if weights is None and chosen.method.trainable:
        weights = _trained(chosen, card, seed, roots, [scale] if scale else ["full", "mini"])
    described = {} if weights is None or official else registry.read_weights(weights)[1]
    scale = scale or described.get("scale", "full")
    image_size = image_size or described.get("image_size") or registry.scale_image_size(scale)
    paths = Paths(scale, **roots)
    if official:
        method = registry.build(chosen, card, scale, image_size)
        _, state = registry.load_official(method, chosen, card, paths)
        registry.load_encoders(method, chosen, dataset, scale, paths, external_only=True, carried=state)
        method.eval()
    else:
        files = member_files(paths, card.name, chosen.name, seed) if ensemble else [weights]
        known = {"scale": scale, "image_size": image_size, "paths": paths}
        members = [registry.load_method(chosen, card, **known, weights=file) for file in files]
        method = Ensemble(members, chosen.method.vote) if ensemble else members[0]
    device = pick_device(device)
    for name in features or {}:
        cards.known(name, dict.fromkeys(chosen.features), "features", f"feature of {chosen.name}")
    wanted = {**described.get("features", {}), **(features or {})}
    said, studied = chosen.feature_settings, chosen.changes.get("features", {})
    settings = {
        name: resolve(name, paths, studied.get(name, {}), wanted.get(name, {}), card=said.get(name))
        for name in chosen.features
    }
    check_readers(chosen, settings, scale)
    return Predictor(method, chosen, card, image_size, device, generators_of(settings, str(device), scale, dataset))


def generators_of(
    settings: dict[str, Setting], device: str, scale: str, dataset: str
) -> dict[str, tuple[Setting, Generator | Deriver]]:
    """Feature -> what makes it, ready to run.

    Raises:
        AvsbenchError: the features were read from files, which nobody has made of one's own pictures, or weights are
            missing.
    """
    for name, setting in settings.items():
        if setting.card.module is None:
            raise AvsbenchError(
                f"the {name}s that this run saw were read from files",
                found=str(setting),
                expected="a generator",
                hint=f'name one: load(…, features={{"{name}": {{"generator": "semantic_sam"}}}}), '
                f'or predict-video … --features \'{{"{name}": {{"generator": "semantic_sam"}}}}\'',
            )
    return {
        name: (setting, build(setting.card, setting.options, setting.weights, device, scale, dataset))
        for name, setting in settings.items()
    }


def _trained(variant: Variant, dataset: DatasetCard, seed: int, roots: dict, scales: list[str]) -> str:
    files = [Paths(scale, **roots).run_weights(dataset.name, variant.name, seed) for scale in scales]
    for file in files:
        if Path(file).is_file():
            return file
    raise AvsbenchError(
        f"no trained weights of {variant.name} on {dataset.name}, seed {seed}",
        expected=" or ".join(files),
        hint="run the workflow first, or give weights= a path or 'official'",
    )


class Predictor:
    """A loaded method for one's own clips.

    Attributes:
        method: the network, in eval mode.
        classes: names by class id; empty for a binary task.
    """

    def __init__(
        self,
        method: Method,
        variant: Variant,
        dataset: DatasetCard,
        image_size: int,
        device: torch.device,
        generators: dict[str, tuple[Setting, Generator | Deriver]] | None = None,
    ):
        self.generators = generators or {}
        if missing := [name for name in variant.features if name not in self.generators]:
            raise AvsbenchError(
                f"{variant.name} needs features that nothing here derives",
                found=", ".join(missing),
                hint="avsbench.load finds what made those that the training saw",
            )
        self._heard = [end for setting, _ in self.generators.values() for end in setting.card.front_ends]
        unknown = [name for name in [*variant.front_ends_on(dataset.name), *self._heard] if name not in FRONT_ENDS]
        if unknown:
            raise AvsbenchError(
                f"{variant.method.path}: unknown front end {', '.join(unknown)}",
                expected=f"one of {', '.join(FRONT_ENDS)}",
            )
        self.method, self.variant, self.dataset = method.to(device), variant, dataset
        self.image_size, self.device = image_size, device
        self.classes = list(dataset.classes)

    def predict(self, frames: np.ndarray | Tensor, wav: tuple[np.ndarray, int] | str | Path) -> dict[str, np.ndarray]:
        """Masks of what sounds in each frame.

        Args:
            frames: uint8 [T,H,W,3] or [T,3,H,W], RGB, one frame a second; T may exceed the data set's clip length,
                then the video is cut into clips of that length.
            wav: (samples [N] or [N,channels] as int16 or float in -1..1, samples a second), or a file.

        Returns:
            `masks`: bool [T,H,W] (binary task) or class ids int64 [T,H,W]; `scores`: logits float32 [T,K,H,W]; both at
            the size of the frames.
        """
        frames, sound = _frames(frames), _sound(wav)
        masks, scores = [], []
        for start in range(0, len(frames), self.dataset.frames):
            clip = frames[start : start + self.dataset.frames]
            first, last = (max(0, second) * sound.rate for second in self.hears(start, len(clip)))
            heard = replace(sound, samples=sound.samples[first:last])
            logits = self.logits(clip, heard, frames.shape[1:3])
            scores.append(logits.cpu().numpy())
            masks.append(self.masks(logits))
        return {"masks": np.concatenate(masks), "scores": np.concatenate(scores)}

    def hears(self, start: int, frames: int) -> tuple[int, int]:
        """From which second to which (not included) the clip hears that has `frames` frames from second `start` on.

        A data set of still pictures has three seconds of sound around each.
        """
        margin = 1 if self.dataset.frames == 1 else 0
        return start - margin, start + frames + margin

    @torch.inference_mode()
    @float32()  # as the engine predicts: masks should not depend on the make of a GPU
    def logits(self, frames: np.ndarray, sound: Sound, size: tuple[int, int]) -> Tensor:
        """Logits of one clip.

        The network sees a length that the data set has: a shorter clip is continued by its last frame, and by the sound
        that the data set's rule puts where sound is missing.

        Args:
            frames: uint8 [T,H,W,3], T at most the frames of the data set's clips.
            sound: of the seconds that `hears` names, from the start of the video on. Less than a second is followed by
                silence: no front end hears anything in a fraction of one.
            size: (h, w) of the logits.

        Returns:
            float32 [T,K,h,w] on the device, the added frames left out.
        """
        real = len(frames)
        length = min(n for n in (*self.dataset.clip_seconds, self.dataset.frames) if real <= n <= self.dataset.frames)
        own_size = self.dataset.native or self.variant.native
        originals = frames
        if not own_size:
            frames = np.stack([resize_image(f, self.image_size, self.dataset.resize["test"]) for f in frames])
        frames = np.concatenate([frames, np.repeat(frames[-1:], length - real, axis=0)])
        lacking = max(0, sound.rate - len(sound.samples))
        if lacking:
            sound = replace(sound, samples=np.pad(sound.samples, ((0, lacking), (0, 0))))
        heard = ClipSound.of(self.dataset, [sound], length)
        ends = self.variant.front_ends_on(self.dataset.name)
        audio = {name: FRONT_ENDS[name].compute(heard) for name in dict.fromkeys([*ends, *self._heard])}
        batch = Batch(
            frames=torch.from_numpy(frames).permute(0, 3, 1, 2)[None].contiguous(),
            real=torch.ones(1, length, dtype=torch.bool),
            clip_ids=["clip"],
            audio={name: torch.from_numpy(audio[name])[None] for name in ends},
            features={name: self._feature(name, originals, frames, audio) for name in self.generators},
        )
        return self.method.scores(self.method(batch.to(self.device)), tuple(size))[0, :real].float()

    def _feature(self, name: str, originals: np.ndarray, frames: np.ndarray, audio: dict[str, np.ndarray]) -> Tensor:
        """A feature as a batch would hold it, [1,T,...]; frames added at the end repeat the last one."""
        setting, generator = self.generators[name]
        real, side, seen = len(originals), None, frames[: len(originals)]
        if setting.pictures == "native" and frames.shape[1:3] != originals.shape[1:3]:
            side, seen = self.image_size, originals
        heard = {end: audio[end][:real] for end in setting.card.front_ends}
        made, _ = derived(setting, generator, seen, heard, side, self.dataset.resize["test"])
        if name == MASKIGE:
            made = coloured(made)
        elif name == PROPOSALS:
            made = stacked(made)
        return torch.from_numpy(np.concatenate([made, np.repeat(made[-1:], len(frames) - real, axis=0)]))[None]

    def masks(self, logits: Tensor) -> np.ndarray:
        """The method's own decision from logits [T,K,h,w]: bool [T,h,w] (binary task) or class ids int64 [T,h,w]."""
        return self.method.masks(logits[None])[0].cpu().numpy()


def _frames(frames: np.ndarray | Tensor) -> np.ndarray:
    """uint8 [T,H,W,3] from either layout."""
    frames = np.asarray(frames)
    if frames.ndim == 4 and frames.shape[-1] != 3 and frames.shape[1] == 3:
        frames = frames.transpose(0, 2, 3, 1)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise AvsbenchError(
            "predict: frames of another kind",
            found=f"{frames.dtype} {list(frames.shape)}",
            expected="uint8 [T,H,W,3] or [T,3,H,W], RGB, T at least 1",
        )
    return np.ascontiguousarray(frames)


def _sound(wav):
    """A `Sound` from a file or from (samples, rate)."""
    if isinstance(wav, (str, Path)):
        return read_wav(wav)
    samples, rate = wav
    samples = np.asarray(samples)
    samples = samples.astype(np.float32) if samples.dtype.kind == "f" else samples
    return Sound(samples=samples[:, None] if samples.ndim == 1 else samples, rate=int(rate))
