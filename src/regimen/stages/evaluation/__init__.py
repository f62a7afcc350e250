"""Evaluation of policies: metrics, fault grids, tables."""
