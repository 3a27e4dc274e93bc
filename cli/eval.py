# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""success of a policy on held-out starts in simulation; eval suite: on all tasks, with films"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice eval``."""
    parser.add_argument(
        'words',
        nargs='*',
        metavar='POLICY',
        help='policy folder (default: the shipped starter policy); "suite" or "suite POLICY" runs all tasks '
        'and levels of randomisation and writes one page with films; "expert" there is the scripted one',
    )
    parser.add_argument(
        '--trials', type=int, default=0, help='number of held-out starts (default 50; suite: 20 a cell)'
    )
    parser.add_argument(
        '--first-seed', type=int, default=900_000, help='seed of the first start (default 900000)'
    )
    parser.add_argument('--robot', default='', help='robot file with a simulator section (default sim_arm)')
    parser.add_argument('--task', default='', help='instruction; default: drawn for each start')
    parser.add_argument(
        '--sim-task', default='', help='task in simulation, see docs/simulation.md (default pick)'
    )
    parser.add_argument(
        '--randomization', default='none', help='none, mild, strong or a YAML file (default none)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the sampling noise')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch (default 1)')
    parser.add_argument('--workers', type=int, default=0, help='simulator processes (0: one a processor)')
    parser.add_argument('--json', action='store_true', help='print one JSON line instead of text')
    group = parser.add_argument_group('suite')
    group.add_argument('--tasks', nargs='+', metavar='TASK', help='default: all that the robot can do')
    group.add_argument(
        '--levels', nargs='+', metavar='LEVEL', default=['none', 'mild', 'strong'],
        help='randomisations, shipped names or YAML files (default: none mild strong)',
    )  # fmt: skip
    group.add_argument('--out', type=Path, default=Path('runs/suite'), help='folder of the page')
    group.add_argument('--films', type=int, default=1, help='films of each cell; 0: none (default 1)')


def run(args: argparse.Namespace) -> int:
    """Run the trials and print the success rate, or the suite."""
    words = list(args.words)
    suite = bool(words) and words[0] == 'suite'
    if len(words) > 1 + suite:
        raise ValueError(f'one policy at a time, not {words}')
    args.trials = args.trials or (20 if suite else 50)
    if args.trials < 0:
        raise ValueError(f'{args.trials} trials; use 1 or more')
    chosen = words[-1] if len(words) > suite else ''
    if not suite:
        return _one(args, chosen)
    from apprentice.cli import eval_suite

    return eval_suite.run(args, chosen)


def _one(args: argparse.Namespace, chosen: str) -> int:
    import torch
    import torch._dynamo  # before the first GL context, see docs/architecture.md
    from tqdm import tqdm

    from apprentice.learning.statistics import wilson
    from apprentice.policies import checkpoint
    from apprentice.robot.parts import share
    from apprentice.robot.spec import RobotSpec
    from apprentice.robot.types import Outcome
    from apprentice.sim.pool import open_worlds
    from apprentice.sim.rollout import RolloutConfig, rollouts

    torch.set_num_threads(args.threads)
    folder = Path(chosen) if chosen else share('weights', 'policy')
    policy, manifest = checkpoint.load(folder)
    spec = RobotSpec.load(args.robot or share('robots', 'sim_arm.yaml')).with_task(args.sim_task)
    policy.spec.require(spec)
    generator = torch.Generator().manual_seed(args.seed)
    successes, lengths = 0, []
    seeds = range(args.first_seed, args.first_seed + args.trials)
    config = RolloutConfig(args.task, eval_only=True)
    bar = tqdm(desc='trials', unit='trial', total=args.trials, disable=args.json)
    with bar, open_worlds(spec, args.trials, args.workers, randomization=args.randomization) as worlds:
        for episode in rollouts(worlds, seeds, lambda seen: policy.act_batch(seen, generator), config):
            bar.update()
            if episode.outcome == Outcome.SUCCESS:
                successes += 1
                lengths.append(len(episode) * spec.action_dt)
            bar.set_postfix(success=f'{successes}/{int(bar.n)}')
    low, high = wilson(successes, args.trials)
    result = {
        'policy': str(folder),
        'about': manifest['about'],
        'successes': successes,
        'trials': args.trials,
        'wilson': [round(low, 3), round(high, 3)],
        'mean_seconds_to_success': round(sum(lengths) / len(lengths), 2) if lengths else None,
    }
    if args.json:
        print(json.dumps(result))
    else:
        rate = successes / max(1, args.trials)
        print(f'{folder}: {successes}/{args.trials} = {rate:.0%}, 95 % interval {low:.0%} to {high:.0%}')
        if lengths:
            print(f'mean time to success {result["mean_seconds_to_success"]} s')
    return 0
