"""Evaluation of in-context learning."""
