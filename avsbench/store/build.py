"""What the rules extract, audio and index run; each in a file of its own, so that an edit of one reruns that one."""

from avsbench.store.audio import audio_shard
from avsbench.store.extract import extract_shard
from avsbench.store.index import build_index

__all__ = ["audio_shard", "build_index", "extract_shard"]
