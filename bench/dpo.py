# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""DPO on the starter policy, without a new rollout: success on held-out starts before and after.

    apprentice bench dpo                                  # all arms; may be killed and started again
    apprentice bench dpo --arms nora,clone --trials 400
    apprentice bench dpo --first-seed 650000 --trials 200 steps=400     # to choose settings

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

Nothing is chosen on the starts from 700000 on. A result is kept in --work and not measured again.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # before the first GL context, see docs/architecture.md
from tqdm import tqdm

from apprentice.bench.report import deliver, machine
from apprentice.cli import demonstrate
from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import iter_sealed
from apprentice.learning.preference.candidates import CandidateConfig
from apprentice.learning.preference.nora import NoraPairs
from apprentice.learning.preference.pairs import Pairs
from apprentice.learning.preference.store import collect
from apprentice.learning.preference.train import train_dpo
from apprentice.learning.preference.train_config import DpoTraining, read_training
from apprentice.learning.sampling import load_policy
from apprentice.learning.statistics import mcnemar, wilson
from apprentice.policies import checkpoint
from apprentice.reward_models.world_model.reward import WorldModelReward
from apprentice.robot.files import replacing
from apprentice.robot.parts import find_robot, find_weights, share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome
from apprentice.sim.pool import WorldPool
from apprentice.sim.rollout import RolloutConfig, rollouts

TOGETHER = 40  # trials at once
TARGET = 10.0  # points
# beta and anchor were chosen, of few, on the starts 650000 to 650199
DEFAULTS = (
    'steps=250', 'warm_up=20', 'algorithm.learning_rate=3e-4', 'algorithm.batch=16', 'algorithm.draws=2',
    'algorithm.beta=50', 'algorithm.anchor=1',
)  # fmt: skip
SUPERVISED = {'beta': 1e-6, 'anchor': 1.0}  # so little preference that only the anchor is left


@dataclass(frozen=True)
class Arm:
    """What differs from the settings of all.

    Attributes:
        ranked: who ranks: ``nora``, ``deviation``, or ``demonstration``, where what was demonstrated wins.
        new: on the further demonstrations.
        algorithm: settings that are other than those of all.
    """

    ranked: str
    new: bool = False
    algorithm: dict[str, Any] = dataclasses.field(default_factory=dict)


ARMS: dict[str, Arm | None] = {
    'before': None,
    'nora': Arm('nora'),
    'deviation': Arm('deviation'),
    'no-anchor': Arm('nora', algorithm={'anchor': 0.0}),
    'unshared': Arm('nora', algorithm={'share_noise': False}),
    'winners': Arm('nora', algorithm=SUPERVISED),
    'self-play': Arm('demonstration'),
    'clone': Arm('demonstration', algorithm=SUPERVISED),
    'new-nora': Arm('nora', True),
    'new-deviation': Arm('deviation', True),
    'new-winners': Arm('nora', True, SUPERVISED),
    'new-self-play': Arm('demonstration', True),
    'new-clone': Arm('demonstration', True, SUPERVISED),
}


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
    parser.add_argument('--trials', type=int, default=400, help='starts of each arm (default 400)')
    parser.add_argument('--first-seed', type=int, default=700_000, help='of the starts (default 700000)')
    parser.add_argument('--seed', type=int, default=0, help='of training and pairs')
    parser.add_argument('--work', type=Path, default=Path('runs/bench_dpo'), help='folder of what is made')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch')
    parser.add_argument('--json', type=Path, metavar='FILE')
    parser.add_argument('--write', type=Path, metavar='FILE', help='put the table into a document')
    parser.add_argument('words', nargs='*', default=[], metavar='key=value', help='settings of `train dpo`')
    args = parser.parse_args(words)
    unknown = set(args.arms.split(',')) - set(ARMS)
    if unknown or min(args.trials, args.demonstrations, args.further) < 1:
        parser.error(f'arms are {", ".join(ARMS)}; trials and demonstrations 1 or more')
    return args


def demonstrations(folder: Path, count: int, seed: int, robot: str) -> dict[str, Path]:
    """Name -> file of ``count`` scripted demonstrations; those that are missing are made."""
    names = argparse.Namespace(episodes=count, seed=seed, out=folder, robot=robot)
    if demonstrate.run(names):
        raise RuntimeError('no demonstration was made; does `apprentice demonstrate` work here?')
    return {path.stem: path for path in list(iter_sealed(folder))[:count]}


class Bench:
    """What the arms share."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.work = args, args.work
        self.spec = RobotSpec.load(find_robot(args.robot))
        self.starter = find_weights(args.policy) if args.policy else share('weights', 'policy')
        self.policy, _ = checkpoint.load(self.starter)
        self.policy.spec.require(self.spec)
        self.config = read_training([*DEFAULTS, 'validation=0', f'seed={args.seed}', *args.words])

    def pairs(self, arm: Arm) -> Pairs:
        """The pairs of an arm; what was built is not built again."""
        args, seed = self.args, 1 if arm.new else 0
        name, count = ('new', args.further) if arm.new else ('old', args.demonstrations)
        paths = demonstrations(self.work / f'{name}_demonstrations', count, seed, args.robot)
        readers = {stem: partial(read_episode, path, self.spec) for stem, path in paths.items()}
        model = None
        if arm.ranked == 'nora':
            place = find_weights(args.world_model) if args.world_model else share('weights', 'world_model')
            model = WorldModelReward.load(place)
        config = CandidateConfig(
            every=2 if arm.new else 1, demonstrated=arm.ranked == 'demonstration', seed=args.seed
        )
        identity = checkpoint.sha256(self.starter / checkpoint.MANIFEST)
        folder = self.work / f'{name}_pairs_{arm.ranked}_{count}_{args.seed}'

        def watch(names: Iterable[str]) -> Iterable[str]:
            return tqdm(list(names), desc=f'pairs of {folder.name}', unit='episode')

        return collect(NoraPairs(self.policy, model, config, identity), readers, folder, watch)

    def train(self, name: str, arm: Arm) -> tuple[Path, int]:
        """The folder of the trained policy and how many pairs there were."""
        pairs = self.pairs(arm)
        algorithm = dataclasses.replace(self.config.algorithm, **arm.algorithm)
        config: DpoTraining = dataclasses.replace(self.config, algorithm=algorithm)
        out = self.work / f'{name}_{_key(config.to_dict(), pairs.digest())}'
        if not (out / checkpoint.MANIFEST).is_file():
            with tqdm(total=config.steps, desc=name, unit='step') as bar:
                train_dpo(self.starter, pairs, out, config, lambda step, _: bar.update(step - bar.n))
        return out, len(pairs)

    def evaluate(self, folder: Path) -> dict[int, bool]:
        """Seed of each start -> success."""
        args = self.args
        policy = load_policy(str(folder), self.spec, args.seed)
        kept = self.work / f'trials_{policy.sha256[:12]}_{args.first_seed}_{args.seed}.json'
        known = json.loads(kept.read_text()) if kept.is_file() else {}
        wanted = range(args.first_seed, args.first_seed + args.trials)
        missing = [seed for seed in wanted if str(seed) not in known]
        if missing:
            config = RolloutConfig(eval_only=True)
            with (
                WorldPool(self.spec, min(TOGETHER, len(missing))) as worlds,
                tqdm(total=len(missing), desc=folder.name, unit='trial') as bar,
            ):
                for episode in rollouts(worlds, missing, policy.act, config):
                    known[str(episode.seed)] = episode.outcome == Outcome.SUCCESS
                    bar.update()
            with replacing(kept) as temporary:
                temporary.write_text(json.dumps(known))
        return {seed: bool(known[str(seed)]) for seed in wanted}


def compare(name: str, before: dict[int, bool], after: dict[int, bool], pairs: int) -> dict[str, Any]:
    """A row of the table; the same starts, so the difference is tested on those that changed (McNemar)."""
    won, trials = sum(after.values()), len(after)
    only_before = sum(before[seed] and not after[seed] for seed in after)
    only_after = sum(after[seed] and not before[seed] for seed in after)
    low, high = wilson(won, trials)
    return {
        'name': name,
        'pairs': pairs,
        'successes': won,
        'trials': trials,
        'wilson': [low, high],
        'points': 100 * (won - sum(before.values())) / trials,
        'only_before': only_before,
        'only_after': only_after,
        'p': mcnemar(only_before, only_after),
    }


def table(result: dict[str, Any]) -> list[str]:
    """Markdown: the arms, and whether the target is met."""
    first, settings = result['first_seed'], result['settings']
    algorithm = settings['algorithm']
    lines = [
        f'Starts {first} to {first + result["trials"] - 1}; {settings["steps"]} steps of '
        f'{algorithm["batch"]} pairs, beta {algorithm["beta"]:g}, anchor {algorithm["anchor"]:g}, '
        f'learning rate {algorithm["learning_rate"]:g}, seed {settings["seed"]}.',
        '',
        '| arm | pairs | success | 95 % interval | points | only before, only after | exact McNemar p |',
        '|---|---|---|---|---|---|---|',
    ]
    for row in result['rows']:
        low, high = row['wilson']
        rate = f'{row["successes"]}/{row["trials"]} = {row["successes"] / row["trials"]:.1%}'
        cells = [row['name'], str(row['pairs'] or ''), rate, f'{low:.0%} to {high:.0%}']
        if row['name'] == 'before':
            cells += ['', '', '']
        else:
            changed = f'{row["only_before"]}, {row["only_after"]}'
            cells += [f'{row["points"]:+.1f}', changed, f'{row["p"]:.2g}']
        lines.append(f'| {" | ".join(cells)} |')
    found = {row['name']: row for row in result['rows']}
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
    bench = Bench(args)
    before = bench.evaluate(bench.starter)
    rows = [compare('before', before, before, 0)]
    for name in args.arms.split(','):
        arm = ARMS[name]
        if arm is None:
            continue
        folder, count = bench.train(name, arm)
        rows.append(compare(name, before, bench.evaluate(folder), count))
        print('\n'.join(table(_result(bench, rows))), flush=True)
    result = _result(bench, rows)
    deliver(result, table(result), args.json, args.write)
    return 0


def _result(bench: Bench, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        'bench': 'dpo',
        'machine': machine(),
        'load': os.getloadavg()[0],
        'first_seed': bench.args.first_seed,
        'trials': bench.args.trials,
        'settings': bench.config.to_dict(),
        'rows': rows,
    }


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:10]


if __name__ == '__main__':
    sys.exit(main())
