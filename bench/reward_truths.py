# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Attempts that reward models are judged on: held-out ones of the simulator, and recorded ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from apprentice.episodes.sources import episode_readers
from apprentice.learning.reward_attempts import (
    HELD_OUT_SEEDS,
    HELD_OUT_TASKS,
    attempts,
    plan,
    tasks_of,
    training_tasks,
)
from apprentice.reward_models.base import stack_views
from apprentice.reward_models.evaluation.showing import FAILURE, NEAR_MISS, OTHER_OBJECT, SUCCESS, Truth
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome
from apprentice.sim.acting import EXPERT, ActedAttempt

KINDS = {
    EXPERT: SUCCESS,
    'miss': NEAR_MISS,
    'stop_short': NEAR_MISS,
    'wrong': OTHER_OBJECT,
}  # others: FAILURE
MIX = (
    EXPERT,
    'miss',
    EXPERT,
    'stop_short',
    EXPERT,
    'wrong',
    EXPERT,
    'turn',
    EXPERT,
    'wander',
    EXPERT,
    'idle',
)
SEEDS, COLOURS, TASKS = 'held-out seeds', 'held-out colours', 'held-out tasks'
MOVED_SHARE = 5  # one attempt in so many is also seen by moved cameras
OTHERS = 2  # instructions of other groups that each success is held against
REFERENCES = 7_000_000  # seeds of the demonstrations in context, from HELD_OUT_SEEDS on

Watch = Callable[[Sequence], Iterable]


def simulated(
    groups: Sequence[str], count: int, robot: str = 'sim_arm', tasks: Sequence[str] = (), watch: Watch = iter
) -> dict[str, list[Truth]]:
    """Group -> held-out attempts, ``count`` of each task, half of them successes.

    SEEDS: tasks and colours that were trained on, other starts. COLOURS: the instruction names a held-out
    colour. TASKS: held-out tasks, whatever the colours.

    Args:
        tasks: only these.
    """
    found = {}
    for group in groups:
        names, first, colours = held_out(group, robot)
        names = [t for t in names if not tasks or t in tasks]
        wanted = plan(names, first, count, MIX, colours)
        moved = [replace(one, moved=True) for one in wanted[::MOVED_SHARE]]
        shown = plan(names, first + REFERENCES, 4, (EXPERT,), colours)
        everything = attempts([*wanted, *moved, *shown], '' if robot == 'sim_arm' else robot, watch=watch)
        acted, again = everything[: len(wanted)], everything[len(wanted) : len(wanted) + len(moved)]
        demonstrations = [a for a in everything[len(wanted) + len(moved) :] if a.success]
        texts = sorted({(a.task, a.text) for a in acted})
        found[group] = [
            _truth(a, texts, demonstrations, is_moved)
            for some, is_moved in ((acted, False), (again, True))
            for a in some
            if a.success or not a.solved.any()
        ]
    return found


def held_out(group: str, robot: str = 'sim_arm') -> tuple[list[str], int, str]:
    """Tasks of a group, its first seed, and which colours its scenes may have."""
    names = [t for t in (tasks_of(robot) if group == TASKS else training_tasks(robot))]
    names = [t for t in names if (t in HELD_OUT_TASKS) == (group == TASKS)]
    if group == COLOURS:
        names = [t for t in names if t != 'drawer']  # has none
    colours = {SEEDS: 'seen', COLOURS: 'held out', TASKS: 'any'}[group]
    return names, HELD_OUT_SEEDS + 1_500_000 * (SEEDS, COLOURS, TASKS).index(group), colours


def _truth(
    a: ActedAttempt, texts: Sequence[tuple[str, str]], demonstrations: Sequence[ActedAttempt], moved: bool
) -> Truth:
    kind = KINDS.get(a.behaviour, FAILURE)
    if kind == SUCCESS and not a.success:
        kind = FAILURE
    rng = np.random.default_rng(a.seed)
    others = [text for task, text in texts if task != a.task and not set(text.split()) & set(_named(a.text))]
    chosen = [str(t) for t in rng.permutation(others)[:OTHERS]] if others else []
    # of the same request where there is one, else of the same task: what a person would show once
    same = [d for d in demonstrations if d.task == a.task]
    same = [d for d in same if d.text == a.text] or same
    reference = same[0].frames[: int(same[0].solved.argmax()) + 2] if same else None
    return Truth(
        a.frames,
        a.stamps,
        a.text,
        kind,
        a.truth.astype(float),
        a.solved,
        a.task,
        (*a.wrong[:4], *chosen),
        reference,
        moved,
        a.state,
        a.action,
    )


def _named(text: str) -> set[str]:
    from apprentice.reward_models.critic.instructions import parse

    return set(parse(text).colours)


def recorded(folder: Path, spec: RobotSpec, rate_hz: float, watch: Watch = iter) -> list[Truth]:
    """Episodes of a LeRobot dataset, of a folder of MCAP logs, or of one MCAP file.

    Their outcome is the truth; an episode without one is left out. Wrong instructions are those of the other
    episodes. Raises ValueError if nothing is left.
    """
    if folder.is_file():
        from apprentice.episodes.join import read_episode

        episodes = [read_episode(folder, spec)]
    else:
        episodes = [read() for read in watch(episode_readers(folder, spec))]
    kept = [e for e in episodes if len(e) > 2 and e.outcome in (Outcome.SUCCESS, Outcome.FAILURE)]
    if not kept:
        raise ValueError(
            f'{folder} has no episode with an outcome that was recorded by robot {spec.name!r}; give the '
            'folder of a LeRobot dataset or of MCAP logs, and --robot'
        )
    texts = sorted({e.task for e in kept})
    good = {e.task: e for e in reversed(kept) if e.outcome == Outcome.SUCCESS}
    return [_recorded(e, texts, good.get(e.task), spec, rate_hz) for e in kept]


def _recorded(
    e: Episode, texts: Sequence[str], demonstration: Episode | None, spec: RobotSpec, rate_hz: float
) -> Truth:
    rows = _rows(e, rate_hz)
    success = e.outcome == Outcome.SUCCESS
    solved = np.zeros(len(rows), bool)
    solved[-1] = success
    # an episode is no demonstration for itself
    shown = demonstration if demonstration is not None and demonstration is not e else None
    return Truth(
        _frames(e, spec, rows),
        e.stamps[rows] - e.stamps[0],
        e.task,
        SUCCESS if success else FAILURE,
        np.full(len(rows), np.nan),
        solved,
        '',
        tuple(text for text in texts if text != e.task)[:4],
        None if shown is None else _frames(shown, spec, _rows(shown, rate_hz)),
    )


def _rows(e: Episode, rate_hz: float) -> np.ndarray:
    step = float(np.median(np.diff(e.stamps)))
    every = max(1, round(1 / (rate_hz * step)))
    return np.unique(np.append(np.arange(0, len(e), every), len(e) - 1))


def _frames(e: Episode, spec: RobotSpec, rows: np.ndarray) -> np.ndarray:
    cameras = [camera.name for camera in spec.cameras]
    return np.stack(
        [stack_views({c: np.asarray(e.images[c][row]) for c in cameras}, cameras) for row in rows]
    )
