"""The index of all runs: summaries, their cache, liveness."""
