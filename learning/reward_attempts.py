# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Simulator attempts that reward models are trained and judged on, kept on disk; and who may see which.

What is held out is fixed here: no shipped critic is trained, calibrated or tuned on these tasks, these
colours, or these seeds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import apprentice.sim
from apprentice.robot.files import cache_folder, replacing
from apprentice.robot.parts import find_robot, share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.acting import ActedAttempt, act_out, shows_colour
from apprentice.sim.randomize import Cameras, Randomization
from apprentice.sim.tasks import load_task, task_names
from apprentice.sim.worlds import Worlds

HELD_OUT_TASKS = ('reach', 'stack')
HELD_OUT_COLOURS = ('yellow',)
# disjoint ranges of seeds; demonstrations and evaluations of policies use smaller ones
TRAINING_SEEDS, CALIBRATION_SEEDS, HELD_OUT_SEEDS = 40_000_000, 50_000_000, 70_000_000
MOVED = Randomization('camera moved', cameras=Cameras(position_m=0.02, rotation_rad=0.04, fovy_deg=2.0))
RATE_HZ = 5.0
# numbered first, so that a new task leaves these their seeds, and what was measured on them stays comparable
_FIRST_TASKS = ('drawer', 'lift', 'peg', 'pick', 'place', 'pose', 'push', 'reach', 'stack', 'wipe')
_SIMULATOR = ('acting', 'failures', 'perturb', 'render', 'scene', 'task', 'view', 'worlds')


@dataclass(frozen=True)
class Wanted:
    """One attempt to act out. ``colours``: 'seen' skips scenes with a held-out colour, 'held out' skips
    instructions without one, 'any' skips nothing. ``moved``: the cameras are somewhere else."""

    task: str
    seed: int
    behaviour: str
    colours: str = 'any'
    moved: bool = False


def training_tasks(robot: str = 'sim_arm') -> list[str]:
    """Tasks made for a robot that may be trained on."""
    return [task for task in tasks_of(robot) if task not in HELD_OUT_TASKS]


def tasks_of(robot: str) -> list[str]:
    """Tasks made for a robot."""
    return [task for task in task_names() if load_task(task).robot == robot]


def plan(
    tasks: Sequence[str],
    first: int,
    count: int,
    mix: Sequence[str],
    colours: str = 'any',
    moved: bool = False,
) -> list[Wanted]:
    """``count`` attempts at each task, behaviours taken in turn from ``mix``; no seed is used twice."""
    everything = [*_FIRST_TASKS, *sorted(set(task_names()) - set(_FIRST_TASKS))]
    return [
        Wanted(task, first + 100_000 * everything.index(task) + 100 * i, mix[i % len(mix)], colours, moved)
        for task in tasks
        for i in range(count)
    ]


def attempts(
    wanted: Sequence[Wanted],
    robot: str = '',
    rate_hz: float = RATE_HZ,
    cache: Path | None = None,
    watch: Callable[[Sequence[Wanted]], Iterable[Wanted]] = iter,
) -> list[ActedAttempt]:
    """The attempts, read from ``cache`` or acted out and kept there.

    Args:
        robot: name or file; empty: the one each task is made for.
        cache: folder; None: ~/.cache/apprentice/reward_attempts, or below $APPRENTICE_CACHE.
        watch: passes the list on, e.g. with a progress bar.
    """
    folder = cache or cache_folder() / 'reward_attempts'
    folder.mkdir(parents=True, exist_ok=True)
    digest = sources()
    found = []
    with _Stage(robot) as stage:
        for one in watch(wanted):
            key = hashlib.sha256(json.dumps([repr(one), robot, rate_hz, digest]).encode()).hexdigest()[:24]
            path = folder / f'{key}.npz'
            attempt = kept_attempt(path)
            if attempt is None:
                attempt = stage.act(one, rate_hz)
                keep_attempt(path, attempt)
            found.append(attempt)
    return found


class _Stage(contextlib.AbstractContextManager):
    """Opens worlds when they are first needed; one at a time, as GL contexts are dear."""

    def __init__(self, robot: str):
        self._robot, self._key, self._worlds = robot, ('', False), None

    _worlds: Worlds | None

    def act(self, one: Wanted, rate_hz: float) -> ActedAttempt:
        if self._worlds is None or self._key != (one.task, one.moved):
            self.close()
            task = load_task(one.task)
            spec = RobotSpec.load(find_robot(self._robot or task.robot))
            self._worlds = Worlds(spec, 1, task=task, randomization=MOVED if one.moved else None)
            self._key = one.task, one.moved
        return act_out(self._worlds, self._allowed(one), one.behaviour, rate_hz)

    def _allowed(self, one: Wanted) -> int:
        """The first seed from ``one.seed`` on whose scene may be shown."""
        assert self._worlds is not None
        for seed in range(one.seed, one.seed + 100):
            text = self._worlds.reset([0], [seed])[0]
            if one.colours == 'seen' and shows_colour(self._worlds, HELD_OUT_COLOURS):
                continue
            if one.colours == 'held out' and not any(colour in text for colour in HELD_OUT_COLOURS):
                continue
            return seed
        raise ValueError(
            f'none of 100 starts of {one.task!r} from seed {one.seed} has colours {one.colours!r}'
        )

    def close(self) -> None:
        if self._worlds is not None:
            self._worlds.close()
            self._worlds = None

    def __exit__(self, *_: object) -> None:
        self.close()


def sources() -> str:
    """Hash over the files that frames depend on: those of another simulator are not taken for these."""
    digest, root = hashlib.sha256(), Path(apprentice.sim.__file__).parent
    files = [root / f'{name}.py' for name in _SIMULATOR]
    files += [path for folder in ('tasks', 'robots') for path in sorted((root / folder).rglob('*'))]
    files += sorted(share('robots').glob('*.yaml'))  # where an arm begins
    for path in files:
        if path.suffix in ('.py', '.xml', '.yaml'):
            digest.update(path.read_bytes())
    return digest.hexdigest()


_TEXTS = ('task', 'text', 'behaviour')
_ARRAYS = ('stamps', 'frames', 'truth', 'solved', 'action')


def keep_attempt(path: Path, attempt: ActedAttempt) -> None:
    """Write an attempt whole or not at all."""
    about = {name: getattr(attempt, name) for name in (*_TEXTS, 'seed', 'wrong')}
    with replacing(path) as temporary, open(temporary, 'wb') as file:
        arrays = {name: getattr(attempt, name) for name in _ARRAYS}
        arrays |= {f'state.{name}': values for name, values in attempt.state.items()}
        np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)


def kept_attempt(path: Path) -> ActedAttempt | None:
    """The attempt of a file; None if it is not there or not whole."""
    try:
        with np.load(path, allow_pickle=False) as data:
            about = json.loads(str(data['about']))
            arrays = {name: data[name] for name in _ARRAYS}
            state = {n.removeprefix('state.'): data[n] for n in data.files if n.startswith('state.')}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    texts = {name: about[name] for name in _TEXTS}
    return ActedAttempt(seed=about['seed'], wrong=tuple(about['wrong']), state=state, **texts, **arrays)
