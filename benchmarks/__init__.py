"""What the suite costs in time and memory: `python -m benchmarks` prints one table; each module also runs alone."""
