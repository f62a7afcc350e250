"""Regimen: one launcher for robot-learning experiments."""

import sys

from regimen.system.moved_modules import MovedModuleFinder

__version__ = "0.1.0"

if not any(isinstance(finder, MovedModuleFinder) for finder in sys.meta_path):
    sys.meta_path.insert(0, MovedModuleFinder())
