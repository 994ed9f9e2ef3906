"""The folders and tables of VPO's release, as the construction writes them."""

import enum
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from avsbench.errors import AvsbenchError

AUDIOS = "vggsound_bench/VGGSound/audios"
COLUMNS = ["img_Id", "ann_Ids", "cateName", "cateId", "vgg_file", "vgg_label", "split", "audio_pos"]
REBUILT = "_rebuilt"
"""Ends the name of a built set, so that it never meets the released one."""


class Kind(enum.Enum):
    """The three sets; the value is the name of the released one in this suite."""

    SS = "vpo_ss"
    MS = "vpo_ms"
    MSMI = "vpo_msmi"

    @classmethod
    def of(cls, dataset: str) -> "Kind":
        """The kind of a released or built set."""
        try:
            return cls(dataset.removesuffix(REBUILT))
        except ValueError:
            raise AvsbenchError(
                f"{dataset}: not a VPO data set", expected=", ".join(f"{kind.value}[{REBUILT}]" for kind in cls)
            ) from None

    @classmethod
    def ms_of(cls, dataset: str) -> str:
        """The VPO-MS that a VPO-MSMI of this name extends."""
        return cls.MS.value + (REBUILT if dataset.endswith(REBUILT) else "")

    @property
    def folder(self) -> str:
        return f"VPO/VPO-{self.name}"

    @property
    def csv(self) -> str:
        return f"{self.folder}/{self.value}_data_stereo.csv"

    @property
    def columns(self) -> list[str]:
        return [*COLUMNS, "multi_instance"] if self is Kind.MSMI else COLUMNS


def place_of_image(kind: Kind, row: Mapping) -> str:
    """Path of a row's picture under the top folder."""
    middle = f"{row['cateName']}/" if kind is Kind.SS else ""
    return f"{_folder(kind, row)}/data/{middle}{row['img_Id']:012d}.jpg"


def place_of_mask(kind: Kind, row: Mapping) -> str:
    """Path of a row's mask under the top folder; the annotation is `ann_Ids` in the csv, `ann_Id` among candidates."""
    if kind is Kind.SS:
        annotation = row["ann_Ids"] if "ann_Ids" in row else row["ann_Id"]
        return f"{kind.folder}/mask/{row['cateName']}/{row['img_Id']:012d}_{annotation:012d}.png"
    return f"{_folder(kind, row)}/mask/{row['img_Id']:012d}.png"


def _folder(kind: Kind, row: Mapping) -> str:
    """VPO-MSMI keeps its pictures of single instances in the folder of VPO-MS."""
    return Kind.MS.folder if kind is Kind.MSMI and not row["multi_instance"] else kind.folder


def read_rows(root: Path, kind: Kind) -> pd.DataFrame:
    """The csv of a set, with the columns of its kind (and any others).

    Raises AvsbenchError where it is missing, lacks a column or holds something that is not a number.
    """
    path = Path(root) / kind.csv
    if not path.is_file():
        raise AvsbenchError(f"{path}: no such table", hint="build the set, or name its top folder")
    try:
        text = {"cateName": str, "vgg_file": str, "vgg_label": str, "split": str}
        table = pd.read_csv(path, dtype=text, keep_default_na=False)
        needed = [name for name in kind.columns if name != "vgg_label"]
        missing = [name for name in needed if name not in table]
        if missing:
            raise AvsbenchError(f"{path}: columns are missing", found=", ".join(table), expected=", ".join(needed))
        numbers = {name: "int64" for name in ("img_Id", "ann_Ids", "cateId", "multi_instance") if name in needed}
        return table.astype({**numbers, "audio_pos": "float64"})
    except ValueError as error:
        raise AvsbenchError(f"{path}: not a table of VPO", found=str(error).splitlines()[0]) from None
