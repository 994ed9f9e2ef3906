"""The rule `check_split`: may a split be used? Training and predicting wait for the answer, not for the clips.

Scores over different clips do not compare, so faulty or missing clips of val and test stop everything that leads to a
score, unless the configuration says `allow_incomplete: true`. In train they are a warning. The answer is a small file:
so training hears that the test split is whole without having that split among its inputs, and a change of mind about
`allow_incomplete` makes no index, and so no training, anew.
"""

import json
import logging
from pathlib import Path

from avsbench.atomic import atomic
from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths
from avsbench.store.tables import FAULT, read_faults, read_index

_LOG = logging.getLogger(__name__)


def check_split(
    *, card: DatasetCard, scale: str, split: str, paths: Paths, allow_incomplete: bool = False
) -> dict[str, int]:
    """Compare the index of a split with its lists of faults and the card; write `paths.complete(card.name, split)`.

    Args:
        card: the data-set card; its number of clips binds where `counts_known`.
        scale: mini, smoke or full.
        split: train, val or test.
        paths: where index and lists lie.
        allow_incomplete: let faulty or missing clips of val and test pass with a warning.

    Returns:
        What was written: `usable` clips, and `expected` ones (of the card; of the table where the card is not certain).

    Raises:
        AvsbenchError: val or test lacks clips. The file is removed then.
    """
    target = Path(paths.complete(card.name, split))
    target.unlink(missing_ok=True)
    shards = card.shards[scale][split]
    usable = len(read_index(paths.index(card.name, split)))
    faults: list[tuple[str, str, str]] = []
    for number in range(shards):
        file = paths.faults(card.name, split, number, shards)
        listed = read_faults(file)
        listed = listed[listed["kind"] == FAULT]
        faults += [(clip_id, text, file) for clip_id, text in zip(listed["clip_id"], listed["text"], strict=True)]
    listed, published = usable + len(faults), card.splits[scale][split]
    strict = split != "train" and not allow_incomplete
    if strict and faults:
        raise _faulty(card, split, faults, listed)
    if listed != published:
        if strict and card.counts_known:
            raise AvsbenchError(
                f"{card.name} {split}: wrong number of clips",
                found=listed,
                expected=f"{published}, as the data-set card says",
                hint="take the released csv, or accept scores over these clips with allow_incomplete: true in the "
                "configuration (--allow-incomplete)",
            )
        _LOG.warning("%s %s: the table lists %d clips, the card says %d", card.name, split, listed, published)
    content = {"usable": usable, "expected": published if card.counts_known else listed}
    with atomic(target) as temporary:
        temporary.write_text(json.dumps(content) + "\n")
    _LOG.info("%s %s: %d of %d clips are usable", card.name, split, usable, content["expected"])
    return content


def read_complete(paths: Paths, dataset: str, split: str = "test") -> dict[str, int] | None:
    """What `check_split` wrote: usable and expected clips; None where it was not run.

    Raises:
        AvsbenchError: the file is damaged.
    """
    file = Path(paths.complete(dataset, split))
    try:
        content = json.loads(file.read_text())
        return {key: int(content[key]) for key in ("usable", "expected")}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise AvsbenchError(f"{file}: not written by this version", found=repr(error), hint="remove it") from None


def require_complete(paths: Paths, dataset: str, splits: tuple[str, ...]) -> None:
    """Raise AvsbenchError unless `check_split` let each of `splits` pass; for verbs called without a workflow."""
    for split in splits:
        if read_complete(paths, dataset, split) is None:
            raise AvsbenchError(
                f"{dataset} {split}: not known to be complete",
                found=f"no {paths.complete(dataset, split)}",
                hint=f"run `avsbench check-split --dataset {dataset} --split {split}`, which says what is missing; "
                "--allow-incomplete lets an incomplete split pass",
            )


def _faulty(card: DatasetCard, split: str, faults: list[tuple[str, str, str]], listed: int) -> AvsbenchError:
    lists = ", ".join(sorted({file for _, _, file in faults}))
    lines = [f"{clip_id}: {text}" for clip_id, text, _ in faults[:10]]
    if len(faults) > 10:
        lines.append(f"… and {len(faults) - 10} more")
    return AvsbenchError(
        f"{card.name} {split}: incomplete split, {len(faults)} of {listed} clips are faulty",
        found="\n    ".join(["", *lines]),
        expected="every clip: scores over different clips do not compare",
        hint=(
            f"all are listed in {lists}; mend the files, delete these lists and run the same command again, or accept "
            "scores over the remaining clips with allow_incomplete: true in the configuration (--allow-incomplete)"
        ),
    )
