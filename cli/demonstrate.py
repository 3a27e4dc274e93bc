# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""record scripted demonstrations in simulation, as the recorder would have logged them"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import yaml
from tqdm import tqdm

from apprentice.episodes.episode_writer import write_episode
from apprentice.robot.parts import find_robot
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome
from apprentice.sim.pool import open_worlds
from apprentice.sim.rollout import RolloutConfig, rollouts
from apprentice.sim.tasks import load_task

SEED0 = 500_000  # apart from the seeds of learning (1000s) and of held-out evaluation (900000 and up)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice demonstrate``."""
    parser.add_argument(
        '--out', type=Path, default=Path('runs/demonstrations'), help='folder of the episode files'
    )
    parser.add_argument('--episodes', type=int, default=100, help='number of demonstrations (default 100)')
    parser.add_argument(
        '--seed', type=int, default=0, help='shifts the starts; each seed has its own million'
    )
    parser.add_argument('--robot', default='', help='name of a shipped robot or a file (default sim_arm)')
    parser.add_argument('--task', default='', help='instruction; default: drawn for each start')
    parser.add_argument(
        '--sim-task',
        default='',
        help="task in simulation, see docs/simulation.md (default: the robot file's)",
    )
    parser.add_argument(
        '--randomization', default='none', help='none, mild, strong or a YAML file (default none)'
    )
    parser.add_argument('--workers', type=int, default=0, help='processes (default: one a processor)')


def run(args: argparse.Namespace) -> int:
    """Write the missing ones of ``episodes`` demonstrations; those that exist are kept.

    Exit code 1 if none was made.
    """
    if args.episodes < 1:
        raise ValueError(f'{args.episodes} episodes; use 1 or more')
    path = find_robot(getattr(args, 'robot', '') or 'sim_arm')
    plain = RobotSpec.load(path)
    spec = with_task(plain, getattr(args, 'sim_task', ''))
    level = getattr(args, 'randomization', 'none')
    out, failed = Path(args.out), 0
    prefix = _prefix(plain, spec, level)
    first = SEED0 + 1_000_000 * args.seed
    names = {first + number: f'{prefix}-{args.seed:03d}-{number:05d}' for number in range(args.episodes)}
    missing = [seed for seed, name in names.items() if not (out / f'{name}.mcap').exists()]
    if not missing:
        print(f'all {args.episodes} demonstrations are in {out} already')
        return 0
    text = _text(path, plain, spec)
    bar = tqdm(
        desc='demonstrations', unit='episode', total=args.episodes, initial=args.episodes - len(missing)
    )
    with bar, open_worlds(spec, len(missing), getattr(args, 'workers', 0), randomization=level) as worlds:
        config = RolloutConfig(getattr(args, 'task', ''))
        for episode in rollouts(worlds, missing, None, config, expert=worlds.expert()):
            bar.update()
            if episode.outcome != Outcome.SUCCESS:
                failed += 1
                continue
            episode.episode_id = names[episode.seed]
            write_episode(out / f'{episode.episode_id}.mcap', episode, spec, text)
    if failed:
        print(f'{failed} of {len(missing)} demonstrations failed and were not kept')
    return int(failed == len(missing))


def with_task(spec: RobotSpec, name: str) -> RobotSpec:
    """The robot at the task ``name``; itself if that is the robot file's own, by any of its names."""
    own = spec.simulator.get('task')
    if not name or (own and type(load_task(str(own))) is type(load_task(name))):
        return spec
    return spec.with_task(name)


def _prefix(plain: RobotSpec, spec: RobotSpec, level: str) -> str:
    """Of the file names: what is not as the robot file says is in it, so that one folder can hold both."""
    parts = ['demonstration']
    if spec != plain:
        parts.append(re.sub(r'\W+', '_', str(spec.simulator['task'])))
    if level != 'none':
        parts.append(re.sub(r'\W+', '_', Path(level).stem))
    return '-'.join(parts)


def _text(path: Path, plain: RobotSpec, spec: RobotSpec) -> str:
    """The robot file, as the log keeps it: of the robot and task that were really used."""
    text = path.read_text()
    if spec == plain:
        return text
    data = yaml.safe_load(text)
    data['simulator'] = {**data['simulator'], 'task': spec.simulator['task']}
    return yaml.safe_dump(data, sort_keys=False)
