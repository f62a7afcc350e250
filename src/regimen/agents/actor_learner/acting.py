"""An actor: an open task, the agent that acts in it, and its channel to a learner elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from regimen.agents.actor_learner.actor_session import ActorSession
from regimen.agents.actor_learner.agreement import Agreement, seed_of
from regimen.system import wire
from regimen.system.message_client import FinishedError, ServerError

if TYPE_CHECKING:
    from regimen.agents.actor_learner.request_channel import RequestChannel
    from regimen.config.schema import Config

LAST_S = 2.0
"""Time that the end of an actor gives to its last message."""


def act(
    config: Config,
    channel: RequestChannel,
    name: str,
    stopped: Callable[[], bool],
    on_start: Callable[[ActorSession], None] = lambda session: None,
) -> int:
    """Act for a learner until it has finished, or until this actor is to end; return the env steps of each env.

    Args:
        config: of the run.
        channel: to the learner, closed afterwards.
        name: of this actor; no other one had it.
        stopped: whether the actor is to end; called after every step.
        on_start: called before the first step.

    Raises:
        ConfigError: the learner has another task or agent.
        ServerError: the learner does not answer.
        DivergedError: a value of the task is not finite.
    """
    import torch

    from regimen.config.targets import resolve
    from regimen.envs import open_env
    from regimen.system.seeding import seed_all

    config = copy.deepcopy(config)
    config.seed = seed_of(config.seed, name)
    torch.set_num_threads(config.hardware.num_threads())
    seed_all(config.seed)
    env = open_env(config)
    try:
        device = torch.device(config.hardware.device)
        agent: Any = resolve(config.agent._target_)(config.agent, env.io, env.num_envs, device, config.seed)
        session: ActorSession | None = None
        try:
            answer = channel.hello(Agreement.of(config, env.io).message())
            push_steps, kept = (wire.require_plain(answer, key, int) for key in ("push_steps", "kept"))
            session = ActorSession(channel, env.num_envs, push_steps, kept, stopped)
            on_start(session)
            agent.act(env, session)
        except FinishedError as finished:
            print(finished, flush=True)
        else:  # it is to end: what was not sent yet is sent, if the learner answers at once
            channel.hurry(LAST_S)
            with suppress(ServerError):
                session.push()
        return 0 if session is None else session.steps
    finally:
        env.close()
        channel.close()
