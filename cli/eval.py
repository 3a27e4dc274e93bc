# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""success of a policy on held-out starts in simulation; eval suite: all tasks; eval report: a run's curves"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice eval``."""
    parser.add_argument(
        'words',
        nargs='*',
        metavar='POLICY',
        help='policy folder (default: the shipped starter policy); "suite" or "suite POLICY" runs all tasks '
        'and levels of randomisation and writes one page with films; "expert" there is the scripted one; '
        '"report RUN" writes a page with the learning curves of a run folder',
    )
    parser.add_argument(
        '--trials', type=int, default=0, help='number of held-out starts (default 50; suite: 20 a cell)'
    )
    parser.add_argument(
        '--first-seed', type=int, default=900_000, help='seed of the first start (default 900000)'
    )
    parser.add_argument('--robot', default='', help='name of a shipped robot or a file (default sim_arm)')
    parser.add_argument('--task', help='instruction; default: drawn for each start')
    parser.add_argument(
        '--sim-task', help="task in simulation, see docs/simulation.md (default: the robot file's)"
    )
    parser.add_argument('--randomization', help='none, mild, strong or a YAML file (default none)')
    parser.add_argument(
        '--head', choices=('flow', 'fast'), help="action head that acts (default: the policy's)"
    )
    parser.add_argument(
        '--without-critics',
        action='store_true',
        help='the policy alone acts; default: the critics beside a learned version choose, as on the robot',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the sampling noise')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch (default 1)')
    parser.add_argument('--workers', type=int, default=0, help='simulator processes (0: one a processor)')
    parser.add_argument('--json', action='store_true', help='print one JSON line instead of text')
    parser.add_argument(
        '--keep',
        type=Path,
        metavar='RUN',
        help='add the result to a run folder, for the page of `eval report`',
    )
    group = parser.add_argument_group('suite and report')
    group.add_argument('--tasks', nargs='+', metavar='TASK', help='default: all made for the robot')
    group.add_argument(
        '--levels', nargs='+', metavar='LEVEL',
        help='randomisations, shipped names or YAML files (default: none mild strong)',
    )  # fmt: skip
    group.add_argument(
        '--out', type=Path, help='folder of the page (default runs/suite, or RUN/report/learning)'
    )
    group.add_argument('--films', type=int, help='films of each cell; 0: none (default 1)')


# option -> its default, and what to use instead where it means nothing
_ONE = {
    'head': ('', 'a suite is run with the head of the policy; leave --head out'),
    'task': ('', 'instructions of a suite are drawn; leave --task out'),
    'sim_task': ('', 'use --tasks'),
    'randomization': ('none', 'use --levels'),
    'keep': (None, 'only one policy is kept with a run'),
}
_SUITE = {
    'tasks': (None, 'use --sim-task, or `apprentice eval suite`'),
    'levels': (['none', 'mild', 'strong'], 'use --randomization, or `apprentice eval suite`'),
    'films': (1, 'only `apprentice eval suite` films'),
    'out': (Path('runs/suite'), 'only `apprentice eval suite` writes a page'),
}


def run(args: argparse.Namespace) -> int:
    """Run the trials and print the success rate, or the suite."""
    words = list(args.words)
    if words and words[0] == 'report':
        return _report(args, words[1:])
    suite = bool(words) and words[0] == 'suite'
    if len(words) > 1 + suite:
        raise ValueError(f'one policy at a time, not {words}')
    for option, (_, instead) in (_ONE if suite else _SUITE).items():
        if getattr(args, option) is not None:
            command = 'eval suite' if suite else 'eval'
            raise ValueError(f'--{option.replace("_", "-")} is no option of `{command}`: {instead}')
    for option, (default, _) in (_SUITE if suite else _ONE).items():
        if getattr(args, option) is None:
            setattr(args, option, default)
    args.trials = args.trials or (20 if suite else 50)
    if args.trials < 0:
        raise ValueError(f'{args.trials} trials; use 1 or more')
    chosen = words[-1] if len(words) > suite else ''
    if not suite:
        return _one(args, chosen)
    from apprentice.cli import eval_suite

    return eval_suite.run(args, chosen)


def _report(args: argparse.Namespace, words: list[str]) -> int:
    from apprentice.learning import run_page
    from apprentice.learning.run_history import read_history

    if len(words) != 1:
        raise ValueError('name one run folder: apprentice eval report runs/my_run')
    if args.without_critics:
        raise ValueError('--without-critics is no option of `eval report`; leave it out')
    for option in {*_ONE, *_SUITE} - {'out'}:
        if getattr(args, option) is not None:
            raise ValueError(f'--{option.replace("_", "-")} is no option of `eval report`; leave it out')
    run = Path(words[0])
    history = read_history(run)
    page = run_page.write(history, args.out or run / 'report' / 'learning')
    if args.json:
        print(json.dumps({**run_page.summary(history), 'page': str(page)}))
        return 0
    for point in history.evaluations:
        low, high = point.interval
        print(
            f'after {point.after:3d} episodes, version {point.version}: {point.successes}/{point.trials}, '
            f'95 % interval {low:.0%} to {high:.0%}'
        )
    for line in history.unread:
        print(f'not read: {line}')
    print(f'page         {page}')
    return 0


def _one(args: argparse.Namespace, chosen: str) -> int:
    import torch
    from tqdm import tqdm

    from apprentice.learning.sampling import load_policy
    from apprentice.learning.statistics import wilson
    from apprentice.robot.parts import find_robot
    from apprentice.robot.spec import RobotSpec
    from apprentice.robot.types import Outcome
    from apprentice.sim.pool import open_worlds
    from apprentice.sim.rollout import RolloutConfig, rollouts

    torch.set_num_threads(args.threads)
    spec = RobotSpec.load(find_robot(args.robot or 'sim_arm')).with_task(args.sim_task)
    policy = load_policy(chosen, spec, args.seed, args.head, not args.without_critics)
    if args.keep and policy.left_out:
        raise ValueError(
            'with a run is kept what acted in it, and there the critics of this version chose; leave out '
            '--without-critics, or --keep'
        )
    successes, lengths = 0, []
    seeds = range(args.first_seed, args.first_seed + args.trials)
    config = RolloutConfig(args.task, eval_only=True)
    bar = tqdm(desc='trials', unit='trial', total=args.trials, disable=args.json)
    with bar, open_worlds(spec, args.trials, args.workers, randomization=args.randomization) as worlds:
        for episode in rollouts(worlds, seeds, policy.act, config):
            bar.update()
            if episode.outcome == Outcome.SUCCESS:
                successes += 1
                lengths.append(len(episode) * spec.action_dt)
            bar.set_postfix(success=f'{successes}/{int(bar.n)}')
    low, high = wilson(successes, args.trials)
    result = {
        'policy': str(policy.folder),
        'about': policy.about,
        'critics': policy.critics,
        'successes': successes,
        'trials': args.trials,
        'wilson': [round(low, 3), round(high, 3)],
        'mean_seconds_to_success': round(sum(lengths) / len(lengths), 2) if lengths else None,
    }
    if args.keep:
        _keep(args.keep, result, lengths)
    if args.json:
        print(json.dumps(result))
    else:
        rate = successes / max(1, args.trials)
        interval = f'95 % interval {low:.0%} to {high:.0%}'
        chose = ', critics chose' if policy.critics else ''
        print(f'{policy.folder}: {successes}/{args.trials} = {rate:.0%}, {interval}{chose}')
        if lengths:
            print(f'mean time to success {result["mean_seconds_to_success"]} s')
    return 0


def _keep(run: Path, result: dict[str, Any], seconds: list[float]) -> None:
    """Add a result to a run folder."""
    from apprentice.learning.run_history import append_evaluation

    about = result['about'] if isinstance(result['about'], dict) else {}
    kept = {name: result[name] for name in ('policy', 'critics', 'successes', 'trials')}
    append_evaluation(run, {'version': int(about.get('version', 0)), **kept, 'seconds': seconds})
