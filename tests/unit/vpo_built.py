"""The three sets built from the rendered sources, shared by the tests of the construction."""

import shutil

import pytest

from avsbench.datasets.vpo_build import Kind, Sources, build, find_candidates, find_sounds
from avsbench.datasets.vpo_build.layout import read_rows
from avsbench.datasets.vpo_build.mini_sources import render_sources


class Built:
    """The rendered sources, their candidates and pool, and the three sets."""

    def __init__(self, folder):
        self.folder = folder
        render_sources(folder / "sources")
        self.sources = Sources(folder / "sources/coco", folder / "sources/vggsound")
        self.candidates, (self.pool, _) = find_candidates(self.sources.coco), find_sounds(self.sources.vggsound)
        self.manifests = {kind: self.build(kind) for kind in Kind}

    def root(self, kind):
        return self.folder / f"{kind.value}_rebuilt"

    def build(self, kind, out=None, **changes):
        inputs = {"sources": self.sources, "candidates": self.candidates, "pool": self.pool, **changes}
        out = out or self.root(kind)
        return build(kind, f"{kind.value}_rebuilt", out, ms_root=self.root(Kind.MS), **inputs)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return Built(tmp_path_factory.mktemp("built"))


@pytest.fixture
def own(built, tmp_path):
    """Function: kind -> a copy of the built set to break, and its table."""

    def copy(kind):
        root = shutil.copytree(built.root(kind), tmp_path / kind.value)
        return root, read_rows(root, kind)

    return copy


def files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
