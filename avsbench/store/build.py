"""What the rules extract, audio, index and check_split run; each in a file of its own: an edit reruns that one."""

from avsbench.store.audio import audio_shard
from avsbench.store.complete import check_split
from avsbench.store.extract import extract_shard
from avsbench.store.index import build_index

__all__ = ["audio_shard", "build_index", "check_split", "extract_shard"]
