# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Attempts that reward models are judged on: held-out ones of the simulator, and recorded ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

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


def recorded(
    folder: Path,
    spec: RobotSpec,
    rate_hz: float,
    watch: Watch = iter,
    side: int = 0,
    keep: Callable[[Episode], bool] = lambda episode: True,
) -> list[Truth]:
    """Episodes of a LeRobot dataset, of a folder of MCAP logs, or of one MCAP file.

    Their outcome is the truth; an episode without one is left out. Wrong instructions are those of the other
    episodes. Raises ValueError if nothing is left.

    Args:
        side: pixels that are kept of a picture's shorter side; 0: all.
        keep: says of an episode whether it is wanted.
    """
    if folder.is_file():
        from apprentice.episodes.join import read_episode

        readers: list[Callable[[], Episode]] = [lambda: read_episode(folder, spec)]
    else:
        readers = episode_readers(folder, spec)
    # each is cut down as it comes: all pictures of all episodes would not fit into memory
    found = [
        _recorded(e, spec, rate_hz, side)
        for e in (read() for read in watch(readers))
        if _judged(e) and keep(e)
    ]
    if not found:
        raise ValueError(
            f'{folder} has no episode with an outcome that was recorded by robot {spec.name!r}; give the '
            'folder of a LeRobot dataset or of MCAP logs, and --robot'
        )
    texts = sorted({item.text for item in found})
    good = {item.text: item for item in reversed(found) if item.success}
    return [
        replace(
            item,
            wrong=tuple(text for text in texts if text != item.text)[:4],
            # an episode is no demonstration for itself
            reference=shown.frames if (shown := good.get(item.text, item)) is not item else None,
        )
        for item in found
    ]


def _judged(e: Episode) -> bool:
    return len(e) > 2 and e.outcome in (Outcome.SUCCESS, Outcome.FAILURE)


def _recorded(e: Episode, spec: RobotSpec, rate_hz: float, side: int) -> Truth:
    step = float(np.median(np.diff(e.stamps)))
    every = max(1, round(1 / (rate_hz * step)))
    rows = np.unique(np.append(np.arange(0, len(e), every), len(e) - 1))
    cameras = [camera.name for camera in spec.cameras]
    frames = [
        stack_views({c: _shrunk(np.asarray(e.images[c][row]), side) for c in cameras}, cameras)
        for row in rows
    ]
    success = e.outcome == Outcome.SUCCESS
    solved = np.zeros(len(rows), bool)
    solved[-1] = success
    return Truth(
        np.stack(frames),
        e.stamps[rows] - e.stamps[0],
        e.task,
        SUCCESS if success else FAILURE,
        np.full(len(rows), np.nan),
        solved,
    )


def _shrunk(picture: np.ndarray, side: int) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = side / min(height, width)
    if not side or scale >= 1:
        return picture
    size = round(width * scale), round(height * scale)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
