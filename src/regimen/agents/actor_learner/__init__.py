"""Actors and a learner as separate processes: the channel between them."""
