"""Evaluation alongside a training: a companion process for each simulator judges its checkpoints as they come."""
