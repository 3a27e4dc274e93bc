# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Episodes without a ROS graph: demonstrations, evaluation, and people in the loop, in one process."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from apprentice.robot.chunk import next_setpoint
from apprentice.robot.types import ActionChunk, Episode, Observation, Outcome, Reward, RewardKind, Source
from apprentice.sim.people import ScriptedPerson
from apprentice.sim.world import World

Act = Callable[[Observation], np.ndarray]

PREDICATE, TIMEOUT = 2, 3  # EpisodeState.CAUSE_*


def rollout(
    world: World,
    seed: int,
    act: Act | None,
    *,
    task: str = '',
    max_duration_s: float = 8.0,
    execute_steps: int = 4,
    person: ScriptedPerson | None = None,
    eval_only: bool = False,
    episode_id: str = '',
) -> Episode:
    """Run one episode and return it as the recorder would have logged it.

    Args:
        act: the policy, observation to chunk [H, dim]; None lets the task's expert drive (a
            demonstration, every step marked HUMAN).
        execute_steps: rows of a chunk followed before the next is planned.
        person: takes over when stuck; ignored without a policy.
    """
    spec = world.spec
    instruction = world.reset(seed, task)
    expert = None if act else world.expert()
    if person:
        person.reset(world.time)
    period = 1 / spec.control_hz
    ticks = max(1, round(spec.action_dt / period))
    setpoint = world.state()
    chunk: ActionChunk | None = None
    human, takeovers, outcome = expert is not None, 0, Outcome.FAILURE
    log: dict[str, list] = {k: [] for k in ('stamps', 'state', 'action', 'source', 'takeover', 'truth')}
    images: dict[str, list[np.ndarray]] = {camera.name: [] for camera in spec.cameras}

    for step in range(round(max_duration_s / spec.action_dt)):
        now, state = world.time, world.state()
        frames, progress, success = world.render(), world.progress(), world.success()
        log['truth'].append((now, progress, success))
        if success:
            outcome = Outcome.SUCCESS
            break
        if person and act and not human and person.wants_control(now, progress):
            human, takeovers = True, takeovers + 1
        if human:
            driver = expert or person
            assert driver is not None
            target = driver.act(state, world.objects(), instruction)
            chunk = ActionChunk(now, target[None], spec.action_dt)
        elif chunk is None or step % execute_steps == 0:
            assert act is not None
            chunk = ActionChunk(now, act(Observation(now, frames, state, instruction)), spec.action_dt)
        for name, frame in frames.items():
            images[name].append(frame)
        for tick in range(ticks):
            followed = next_setpoint(chunk, setpoint, now + tick * period, period)
            if followed is not None:
                reach = spec.vector('velocity') * period
                setpoint = setpoint + np.clip(followed[0] - setpoint, -reach, reach)
                setpoint = np.clip(setpoint, spec.vector('lower'), spec.vector('upper'))
            world.step(setpoint, period)
        log['stamps'].append(now)
        log['state'].append(state)
        log['action'].append(setpoint.copy())
        log['source'].append(int(Source.HUMAN if human else Source.POLICY))
        log['takeover'].append(max(1, takeovers) if human else 0)

    return Episode(
        episode_id=episode_id or f'seed{seed:06d}',
        task=instruction,
        seed=seed,
        outcome=outcome,
        end_cause=PREDICATE if outcome == Outcome.SUCCESS else TIMEOUT,
        eval_only=eval_only,
        stamps=np.array(log['stamps']),
        images={name: np.stack(stack) for name, stack in images.items()},
        state=np.array(log['state'], np.float32),
        action=np.array(log['action'], np.float32),
        source=np.array(log['source'], np.uint8),
        takeover_id=np.array(log['takeover'], np.int64),
        rewards=[
            Reward(t, t, RewardKind.TRUTH, p, progress=p, done_prob=float(s), model='simulator')
            for t, p, s in log['truth']
        ],
        robot=spec.name,
    )
