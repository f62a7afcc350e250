"""Vintix: a causal transformer that reads a learner's history, one token a step, and acts as the learner would next."""
