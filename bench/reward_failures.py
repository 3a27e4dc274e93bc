# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How often a reward model calls a failed attempt a success: failures only, and many of them.

    apprentice bench reward-failures               # the shipped critic, 30 failures of each task and group
    apprentice bench reward-failures --weights runs/my_critic --attempts 60 --json failures.json

`apprentice bench rewards` shows every success in many ways and has few failures; this one looks at failed
attempts only, once each, from other seeds of the same held-out groups. An attempt is called a success at a
done probability of 0.95 or more in three samples in a row, as there. The interval is Wilson's.
"""

from __future__ import annotations

import torch._dynamo  # isort: skip

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from apprentice.bench.report import keep, machine
from apprentice.bench.reward_truths import held_out
from apprentice.bench.rewards import bar, load, model_arguments
from apprentice.learning.reward_attempts import attempts, plan
from apprentice.learning.statistics import wilson
from apprentice.reward_models.evaluation.evaluate import see
from apprentice.reward_models.evaluation.showing import FAILURE, Curve, Truth, model_curve
from apprentice.sim.acting import ActedAttempt

FAILURES = ('miss', 'stop_short', 'wrong', 'turn', 'wander', 'idle')
FIRST = 50_000  # from a task's first seed on: what `apprentice bench rewards` does not reach


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='apprentice bench reward-failures',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model_arguments(parser)
    parser.add_argument('--attempts', type=int, default=30, help='of each task in each group (default 30)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the numbers there')
    return parser.parse_args()


def main() -> int:
    args = parse()
    torch.set_num_threads(args.threads)
    model, _ = load(args)
    rows: list[dict[str, Any]] = []
    for group in args.groups:
        names, first, colours = held_out(group)
        acted = attempts(
            plan(names, first + FIRST, args.attempts, FAILURES, colours), watch=partial(bar, about='attempts')
        )
        rows += [{'group': group, **row} for row in judge(model_curve(model), acted)]
    print('\n'.join(table(rows)))
    if args.json:
        result = {
            'bench': 'reward-failures', 'machine': machine(), 'model': args.model, 'weights': args.weights,
            'version': model.version, 'attempts': rows,
        }  # fmt: skip
        keep(args.json, result)
    return 0


def judge(of: Curve, acted: Sequence[ActedAttempt]) -> list[dict[str, Any]]:
    """What a model says of attempts that failed; those that were solved for a moment are left out."""
    failed = [attempt for attempt in acted if not attempt.solved.any()]
    items = [Truth(a.frames, a.stamps, a.text, FAILURE, a.truth, a.solved, a.task) for a in failed]
    seen = see(of, items, static=0)
    return [
        {
            'task': attempt.task,
            'behaviour': attempt.behaviour,
            'seed': attempt.seed,
            'called': each.called,
            'highest': float(max(each.done)),
        }
        for attempt, each in zip(failed, seen, strict=True)
    ]


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown: groups, behaviours, and all together; Wilson's interval of 95 %."""
    lines = ['| failed attempts | called a success | 95 % | highest done probability |', '|---|---|---|---|']
    some = {row[by]: [r for r in rows if r[by] == row[by]] for by in ('group', 'behaviour') for row in rows}
    for name, chosen in {**some, 'all': list(rows)}.items():
        wrong = sum(row['called'] for row in chosen)
        low, high = wilson(wrong, len(chosen))
        highest = max((row['highest'] for row in chosen), default=float('nan'))
        lines.append(
            f'| {name} | {wrong} of {len(chosen)} | {100 * low:.2f} to {100 * high:.2f} % | {highest:.3f} |'
        )
    return lines


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f'apprentice bench reward-failures: {error}')
