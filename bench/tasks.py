# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Whether every task can be done, and is not done by mistake: experts, failing behaviours, takeovers.

    apprentice bench tasks --seeds 200 --failures 40 --takeovers 20

Experts must succeed from at least 99 % of the seeds, failing behaviours never. A takeover is the expert's
after two seconds of a behaviour that wandered or missed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from apprentice.learning.statistics import wilson
from apprentice.robot.files import write_text
from apprentice.robot.parts import find_robot
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome
from apprentice.sim.failures import BEHAVIOURS
from apprentice.sim.rollout import RolloutConfig, rollouts
from apprentice.sim.task import Expert, Task
from apprentice.sim.tasks import load_task, task_names
from apprentice.sim.worlds import Worlds

LEAST = 0.99  # share of the seeds from which an expert must succeed
TAKEOVERS, BEFORE_S = ('wander', 'miss'), 2.0


def spec_of(task: Task) -> RobotSpec:
    """The robot file a task is made for."""
    return RobotSpec.load(find_robot(task.robot))


class Handover:
    """One driver for the first ``steps`` actions, the task's expert afterwards."""

    def __init__(self, first: Expert, expert: Expert, steps: float):
        self._first, self._expert, self._left = first, expert, steps

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        self._left -= 1
        return (self._first if self._left >= 0 else self._expert).act(state, objects, task)


def attempt(
    worlds: Worlds, seed: int, behaviour: str = '', before_s: float = np.inf
) -> tuple[bool, np.ndarray]:
    """One attempt in one simulation, as rollouts run it: whether it succeeded, and its progress [T].

    Args:
        behaviour: who drives for the first ``before_s`` seconds; the expert afterwards, and if it is empty.
    """
    spec, driver = worlds.spec, worlds.expert()
    duration_s = worlds.max_duration_s + (0.0 if before_s == np.inf else before_s)
    if behaviour:
        rng = np.random.default_rng((seed, sorted(BEHAVIOURS).index(behaviour)))
        failing = BEHAVIOURS[behaviour](driver, spec, rng, lambda: float(worlds.progress()[0]))
        driver = Handover(failing, driver, before_s / spec.action_dt)
    config = RolloutConfig(max_duration_s=duration_s)
    episode = next(rollouts(worlds, [seed], None, config, expert=driver))
    return episode.outcome == Outcome.SUCCESS, np.array([reward.progress for reward in episode.rewards])


def successes(task: str, behaviour: str, before_s: float, seeds: list[int]) -> list[tuple[int, bool, float]]:
    """Seed, success and seconds of some attempts at a task."""
    loaded = load_task(task)
    spec = dataclasses.replace(spec_of(loaded), cameras=())
    with contextlib.closing(Worlds(spec, 1, task=loaded)) as worlds:
        found = []
        for seed in seeds:
            success, progress = attempt(worlds, seed, behaviour, before_s)
            found.append((seed, success, (len(progress) - 1) * spec.action_dt))
        return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='apprentice bench tasks',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--tasks', nargs='+', metavar='TASK', default=task_names(), help='default: all')
    parser.add_argument('--seeds', type=int, default=200, help='of the experts (default 200)')
    parser.add_argument(
        '--failures', type=int, default=40, help='seeds of each failing behaviour (default 40)'
    )
    parser.add_argument('--takeovers', type=int, default=20, help='seeds of each takeover (default 20)')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, help='default: one a processor')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the numbers there')
    args = parser.parse_args()
    for task in args.tasks:
        load_task(task)  # a wrong name ends here, not after hours
    return args


def jobs(args: argparse.Namespace) -> Iterator[tuple[str, str, float, list[int]]]:
    """Task, behaviour, seconds before the expert drives, seeds; in pieces of 20."""
    for task in args.tasks:
        kinds = [('', np.inf, args.seeds)]
        kinds += [(behaviour, np.inf, args.failures) for behaviour in BEHAVIOURS]
        kinds += [(behaviour, BEFORE_S, args.takeovers) for behaviour in TAKEOVERS]
        for behaviour, before_s, count in kinds:
            for first in range(0, count, 20):
                yield task, behaviour, before_s, list(range(first, min(first + 20, count)))


def main() -> int:
    """Exit code 1 if an expert is below LEAST or a failing behaviour succeeds."""
    args = parse()
    found: dict[tuple[str, str, float], list[tuple[int, bool, float]]] = {}
    with ProcessPoolExecutor(args.workers, mp_context=get_context('spawn')) as pool:
        waiting = [(job, pool.submit(successes, *job)) for job in jobs(args)]
        for (task, behaviour, before_s, _), future in tqdm(waiting, unit='piece'):
            found.setdefault((task, behaviour, before_s), []).extend(future.result())
    good = True
    print(
        '| task | expert | 95 % interval | mean, longest | failures that succeed | expert after a takeover |'
    )
    print('|---|---|---|---|---|---|')
    for task in args.tasks:
        alone = found.get((task, '', np.inf), [])
        done = [seconds for _, success, seconds in alone if success]
        wrong = [
            (name, seed)
            for name in BEHAVIOURS
            for seed, success, _ in found.get((task, name, np.inf), [])
            if success
        ]
        tried = sum(len(found.get((task, name, np.inf), [])) for name in BEHAVIOURS)
        later = [success for name in TAKEOVERS for _, success, _ in found.get((task, name, BEFORE_S), [])]
        low, high = wilson(len(done), len(alone))
        good &= len(done) >= LEAST * len(alone) and not wrong
        times = f'{np.mean(done):.1f} s, {max(done):.1f} s' if done else ''
        print(
            f'| `{task}` | {len(done)} of {len(alone)} | {100 * low:.1f} to {100 * high:.1f} % | {times} | '
            f'{len(wrong)} of {tried}{f" {wrong}" if wrong else ""} | {sum(later)} of {len(later)} |'
        )
    if args.json:
        rows = [
            {'task': task, 'behaviour': behaviour, 'takeover': before_s < np.inf, 'attempts': attempts}
            for (task, behaviour, before_s), attempts in found.items()
        ]
        write_text(args.json, json.dumps(rows))
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
