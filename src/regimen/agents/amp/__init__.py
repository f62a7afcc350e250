"""AMP, adversarial motion priors (Peng et al. 2021, arXiv 2104.02180): a style taken from motion clips.

The four parts subclass those of rl_games and are registered by `components:` of `conf/agent/amp.yaml`; a copy of this
folder is the start of an algorithm of your own.
"""

from regimen.agents.runner import library

library.load()

from regimen.agents.amp.agent import AMPAgent  # noqa: E402
from regimen.agents.amp.model import ModelAMPContinuous  # noqa: E402
from regimen.agents.amp.network import AMPBuilder  # noqa: E402
from regimen.agents.amp.player import AMPPlayer  # noqa: E402

__all__ = ["AMPAgent", "AMPBuilder", "AMPPlayer", "ModelAMPContinuous"]
