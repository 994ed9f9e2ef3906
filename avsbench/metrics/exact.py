"""Sums that do not depend on the order of their terms.

Adding float64 numbers in another order changes the last bits. Scores per frame lie in 0..1, so they are added as
integers in units of 2^-40 instead: addition of integers is associative, and 2^23 frames fit into an int64. The rounding
of a term is below 5e-13.
"""

import numpy as np

UNIT = 2.0**40


def fixed(values: np.ndarray) -> np.ndarray:
    """Float scores in 0..1 (any shape) as int64 in units of 2^-40."""
    return np.rint(np.asarray(values, dtype=np.float64) * UNIT).astype(np.int64)


def mean(total: np.ndarray | int, count: np.ndarray | int) -> np.ndarray:
    """Mean (float64) of `count` scores whose `fixed` forms add up to `total`; NaN where `count` is 0."""
    total, count = np.asarray(total, dtype=np.float64), np.asarray(count, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / UNIT / count


def safe_divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient in float64, 0 where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    return np.divide(
        numerator, denominator, out=np.zeros(np.broadcast(numerator, denominator).shape), where=denominator > 0
    )
