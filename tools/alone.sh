#!/usr/bin/env bash
# Runs a command while no other that it was given runs: two builds of this project at once write the same metadata.
if command -v flock >/dev/null; then
    exec flock pyproject.toml "$@"
fi
exec "$@"
