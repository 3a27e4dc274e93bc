# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice eval suite``: every task at every level of randomisation, one page with films."""

from __future__ import annotations

import argparse
import logging
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
)
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.rollout import ActBatch
from apprentice.sim.tasks import load_task, task_names

_log = logging.getLogger(__name__)


def run(args: argparse.Namespace, policy: str) -> int:
    """Run the cells that are missing, film them, and write the page after each."""
    spec = RobotSpec.load(args.robot or share('robots', 'sim_arm.yaml'))
    act, name = (None, EXPERT) if policy == EXPERT else _policy(policy, spec, args)
    tasks = args.tasks or [task for task in task_names() if load_task(task).robot == spec.name]
    for task in tasks:
        load_task(task)  # an unknown name ends here, before hours of work
    config = SuiteConfig(name, tuple(tasks), tuple(args.levels), args.trials, args.first_seed, args.seed)
    done: list[Cell] = []
    page = suite_page.write(config, done, args.out)
    for cell in cells(config):
        done.append(finished(cell, args.out) or _measure(cell, spec, act, config, args))
        page = suite_page.write(config, done, args.out)
    for level, successes, trials in overall(done):
        print(f'{level:12s} {successes:4d} of {trials}')
    print(f'page         {page}')
    return 0


def _policy(policy: str, spec: RobotSpec, args: argparse.Namespace) -> tuple[ActBatch, str]:
    import torch
    import torch._dynamo  # before the first GL context, see docs/architecture.md

    from apprentice.policies import checkpoint

    torch.set_num_threads(args.threads)
    folder = Path(policy) if policy else share('weights', 'policy')
    loaded, manifest = checkpoint.load(folder)
    loaded.spec.require(spec)
    generator = torch.Generator().manual_seed(args.seed)
    about = manifest['about'] if isinstance(manifest['about'], str) else ''
    return (lambda seen: loaded.act_batch(seen, generator)), f'{folder.name} {about}'.strip()


def _measure(
    cell: Cell, spec: RobotSpec, act: ActBatch | None, config: SuiteConfig, args: argparse.Namespace
) -> Cell:
    with tqdm(desc=cell.name, unit='trial', total=config.trials) as bar:

        def count(_: object) -> None:
            bar.update()
            bar.set_postfix(success=f'{cell.successes}/{len(cell.attempts)}')

        run_cell(cell, spec, act, config, args.workers, count)
    if cell.skipped:
        _log.warning('%s: %s', cell.name, cell.skipped)
    else:
        film_cell(cell, spec, act, config, args.out, args.films)
        keep(cell, args.out)
    return cell
