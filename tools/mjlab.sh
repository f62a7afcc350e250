#!/usr/bin/env bash
# Makes .venv-mjlab: mjlab with the MuJoCo that it pins, and this project. Called by `make mjlab`.
set -euo pipefail
cd "$(dirname "$0")/.."

NAME=mjlab
PINS=constraints-mjlab.txt
VENV=.venv-mjlab
NEEDED="3.11, 3.12 or 3.13"
WHY="mjlab and this project require"
fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; }
. tools/interpreter.sh

requirements() { # of this project, without MuJoCo 4: mjlab pins another, in the same folder
    "$VENV/bin/python" - <<'END'
import tomllib

with open("pyproject.toml", "rb") as file:
    print(*(line for line in tomllib.load(file)["project"]["dependencies"] if "mujoco-core" not in line), sep="\n")
END
}

python=$(find_python python3.11 python3.12 python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[123].*/bin/python)
make_venv "$python"
say "installing mjlab, $(pin mujoco), $(pin mujoco-warp) and $(pin torch): 2 GB on disk where pip finds a CPU build of"
say "torch, such as with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu, else 6 GB. One to five minutes."
pip "$(pin torch)"
say "installing this project"
requirements >"$VENV/requirements.txt"
pip -r "$VENV/requirements.txt"
bash tools/alone.sh "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --no-deps -e .
say "installing mjlab and MuJoCo Warp; pip names requirements of mjlab and viser that are left out on purpose"
# Without their requirements: mjlab asks for another rsl-rl-lib than this project's, and for packages that its tasks do
# not import. They do import its viewers, viser and wandb.
# shellcheck disable=SC2046
pip --no-deps $(pin 'mjlab|mujoco|mujoco-warp|warp-lang|viser|mjviser')
pip tyro mediapy imageio-ffmpeg tensordict prettytable trimesh wandb onnxscript glfw etils absl-py msgspec websockets \
    zstandard requests
"$VENV/bin/python" -m regimen.envs.mjlab.installed
say "ready ($(du -sh "$VENV" | cut -f1)). Next: python launch.py task=mjlab env.id=Mjlab-Velocity-Flat-Unitree-Go1 env.num_envs=16"
