"""Several weights of one network that vote: by their mean probability, or by the class that most of them say.

The members are the best epochs of one training by their validation score, as `weights_top/` of the run holds them.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from avsbench import provenance
from avsbench.contract import Batch, Method, Output
from avsbench.errors import AvsbenchError
from avsbench.nn.probability import foreground_probability
from avsbench.paths import Paths

_SMALLEST, _LARGEST = 1e-60, 1 - 2**-53
"""In place of the probabilities 0 and 1: their logits are finite, and float32 rounds them to 0 and 1 again."""


class Ensemble(Method):
    """A method whose scores stand for the mean probability of its members, or for the shares of their votes.

    Binary tasks average the probability of the object, semantic ones the softmax over classes. A member's probabilities
    are the float32 numbers that a prediction of this member alone would store; their mean p is taken in float64 and
    rounded to float32. `scores` gives p as float64 logits, from which sigmoid and softmax in float64 give back p to the
    last bit of float32. So what reads logits works on the mean, and a method's own `masks` decides on it: by default
    p > 0.5, or the class of the largest p, the lowest of equal ones. What a method decides from anything but logits in
    `scores`, an average cannot know.

    Where the card says `vote: class`, a member of a semantic task gives its whole vote to the class that it decides on:
    the most frequent one wins, the lowest of equal ones, and p are the shares (NTAVS votes so).

    All members lie on the device and run one after the other, batch by batch: that takes memory for the weights and the
    `forward` outputs of all, and for the activations of one.

    Args:
        members: networks of one class, at least one.
        vote: "probability", or "class" (where K > 2).
    """

    def __init__(self, members: Sequence[Method], vote: str = "probability"):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.channels = members[0].channels
        self.by_class = vote == "class" and self.channels > 2

    def forward(self, batch: Batch) -> Output:
        return {"members": [member(batch) for member in self.members]}

    def scores(self, output: Output, size: tuple[int, int]) -> Tensor:
        """Float64 logits [B,T,K,h,w] of p: log p/(1-p) for K = 1; log(1-p), log p for K = 2; else log p of each class.
        NaN where a member's scores are not finite.
        """
        total = 0
        for member, own in zip(self.members, output["members"], strict=True):
            scores = member.scores(own, size)
            # A sigmoid would make a probability of an infinity, and a decision a class of it, and hide it.
            scores = torch.where(scores.isfinite(), scores, torch.nan)
            total = total + (_vote(member, scores) if self.by_class else _probabilities(scores)).double()
        p = (total / len(self.members)).float().double().clamp(_SMALLEST, _LARGEST)
        if self.channels == 1:
            return p.logit()
        return torch.cat([1 - p, p], dim=2).log() if self.channels == 2 else p.log()

    def masks(self, scores: Tensor) -> Tensor:
        return scores.argmax(dim=2) if self.by_class else self.members[0].masks(scores)


def _probabilities(scores: Tensor) -> Tensor:
    """float32 [B,T,1,h,w] of the object where K is 1 or 2, else [B,T,K,h,w] over classes, from logits."""
    if scores.shape[2] <= 2:
        return foreground_probability(scores)[:, :, None]
    with torch.autocast(device_type=scores.device.type, enabled=False):
        return scores.float().softmax(dim=2)


def _vote(member: Method, scores: Tensor) -> Tensor:
    """float32 [B,T,K,h,w]: 1 for the class that the member decides on; NaN where one of its scores is."""
    classes = torch.arange(scores.shape[2], device=scores.device).view(-1, 1, 1)
    chosen = (member.masks(scores)[:, :, None] == classes).float()
    return torch.where(scores.isnan().any(dim=2, keepdim=True), torch.nan, chosen)


def member_files(paths: Paths, dataset: str, variant: str, seed: object) -> list[Path]:
    """Weights of the members of a run, best first, as its record lists them.

    Raises:
        AvsbenchError: the run kept no members, or a file is missing or is not the one that training wrote.
    """
    run = (dataset, variant, seed)
    record, folder = provenance.read_run(paths.run_json(*run)), Path(paths.weights_top(*run))
    if "members" not in record:
        raise AvsbenchError(
            f"{paths.run_json(*run)}: this run kept no members for an ensemble",
            found=f"keep_best: {(record.get('recipe') or {}).get('keep_best', 1)}",
            expected="keep_best: 2 or more in the recipe",
            hint=f"set overrides: {{{variant}: {{keep_best: 3}}}} in the configuration and train again",
        )
    files = [folder / member["file"] for member in record["members"]]
    for file, member in zip(files, record["members"], strict=True):
        found = provenance.file_digest(file) if file.is_file() else "no such file"
        if found != member["sha256"]:
            raise AvsbenchError(
                f"{file}: not the weights of epoch {member['epoch']} that {paths.run_json(*run)} lists",
                found=found,
                expected=f"sha256 {member['sha256']}",
                hint="remove the folder of the run and train again",
            )
    return files
