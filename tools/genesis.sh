#!/usr/bin/env bash
# Installs Genesis into .venv, and the libraries of OpenGL and X that it loads even without a display.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "genesis: $*"; }

say "installing genesis-world (2 GB, some minutes on a slow line)"
bash tools/alone.sh .venv/bin/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[genesis]'

missing=$(.venv/bin/python -c 'from regimen.envs.sims.genesis_scene import packages; print(*packages())')
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing the system packages $missing"
        # shellcheck disable=SC2086
        (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing) >/dev/null
    else
        say "still to do: sudo apt-get install --no-install-recommends $missing"
        exit 1
    fi
fi
say "ready. Next: python launch.py stage=evaluate task=go2_flat policy=pretrained:go2_flat sim=genesis"
