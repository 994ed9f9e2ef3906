"""Names of the sounds under which runs are heard again: negatives, which do not belong to the pictures."""

SILENCE, NOISE, OFFSCREEN = CONDITIONS = ("silence", "noise", "offscreen")
REFERENCE = "_reference"
"""End of a condition that is heard as the authors of AVSBench-Robust computed it, see `avsbench.store.negatives`."""
REPLACED = frozenset({"vggish_mel", "combo_mel"})
"""Front ends that the authors' features for negatives stand for."""
