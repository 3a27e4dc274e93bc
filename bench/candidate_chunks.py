# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Moments of held-out demonstrations with proposed chunks, and what each chunk truly leads to.

From one saved state every chunk is played out in the simulator, and then the expert goes on. The true return
is the time until success (less is better); staged progress right after the chunk is kept beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from apprentice.policies.policy import FlowPolicy, inputs_of
from apprentice.robot.types import Observation
from apprentice.sim.attempts import advance, followed, make_driver
from apprentice.sim.worlds import Snapshot, Worlds

FAILING = ('miss', 'wander', 'idle', 'wrong')
KINDS = ('policy',) * 3 + ('shaky',) * 3 + ('failing',) * 2  # of the candidates
LONGEST = 60  # actions of a demonstration
PATIENCE = 60  # actions the expert has after a chunk


@dataclass(frozen=True)
class Moment:
    """One moment of a demonstration with n proposed chunks.

    Attributes:
        views: uint8 [V, H, W, 3].
        state: [d] joint positions.
        demonstrated: [H, d], the demonstrated chunk; the last row is held past the end.
        sub, end: uint8 [V, H, W, 3], the demonstrated frame H actions later (or the last), and the last one.
        chunks: [n, H, d], within the robot's limits.
        after: uint8 [n, V, H, W, 3], what is really seen after each chunk.
        seconds: [n], until success if the expert goes on after the chunk; inf: never.
        progress: [n], staged progress right after the chunk.
    """

    seed: int
    step: int
    text: str
    views: np.ndarray
    state: np.ndarray
    demonstrated: np.ndarray
    sub: np.ndarray
    end: np.ndarray
    chunks: np.ndarray
    after: np.ndarray
    seconds: np.ndarray
    progress: np.ndarray


@dataclass
class _Demonstration:
    text: str
    frames: list[np.ndarray]
    states: list[np.ndarray]
    setpoints: list[np.ndarray]
    snapshots: list[Snapshot]
    actions: list[np.ndarray]


def moments(
    worlds: Worlds, policy: FlowPolicy, seeds: Sequence[int], each: int, horizon: int
) -> Iterator[Moment]:
    """``each`` moments of the demonstration of every seed; seeds where the expert fails give none.

    ``worlds`` needs as many simulations as there are :data:`KINDS`.
    """
    for seed in seeds:
        demonstration = _demonstrate(worlds, seed)
        if demonstration is None:
            continue
        rng = np.random.default_rng((seed, 5))
        length = len(demonstration.actions)
        steps = rng.choice(length, min(each, length), replace=False)
        for step in sorted(int(step) for step in steps):
            yield _moment(worlds, policy, demonstration, seed, step, horizon)


def _views(worlds: Worlds, sims: Sequence[int]) -> np.ndarray:
    """uint8 [len(sims), V, H, W, 3]."""
    frames = worlds.render(sims)
    return np.stack([frames[camera.name] for camera in worlds.spec.cameras], axis=1)


def _demonstrate(worlds: Worlds, seed: int) -> _Demonstration | None:
    worlds.reset([0], [seed])
    expert = worlds.expert()
    demo = _Demonstration(worlds.instructions[0], [], [], [], [], [])
    setpoints = worlds.joints.copy()
    for _ in range(LONGEST):
        demo.frames.append(_views(worlds, [0])[0])
        if worlds.success()[0]:
            return demo
        state = worlds.joints[0].copy()
        demo.states.append(state)
        demo.setpoints.append(setpoints[0].copy())
        demo.snapshots.append(worlds.save(0))
        target = setpoints.copy()
        wanted = expert.act(state, worlds.objects(0), demo.text)
        target[0] = followed(wanted, setpoints[0], worlds.spec)
        demo.actions.append(target[0].copy())
        advance(worlds, setpoints, target, [0])
        setpoints = target
    return None


def _moment(
    worlds: Worlds, policy: FlowPolicy, demo: _Demonstration, seed: int, step: int, horizon: int
) -> Moment:
    rows = np.minimum(step + np.arange(horizon), len(demo.actions) - 1)
    demonstrated = np.stack([demo.actions[row] for row in rows])
    start = np.tile(demo.setpoints[step], (worlds.count, 1))
    chunks = _propose(worlds, policy, demo, seed, step, horizon)
    _restore(worlds, demo.snapshots[step])
    seconds, progress, after = _play(worlds, demo.text, start, chunks)
    last = len(demo.frames) - 1
    return Moment(
        seed, step, demo.text, demo.frames[step], demo.states[step], demonstrated,
        demo.frames[min(step + horizon, last)], demo.frames[last], chunks, after, seconds, progress,
    )  # fmt: skip


def _progress(worlds: Worlds, sim: int) -> float:
    return float(worlds.progress()[sim])


def _restore(worlds: Worlds, snapshot: Snapshot) -> None:
    for sim in range(worlds.count):
        worlds.restore(sim, snapshot)


def _propose(
    worlds: Worlds, policy: FlowPolicy, demo: _Demonstration, seed: int, step: int, horizon: int
) -> np.ndarray:
    """Chunks [n, H, d] within the limits: the policy's samples as they are, the others from closed loop."""
    spec, expert = worlds.spec, worlds.expert()
    count = sum(kind == 'policy' for kind in KINDS)
    images = {camera.name: view for camera, view in zip(spec.cameras, demo.frames[step], strict=True)}
    observation = Observation(0.0, images, demo.states[step], demo.text)
    generator = torch.Generator().manual_seed(seed * 1000 + step)
    with torch.inference_mode():
        sampled = policy.candidates(inputs_of([observation], policy.spec), count, generator)[0].cpu().numpy()
    chunks = np.zeros((worlds.count, horizon, spec.dim))
    drivers = {}
    for sim, kind in enumerate(KINDS):
        rng = np.random.default_rng((seed, step, sim))
        if kind == 'policy':
            setpoint = demo.setpoints[step]
            for row in range(horizon):
                wanted = sampled[sim, min(row, sampled.shape[1] - 1)].astype(np.float64)
                setpoint = chunks[sim, row] = followed(wanted, setpoint, spec)
        else:
            name = str(rng.choice(FAILING)) if kind == 'failing' else kind
            drivers[sim] = make_driver(name, expert, spec, rng, partial(_progress, worlds, sim))
    _restore(worlds, demo.snapshots[step])
    setpoints = np.tile(demo.setpoints[step], (worlds.count, 1))
    for row in range(horizon):
        targets = setpoints.copy()
        for sim, driver in drivers.items():
            wanted = driver.act(worlds.joints[sim], worlds.objects(sim), demo.text)
            targets[sim] = chunks[sim, row] = followed(wanted, setpoints[sim], spec)
        advance(worlds, setpoints, targets, list(drivers))
        setpoints = targets
    return chunks


def _play(
    worlds: Worlds, text: str, setpoints: np.ndarray, chunks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds to success [n], progress after the chunk [n] and what is seen then."""
    spec, expert = worlds.spec, worlds.expert()
    running = list(range(worlds.count))
    seconds = np.full(worlds.count, np.inf)
    progress, after = np.zeros(worlds.count), np.zeros(0)
    for step in range(chunks.shape[1] + PATIENCE):
        if step == chunks.shape[1]:
            # who succeeded within the chunk stands still since
            progress, after = worlds.progress().copy(), _views(worlds, range(worlds.count))
        targets = setpoints.copy()
        for sim in running:
            if step < chunks.shape[1]:
                targets[sim] = chunks[sim, step]
            else:
                wanted = expert.act(worlds.joints[sim], worlds.objects(sim), text)
                targets[sim] = followed(wanted, setpoints[sim], spec)
        done = advance(worlds, setpoints, targets, running)
        setpoints = targets
        for sim in list(running):
            if done[sim]:
                seconds[sim] = step * spec.action_dt + done[sim] / spec.control_hz
            if done[sim] or worlds.failed[sim]:
                running.remove(sim)
        if not running and step >= chunks.shape[1]:
            break
    return seconds, progress, after
