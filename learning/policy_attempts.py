# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Attempts of a policy at its own task: how a policy fails is not how an expert pretends to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from apprentice.learning.reward_attempts import HELD_OUT_COLOURS, RATE_HZ, keep_attempt, kept_attempt, sources
from apprentice.learning.sampling import LoadedPolicy, load_policy
from apprentice.robot.files import cache_folder
from apprentice.robot.parts import find_robot
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome
from apprentice.sim.acting import ActedAttempt, shows_colour
from apprentice.sim.rollout import rollouts
from apprentice.sim.worlds import Worlds

POLICY = 'policy'  # behaviour of these attempts
AT_ONCE = 8  # simulations; the attempts are the same for any number
# disjoint ranges of seeds; a training may be chosen by 96,000,000 and is judged on 97,000,000
POLICY_SEEDS, CALIBRATION = 95_000_000, 95_500_000

Watch = Callable[[Sequence[int]], Iterable[int]]


def policy_attempts(
    first: int,
    count: int,
    policy: str = '',
    robot: str = '',
    cache: Path | None = None,
    watch: Watch = iter,
) -> list[ActedAttempt]:
    """``count`` attempts from seed ``first`` on, in scenes without a held-out colour, at the task of the
    robot file; read from ``cache`` or acted out and kept there.

    Args:
        policy: folder or shipped name; empty: the starter policy.
        robot: name or file; empty: sim_arm.
        cache: folder; None: ~/.cache/apprentice/reward_attempts, or below $APPRENTICE_CACHE.
        watch: passes the seeds on, e.g. with a progress bar.

    Raises CheckpointError for a damaged policy and PolicyMismatch for one of another robot.
    """
    folder = cache or cache_folder() / 'reward_attempts'
    folder.mkdir(parents=True, exist_ok=True)
    spec = RobotSpec.load(find_robot(robot or 'sim_arm'))
    acting = load_policy(policy, spec)
    wanted = list(range(first, first + 10 * count))  # not every start may be shown
    places = {seed: folder / f'{_key(acting, spec, seed)}.npz' for seed in wanted}
    found: list[ActedAttempt] = []
    worlds: Worlds | None = None
    try:
        for start in watch(range(0, len(wanted), AT_ONCE)):
            seeds = wanted[start : start + AT_ONCE]
            made = {seed: kept_attempt(places[seed]) for seed in seeds}
            if any(attempt is None for attempt in made.values()):
                worlds = worlds or Worlds(spec, AT_ONCE)
                for seed, attempt in _acted(worlds, seeds, acting).items():
                    made[seed] = attempt
                    keep_attempt(places[seed], attempt)
            found += [a for a in made.values() if a is not None and len(a.frames)]
            if len(found) >= count:
                break
    finally:
        if worlds is not None:
            worlds.close()
    if len(found) < count:
        raise ValueError(
            f'only {len(found)} of {len(wanted)} starts are without {", ".join(HELD_OUT_COLOURS)}'
        )
    return found[:count]


def _key(acting: LoadedPolicy, spec: RobotSpec, seed: int) -> str:
    about = [POLICY, acting.identity, spec.name, seed, RATE_HZ, sources()]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]


def _acted(worlds: Worlds, seeds: Sequence[int], acting: LoadedPolicy) -> dict[int, ActedAttempt]:
    """Seed -> attempt; without frames where the scene has a held-out colour."""
    shown, made = [], {}
    for seed in seeds:
        text = worlds.reset([0], [seed])[0]
        if shows_colour(worlds, HELD_OUT_COLOURS):
            made[seed] = _empty(worlds.task.name, text, seed)
        else:
            shown.append(seed)
    for episode in rollouts(worlds, shown, acting.act):
        made[int(episode.seed)] = _attempt(episode, worlds)
    return made


def _attempt(episode: Episode, worlds: Worlds) -> ActedAttempt:
    spec = worlds.spec
    every = max(1, round(1 / (RATE_HZ * spec.action_dt)))
    rows = np.unique(np.append(np.arange(0, len(episode.stamps), every), len(episode.stamps) - 1))
    frames = np.stack([episode.images[camera.name][rows] for camera in spec.cameras], axis=1)
    solved = np.zeros(len(rows), bool)
    solved[-1] = episode.outcome == Outcome.SUCCESS
    truth = np.array([episode.rewards[row].progress for row in rows], np.float32)
    stamps = episode.stamps[rows] - episode.stamps[0]
    return ActedAttempt(
        worlds.task.name, episode.task, POLICY, int(episode.seed), stamps, frames, truth, solved,
        action=np.zeros((len(rows), 0, spec.dim), np.float32),
    )  # fmt: skip


def _empty(task: str, text: str, seed: int) -> ActedAttempt:
    nothing = np.zeros(0, np.float32)
    frames = np.zeros((0, 0, 0, 0, 3), np.uint8)
    return ActedAttempt(
        task, text, POLICY, seed, nothing, frames, nothing, nothing.astype(bool), action=nothing
    )
