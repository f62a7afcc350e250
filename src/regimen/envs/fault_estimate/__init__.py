"""Fault estimates in the observations: oracle, detector, wrapper."""
