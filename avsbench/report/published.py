"""Published numbers: what `published_results.csv` holds, and which of ours each may be compared with.

`per_image` numbers are protocols A and B (S4, MS3) or C (AVSS), `per_dataset` ones protocol D. Where the source does
not say, the protocol is unknown and the number is compared with nothing.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from avsbench.cards import DatasetCard, Variant, encoder
from avsbench.errors import AvsbenchError

FILE = Path(__file__).with_name("published_results.csv")
COLUMNS = ("method", "year", "venue", "visual_backbone", "audio_backbone", "visual_pretrain", "dataset", "setting",
           "image_size", "metric", "protocol", "value", "source", "certainty", "show", "note")  # fmt: skip
PROTOCOLS = ("per_image", "per_dataset", "unknown")
UNKNOWN = "?"

_OURS = {
    # (published protocol, task) -> {published metric: (protocol, our metric)}; {k}: clips per call of the method's F
    ("per_image", "binary"): {"mIoU": ("A", "miou"), "Fscore": ("B", "fscore_b{k}"), "J_and_F": ("A, B", None)},
    ("per_image", "semantic"): {"mIoU": ("C", "miou_avss"), "Fscore": ("C", "f_avss"), "J_and_F": ("C", None)},
    ("per_dataset", "binary"): {"mIoU": ("D", "dataset_miou"), "Fscore": ("D", "dataset_f"), "J_and_F": ("D", None)},
    ("per_dataset", "semantic"): {"mIoU": ("D", "dataset_miou"), "Fscore": ("D", "dataset_f"), "J_and_F": ("D", None)},
}


@dataclass(frozen=True)
class Published:
    """One printed number.

    Attributes:
        value: percent, as printed.
        (others as in the file; see published_results.md)
    """

    method: str
    year: str
    venue: str
    visual_backbone: str
    audio_backbone: str
    visual_pretrain: str
    dataset: str
    setting: str
    image_size: str
    metric: str
    protocol: str
    value: str
    source: str
    certainty: str
    note: str

    def measure(self, card: DatasetCard) -> tuple[str, str | None]:
        """(protocol id, our metric) of this number on a data set; `?` and None where the source does not say.

        The metric of protocol B keeps `{k}`, the clips per call, which depends on the method.
        """
        return _OURS.get((self.protocol, card.task), {}).get(self.metric, (UNKNOWN, None))


ROBUST = "robust-"
"""Begins the name of a data set under negatives."""


@functools.cache
def load(path: Path = FILE) -> tuple[Published, ...]:
    """Every number that may be shown, in the order of the file.

    Raises:
        AvsbenchError: a column is missing, or a value is no number, or a protocol has no name here.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise AvsbenchError(f"{path}: columns are missing", found=", ".join(missing), expected=", ".join(COLUMNS))
    broken = table[pd.to_numeric(table["value"], errors="coerce").isna() | ~table["protocol"].isin(PROTOCOLS)]
    if len(broken):
        row = broken.iloc[0]
        raise AvsbenchError(
            f"{path}:{broken.index[0] + 2}: not a published number",
            found=f"value {row['value']!r}, protocol {row['protocol']!r}",
            expected=f"a number, and one of {', '.join(PROTOCOLS)}",
        )
    shown = table.loc[table["show"] == "yes", [name for name in COLUMNS if name != "show"]]
    return tuple(Published(**row) for row in shown.to_dict("records"))


def of_dataset(card: DatasetCard, robust: bool = False) -> list[Published]:
    """Numbers on one data set; `robust`: those on it under negatives, which sources call Robust-S4 and Robust-MS3."""
    found = [row for row in load() if card_name(row) == card.name]
    return [row for row in found if row.dataset.lower().startswith(ROBUST) == robust]


def card_name(row: Published) -> str:
    """The data-set card that a number would belong to, whether or not there is one."""
    return row.dataset.lower().removeprefix(ROBUST)


def counterparts(variant: Variant, card: DatasetCard, image_size: int) -> list[Published]:
    """Numbers that a full-scale run of `variant` may be compared with.

    Same method, visual backbone and data set; pretraining, size and setting are the same where the source prints them.
    A run that starts from another run has none.
    """
    visual = variant.encoders_on(card.name).get("visual")
    if visual is None or variant.init.startswith("run:"):
        return []
    backbone, start = _plain(encoder(visual).published_as), _plain(variant.init)
    return [
        row
        for row in of_dataset(card)
        if _plain(row.method) == _plain(variant.method.name)
        and _plain(row.visual_backbone) == backbone
        and _plain(row.visual_pretrain) in ("", start)
        and row.image_size in ("", str(image_size))
        and row.setting == "supervised"
        and row.measure(card)[1] is not None
    ]


def metric_name(row: Published, card: DatasetCard, fscore_batch: int) -> str | None:
    """Our name of the same measurement; None where there is none."""
    name = row.measure(card)[1]
    return name.format(k=fscore_batch) if name else None


def _plain(text: str) -> str:
    """Letters and digits alone: `PVT-v2-B5` and `pvt_v2_b5` are one backbone."""
    return "".join(c for c in text.lower() if c.isalnum())
