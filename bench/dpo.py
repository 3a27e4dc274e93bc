# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""DPO on the starter policy, without a new rollout: success on held-out starts before and after.

    apprentice bench dpo                                  # all arms; may be killed and started again
    apprentice bench dpo --arms nora,clone --trials 400 --seeds 0,1,2
    apprentice bench dpo --first-seed 650000 --trials 200 steps=400     # to choose settings
    apprentice bench dpo --policy runs/joint --arms new-nora,new-clone head=fast

Every arm begins with the shipped policy, takes the same number of gradient steps with the same settings, and
is tried on the same starts with the same sampling noise:

    nora           NORA-1.5's pairs on the demonstrations that the policy was cloned from
    deviation      the same, ranked by the distance from the demonstrated chunk alone
    no-anchor      nora without the supervised loss on winners
    unshared       nora with noise drawn apart for winner and loser
    winners        the supervised loss on nora's winners alone: what preferring adds
    self-play      the demonstrated chunk over the worst candidate (arXiv 2401.01335)
    clone          cloning goes on, on the same demonstrations: what more steps add
    new-...        the same with --further demonstrations that the policy was not cloned from
    helped         what a simulated person did in --helped episodes of the policy, over its own chunks there
    helped-winners the supervised loss on what the person did alone

Nothing is chosen on the starts from 700000 on. A result is kept in --work and not measured again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from apprentice.bench.dpo_arms import ARMS, Bench
from apprentice.bench.report import deliver, machine
from apprentice.learning.statistics import mcnemar, wilson

TARGET = 10.0  # points

Row = dict[str, Any]


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='apprentice bench dpo',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--arms', default=','.join(ARMS), help='default: all')
    parser.add_argument('--policy', default='', help='where all begin (default: the shipped policy)')
    parser.add_argument('--world-model', default='', help='folder (default: shipped)')
    parser.add_argument('--robot', default='sim_arm', help='name of a shipped robot or a file')
    parser.add_argument('--demonstrations', type=int, default=60, help='that it was cloned from (default 60)')
    parser.add_argument('--further', type=int, default=240, help='new demonstrations (default 240)')
    parser.add_argument('--helped', type=int, default=120, help='episodes with a person (default 120)')
    parser.add_argument('--trials', type=int, default=400, help='starts of each arm (default 400)')
    parser.add_argument('--first-seed', type=int, default=700_000, help='of the starts (default 700000)')
    parser.add_argument('--seeds', default='0', help='of training, pairs and noise, such as 0,1,2')
    parser.add_argument('--work', type=Path, default=Path('runs/bench_dpo'), help='folder of what is made')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch')
    parser.add_argument('--json', type=Path, metavar='FILE')
    parser.add_argument('--write', type=Path, metavar='FILE', help='put the table into a document')
    parser.add_argument('words', nargs='*', default=[], metavar='key=value', help='settings of `train dpo`')
    args = parser.parse_args(words)
    unknown = set(args.arms.split(',')) - set(ARMS)
    if unknown or min(args.trials, args.demonstrations, args.further, args.helped) < 1:
        parser.error(f'arms are {", ".join(ARMS)}; trials, demonstrations and episodes 1 or more')
    if not all(seed.isdecimal() for seed in args.seeds.split(',')):
        parser.error(f'--seeds {args.seeds}: give numbers, such as 0,1,2')
    return args


def compare(name: str, before: dict[int, bool], after: dict[int, bool], pairs: int, seed: int = 0) -> Row:
    """One arm of one seed; the same starts, so the difference is tested on those that changed (McNemar)."""
    only_before = sum(before[start] and not after[start] for start in after)
    only_after = sum(after[start] and not before[start] for start in after)
    won, trials = sum(after.values()), len(after)
    return {
        'name': name,
        'seed': seed,
        'pairs': pairs,
        'successes': won,
        'trials': trials,
        'points': 100 * (won - sum(before.values())) / trials,
        'only_before': only_before,
        'only_after': only_after,
    }


def together(rows: list[Row]) -> Row:
    """The seeds of an arm as one row."""
    found = {
        key: sum(row[key] for row in rows) for key in ('successes', 'trials', 'only_before', 'only_after')
    }
    return {
        **found,
        'name': rows[0]['name'],
        'pairs': round(sum(row['pairs'] for row in rows) / len(rows)),
        'each': [row['successes'] for row in rows],
        'wilson': list(wilson(found['successes'], found['trials'])),
        'points': sum(row['points'] for row in rows) / len(rows),
        'p': mcnemar(found['only_before'], found['only_after']),
    }


def by_arm(rows: list[Row]) -> dict[str, Row]:
    """Name -> all its seeds."""
    names = dict.fromkeys(row['name'] for row in rows)
    return {name: together([row for row in rows if row['name'] == name]) for name in names}


def table(result: dict[str, Any]) -> list[str]:
    """Markdown: the arms, and whether the target is met."""
    first, settings, found = result['first_seed'], result['settings'], by_arm(result['rows'])
    algorithm = settings['algorithm']
    lines = [
        f'Starts {first} to {first + result["trials"] - 1}; {settings["head"]} head, {settings["steps"]} '
        f'steps of {algorithm["batch"]} pairs, beta {algorithm["beta"]:g}, anchor {algorithm["anchor"]:g}, '
        f'learning rate {algorithm["learning_rate"]:g}; seeds {", ".join(map(str, result["seeds"]))}. '
        'Intervals and p take the seeds of a start for trials of their own.',
        '',
        '| arm | pairs | successes | together | 95 % interval | points | only before, after | McNemar p |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for name, row in found.items():
        low, high = row['wilson']
        rate = f'{row["successes"]}/{row["trials"]} = {row["successes"] / row["trials"]:.1%}'
        each = ', '.join(map(str, row['each']))
        cells = [name, str(row['pairs'] or ''), each, rate, f'{low:.0%} to {high:.0%}']
        if name == 'before':
            cells += ['', '', '']
        else:
            cells += [
                f'{row["points"]:+.1f}',
                f'{row["only_before"]}, {row["only_after"]}',
                f'{row["p"]:.2g}',
            ]
        lines.append(f'| {" | ".join(cells)} |')
    for name in ('new-nora', 'nora'):
        if name in found:
            points = found[name]['points']
            verdict = 'reached' if points >= TARGET else f'missed by {TARGET - points:.1f} points'
            lines += ['', f'Target: {name} at least +{TARGET:g} points: {verdict} with {points:+.1f}.']
    return lines


def main() -> int:
    args = parse()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        'bench': 'dpo',
        'machine': machine(),
        'load': os.getloadavg()[0],
        'first_seed': args.first_seed,
        'trials': args.trials,
        'seeds': [],
        'rows': [],
    }
    for seed in map(int, args.seeds.split(',')):
        bench = Bench(args, seed)
        before = bench.evaluate(bench.starter)
        result['settings'] = bench.config.to_dict()
        result['seeds'].append(seed)
        result['rows'].append(compare('before', before, before, 0, seed))
        for name in args.arms.split(','):
            arm = ARMS[name]
            if arm is None:
                continue
            folder, count = bench.train(name, arm)
            result['rows'].append(compare(name, before, bench.evaluate(folder), count, seed))
            print('\n'.join(table(result)), flush=True)
    deliver(result, table(result), args.json, args.write)
    return 0


if __name__ == '__main__':
    sys.exit(main())
