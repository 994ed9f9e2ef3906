"""Pictures and arrays of somebody else's predictions -> masks, probabilities or class ids.

What a file holds is checked before it is believed: a mask with a third value, a class that does not exist or a
probability above 1 would score, and mean nothing.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from avsbench.cards import DatasetCard
from avsbench.datasets.vpo import class_table
from avsbench.errors import AvsbenchError
from avsbench.evaluation.external_files import UNREADABLE, Entry
from avsbench.media.images import labels_of_colours, read_binary_mask, read_image, read_index_mask

WRONG_VALUES = {"binary": "not binary", "semantic": "not classes"}
NO_PROBABILITY, WRONG_SHAPE = "not probabilities", "wrong shape"
CLASS_IDS = ("list", "released")


@dataclass(frozen=True, kw_only=True)
class Form:
    """How somebody's predictions are to be read.

    Attributes:
        probabilities: arrays of 0..1 or grey pictures, not masks; of a binary task alone.
        resize: bring other sizes to that of the ground truth, by the nearest pixel.
        first_frame: number of a clip's first frame in names; None: found out.
        class_ids: what numbers in label maps are. "list": places in the card's list of classes, as networks give them;
            "released": the numbers in mask files of the release (VPO: those of COCO).
    """

    probabilities: bool = False
    resize: bool = False
    first_frame: int | None = None
    class_ids: str = "list"


class Unfit(Exception):  # noqa: N818 - no error of ours: it becomes a line of the list of faults
    """A prediction that cannot be used: the kind of its fault, and why."""

    def __init__(self, kind: str, why: object):
        self.kind, self.why = kind, " ".join(str(why).split())
        super().__init__(kind, why)


class PredictionFiles:
    """Reads entries of one data set. Files of several arrays stay open until the end of the `with` block."""

    def __init__(self, card: DatasetCard, form: Form):
        self.card, self.form = card, form
        self._open: dict[Path, np.lib.npyio.NpzFile] = {}
        self._wrong = WRONG_VALUES[card.task]
        if form.probabilities and card.task != "binary":
            raise AvsbenchError(
                f"{card.name} is scored on class ids, no protocol of it reads probabilities",
                hint="give the class of each pixel, and leave --probabilities away",
            )

    def __enter__(self) -> "PredictionFiles":
        return self

    def __exit__(self, *_) -> None:
        for arrays in self._open.values():
            arrays.close()

    def frame(self, entry: Entry) -> np.ndarray:
        """One frame [h,w]: bool (mask), float32 (probability) or uint8 (class ids). Raises Unfit."""
        array = self._picture(entry.file) if entry.picture else self._values(self._array(entry))
        if array.ndim == 3 and 1 in (array.shape[0], array.shape[-1]):
            array = array.squeeze(0 if array.shape[0] == 1 else -1)
        return _shaped(array, 2, "[h,w]")

    def clip(self, entry: Entry, frames: int) -> np.ndarray:
        """All frames of a clip, [T,h,w]; frames that pad a clip to the longest of its data set are cut off."""
        if entry.picture:
            return self.frame(entry)[None]
        array = self._values(self._array(entry))
        if array.ndim == 4 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim == 2 and frames == 1:
            array = array[None]
        array = _shaped(array, 3, "[T,h,w]")
        if len(array) not in (frames, self.card.frames):
            raise Unfit(WRONG_SHAPE, f"{len(array)} frames; the clip has {frames}")
        return array[:frames]

    def _array(self, entry: Entry) -> np.ndarray:
        try:
            if entry.key is None:
                return np.load(entry.file, allow_pickle=False)
            if entry.file not in self._open:
                self._open[entry.file] = np.load(entry.file, allow_pickle=False)
            return self._open[entry.file][entry.key]
        except Exception as error:  # a damaged archive fails in many ways
            raise Unfit(UNREADABLE, f"{type(error).__name__}: {error}") from None

    def _values(self, array: np.ndarray) -> np.ndarray:
        """An array of any number of dimensions, its values checked."""
        kind = array.dtype.kind
        if kind not in "buif":
            raise Unfit(self._wrong, f"an array of {array.dtype}")
        if self.form.probabilities:
            array = array / np.float32(255) if array.dtype == np.uint8 else array
            if not (array.dtype.kind == "f" and array.size and array.min() >= 0 and array.max() <= 1):
                low, high = (array.min(), array.max()) if array.size else ("nothing", "nothing")
                raise Unfit(NO_PROBABILITY, f"{array.dtype} from {low} to {high}, not 0 to 1 (logits need a sigmoid)")
            return array.astype(np.float32)
        if self.card.task == "binary":
            return self._binary(array)
        if kind == "f":
            raise Unfit(self._wrong, f"an array of {array.dtype}, not of whole numbers")
        return self._classes(array)

    def _binary(self, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind == "b":
            return array
        largest = array.max() if array.size else 0
        if largest not in (0, 1, 255) or not np.isin(array, (0, largest)).all():
            found = np.unique(array)
            shown = ", ".join(f"{value:g}" for value in found[:4]) + (" …" if len(found) > 4 else "")
            raise Unfit(self._wrong, f"{len(found)} values, {shown}; not 0 and 1, or 0 and 255")
        return array > 0

    def _classes(self, numbers: np.ndarray) -> np.ndarray:
        """Class ids uint8 from numbers, which are checked."""
        classes = self.card.num_classes
        stray = (numbers < 0) | (numbers > 255)
        if self.form.class_ids == "released" and self.card.family == "vpo" and not stray.any():
            labels = class_table(tuple(self.card.classes))[numbers.astype(np.uint8)]
            stray = labels == 255
        else:
            labels, stray = numbers, stray | (numbers >= classes)
        if stray.any():
            shown = ", ".join(map(str, np.unique(numbers[stray])[:6]))
            raise Unfit(self._wrong, f"holds {shown}; {self.card.name} has the classes 0 to {classes - 1}")
        return labels.astype(np.uint8)

    def _picture(self, file: Path) -> np.ndarray:
        try:
            if self.form.probabilities:
                return _grey(file)
            if self.card.task == "binary":
                return read_binary_mask(file).astype(bool)
            return self._label_map(file)
        except AvsbenchError as error:
            try:
                read_image(file)
            except AvsbenchError as broken:
                raise Unfit(UNREADABLE, broken.found or broken.what) from None
            # The name of the file stands before the fault already.
            found = "" if error.found is None else f": {error.found}"
            raise Unfit(self._wrong, f"{error.what.removeprefix(f'{file}: ')}{found}") from None

    def _label_map(self, file: Path) -> np.ndarray:
        """Class ids from a picture of numbers, or of the colours of the palette of AVSS.

        The numbers of a picture with a palette count where they are grey levels, or those of the release are awaited;
        else its colours do, which for the palette of AVSS is the same.
        """
        colours = read_image(file)
        try:
            numbers = read_index_mask(file)
        except AvsbenchError:  # no numbers: a picture of colours
            numbers = None
        if numbers is not None and (self.form.class_ids == "released" or (colours == numbers[..., None]).all()):
            return self._classes(numbers)
        if numbers is not None and numbers.max() >= _palette_size(file):
            raise Unfit(self._wrong, f"number {numbers.max()} has no colour in the palette of the picture")
        return labels_of_colours(colours, self.card.num_classes, file)


def _palette_size(file: Path) -> int:
    """Colours of a picture with a palette; a number beyond them would silently be black."""
    with Image.open(file) as image:
        return len(image.getpalette() or ()) // 3


def _grey(file: Path) -> np.ndarray:
    """A grey picture of 8 or 16 bits as float32 [h,w] in 0..1."""
    try:
        with Image.open(file) as image:
            mode, array = image.mode, np.asarray(image)
    except Exception as error:  # a damaged picture fails in many ways
        raise Unfit(UNREADABLE, f"{type(error).__name__}: {error}") from None
    if mode in ("L", "P"):
        array = array if mode == "L" else read_image(file)[..., 0]
        return (array / 255).astype(np.float32)
    if mode.startswith("I"):
        return (array.astype(np.float64) / 65535).astype(np.float32)
    raise Unfit(NO_PROBABILITY, f"a picture of mode {mode}, not a grey one of 8 or 16 bits")


def _shaped(array: np.ndarray, dimensions: int, name: str) -> np.ndarray:
    if array.ndim != dimensions or not array.size:
        raise Unfit(WRONG_SHAPE, f"{list(array.shape)}, not {name}")
    return array
