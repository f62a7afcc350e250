"""Pipelines: a graph of steps, each a normal run, of which only what is not done yet is started."""
