"""The part of a plan that says which front ends are computed, of which data set, and together with which others."""

import functools
from pathlib import Path

from avsbench import cards, digest
from avsbench.errors import AvsbenchError
from avsbench.features.settings import Setting
from avsbench.front_end_groups import grouped, record
from avsbench.media import front_ends
from avsbench.paths import Paths
from avsbench.plan_sources import compact

PRETRAIN_DATASETS = ("s4", "avss")
"""Stand-ins learn from these: S4 names a category per clip, AVSS a class per pixel; MS3 has neither."""


class FrontEnds:
    """Front ends of the variants that a configuration runs, and of what makes their features."""

    config: dict
    scale: str
    paths: Paths
    runs: list
    feature_settings: dict[str, Setting]

    @functools.cached_property
    def front_end_groups(self) -> dict[str, list[list[str]]]:
        """Data set -> groups of front ends; one job computes one group of one shard."""
        found = {
            dataset: grouped(self.paths, dataset, self._wanted_front_ends(dataset)) for dataset in cards.dataset_cards()
        }
        return {dataset: groups for dataset, groups in found.items() if groups}

    def front_end_group(self, dataset: str, front_end: str) -> int:
        """The number, from 1, of the group that a front end is in."""
        groups = self.front_end_groups[dataset]
        return 1 + next(number for number, group in enumerate(groups) if front_end in group)

    def record_front_ends(self) -> None:
        """Keep the groups beside the front ends."""
        record(self.paths, self.front_end_groups)

    def arrays(self, dataset: str, variant: str) -> dict[str, str]:
        """Front end -> the imported arrays that the configuration, or a study, puts in its place."""
        every = cards.merge(self.config.get("arrays", {}), cards.variant(variant).changes.get("arrays", {}))
        return every.get(dataset, {})

    def arrays_option(self, dataset: str, variant: str) -> str:
        """What the verbs of a run are told about imported arrays."""
        return "".join(f"--array {name}={stored} " for name, stored in self.arrays(dataset, variant).items())

    def audio_files(self, dataset: str, variant: str, front_end: str, split: str) -> list[str]:
        """The shards of a front end of a split, or of what was imported in its place."""
        count, stored = self.shard_count(dataset, split), self.arrays(dataset, variant).get(front_end, front_end)
        files = [self.paths.audio(dataset, stored, split, shard, count) for shard in range(count)]
        missing = [file for file in files if stored != front_end and not Path(file).is_file()]
        if missing:
            raise AvsbenchError(
                f"{missing[0]}: the configuration puts {stored} in the place of {front_end}, and it was not imported",
                found=f"{len(files) - len(missing)} of {len(files)} shards",
                hint=f"avsbench import --dataset {dataset} --from FOLDER --what log_mel (see docs/data.md), "
                f"or remove arrays.{dataset} from the configuration",
            )
        return files

    def _wanted_front_ends(self, dataset: str) -> set[str]:
        """What the variants of the configuration, makers of features, and stand-ins of encoders hear of a data set."""
        wanted = set()
        if self.scale == "mini" and dataset in PRETRAIN_DATASETS:
            wanted |= {front_end for name in self._stand_ins for front_end in cards.encoder(name).front_ends}
        for name in {run.variant for run in self.runs if run.dataset == dataset}:
            variant = cards.variant(name)
            where = f"{variant.method.path}: inputs.front_ends"
            for front_end in variant.front_ends_on(dataset):
                if not front_ends.has_family(front_end):
                    cards.known(front_end, front_ends.FRONT_ENDS, where, "front end")
            wanted |= set(variant.front_ends_on(dataset)) - set(self.arrays(dataset, name))
            wanted |= {front_end for made in self.features(name).values() for front_end in made.card.front_ends}
        return wanted

    @functools.cached_property
    def _stand_ins(self) -> set[str]:
        """Encoders that a small network stands for, of runs and of what makes their features."""
        pairs = {(run.variant, run.dataset) for run in self.runs}
        names = {name for variant, on in pairs for name in cards.variant(variant).loaded_on(on, "mini").values()}
        used = (encoder for setting in self.feature_settings.values() for encoder in setting.files.values())
        return names | {encoder.name for encoder in used if encoder.exists_at("mini")}

    def audio_code(self, group: list[str]) -> str:
        """Digest of what computes a group of front ends, and no other."""
        return digest.stage("audio", parts=tuple(map(front_ends.module_of, group)))

    def audio_settings(self, dataset: str) -> str:
        card = cards.dataset(dataset)
        return compact({"mel_fill": card.mel_fill, "frames": card.frames})
