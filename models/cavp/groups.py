"""Optimiser groups of CAVP, by name: twelve of the visual side, one of the sound."""

from avsbench.contract import Method

from .settings import Settings

HEAD = ("pyramid", "reduce", "head.refine", "head.classify")
"""Parts that learn faster. The published AVSS script multiplies the first eight groups of a list instead, which in its
order are others."""


def parameter_groups(method: Method, recipe: dict) -> list[dict]:
    """For `Method.parameter_groups`, in the published order; empty where nothing of a part trains.

    Convolutions of head and backbone decay, their norms and biases do not; projector and fusion decay as a whole. What
    is not said here (optimiser, weight decay, schedule) is the recipe's. The audio network has Adam, no decay and a
    constant rate.
    """
    settings, lr = Settings.of(recipe), recipe["optimizer"]["lr"]

    def of(part: str) -> list:
        return [(n, p) for n, p in method.named_parameters() if p.requires_grad and n.startswith(f"{part}.")]

    groups = []
    for part in (*HEAD, "visual"):
        rate = lr * (settings.backbone_rate if part == "visual" else settings.head_rate)
        groups.append({"params": [(n, p) for n, p in of(part) if p.ndim > 1], "lr": rate})
        groups.append({"params": [(n, p) for n, p in of(part) if p.ndim == 1], "lr": rate, "weight_decay": 0.0})
    groups += [{"params": of(part)} for part in ("projector", "fusion")]
    audio = {"name": "adam", "lr": settings.audio_lr or lr, "betas": (0.9, 0.999), "weight_decay": 0.0}
    return [*groups, {"params": of("audio"), "optimizer": audio, "schedule": {"name": "constant"}}]
