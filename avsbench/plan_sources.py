"""The part of a plan that says where raw data come from."""

import json

from avsbench import cards
from avsbench.paths import Paths


def compact(value: object) -> str:
    """JSON of one form for equal values, for settings that decide about a rerun."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class Sources:
    """Folders, archives and mirrors of releases, and what VPO-style sets are built from."""

    config: dict
    scale: str
    paths: Paths

    def acquire_settings(self, dataset: str) -> str:
        """What acquiring depends on: the folder named in the configuration, or how much to render."""
        card = cards.dataset(dataset)
        rendered = self.scale == "mini" and not card.construction
        source = {"splits": card.splits["mini"]} if rendered else {"root": self.root(dataset)}
        mirrors = {} if rendered or not self.mirrors(dataset) else {"mirrors": self.mirrors(dataset)}
        return compact(source | mirrors)

    def acquire_options(self, dataset: str) -> list[str]:
        """What `avsbench acquire` is told about the released data."""
        root, mirrors = self.root(dataset), self.mirrors(dataset)
        return (["--root", root] if root else []) + (["--mirrors", compact(mirrors)] if mirrors else [])

    def mirrors(self, dataset: str) -> list[dict]:
        """Files that the configuration names for download, {url, sha256, file}."""
        return self.config.get("mirrors", {}).get(dataset, [])

    def root(self, dataset: str) -> str | None:
        """The folder that the configuration names; of a data set that rules build, the folder that they build."""
        built = self.paths.vpo_built(dataset) if cards.dataset(dataset).construction else None
        return self.config.get("roots", {}).get(dataset, built)

    def built(self, dataset: str) -> list[str]:
        """What acquiring waits for: the manifest of a data set that rules build, unless the configuration names one."""
        built = cards.dataset(dataset).construction and dataset not in self.config.get("roots", {})
        return [self.paths.vpo_manifest(dataset)] if built else []

    @property
    def built_sets(self) -> list[str]:
        """The data sets that rules build from COCO and VGGSound."""
        return [name for name, card in cards.dataset_cards().items() if card.construction == "vpo"]

    def extended_set(self, dataset: str) -> list[str]:
        """The manifest of the built VPO-MS that a built VPO-MSMI extends; nothing for the others."""
        return [self.paths.vpo_manifest(dataset.replace("msmi", "ms"))] if "msmi" in dataset else []

    @property
    def rendered_sources(self) -> list[str]:
        """The material of the construction, where the suite renders it itself."""
        return [self.paths.vpo_sources()] if self.scale == "mini" else []

    def vpo_sources(self, *keys: str) -> str:
        """Settings of the construction of VPO-style sets as JSON, those named or all; mini brings its own folders."""
        sources = dict(self.config.get("vpo_sources", {}))
        if self.scale == "mini":
            sources |= {key: f"{self.paths.vpo_sources()}/{key}" for key in ("coco", "vggsound")}
        return compact({key: value for key, value in sources.items() if not keys or key in keys})
