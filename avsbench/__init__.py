"""avsbench: audio-visual segmentation, every method on the same data, one engine, every protocol.

`load` is the Python face of a trained or official model; everything else is reached through `avsbench <verb>`.
"""

__version__ = "0.1.0"


def __getattr__(name: str):
    # `avsbench.load` needs torch; commands that only plan must not pay for importing it.
    if name == "load":
        from avsbench.predictor import load

        return load
    raise AttributeError(f"module 'avsbench' has no attribute {name!r}")
