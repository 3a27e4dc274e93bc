# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Filmed attempts at any task, good and bad, with the truth about them: material for reward models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from apprentice.sim.failures import BEHAVIOURS as FAILURES
from apprentice.sim.failures import other_instructions
from apprentice.sim.state import read_state
from apprentice.sim.task import Expert
from apprentice.sim.worlds import Worlds

EXPERT = 'expert'
BEHAVIOURS = (EXPERT, *FAILURES)
HORIZON = 8  # actions of a chunk
STAY_S = 0.8  # s, for which an attempt goes on after it has succeeded


@dataclass
class ActedAttempt:
    """One attempt; the truth in it is for judging, a real robot has no more than ``text`` and ``success``.

    Attributes:
        stamps: float64 [T] s since the start.
        frames: uint8 [T, V, H, W, 3], views in the robot file's order.
        truth: float32 [T], the task's staged progress.
        solved: bool [T], the task's success predicate.
        wrong: what else could be asked for in the same scene.
        state: name -> float32 [T, d], see :mod:`.state`; what is named in every frame.
        action: float32 [T, H, dim], joint targets of the HORIZON actions from each frame on.
    """

    task: str
    text: str
    behaviour: str
    seed: int
    stamps: np.ndarray
    frames: np.ndarray
    truth: np.ndarray
    solved: np.ndarray
    wrong: tuple[str, ...] = ()
    state: dict[str, np.ndarray] = field(default_factory=dict)
    action: np.ndarray | None = None

    @property
    def success(self) -> bool:
        return bool(self.solved[-1])


def act_out(
    worlds: Worlds, seed: int, behaviour: str = EXPERT, rate_hz: float = 5.0, longest_s: float = 12.0
) -> ActedAttempt:
    """Act out and film one attempt in simulation 0. Deterministic for (seed, behaviour).

    Args:
        worlds: is reset to ``seed``.
        behaviour: one of BEHAVIOURS.
        rate_hz: of the frames; rounded to whole steps of ``action_dt``.
        longest_s: and the task's own limit; then the attempt ends. Failures end between a quarter and half
            of it, about when successes do: how long an attempt took shall not tell how it went.

    Raises ValueError for an unknown behaviour, naming the known ones.
    """
    if behaviour not in BEHAVIOURS:
        raise ValueError(f'behaviour {behaviour!r} is unknown; use one of {BEHAVIOURS}')
    spec, text = worlds.spec, worlds.reset([0], [seed])[0]
    every = max(1, round(1 / (rate_hz * spec.action_dt)))
    limit = min(longest_s, worlds.max_duration_s)
    driver: Expert = worlds.expert()
    if behaviour != EXPERT:
        rng = np.random.default_rng((seed, sorted(FAILURES).index(behaviour)))
        limit = min(limit, longest_s * np.random.default_rng((seed, 1)).uniform(0.25, 0.5))
        driver = FAILURES[behaviour](driver, spec, rng, lambda: float(worlds.progress()[0]))
    wrong = _other_requests(worlds, text, seed)
    stay, steps = -1, 0
    stamps, frames, truth, solved, states, steps_of, targets = [], [], [], [], [], [], []
    while True:
        good = bool(worlds.success()[0])
        if good and stay < 0:
            stay = steps + round(STAY_S / spec.action_dt)
        over = steps >= stay >= 0 or steps * spec.action_dt >= limit or bool(worlds.failed[0])
        if over or steps % every == 0:
            images = worlds.render([0])
            stamps.append(steps * spec.action_dt)
            frames.append(np.stack([images[camera.name][0] for camera in spec.cameras]))
            truth.append(float(worlds.progress()[0]))
            solved.append(good)
            states.append(read_state(worlds, [0]))
            steps_of.append(steps)
        if over:
            break
        target = driver.act(worlds.joints[0].copy(), worlds.objects(0), text)
        targets.append(np.asarray(target, np.float32))
        worlds.step(target[None], spec.action_dt)
        steps += 1
    targets.append(np.asarray(worlds.joints[0], np.float32))  # it stays where it ended
    ahead = np.array(steps_of)[:, None] + np.arange(HORIZON)
    named = [name for name in states[0] if all(name in state for state in states)]
    return ActedAttempt(
        worlds.task.name,
        text,
        behaviour,
        seed,
        np.array(stamps),
        np.stack(frames),
        np.array(truth, np.float32),
        np.array(solved, bool),
        wrong,
        {name: np.concatenate([state[name] for state in states]).astype(np.float32) for name in named},
        np.stack(targets)[np.minimum(ahead, len(targets) - 1)],
    )


def shows_colour(worlds: Worlds, colours: Sequence[str]) -> bool:
    """Whether the scene of simulation 0 has, or its instruction names, one of ``colours``."""
    said = worlds.instructions[0].split() + [p for name in worlds.objects(0) for p in name.split('_')]
    return any(colour in said for colour in colours)


def _other_requests(worlds: Worlds, text: str, seed: int) -> tuple[str, ...]:
    found: list[str] = []
    for told in other_instructions(text, list(worlds.objects(0)), np.random.default_rng(seed)):
        try:
            worlds.task.check(told)
        except ValueError:
            continue
        if told != text and told not in found:
            found.append(told)
    return tuple(found)
