#!/usr/bin/env bash
# Makes .venv-isaaclab: Python 3.12 with Isaac Lab, Newton, and this project. Called by `make isaaclab`.
set -euo pipefail
cd "$(dirname "$0")/.."

PINS=constraints-isaaclab.txt
VENV=.venv-isaaclab

say() { echo "isaaclab: $*"; }
fail() { echo "isaaclab: $*" >&2; exit 1; }
is_312() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1; }
pin() { grep -iE "^($1)==" "$PINS"; }

find_python() {
    local name
    if [ -n "${PYTHON:-}" ]; then
        is_312 "$PYTHON" && { echo "$PYTHON"; return; }
        fail "PYTHON=$PYTHON is no Python 3.12, which Isaac Lab 3.0 requires."
    fi
    for name in python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12.*/bin/python "$(uv python find 3.12 2>/dev/null || true)"; do
        if [ -n "$name" ] && command -v "$name" >/dev/null 2>&1 && is_312 "$name"; then echo "$name"; return; fi
    done
    fail "no Python 3.12 found, which Isaac Lab 3.0 requires. Install one (apt-get install python3.12-venv, uv python" \
        "install 3.12, or pyenv install 3.12), or name one: make isaaclab PYTHON=/path/to/python3.12"
}

make_venv() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$1 cannot make environments. On Debian or Ubuntu type: sudo apt-get install python3.12-venv"
    say "making $VENV with $("$1" --version)"
    "$1" -m venv "$VENV"
}

pip() { "$VENV/bin/python" -m pip install -qq --no-compile --disable-pip-version-check -c "$PINS" "$@"; }

python=$(find_python)
[ -x "$VENV/bin/pip" ] || make_venv "$python"
say "installing Isaac Lab, Newton and $(pin torch): 6 GB on disk, of which 4.5 GB are torch with the CUDA libraries that"
say "it loads also on a machine without a GPU; where pip finds a CPU build of torch, 1.5 GB. Some minutes."
pip "$(pin torch)"
say "installing this project"
pip -e .
say "installing Isaac Lab and Newton"
# Without their requirements: Isaac Lab asks for torch 2.11 and 4 GB of packages that its tasks do not import, Newton for
# another mujoco.
# shellcheck disable=SC2046
pip --no-deps $(pin 'isaaclab|newton|newton-usd-schemas|warp-lang|mujoco-warp|usd-exchange')
pip networkx shapely trimesh rtree filelock lazy-loader prettytable absl-py etils meshio pyglet imgui-bundle pytest
"$VENV/bin/python" -m regimen.envs.isaaclab.installed
say "ready ($(du -sh "$VENV" | cut -f1)). Next: python launch.py task=isaaclab env.id=Isaac-Velocity-Flat-H1 env.num_envs=16"
