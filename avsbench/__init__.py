"""avsbench: audio-visual segmentation, every method on the same data, one engine, every protocol.

`load` is the Python face of a trained or official model, `score` that of the scores of anybody's predictions;
everything else is reached through `avsbench <verb>`.
"""

__version__ = "0.1.0"


def __getattr__(name: str):
    # Both need torch; commands that only plan must not pay for importing it.
    if name == "load":
        from avsbench.predictor import load

        return load
    if name == "score":
        from avsbench.evaluation.external import score

        return score
    raise AttributeError(f"module 'avsbench' has no attribute {name!r}")
