"""What one run is asked to be; every stage of a run (train, official, predict) takes this."""

from dataclasses import dataclass, field

from avsbench.features.settings import Setting
from avsbench.paths import Paths


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Data set × variant × seed, with everything resolved.

    Attributes:
        scale: mini or full.
        dataset: name of a data-set card.
        variant: name of a variant.
        seed: a number, or `official` or `none`, as text.
        recipe: the resolved recipe (card, data set, variant, configuration).
        image_size: side of the stored frames in pixels.
        paths: where data, weights and results lie.
        threads: CPU threads of this process.
        device: auto, cpu or cuda.
        gpus: how many were granted, fewer or more than the card asks for. None: what the card says.
        processes: of a training on the CPU; on GPUs there is one for each. None: one.
        arrays: front end -> name of the imported arrays that stand in its place.
        features: feature -> what made it, of all that the variant sees.
        code: digest of the source that the result depends on.
        resume: continue from an earlier state of the same run, if there is one.
        save_every: seconds between two resume states inside an epoch.
        tracker: what shows the training log besides its file: none, tensorboard or wandb.
    """

    scale: str
    dataset: str
    variant: str
    seed: str
    recipe: dict
    image_size: int
    paths: Paths
    threads: int = 1
    device: str = "auto"
    gpus: int | None = None
    processes: int | None = None
    arrays: dict = field(default_factory=dict)
    features: dict[str, Setting] = field(default_factory=dict)
    code: str = ""
    resume: bool = True
    save_every: float = 300.0
    tracker: str = "none"

    def __str__(self) -> str:
        return f"{self.variant} on {self.dataset}, seed {self.seed}"
