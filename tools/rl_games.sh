#!/usr/bin/env bash
# Installs rl_games into .venv. It asks for psutil below 6, beside which Genesis does not install, and for packages that
# only its own environments need; what is imported here needs tensorboardX alone.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "rl_games: $*"; }

version() { grep "^$1==" constraints.txt; }

say "installing $(version rl_games) and $(version tensorboardX)"
.venv/bin/pip install -qq --disable-pip-version-check --no-deps "$(version rl_games)" "$(version tensorboardX)"
.venv/bin/python -c 'from regimen.agents.runner import library; library.load()'
say "ready; pip check names setproctitle, watchdog and another psutil, which nothing here imports"
say "next: python launch.py task=reach agent=rl_games"
