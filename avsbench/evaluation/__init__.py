"""From a method to numbers: the prediction store, per-frame integers, every protocol."""
