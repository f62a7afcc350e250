"""Agents: one module each."""
