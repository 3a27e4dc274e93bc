# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""World-model reward: how well it ranks eight proposed chunks, against what they truly lead to.

    apprentice train world-model --out runs/world_model
    apprentice bench world-model runs/world_model

At random moments of demonstrations from starts of its own (never trained on) there are eight chunks: three
samples of the policy, three of a shaky expert, two of failing behaviours. The true return of a chunk is minus
the time until success if the expert goes on after it; ``progress`` is the task's staged progress right after
the chunk. A pair counts if the returns differ by --gap or more. Pair accuracy is the share of pairs in the
right order; a tie of scores is half right. Intervals are 95 % of a bootstrap over starts. ``regret`` is the
time lost by taking the best-scored chunk.

Rows ``seen: ...`` use the features that are truly seen after the chunk in place of the predicted ones: what a
perfect predictor would reach. ``raw end + 0.5 deviation`` is NORA-1.5's sum without scales. ``policy`` counts
only pairs of the policy's own samples, which is what preference pairs are made of.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # before the first GL context, see docs/architecture.md
from tqdm import tqdm

from apprentice.bench.candidate_chunks import KINDS, PATIENCE, Moment, moments
from apprentice.bench.report import deliver, machine
from apprentice.policies import checkpoint
from apprentice.reward_models.world_model.energy import TERMS
from apprentice.reward_models.world_model.reward import WorldModelReward
from apprentice.robot.parts import find_robot, find_weights, share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.worlds import Worlds

BENCH_SEEDS = 48_000_000
TARGET = 0.85
RETURNS = {'seconds': 0.2, 'progress': 0.02}  # smallest difference that counts
SUMS = {'sum': TERMS, 'end + deviation': ('end', 'deviation'), 'sub + deviation': ('sub', 'deviation')}


@dataclass(frozen=True)
class Judged:
    """A moment and the costs [n] of its chunks by name."""

    moment: Moment
    costs: Mapping[str, np.ndarray]
    milliseconds: float


def judge(model: WorldModelReward, moment: Moment, rng: np.random.Generator) -> Judged:
    """All contestants on one moment."""
    frames = np.stack([moment.end, moment.sub])
    end, sub = model.encode(frames)
    began = time.perf_counter()
    ranking = model.candidates(
        moment.views, moment.state, moment.chunks, end=end, sub=sub, demonstrated=moment.demonstrated
    )
    elapsed = (time.perf_counter() - began) * 1e3
    seen = model.encode(moment.after)  # [n, V, E]
    truly = {name: np.abs(seen - goal).mean(axis=(1, 2)) for name, goal in (('end', end), ('sub', sub))}
    truly['deviation'] = ranking.energies['deviation']
    costs: dict[str, np.ndarray] = {name: ranking.energies[name] for name in TERMS}
    for name, terms in SUMS.items():
        costs[name] = model.settings.cost({term: ranking.energies[term] for term in terms})
        costs[f'seen: {name}'] = model.settings.cost({term: truly[term] for term in terms})
    costs['raw end + 0.5 deviation'] = ranking.energies['end'] + 0.5 * ranking.energies['deviation']
    costs |= {f'seen: {name}': truly[name] for name in ('end', 'sub')}
    costs['random'] = rng.random(len(moment.chunks))
    return Judged(moment, costs, elapsed)


def pairs(cost: np.ndarray, returns: np.ndarray, gap: float) -> tuple[float, int]:
    """Pairs in the right order (ties half) and pairs that count; ``cost`` low is good, ``returns`` high."""
    first, second = np.triu_indices(len(cost), 1)
    difference = returns[first] - returns[second]
    counts = np.abs(difference) >= gap
    right = np.sign(cost[second] - cost[first]) * np.sign(difference)
    return float(np.sum((right[counts] + 1) / 2)), int(counts.sum())


def true_returns(moment: Moment, name: str) -> np.ndarray:
    """[n], higher is better. Never succeeding counts as the longest time there is."""
    if name == 'progress':
        return moment.progress
    longest = moment.chunks.shape[1] + PATIENCE
    return -np.where(np.isfinite(moment.seconds), moment.seconds, longest)


def accuracy(items: Sequence[Judged], name: str, returns: str, gap: float, kind: str = '') -> dict[str, Any]:
    """Pair accuracy over all moments, its 95 % interval over starts, and what the choice costs.

    ``kind``: only among candidates of that kind.
    """
    chosen = [row for row, found in enumerate(KINDS) if kind in ('', found)]
    counted: dict[int, list[tuple[float, int]]] = {}
    regret = []
    for item in items:
        truth, cost = true_returns(item.moment, returns)[chosen], item.costs[name][chosen]
        counted.setdefault(item.moment.seed, []).append(pairs(cost, truth, gap))
        regret.append(float(truth.max() - truth[int(np.argmin(cost))]))
    right = np.array([sum(r for r, _ in found) for found in counted.values()])
    count = np.array([sum(n for _, n in found) for found in counted.values()])
    low, high = _interval(right, count)
    return {
        'accuracy': float(right.sum() / count.sum()) if count.sum() else float('nan'),
        'low': low,
        'high': high,
        'pairs': int(count.sum()),
        'regret': float(np.mean(regret)),
        'starts': [right.tolist(), count.tolist()],
    }


def gain(better: dict[str, Any], than: dict[str, Any]) -> tuple[float, float, float]:
    """Difference of two accuracies on the same pairs, and its 95 % interval."""
    (first, count), (second, _) = better['starts'], than['starts']
    right, pairs_of = np.array(first) - np.array(second), np.array(count)
    return better['accuracy'] - than['accuracy'], *_interval(right, pairs_of)


def _interval(right: np.ndarray, count: np.ndarray) -> tuple[float, float]:
    """95 % of the bootstrapped ratio of sums over starts."""
    drawn = np.random.default_rng(0).integers(0, len(right), (2000, len(right)))
    total = count[drawn].sum(1)
    if not (total > 0).any():
        return float('nan'), float('nan')
    shares = right[drawn].sum(1)[total > 0] / total[total > 0]
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='apprentice bench world-model',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('weights', nargs='?', default='', help='folder of a world model (default: shipped)')
    parser.add_argument('--policy', default='', help='policy that proposes (default: the shipped one)')
    parser.add_argument('--robot', default='sim_arm', help='name of a shipped robot or a file')
    parser.add_argument('--seeds', type=int, default=3, help='groups of starts (default 3)')
    parser.add_argument('--starts', type=int, default=30, help='starts of a group (default 30)')
    parser.add_argument('--moments', type=int, default=3, help='moments of a start (default 3)')
    parser.add_argument('--first-seed', type=int, default=BENCH_SEEDS, help=f'(default {BENCH_SEEDS})')
    parser.add_argument('--horizon', type=int, default=8, help='rows of a chunk (default 8)')
    parser.add_argument('--gap', type=float, default=RETURNS['seconds'], help='s (default 0.2)')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch')
    parser.add_argument('--json', type=Path, metavar='FILE')
    parser.add_argument('--write', type=Path, metavar='FILE', help='put the table into a document')
    args = parser.parse_args()
    if min(args.seeds, args.starts, args.moments, args.horizon) < 1:
        parser.error('--seeds, --starts, --moments and --horizon must be 1 or more')
    return args


def measure(args: argparse.Namespace) -> list[list[Judged]]:
    """Judged moments of each group."""
    spec = RobotSpec.load(find_robot(args.robot))
    model = WorldModelReward.load(args.weights or share('weights', 'world_model'))
    policy, _ = checkpoint.load(find_weights(args.policy) if args.policy else share('weights', 'policy'))
    policy.spec.require(spec)
    worlds, rng = Worlds(spec, len(KINDS)), np.random.default_rng(0)
    groups = []
    try:
        with tqdm(total=args.seeds * args.starts * args.moments, unit='moment') as bar:
            for group in range(args.seeds):
                first = args.first_seed + 100_000 * group
                found = []
                for moment in moments(
                    worlds, policy, range(first, first + args.starts), args.moments, args.horizon
                ):
                    found.append(judge(model, moment, rng))
                    bar.update()
                groups.append(found)
    finally:
        worlds.close()
    return groups


def main() -> int:
    args = parse()
    torch.set_num_threads(args.threads)
    groups = measure(args)
    together = [item for group in groups for item in group]
    if not together:
        print('error: the expert solved no start; nothing was measured', file=sys.stderr)
        return 1
    gaps = {**RETURNS, 'seconds': args.gap}
    rows = []
    for name in together[0].costs:
        row: dict[str, Any] = {'name': name}
        for returns, gap in gaps.items():
            row[returns] = accuracy(together, name, returns, gap)
            row[returns]['groups'] = [accuracy(group, name, returns, gap)['accuracy'] for group in groups]
            row[returns]['any_difference'] = accuracy(together, name, returns, 1e-9)['accuracy']
            row[returns]['policy'] = accuracy(together, name, returns, gap, 'policy')
        rows.append(row)
    result = {
        'bench': 'world-model',
        'machine': machine(),
        'load': os.getloadavg()[0],
        'moments': len(together),
        'starts': len({item.moment.seed for item in together}),
        'candidates': list(KINDS),
        'gaps': gaps,
        'milliseconds': float(np.median([item.milliseconds for item in together])),
        'rows': rows,
    }
    lines = table(result)
    print('\n'.join(lines))
    deliver(result, lines, args.json, args.write)
    return 0


def table(result: dict[str, Any]) -> list[str]:
    """Markdown: a heading, the rows, whether the target is met."""
    gaps = result['gaps']
    lines = [
        f'{result["moments"]} moments of {result["starts"]} held-out starts, '
        f'{len(result["candidates"])} chunks each; '
        f'pairs that differ by {gaps["seconds"]:g} s or by {gaps["progress"]:g} of progress; '
        f'{result["milliseconds"]:.0f} ms to rank one moment',
        '',
        '| cost | pair accuracy, time | 95 % | each seed | regret, s | policy (pairs) '
        '| pair accuracy, progress | 95 % |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for row in result['rows']:
        seconds, progress = row['seconds'], row['progress']
        groups = ', '.join(f'{value:.3f}' for value in seconds['groups'])
        lines.append(
            f'| {row["name"]} | {seconds["accuracy"]:.3f} '
            f'| {seconds["low"]:.3f} to {seconds["high"]:.3f} | {groups} '
            f'| {seconds["regret"]:.2f} | {seconds["policy"]["accuracy"]:.3f} ({seconds["policy"]["pairs"]}) '
            f'| {progress["accuracy"]:.3f} '
            f'| {progress["low"]:.3f} to {progress["high"]:.3f} |'
        )
    found = {row['name']: row['seconds'] for row in result['rows']}
    best = max(TERMS, key=lambda name: found[name]['accuracy'])
    reached = found['sum']['accuracy']
    met = reached >= TARGET and reached >= found[best]['accuracy']
    more, low, high = gain(found['sum'], found[best])
    lines += [
        '',
        f'Target: sum >= {TARGET} and at least the best part alone: {"reached" if met else "missed"} with '
        f'{reached:.3f}; over {best} {more:+.3f} ({low:+.3f} to {high:+.3f}, on the same pairs).',
    ]
    return lines


if __name__ == '__main__':
    sys.exit(main())
