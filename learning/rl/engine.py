# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Who rolls out: lanes in processes of this machine, or the same lanes as Ray actors (:mod:`.ray_engine`).

A lane is a simulator process (:class:`~apprentice.sim.pool.WorldPool` with one worker) and the policy's
forward pass. It needs one processor, now for the one, now for the other, so lanes scale as processors do.
What an episode does depends on its seed, its try and the weights alone, not on the lane.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import pickle
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
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
    """Lanes on this machine: one in this process, several in processes of their own.

    In threads of one process they would wait for each other's interpreter.

    Args:
        policy, actor: of the trainer; what acts in the lane of this process.
        workers: lanes; about one a processor.
    """

    def __init__(self, setup: LaneSetup, policy: FlowPolicy, actor: Actor, workers: int = 1):
        self._lane = Lane(setup, policy, actor) if workers == 1 else None
        self._workers: list[tuple[BaseProcess, Connection]] = []
        # not forked: torch has threads and GL has contexts
        context = multiprocessing.get_context('spawn')
        try:
            for _ in range(0 if self._lane else workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, setup), daemon=False)
                process.start()
                theirs.close()
                self._workers.append((process, ours))
            for number in range(len(self._workers)):
                self._receive(number)
        except BaseException:
            self.close()
            raise

    def collect(self, actor: Actor, seeds: Sequence[int], noise_seed: int = 0) -> list[MacroEpisode]:
        """See :class:`Engine`. After an error, RuntimeError where a lane died, make another engine."""
        if self._lane is not None:
            return ordered([self._lane.collect(seeds, noise_seed)])
        weights = {name: tensor.cpu() for name, tensor in actor.state_dict().items()}
        asked = [(i, share) for i, share in enumerate(split(seeds, len(self._workers))) if share]
        for number, share in asked:
            with contextlib.suppress(OSError):  # said when its answer does not come
                _send(self._workers[number][1], (weights, share, noise_seed))
        return ordered([self._receive(number) for number, _ in asked])

    def _receive(self, number: int) -> list[MacroEpisode]:
        process, connection = self._workers[number]
        try:
            answer = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            process.join(5.0)
            raise RuntimeError(
                f'rollout lane {number} died (exit code {process.exitcode}); start again, training goes on '
                'from its snapshot'
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """End the lanes."""
        if self._lane is not None:
            self._lane.close()
        for _, connection in self._workers:
            connection.close()  # which ends its lane
        for process, _ in self._workers:
            process.join(10.0)
            if process.is_alive():
                process.kill()


def _serve(connection: Connection, setup: LaneSetup) -> None:
    """The process of a lane, until the trainer closes the connection or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the trainer, which then ends us
    torch.set_num_threads(1)
    try:
        lane = Lane(setup)
    except Exception as error:
        _send(connection, error)
        return
    try:
        _send(connection, [])
        while True:
            weights, seeds, noise_seed = pickle.loads(connection.recv_bytes())
            try:
                lane.actor.load_state_dict(weights)
                answer: Any = lane.collect(seeds, noise_seed)
            except Exception as error:
                answer = error
            _send(connection, answer)
    except (EOFError, OSError):
        pass
    finally:
        lane.close()


class _Pickler(pickle.Pickler):
    """Tensors as arrays: torch's own way writes an archive for each, which takes 12 times as long to read."""

    def reducer_override(self, item: Any) -> Any:
        if isinstance(item, torch.Tensor) and item.dtype != torch.bfloat16:  # numpy does not know it
            return torch.from_numpy, (item.detach().numpy(),)
        return NotImplemented


def _send(connection: Connection, message: Any) -> None:
    # plain bytes: the connection's own way would keep a shared file open for every tensor
    plain = io.BytesIO()
    _Pickler(plain, pickle.HIGHEST_PROTOCOL).dump(message)
    connection.send_bytes(plain.getbuffer())


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
