#!/usr/bin/env bash
# Makes .venv-isaaclab: Python 3.12 with Isaac Lab, Newton, and this project. Called by `make isaaclab`.
set -euo pipefail
cd "$(dirname "$0")/.."

NAME=isaaclab
PINS=constraints-isaaclab.txt
VENV=.venv-isaaclab
NEEDED=3.12
WHY="Isaac Lab 3.0 requires"
fits() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1; }
. tools/interpreter.sh

python=$(find_python python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12.*/bin/python)
make_venv "$python"
say "installing Isaac Lab, Newton and $(pin torch): 6 GB on disk, of which 4.5 GB are torch with the CUDA libraries that"
say "it loads also on a machine without a GPU; where pip finds a CPU build of torch, 1.5 GB. Some minutes."
pip "$(pin torch)"
say "installing this project"
bash tools/alone.sh "$VENV/bin/python" -m pip install -qq --disable-pip-version-check -c "$PINS" -e .
say "installing Isaac Lab and Newton"
# Without their requirements: Isaac Lab asks for torch 2.11 and 4 GB of packages that its tasks do not import, Newton for
# another mujoco.
# shellcheck disable=SC2046
pip --no-deps $(pin 'isaaclab|newton|newton-usd-schemas|warp-lang|mujoco-warp|usd-exchange')
pip networkx shapely trimesh rtree filelock lazy-loader prettytable absl-py etils meshio pyglet imgui-bundle pytest
"$VENV/bin/python" -m regimen.envs.isaaclab.installed
say "ready ($(du -sh "$VENV" | cut -f1)). Next: python launch.py task=isaaclab env.id=Isaac-Velocity-Flat-H1 env.num_envs=16"
