# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice eval suite``: every task at every level of randomisation, one page with films."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from apprentice.learning import suite_page
from apprentice.learning.suite import (
    EXPERT,
    Cell,
    SuiteConfig,
    cells,
    film_cell,
    finished,
    keep,
    overall,
    run_cell,
    unfilmed,
)
from apprentice.robot.parts import find_robot
from apprentice.robot.spec import RobotSpec
from apprentice.sim.rollout import Policy
from apprentice.sim.task import Task
from apprentice.sim.tasks import load_task, task_names
from apprentice.sim.worlds import Worlds

_log = logging.getLogger(__name__)


def run(args: argparse.Namespace, policy: str) -> int:
    """Run the cells that are missing, film them, and write the page after each."""
    spec = RobotSpec.load(find_robot(args.robot or 'sim_arm'))
    tasks = _tasks(args.tasks, spec, policy == EXPERT)
    act, name, weights, critics = _driver(policy, spec, args)
    config = SuiteConfig(
        name, tuple(tasks), tuple(args.levels), args.trials, args.first_seed, args.seed, weights, critics
    )
    wanted = cells(config, spec)
    # what an earlier run finished is on every page, also on those written before its turn comes
    done = {cell.key: found for cell in wanted if (found := finished(cell, args.out))}
    for cell in wanted:
        if cell.key not in done:
            _measure(cell, spec, act, config, args)
            keep(cell, args.out)
            done[cell.key] = cell
        if unfilmed(done[cell.key], config, args.films):
            _write(config, wanted, done, args.out)
            _film(done[cell.key], spec, act, config, args)
        page = _write(config, wanted, done, args.out)
    measured = [done[cell.key] for cell in wanted]
    if args.json:
        print(json.dumps({**suite_page.summary(config, measured), 'page': str(page)}))
        return 0
    for level, successes, trials in overall(measured):
        print(f'{level:12s} {successes:4d} of {trials}')
    print(f'page         {page}')
    return 0


def _tasks(asked: Sequence[str] | None, spec: RobotSpec, expert: bool) -> list[str]:
    """Names of the tasks to run. What cannot be run ends here, before hours of work."""
    if 'world' in spec.simulator:
        raise ValueError(
            f'robot {spec.name!r} brings its own task; evaluate it with `apprentice eval POLICY --robot ...`'
        )
    tasks = list(asked or [task for task in task_names() if load_task(task).robot == spec.name])
    if not tasks:
        raise ValueError(
            f'no task is made for robot {spec.name!r}; name those it can do, e.g. --tasks reach pick'
        )
    for name in tasks:
        task = load_task(name)
        if task.robot != spec.name:
            _try(spec, task, expert)
    return tasks


def _try(spec: RobotSpec, task: Task, expert: bool) -> None:
    """Raise ValueError for a task that is made for another robot and cannot be begun with this one."""
    try:
        with contextlib.closing(Worlds(spec, task=task)) as worlds:
            worlds.reset([0], [0])
            if expert:
                worlds.expert()
    except KeyError as error:  # a body or joint that only the other robot has
        raise ValueError(
            f'robot {spec.name!r} cannot do task {task.name!r} ({error.args[0]}); name others with --tasks'
        ) from error


def _driver(policy: str, spec: RobotSpec, args: argparse.Namespace) -> tuple[Policy | None, str, str, bool]:
    """Who drives (None: the expert), the name on the page, what tells the weights from others, and whether
    critics choose."""
    if policy == EXPERT:
        return None, EXPERT, '', False
    import torch

    from apprentice.learning.sampling import load_policy

    torch.set_num_threads(args.threads)
    loaded = load_policy(policy, spec, args.seed, critics=not args.without_critics)
    return loaded.act, loaded.name, loaded.identity, loaded.critics


def _measure(
    cell: Cell, spec: RobotSpec, act: Policy | None, config: SuiteConfig, args: argparse.Namespace
) -> None:
    with tqdm(desc=cell.name, unit='trial', total=config.trials, disable=args.json) as bar:

        def count(_: object) -> None:
            bar.update()
            bar.set_postfix(success=f'{cell.successes}/{len(cell.attempts)}')

        run_cell(cell, spec, act, config, args.workers, count)


def _film(
    cell: Cell, spec: RobotSpec, act: Policy | None, config: SuiteConfig, args: argparse.Namespace
) -> None:
    """Film a cell. Without films the numbers are good all the same, so an error is a warning."""
    try:
        film_cell(cell, spec, act, config, args.out, args.films)
    except Exception as error:  # GL has no error class of its own
        _log.warning('%s: not filmed: %s; the next run of this command tries again', cell.name, error)
        _log.debug('filming', exc_info=True)
    keep(cell, args.out)


def _write(config: SuiteConfig, wanted: Sequence[Cell], done: dict[str, Cell], folder: Path) -> Path:
    return suite_page.write(config, [done[cell.key] for cell in wanted if cell.key in done], folder)
