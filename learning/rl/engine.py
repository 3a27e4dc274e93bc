# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Who rolls out: lanes in threads of this process, or the same lanes as Ray actors (:mod:`.ray_engine`).

A lane is a simulator process (:class:`~apprentice.sim.pool.WorldPool` with one worker) and the policy's
forward pass. It needs one processor, now for the one, now for the other, so lanes scale as processors do.
What an episode does depends on its seed, its try and the weights alone, not on the lane.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch._dynamo  # before the first GL context, see docs/architecture.md

from apprentice.learning.rl.episodes import MacroEpisode
from apprentice.learning.rl.on_policy import Actor
from apprentice.learning.rl.rollout import RewardConfig, collect
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.robot.parts import load_part
from apprentice.robot.spec import RobotSpec
from apprentice.sim.pool import WorldPool
from apprentice.sim.rollout import RolloutConfig

_PATIENCE_S = 1e-4


@dataclass(frozen=True)
class LaneSetup:
    """All that a lane is made of; plain data, so that it can be sent to another machine.

    Attributes:
        robot: fields of the robot file.
        policy: folder of the policy that training began with; on other machines at the same place.
        algorithm: class that makes the actor, ``package.module:Class``.
        settings: its Config.
        together: simulations of a lane.
        worlds: further options of Worlds, such as ``randomization``.
    """

    robot: RobotSpec
    policy: str
    algorithm: str
    settings: Any
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    rewards: RewardConfig = field(default_factory=RewardConfig)
    together: int = 8
    worlds: dict[str, Any] = field(default_factory=dict)


class Lane:
    """One simulator process and the policy that acts in it.

    Args:
        policy, actor: of the trainer, in its process; None: loaded, with weights to be sent.
    """

    def __init__(self, setup: LaneSetup, policy: FlowPolicy | None = None, actor: Actor | None = None):
        self.setup = setup
        if policy is None:
            policy, _ = checkpoint.load(setup.policy)
            policy.spec.require(setup.robot)
        self.policy = policy
        made = load_part(setup.algorithm).make_actor
        self.actor: Actor = actor or made(policy, setup.settings, setup.rollout.execute_steps)
        self.worlds = WorldPool(setup.robot, setup.together, 1, **setup.worlds)

    def collect(self, seeds: Sequence[int], noise_seed: int = 0) -> list[MacroEpisode]:
        """Episodes with the present weights."""
        setup = self.setup
        return collect(self.worlds, seeds, self.policy, self.actor, setup.rollout, setup.rewards, noise_seed)

    def close(self) -> None:
        """End the simulator process."""
        self.worlds.close()


class Engine(Protocol):
    """Rolls out many episodes with the weights of an actor."""

    def collect(self, actor: Actor, seeds: Sequence[int], noise_seed: int = 0) -> list[MacroEpisode]:
        """One episode for every seed, sorted by seed and try; equal seeds must follow each other."""
        ...

    def close(self) -> None: ...


class LocalEngine:
    """Lanes in threads: simulators are processes, and the forward pass does not hold the interpreter.

    Args:
        workers: lanes; about one a processor.
    """

    def __init__(self, setup: LaneSetup, policy: FlowPolicy, actor: Actor, workers: int = 1):
        self._lanes: list[Lane] = []
        # torch must not use the processors of the other lanes in its forward pass
        self._threads = torch.get_num_threads()
        try:
            for _ in range(workers):
                self._lanes.append(Lane(setup, policy, actor))
        except BaseException:
            self.close()
            raise
        self._pool = ThreadPoolExecutor(workers)

    def collect(self, actor: Actor, seeds: Sequence[int], noise_seed: int = 0) -> list[MacroEpisode]:
        shares = split(seeds, len(self._lanes))
        torch.set_num_threads(max(1, self._threads // len(self._lanes)))
        # a lane whose simulator answered waits so long for the interpreter; 5 ms would be most of a step
        patience = sys.getswitchinterval()
        sys.setswitchinterval(_PATIENCE_S)
        try:
            pending = [
                self._pool.submit(lane.collect, share, noise_seed) for lane, share in zip(self._lanes, shares)
            ]
            return ordered([future.result() for future in pending])
        finally:
            torch.set_num_threads(self._threads)
            sys.setswitchinterval(patience)

    def close(self) -> None:
        if hasattr(self, '_pool'):
            self._pool.shutdown()
        for lane in self._lanes:
            lane.close()


def split(seeds: Sequence[int], parts: int) -> list[list[int]]:
    """Seeds in ``parts`` shares, some of them empty; tries of one start stay together."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and runs[-1][0] == seed:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    if len({run[0] for run in runs}) != len(runs):
        raise ValueError('equal seeds must follow each other, so that their tries can be told apart')
    shares: list[list[int]] = [[] for _ in range(parts)]
    for run in runs:
        min(shares, key=len).extend(run)
    return shares


def ordered(parts: Sequence[Sequence[MacroEpisode]]) -> list[MacroEpisode]:
    """All episodes by seed and try."""
    return sorted((e for part in parts for e in part), key=lambda e: (e.seed, e.repeat))
