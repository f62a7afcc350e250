"""Failure detection: a network that names the broken joint, its training, streaming use, decisions and metrics."""
