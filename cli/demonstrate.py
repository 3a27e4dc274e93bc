# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""record scripted demonstrations in simulation, as the recorder would have logged them"""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from apprentice.episodes.episode_writer import write_episode
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome
from apprentice.sim.pool import open_worlds
from apprentice.sim.rollout import RolloutConfig, rollouts

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
    parser.add_argument('--robot', default='', help='robot file with a simulator section (default sim_arm)')
    parser.add_argument('--task', default='', help='instruction; default: drawn for each start')
    parser.add_argument(
        '--sim-task', default='', help='task in simulation, see docs/simulation.md (default pick)'
    )
    parser.add_argument(
        '--randomization', default='none', help='none, mild, strong or a YAML file (default none)'
    )
    parser.add_argument('--workers', type=int, default=0, help='processes (default: one a processor)')


def run(args: argparse.Namespace) -> int:
    """Write the missing ones of ``episodes`` demonstrations; those that exist are kept."""
    path = Path(getattr(args, 'robot', '') or share('robots', 'sim_arm.yaml'))
    spec = RobotSpec.load(path).with_task(getattr(args, 'sim_task', ''))
    out, failed = Path(args.out), 0
    first = SEED0 + 1_000_000 * args.seed
    names = {first + number: f'demonstration-{args.seed:03d}-{number:05d}' for number in range(args.episodes)}
    missing = [seed for seed, name in names.items() if not (out / f'{name}.mcap').exists()]
    bar = tqdm(
        desc='demonstrations', unit='episode', total=args.episodes, initial=args.episodes - len(missing)
    )
    options = {'randomization': getattr(args, 'randomization', 'none')}
    with bar, open_worlds(spec, len(missing), getattr(args, 'workers', 0), **options) as worlds:
        config = RolloutConfig(getattr(args, 'task', ''))
        for episode in rollouts(worlds, missing, None, config, expert=worlds.expert()):
            bar.update()
            if episode.outcome != Outcome.SUCCESS:
                failed += 1
                continue
            episode.episode_id = names[episode.seed]
            write_episode(out / f'{episode.episode_id}.mcap', episode, spec, path.read_text())
    if failed:
        print(f'{failed} of {args.episodes} demonstrations failed and were not kept')
    return 0
