"""A run on disk and at work: directory, record, checkpoint, supervisor, worker, index."""
