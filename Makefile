# Every target has a one-line help after `##`; `make help` prints them.
SHELL := bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
READY := .venv/.ready
SUPPORT := build/support.jsonl
TESTS ?= tests
PORTABLE := tests/system tests/runs/test_worker.py tests/runs/test_supervisor.py tests/runs/test_lock.py

.PHONY: help setup extras genesis mujoco_warp rl_games ray isaaclab mjlab demo test test-portable test-slow test-all support check docs format bench bench-gpu clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with the pinned dependencies (PYTHON=python3.12 for another interpreter)

$(READY): pyproject.toml constraints.txt tools/setup.sh
	@PYTHON="$(PYTHON)" bash tools/setup.sh
	@touch $@

extras: $(READY) ## install what is optional: mlflow, wandb, optuna, lerobot, onnx, viewer, gym, notebook, encoders, ui, mcp, trackio
	@echo "extras: installing mlflow, wandb, optuna, pyarrow, onnxruntime, glfw, imageio, ipykernel, EfficientNet-Lite0, nicegui, viser, mcp and trackio"
	@bash tools/alone.sh .venv/bin/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[mlflow,wandb,optuna,lerobot,onnx,viewer,gym,notebook,encoders,ui,mcp,trackio]'

genesis: $(READY) ## install the simulator Genesis (sim=genesis), 2 GB, and the system libraries it loads
	@bash tools/genesis.sh

mujoco_warp: $(READY) ## install MuJoCo Warp (sim=mujoco_warp), 400 MB
	@echo "mujoco_warp: installing"
	@bash tools/alone.sh .venv/bin/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[mujoco-warp]'
	@echo "mujoco_warp: ready. Next: python launch.py stage=evaluate task=go2_flat policy=pretrained:go2_flat sim=mujoco_warp"

rl_games: $(READY) ## install rl_games (agent=rl_games, agent=amp), 1 MB
	@bash tools/rl_games.sh

ray: $(READY) ## install Ray (hardware.channel.transport=ray), 240 MB
	@echo "ray: installing"
	@bash tools/alone.sh .venv/bin/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[ray]'
	@echo "ray: ready. Next: python launch.py experiment=gear_rlpd hardware=actor_learner hardware.channel.transport=ray"

isaaclab: ## make .venv-isaaclab (task=isaaclab): Python 3.12, Isaac Lab, Newton, 6 GB (PYTHON=python3.12 for another)
	@PYTHON="$(PYTHON)" bash tools/isaaclab.sh

mjlab: ## make .venv-mjlab (task=mjlab): mjlab, MuJoCo Warp, 2 GB (PYTHON=python3.12 for another)
	@PYTHON="$(PYTHON)" bash tools/mjlab.sh

demo: $(READY) ## train a Go2 that walks, evaluate it, make the video, say where everything is
	@$(PY) -m regimen.cli.demo

# The suites start hundreds of interpreters: with this set, each of them compiles all modules again.
test test-portable test-slow: export PYTHONDONTWRITEBYTECODE :=

test: $(READY) ## the fast suite (CPU only, about 2 minutes)
	@echo "test: fast suite"
	@$(PY) -m pytest -q -n 3 -m "not slow"

test-portable: $(READY) ## a part of the fast suite with `/proc` and the calls of Linux hidden from the code
	@echo "test-portable: without what Linux alone has"
	@$(PY) -m pytest -q -n 2 -m "not slow" --without-linux $(PORTABLE)

test-slow: $(READY) ## the slower suites: trainings, kills, sweeps; three at once, for they wait a lot
	@echo "test-slow: slower suites"
	@$(PY) -m pytest -q -n 3 -m slow

test-all: test test-slow ## the fast suite, then the slower ones

support: $(READY) ## run the tests and write docs/support.md from the runs that they make (TESTS=tests/end_to_end: of some)
	@echo "support: tests, with a record of their runs"
	@rm -f $(SUPPORT); failed=0; $(PY) -m pytest -q -n 2 $(TESTS) --support-record=$(SUPPORT) || failed=$$?; \
		$(PY) tools/support_matrix.py $(SUPPORT) && exit $$failed

check: $(READY) ## ruff (lint and format), mypy, the layers of imports, and the vocabulary of pages and docstrings
	@echo "check: ruff"
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@echo "check: mypy"
	@$(PY) -m mypy
	@echo "check: import-linter"
	@.venv/bin/lint-imports --no-logo
	@echo "check: vocabulary"
	@$(PY) -m pytest -q tests/docs/test_prose.py

docs: $(READY) ## build the pages and the API reference as a site in site/; a broken link fails
	@echo "docs: installing mkdocs-material and mkdocstrings, where they are missing"
	@bash tools/alone.sh .venv/bin/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@echo "docs: building site/"
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

format: $(READY) ## let ruff format and sort everything, and fill the prose of the pages
	@$(PY) -m ruff check --fix --exit-zero
	@$(PY) -m ruff format
	@$(PY) tools/reflow.py

bench: $(READY) ## every benchmark: each prints a table and writes JSON
	@set -e; for file in $$(ls benchmarks/*.py | grep -v _peer.py); do echo "bench: $$file"; $(PY) $$file; done

bench-gpu: $(READY) ## what is claimed for a GPU, on a machine with one, in 12 minutes
	@$(PY) benchmarks/gpu.py

clean: ## remove caches and builds; runs and .venv* stay
	@rm -rf build dist site .pytest_cache .ruff_cache .mypy_cache .import_linter_cache MUJOCO_LOG.TXT src/*.egg-info
	@find src tests conf benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
