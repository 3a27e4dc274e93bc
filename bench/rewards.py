# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which reward models may drive learning: the gate table on held-out attempts, beside four baselines.

    apprentice bench rewards                                         # the shipped critic
    apprentice bench rewards --model package.module:Class --weights FOLDER --in-context
    apprentice bench rewards --data runs/robot/episodes --robot my_arm.yaml
    apprentice bench rewards --every --attempts 48                   # all kinds of reward models

Without --data the attempts are the simulator's: successes, near misses, failures, attempts at another object,
the successes backwards, frozen, under wrong instructions, and seen by moved cameras; in three groups: seeds,
colours and tasks that the shipped critic was not trained on. The baselines clock, constant, random and cosine
(the shipped CLIP's, raw) are always in the table. Definitions: reward_models/evaluation/evaluate.py. The
verdict goes beside the weights and into the cache; the learner refuses a model that is worse than clock
or cosine in one of order (voc - voc_rewound), auroc, pair_accuracy, margin, all groups taken together.
"""

from __future__ import annotations

import torch._dynamo  # isort: skip

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from apprentice.bench import report, reward_page
from apprentice.bench.reward_table import as_data, judge_all, make_verdict, text
from apprentice.bench.reward_truths import COLOURS, SEEDS, TASKS, recorded, simulated
from apprentice.learning.reward_attempts import RATE_HZ
from apprentice.reward_models.base import RewardModel, RewardModelError
from apprentice.reward_models.evaluation.showing import Truth
from apprentice.reward_models.evaluation.verdict import write
from apprentice.robot.files import cache_folder, write_text
from apprentice.robot.parts import find_robot, find_weights, load_part
from apprentice.robot.spec import RobotSpec


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='apprentice bench rewards',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model_arguments(parser)
    parser.add_argument('--in-context', action='store_true', help='with one demonstration of the instruction')
    parser.add_argument('--stride', type=float, default=1.0, metavar='S', help='of a pair (default 1 s)')
    parser.add_argument('--data', type=Path, metavar='PATH', help='a LeRobot dataset or MCAP logs, instead')
    parser.add_argument('--robot', default='sim_arm', help='name or file (default sim_arm)')
    parser.add_argument('--tasks', nargs='+', default=[], metavar='TASK', help='only these')
    parser.add_argument('--attempts', type=int, default=24, help='of each task in each group (default 24)')
    parser.add_argument('--seed', type=int, default=0, help='of the random baseline and the noise')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the numbers there')
    parser.add_argument('--page', type=Path, metavar='FILE', help='write a page with plots there')
    parser.add_argument('--write', type=Path, metavar='FILE', help='put the table into a document, as docs/')
    parser.add_argument(
        '--every', action='store_true',
        help='all kinds of reward models in one table instead, on attempts at the demo task; no verdicts',
    )  # fmt: skip
    parser.add_argument('--no-verdict', dest='verdict', action='store_false', help='leave no verdict')
    args = parser.parse_args()
    if args.attempts < 2:
        parser.error('--attempts must be 2 or more: successes and failures')
    return args


def model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model is judged (:func:`load`), and on which groups of held-out attempts."""
    parser.add_argument(
        '--model', default='apprentice.reward_models.critic:ProgressCritic', metavar='PART',
        help='package.module:Class (default: the progress critic)',
    )  # fmt: skip
    parser.add_argument('--weights', default='critic', help='folder, file or shipped name (default critic)')
    parser.add_argument('--option', action='append', default=[], metavar='NAME=VALUE', help='for load()')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int, default=1, help='of torch (default 1)')
    parser.add_argument(
        '--groups', nargs='+', choices=(SEEDS, COLOURS, TASKS), default=[SEEDS, COLOURS, TASKS]
    )


def main() -> int:
    """Exit code 1 if the model is refused."""
    args = parse()
    torch.set_num_threads(args.threads)
    if args.every:
        return every(args)
    model, weights = load(args)
    groups = truths(args)
    views = len(next(iter(groups.values()))[0].frames[0])
    if model.needs.cameras and len(model.needs.cameras) != views:
        raise RewardModelError(
            f'{args.weights} looks through {len(model.needs.cameras)} cameras, {args.robot} has {views}; '
            'give another --robot or other weights'
        )
    result = judge_all(model, groups, args.stride, args.in_context, args.seed, watch=bar)
    source = str(args.data) if args.data else f'simulator: {", ".join(groups)}'
    verdict = make_verdict(model, weights, result, source + (', in context' if args.in_context else ''))
    lines = text(result, verdict)
    print('\n'.join(lines))
    if args.verdict:
        places = [cache_folder() / 'verdicts', *([Path(weights)] if Path(weights).is_dir() else [])]
        print('verdict in ' + ', '.join(map(str, write(verdict, places))))
    plain = {'model': args.model, 'weights': args.weights, **as_data(result, verdict)}
    if args.json:
        write_text(args.json, json.dumps(plain, indent=1))
    if args.page:
        print(f'page in {reward_page.write(args.page, plain, result)}')
    if args.write:
        report.write(args.write, 'rewards', lines)
    return 1 if verdict.losses else 0


def every(args: argparse.Namespace) -> int:
    """All kinds of reward models; exit code 0, whichever are refused."""
    from apprentice.bench.reward_kinds import TASK, judge_kinds, kinds

    if args.data is not None:
        raise ValueError('--every judges on attempts of the simulator; leave out --data')
    args.groups, args.tasks = [SEEDS], [TASK]
    with tempfile.TemporaryDirectory(prefix='apprentice-bench-') as folder:
        items = truths(args)[SEEDS]
        lines, verdicts = judge_kinds(kinds(Path(folder)), items, args.stride, args.seed, bar)
    print('\n'.join(lines))
    if args.json:
        data = {title: {**asdict(found), 'losses': found.losses} for title, found in verdicts.items()}
        write_text(args.json, json.dumps({'bench': 'rewards --every', 'verdicts': data}, indent=1))
    if args.write:
        report.write(args.write, 'rewards-every', lines)
    return 0


def bar(items: Sequence, about: str) -> Iterable:
    return tqdm(items, desc=about, unit='attempt')


def load(args: argparse.Namespace) -> tuple[RewardModel, str]:
    """The model and where its weights are."""
    weights = args.weights
    with contextlib.suppress(FileNotFoundError):  # a name of a hub
        weights = str(find_weights(weights))
    options: dict[str, Any] = {}
    for given in args.option:
        name, equals, value = given.partition('=')
        if not equals:
            raise ValueError(f'--option {given!r} is not NAME=VALUE')
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return load_part(args.model).load(weights, device=args.device, **options), weights


def truths(args: argparse.Namespace) -> dict[str, list[Truth]]:
    """Group -> attempts."""

    def watch(items: Sequence) -> Iterable:
        return bar(items, 'attempts')

    if args.data is not None:
        spec = RobotSpec.load(find_robot(args.robot))
        return {args.data.name: recorded(args.data, spec, RATE_HZ, watch)}
    found = simulated(args.groups, args.attempts, args.robot, args.tasks, watch)
    found = {group: items for group, items in found.items() if items}
    if not found:
        raise ValueError('no attempts: none of --tasks is in one of --groups for this robot')
    return found


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f'apprentice bench rewards: {error}')
