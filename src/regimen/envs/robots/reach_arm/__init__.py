"""A planar arm for quick tasks."""
