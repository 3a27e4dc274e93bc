# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Golden buffers: simulated episodes of known result, by which a reward program is admitted."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np

from apprentice.reward_models.programs.admission import GoldenEpisode
from apprentice.robot.chunk import next_setpoint
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import ActionChunk
from apprentice.sim.failures import BEHAVIOURS
from apprentice.sim.state import read_state
from apprentice.sim.task import Expert, Task
from apprentice.sim.worlds import Worlds

# label -> who drives; a near miss stops after a part of the way
DRIVERS = {'success': ('expert',), 'near_miss': ('stop_short',), 'failure': ('wander', 'wrong', 'idle')}
NEAR = 0.3  # staged progress from which an unfinished episode is a near miss
PLACED = 0.05  # progress a failure may have at its end


def golden_buffer(
    spec: RobotSpec, instruction: str, seeds: Sequence[int], task: Task | None = None
) -> list[GoldenEpisode]:
    """One episode a seed, in turns a success, a near miss and a failure; others than wanted are left out.

    The state holds the names that all episodes share. Raises ValueError for an instruction the task does
    not know, and where no success or no failure came out.
    """
    episodes: list[tuple[str, dict[str, np.ndarray]]] = []
    labels = list(DRIVERS)
    with contextlib.closing(Worlds(spec, 1, task=task)) as worlds:
        for number, seed in enumerate(seeds):
            label = labels[number % len(labels)]
            drivers = DRIVERS[label]
            name = drivers[number // len(labels) % len(drivers)]
            state, progress, success = _episode(worlds, seed, instruction, name)
            good = {
                'success': success,
                'near_miss': not success and progress >= NEAR,
                'failure': not success and progress < NEAR,
            }
            if good[label]:
                episodes.append((label, state))
    found = {label for label, _ in episodes}
    if not {'success', 'failure'} <= found:
        raise ValueError(f'of {len(seeds)} episodes there are only {sorted(found)}; give more seeds')
    shared = set.intersection(*(set(state) for _, state in episodes))
    return [
        GoldenEpisode(label, {n: v for n, v in state.items() if n in shared}) for label, state in episodes
    ]


def _episode(
    worlds: Worlds, seed: int, instruction: str, driver: str
) -> tuple[dict[str, np.ndarray], float, bool]:
    """States of an episode (name -> [T, d]), and progress and success at its end."""
    spec = worlds.spec
    told = worlds.reset([0], [seed], instruction)[0]
    expert: Expert = worlds.expert()
    if driver != 'expert':
        rng = np.random.default_rng((seed, 7))
        expert = BEHAVIOURS[driver](expert, spec, rng, lambda: float(worlds.progress()[0]))
    setpoint, seen = worlds.joints[0].copy(), [read_state(worlds)]
    for _ in range(round(worlds.max_duration_s / spec.action_dt)):
        if worlds.success()[0] or worlds.failed[0]:
            break
        target = expert.act(worlds.joints[0].copy(), worlds.objects(0), told)
        setpoint = drive(worlds, setpoint, target)
        seen.append(read_state(worlds))
    shared = set.intersection(*(set(each) for each in seen))
    state = {name: np.concatenate([each[name] for each in seen]) for name in seen[0] if name in shared}
    return state, float(worlds.progress()[0]), bool(worlds.success()[0])


def drive(worlds: Worlds, setpoint: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Bring simulation 0 toward a joint target [dim] for one ``action_dt``; the setpoint [dim] reached."""
    spec = worlds.spec
    period = 1 / spec.control_hz
    reach = spec.vector('velocity') * period
    chunk = ActionChunk(0.0, target[None], spec.action_dt)
    for tick in range(max(1, round(spec.action_dt / period))):
        followed = next_setpoint(chunk, setpoint, tick * period, period)
        assert followed is not None
        setpoint = setpoint + np.clip(followed[0] - setpoint, -reach, reach)
        setpoint = np.clip(setpoint, spec.vector('lower'), spec.vector('upper'))
        worlds.step(setpoint[None], period)
    return setpoint
