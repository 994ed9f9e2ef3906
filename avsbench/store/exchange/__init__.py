"""Exchange with the published code bases: our data as the files that they read, and their files as our arrays.

`export` writes the official folder layout from shards; `imports` reads released pickles and maskiges into shards of
arrays under names of their own (`vggish_mel_released`), so that nobody takes them for what this suite computed.
"""
