"""The only place where a path under data/, weights/ or results/ is spelled.

Every function takes strings, so a Snakemake wildcard ("{dataset}") passes through like a name. The grammar:

    data/<scale>/<dataset>/official/                          the official folder layout (rendered, or a link)
    data/<scale>/<dataset>/acquired.json                      what `acquire` found
    data/<scale>/<dataset>/downloads/                         what mirrors gave, or a user put there
    data/<scale>/unpacked/<digest>/                           the content of the archives with this digest
    data/<scale>/<dataset>/manifests/<split>.<k>of<n>.csv     the clips of one shard
    data/<scale>/<dataset>/shards/<split>.<k>of<n>.h5         frames, masks, sound
    data/<scale>/<dataset>/shards/<split>.<k>of<n>.faults.csv what was wrong with which clip
    data/<scale>/<dataset>/native/<split>.<k>of<n>.h5         original pictures, where a method asks for them
    data/<scale>/<dataset>/audio/<front end>/<split>.<k>of<n>.h5
    data/<scale>/<dataset>/audio/groups.json                  which front ends are computed together
    data/<scale>/<dataset>/features/<feature>-<generator>-<digest>/<split>.<k>of<n>.{h5,json}
    data/<scale>/<dataset>/index/<split>.parquet              a row per clip
    data/<scale>/<dataset>/index/<split>.complete.json        how many clips of how many can be used
    data/<scale>/<dataset>/index/<split>.negatives.csv        whose sound a clip gets from outside the picture
    data/<scale>/vpo_build/                                   what VPO-style sets are built from, and the built sets
    weights/<file>                                            published weights
    weights/<scale>/<encoder>.safetensors                     stand-ins of a small scale
    results/<scale>/<dataset>/<variant>/<seed>/               weights, run.json, log, predictions/, scores/
    results/<scale>/<dataset>/<variant>/<seed>/weights_top/   the best epochs, where a recipe keeps several
    results/<scale>/<dataset>/<variant>/<seed>/ensemble/      predictions/ and scores/ of these together
    results/<scale>/<dataset>/external/<name>/                what others submitted, laid out as a run
    results/<scale>/<dataset>/explorer/                       pictures, sounds, truth: what the pages of runs share
    results/<scale>/<dataset>/<variant>/<seed>/explorer/      the page of a run, clip by clip
    results/<scale>/data/<dataset>.verify.{parquet,txt}       what `avsbench verify-data` found
    results/leaderboard.{html,md,parquet}
    results/leaderboard.robustness.parquet                    what runs say under sounds that are not the picture's
    results/figures/<dataset>.{ranking,protocols,cost}.{svg,png}, robustness.{svg,png}
    results/studies/<study>.{md,parquet}                      the page of a study; its runs lie among the others
"""

from dataclasses import dataclass
from pathlib import Path

EXTERNAL = "external"
"""In the place of a variant: predictions that others made. The place of a seed is the name of the submission."""


@dataclass(frozen=True)
class Paths:
    """Paths of one scale. Roots are the three configurable folders; all methods return strings."""

    scale: str
    data_root: str = "data"
    results_root: str = "results"
    weights_root: str = "weights"

    # data
    def dataset(self, dataset: str) -> str:
        return f"{self.data_root}/{self.scale}/{dataset}"

    def official(self, dataset: str) -> str:
        return f"{self.dataset(dataset)}/official"

    def acquired(self, dataset: str) -> str:
        return f"{self.dataset(dataset)}/acquired.json"

    def downloads(self, dataset: str) -> str:
        """Archives or folders of the release, from mirrors or put there by hand; smoke takes those of full."""
        return f"{self.data_root}/{self._released_scale}/{dataset}/downloads"

    def unpacked(self, digest: str = "") -> str:
        """Where archives are unpacked, or all that were; data sets that share archives share this folder."""
        return "/".join([self.data_root, self._released_scale, "unpacked", *([digest] if digest else [])])

    @property
    def _released_scale(self) -> str:
        """Scale smoke takes its few clips from what belongs to full."""
        return "full" if self.scale == "smoke" else self.scale

    @staticmethod
    def shard_name(split: str, shard: object, shards: object) -> str:
        return f"{split}.{shard}of{shards}"

    def manifest(self, dataset: str, split: str, shard: object, shards: object) -> str:
        return f"{self.dataset(dataset)}/manifests/{self.shard_name(split, shard, shards)}.csv"

    def shard(self, dataset: str, split: str, shard: object, shards: object) -> str:
        return f"{self.dataset(dataset)}/shards/{self.shard_name(split, shard, shards)}.h5"

    def faults(self, dataset: str, split: str, shard: object, shards: object) -> str:
        return f"{self.dataset(dataset)}/shards/{self.shard_name(split, shard, shards)}.faults.csv"

    def native(self, dataset: str, split: str, shard: object, shards: object) -> str:
        return f"{self.dataset(dataset)}/native/{self.shard_name(split, shard, shards)}.h5"

    def audio(self, dataset: str, front_end: str, split: str, shard: object, shards: object) -> str:
        return f"{self.dataset(dataset)}/audio/{front_end}/{self.shard_name(split, shard, shards)}.h5"

    def front_end_groups(self, dataset: str) -> str:
        """Which front ends are computed together."""
        return f"{self.dataset(dataset)}/audio/groups.json"

    def features(self, dataset: str, feature: str, split: str, shard: object, shards: object) -> str:
        return f"{self.dataset(dataset)}/features/{feature}/{self.shard_name(split, shard, shards)}.h5"

    def feature_report(self, dataset: str, feature: str, split: str, shard: object, shards: object) -> str:
        """What made a shard of features, and how many masks it found."""
        return f"{self.features(dataset, feature, split, shard, shards).removesuffix('.h5')}.json"

    def feature_masks(self, dataset: str, feature: str, split: str, shard: object, shards: object) -> str:
        """The masks behind a shard of features, where they overlap; no declared output."""
        return f"{self.features(dataset, feature, split, shard, shards).removesuffix('.h5')}.masks.h5"

    def index(self, dataset: str, split: str) -> str:
        return f"{self.dataset(dataset)}/index/{split}.parquet"

    def complete(self, dataset: str, split: str) -> str:
        return f"{self.dataset(dataset)}/index/{split}.complete.json"

    def negatives(self, dataset: str, split: str) -> str:
        return f"{self.dataset(dataset)}/index/{split}.negatives.csv"

    # construction of VPO-style sets
    def vpo_build(self, *names: str) -> str:
        """A file of the construction."""
        return "/".join([self.data_root, self._released_scale, "vpo_build", *names])

    def vpo_sources(self) -> str:
        """The rendered pictures and sounds that the embedded sets are built from."""
        return self.vpo_build("sources")

    def vpo_candidates(self) -> str:
        return self.vpo_build("candidates.parquet")

    def vpo_audio_pool(self) -> str:
        return self.vpo_build("audio_pool.parquet")

    def vpo_dropped_audio(self) -> str:
        return self.vpo_build("audio_dropped.csv")

    def vpo_built(self, dataset: str) -> str:
        """Top folder of a built set, in the official layout."""
        return self.vpo_build(dataset)

    def vpo_manifest(self, dataset: str) -> str:
        return f"{self.vpo_built(dataset)}/manifest.json"

    # weights
    def weights(self, file: str) -> str:
        """A published file, the same at every scale."""
        return f"{self.weights_root}/{file}"

    def stand_in(self, encoder: str) -> str:
        """The encoder that a small scale trains in place of a published one."""
        return f"{self.weights_root}/{self.scale}/{encoder}.safetensors"

    # results
    def dataset_results(self, dataset: str) -> str:
        return f"{self.results_root}/{self.scale}/{dataset}"

    def run(self, dataset: str, variant: str, seed: object) -> str:
        return f"{self.dataset_results(dataset)}/{variant}/{seed}"

    def run_weights(self, dataset: str, variant: str, seed: object) -> str:
        return f"{self.run(dataset, variant, seed)}/weights.safetensors"

    def weights_top(self, dataset: str, variant: str, seed: object) -> str:
        """Folder of the weights of the best epochs, where the recipe keeps several."""
        return f"{self.run(dataset, variant, seed)}/weights_top"

    @staticmethod
    def member(rank: int, epoch: int) -> str:
        """Name of a file in `weights_top`; sorted by name, the best comes first."""
        return f"{rank:02d}.epoch{epoch:04d}.safetensors"

    def run_json(self, dataset: str, variant: str, seed: object) -> str:
        return f"{self.run(dataset, variant, seed)}/run.json"

    def train_log(self, dataset: str, variant: str, seed: object) -> str:
        return f"{self.run(dataset, variant, seed)}/log.jsonl"

    def tracker(self, dataset: str, variant: str, seed: object, name: str) -> str:
        """Files of a tracker (TensorBoard, Weights & Biases); no declared output, as the log."""
        return f"{self.run(dataset, variant, seed)}/{name}"

    def curves(self, dataset: str, variant: str, seed: object) -> str:
        return f"{self.run(dataset, variant, seed)}/curves.png"

    def state(self, dataset: str, variant: str, seed: object) -> str:
        """Resume state: never a declared output (Snakemake deletes those when a job fails)."""
        return f"{self.run(dataset, variant, seed)}/state"

    def predictions(
        self, dataset: str, variant: str, seed: object, condition: str = "positive", ensemble: bool = False
    ) -> str:
        return f"{self._scored(dataset, variant, seed, ensemble)}/predictions/{condition}.h5"

    def frame_scores(
        self, dataset: str, variant: str, seed: object, condition: str = "positive", ensemble: bool = False
    ) -> str:
        return f"{self._scored(dataset, variant, seed, ensemble)}/scores/{condition}.frames.parquet"

    def draws(
        self, dataset: str, variant: str, seed: object, condition: str = "positive", ensemble: bool = False
    ) -> str:
        """Every metric on draws of the clips: what intervals are made of."""
        return f"{self._scored(dataset, variant, seed, ensemble)}/scores/{condition}.draws.parquet"

    def scores(
        self, dataset: str, variant: str, seed: object, condition: str = "positive", ensemble: bool = False
    ) -> str:
        return f"{self._scored(dataset, variant, seed, ensemble)}/scores/{condition}.json"

    def _scored(self, dataset: str, variant: str, seed: object, ensemble: bool) -> str:
        """The folder of a run; a folder in it for what its ensemble predicts."""
        return f"{self.run(dataset, variant, seed)}{'/ensemble' if ensemble else ''}"

    def explorer(self, dataset: str, file: str = "clips.js") -> str:
        """What the explorers of all runs on a data set share; `clips.js` is written last."""
        return f"{self.dataset_results(dataset)}/explorer/{file}"

    def explorer_page(self, dataset: str, variant: str, seed: object, ensemble: bool = False) -> str:
        """The clip explorer of a run (or of its ensemble)."""
        return Scored(self._scored(dataset, variant, seed, ensemble)).explorer

    def external(self, dataset: str, name: str) -> str:
        """Folder of a submission; all that holds for a run with this variant and seed holds for it."""
        return self.run(dataset, EXTERNAL, name)

    def submissions(self, dataset: str) -> list[str]:
        """Names of what others submitted, sorted."""
        return sorted(record.parent.name for record in Path(self.external(dataset, "x")).parent.glob("*/run.json"))

    def leaderboard(self, extension: str = "md", partial: bool = False) -> str:
        return f"{self.results_root}/leaderboard{'.partial' if partial else ''}.{extension}"

    def robustness(self) -> str:
        """The numbers of the section on negatives."""
        return f"{self.results_root}/leaderboard.robustness.parquet"

    def figure(self, kind: str, dataset: str, extension: str, folder: str | None = None) -> str:
        """A figure of the leaderboard, see `Plan.figures`; some are of no single data set."""
        return f"{folder or f'{self.results_root}/figures'}/{f'{dataset}.' if dataset else ''}{kind}.{extension}"

    def study(self, name: str, extension: str = "md", partial: bool = False) -> str:
        return f"{self.results_root}/studies/{name}{'.partial' if partial else ''}.{extension}"

    def verified(self, dataset: str, extension: str, folder: str | None = None) -> str:
        """The report of `avsbench verify-data`."""
        return f"{folder or f'{self.results_root}/{self.scale}/data'}/{dataset}.verify.{extension}"

    # logs and benchmarks of rules
    def log(self, stage: str, *names: object) -> str:
        return "/".join([self.results_root, self.scale, "logs", stage, *map(str, names)]) + ".log"

    def code_log(self) -> str:
        """Which modules the source digests of this scale's stages stand for, a JSON line each."""
        return f"{self.results_root}/{self.scale}/logs/code.jsonl"

    def benchmark(self, stage: str, *names: object) -> str:
        return "/".join([self.results_root, self.scale, "benchmarks", stage, *map(str, names)]) + ".jsonl"


@dataclass(frozen=True)
class Scored:
    """A folder with predictions and their scores: of a run, of its ensemble, or what others predicted."""

    folder: str

    @property
    def record(self) -> str:
        return f"{self.folder}/run.json"

    @property
    def predictions(self) -> str:
        return f"{self.folder}/predictions/positive.h5"

    def predictions_under(self, condition: str) -> str:
        return f"{self.folder}/predictions/{condition}.h5"

    @property
    def frames(self) -> str:
        return f"{self.folder}/scores/positive.frames.parquet"

    @property
    def draws(self) -> str:
        return f"{self.folder}/scores/positive.draws.parquet"

    @property
    def scores(self) -> str:
        return f"{self.folder}/scores/positive.json"

    @property
    def explorer(self) -> str:
        """The page that shows it clip by clip."""
        return f"{self.folder}/explorer/index.html"

    @property
    def faults(self) -> str:
        """Files that are missing, wrong or too many, by name."""
        return f"{self.folder}/faults.csv"


@dataclass(frozen=True)
class VideoPaths:
    """What `predict-video` writes into a folder."""

    folder: str

    @property
    def overlay(self) -> str:
        return f"{self.folder}/overlay.mp4"

    @property
    def masks(self) -> str:
        return f"{self.folder}/masks"

    @property
    def table(self) -> str:
        return f"{self.folder}/masks.csv"

    def mask(self, second: int) -> str:
        return f"{self.masks}/{second:06d}.png"
