"""Uneven ground: one height field for all simulators, made of tiles of different kinds and difficulty."""
