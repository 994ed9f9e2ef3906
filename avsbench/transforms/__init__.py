"""Augmentation as published: callables (clip, generator) -> clip for `Method.transforms`.

A clip is what `avsbench.store.clips.ClipDataset` gives out. All randomness comes from the generator handed in.
"""
