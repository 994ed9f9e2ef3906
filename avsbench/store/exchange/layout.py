"""Names of the files that readers of this suite do not know: log-mel pickles, maskiges, processed frames of AVSS.

Sources: AVSBench (`audio_log_mel`), COMBO (`audio.pkl`, `processed_*`, `pre_SAM_mask`), NTAVS (`audio_*_new_scale`).
"""

from pathlib import Path

import numpy as np

from avsbench.cards import DatasetCard
from avsbench.datasets.clip import ClipFiles
from avsbench.errors import AvsbenchError
from avsbench.features import maskige

WINDOWS = (256, 512, 1024)
"""Samples of the three windows of NTAVS."""
VIDEO_SETS = ("s4", "ms3", "avss")
"""Data sets for which pickles and maskiges were published."""


def front_ends(card: DatasetCard, what: str) -> list[str]:
    """The front ends that the pickles `log_mel` or `msai` of a data set hold."""
    if card.name not in VIDEO_SETS:
        raise AvsbenchError(f"{card.name} has no {what} pickles", expected=f"one of {', '.join(VIDEO_SETS)}")
    if what == "msai":
        return [f"msai_{window}" for window in WINDOWS]
    return ["combo_mel" if card.name == "avss" else "vggish_mel"]


def pickle_file(card: DatasetCard, root: Path, files: ClipFiles, front_end: str) -> Path:
    """The pickle of one clip, e.g. `s4_data/audio_log_mel/<split>/<category>/<name>.pkl`, `v2/<uid>/audio.pkl`."""
    window = front_end.removeprefix("msai_") if front_end.startswith("msai_") else None
    wav = files.sounds[0]
    if card.name == "avss":
        return wav.with_name(f"audio_{window}_96_new_scale.pkl" if window else "audio.pkl")
    folder = f"audio_wav_{window}_96_new_scale" if window else "audio_log_mel"
    return _beside(root, wav, folder).with_suffix(".pkl")


def maskige_files(card: DatasetCard, root: Path, files: ClipFiles) -> list[Path]:
    """T maskiges: the frame's name with `_mask_color.png` for its ending, below `pre_SAM_mask`."""
    if card.name not in VIDEO_SETS:
        raise AvsbenchError(f"{card.name} has no maskiges", expected=f"one of {', '.join(VIDEO_SETS)}")
    if card.name == "avss":
        top = root / "pre_SAM_mask" / "AVSBench_semantic"
        frames = [top / file.relative_to(root) for file in processed_files(files.frames, "processed_frames")]
    else:
        frames = [_beside(root, file, "pre_SAM_mask") for file in files.frames]
    return [file.with_name(f"{file.stem}_mask_color.png") for file in frames]


def processed_files(files: list[Path], folder: str) -> list[Path]:
    """The same names in a folder beside that of `files`: processed_frames, labels_semantic … of an AVSS clip."""
    return [file.parent.parent / folder / file.name for file in files]


def _beside(root: Path, file: Path, folder: str) -> Path:
    """`s4_data/<any>/rest` -> `s4_data/<folder>/rest`."""
    data, _, *rest = file.relative_to(root).parts
    return root.joinpath(data, folder, *rest)


def read_maskige(path: Path) -> np.ndarray:
    """A maskige as stored: indices uint8 [H,W] (mode P) or colours uint8 [H,W,3] (mode RGB).

    Raises:
        AvsbenchError: a file that cannot be read, another mode, another palette, or a colour that no mask has.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            mode, array = image.mode, np.asarray(image)
            colours = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
    except Exception as error:  # a damaged picture fails in many ways
        raise AvsbenchError(f"{path}: the maskige cannot be read", found=type(error).__name__) from None
    if mode not in ("P", "RGB"):
        raise AvsbenchError(f"{path}: wrong kind of picture", found=f"mode {mode}", expected="P or RGB")
    if mode == "RGB":
        stray = maskige.stray_colour(array)
        if stray is not None:
            raise AvsbenchError(f"{path}: a colour that is not of the palette", found=str(stray))
        return array
    used = np.unique(array[array < 150])
    if len(used) and (used[-1] >= len(colours) or (colours[used] != maskige.palette()[used]).any()):
        raise AvsbenchError(f"{path}: wrong palette", expected="the 150 colours of ADE20K")
    return array
