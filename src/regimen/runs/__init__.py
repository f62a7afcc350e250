"""Runs, on disk and in execution: directory, record, checkpoint, supervisor, worker, index."""
