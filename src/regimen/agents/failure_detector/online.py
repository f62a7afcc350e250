"""Online detection: one step per control step, a hidden state for every robot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from regimen.agents.failure_detector.decision_rule import DecisionRule
from regimen.envs.fault_estimate.estimator import Estimate

if TYPE_CHECKING:
    from regimen.agents.failure_detector.decision_rule import DecisionCfg
    from regimen.agents.failure_detector.model import DetectorNet
    from regimen.envs.vec_env import Obs
    from regimen.runs.checkpoint_header import StateDict


class StreamingDetector:
    """A trained network and the decision rule as an `Estimator`.

    It uses torch's present number of threads; one is fastest up to about a thousand robots.

    Attributes:
        classes: `healthy` and the joints.
        decision: the decision rule.
    """

    def __init__(
        self, net: DetectorNet, classes: tuple[str, ...], group: str, decision: DecisionCfg, step_dt: float
    ) -> None:
        """Take a trained network; the number of robots is that of the first observation.

        Args:
            net: is set to evaluation, without gradients.
            classes: names of its outputs.
            group: observation group it reads.
            decision: the decision rule.
            step_dt: seconds between two observations.
        """
        self.classes = classes
        self._net, self._group = net.eval().requires_grad_(False), group
        self.decision, self._step_dt = decision, step_dt
        self._state: torch.Tensor | None = None
        self._rule: DecisionRule | None = None

    def update(self, obs: Obs, begun: torch.Tensor) -> Estimate:
        """See `Estimator.update`."""
        with torch.inference_mode():
            probabilities, rule = self._advance(obs[self._group], begun)
            since = rule.age * self._step_dt
        # Copies made outside of inference mode may be used where gradients are computed.
        return Estimate(probabilities.clone(), rule.verdict.clone(), since.clone())

    def _advance(self, inputs: torch.Tensor, begun: torch.Tensor) -> tuple[torch.Tensor, DecisionRule]:
        if self._state is None or self._rule is None:
            self._state = self._net.initial(len(inputs))
            self._rule = DecisionRule(self.decision, len(inputs), inputs.device)
        elif begun.any():
            self._state = self._state.masked_fill(begun[None, :, None], 0.0)
        logits, self._state = self._net.step(inputs, self._state)
        probabilities = self._net.probabilities(logits)
        self._rule.update(probabilities, begun)
        return probabilities, self._rule

    def state_dict(self) -> StateDict:
        """Return hidden states and verdicts; empty before the first observation."""
        if self._state is None or self._rule is None:
            return {}
        return {"hidden": self._state.clone(), "rule": self._rule.state_dict()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        if not state:
            self._state = self._rule = None
            return
        self._state = state["hidden"].to(self._net.scaler.mean.device, copy=True)
        self._rule = DecisionRule(self.decision, self._state.shape[1], self._state.device)
        self._rule.load_state_dict(state["rule"])
