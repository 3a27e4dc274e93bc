# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How many answers a reward needs when pairs are chosen, and when they are drawn at random.

    apprentice bench preferences --seeds 8

Stretches of attempts at the pick task that succeed or fail are compared by a simulated teacher (B-Pref,
arXiv 2111.03026), who sees the true progress, calls small gaps equal and slips. Accuracy of the Bradley-Terry
reward is that on random pairs of stretches from attempts it was not asked about. `drawn` draws pairs over
outcomes and halves of episodes, as the first ones always are; `random` draws them blindly.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

from apprentice.bench.report import keep
from apprentice.cli.train_rewards import HELD_OUT_SEEDS, render
from apprentice.episodes.answers import Answer, StretchPair
from apprentice.learning.preference.answered import (
    StretchFeatures,
    cameras_of,
    fit_answers,
    moments,
    recorded_of,
    tie_of,
)
from apprentice.learning.preference.selection import Candidate, SelectionConfig, choose, cut
from apprentice.learning.preference.teacher import Teacher
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.reward_models.preferences.ensemble import FitConfig, RewardEnsemble
from apprentice.robot.parts import find_robot, share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome, Source
from apprentice.sim.captions import Attempt
from apprentice.sim.people import PersonConfig

TRAIN_SEEDS = 73_000_000  # of nothing else
HELD_OUT = HELD_OUT_SEEDS + 900_000
MIX = ('expert', 'miss', 'expert', 'drop', 'expert', 'wrong', 'wander')
TEACHER = PersonConfig(rationality=12.0, wrong_choice=0.05, indifference=0.03)
ARMS = ('random', 'drawn', 'disagreement', 'information')


class Pool:
    """Attempts as episodes, their stretches, and the true mean progress of each stretch."""

    def __init__(self, clip: ClipReward, spec: RobotSpec, attempts: list[Attempt], config: SelectionConfig):
        self.features = StretchFeatures(clip, cameras_of(clip, spec), spec.action_dt)
        self.candidates: list[Candidate] = []
        self.truth: dict[str, float] = {}
        for number, attempt in enumerate(attempts):
            episode = _episode(attempt, spec, f'attempt-{number:04d}')
            stretches = cut([recorded_of(episode, spec.action_dt)], config)
            self.features.add(episode, [item.stretch for item in stretches])
            self.candidates += stretches
            for item in stretches:
                rows = moments(item.stretch, episode, spec.action_dt)
                self.truth[item.stretch.key()] = float(attempt.truth[rows].mean())

    @property
    def clips(self) -> np.ndarray:
        return self.features.of([item.stretch for item in self.candidates])

    def gap(self, pair: StretchPair) -> float:
        return self.truth[pair.left.key()] - self.truth[pair.right.key()]


def accuracy(ensemble: RewardEnsemble, held: Pool, clips: np.ndarray, pairs: list[StretchPair]) -> float:
    """Share of pairs whose better stretch has the higher reward."""
    number = {item.stretch.key(): i for i, item in enumerate(held.candidates)}
    rewards = ensemble.rewards(clips).mean(axis=0)
    gaps = [rewards[number[p.left.key()]] - rewards[number[p.right.key()]] for p in pairs]
    return float(np.mean([(gap > 0) == (held.gap(pair) > 0) for gap, pair in zip(gaps, pairs, strict=True)]))


def curve(
    pool: Pool, held: Pool, arm: str, seed: int, answers: int, batch: int, config: SelectionConfig
) -> list[tuple[int, float]]:
    """(answers, accuracy) after every batch."""
    rule = 'random' if arm == 'random' else 'information' if arm == 'drawn' else arm
    selection = SelectionConfig(rule, config.seconds, seed=seed)  # type: ignore[arg-type]
    teacher = Teacher(TEACHER, seed)
    everything = choose(held.candidates, 600, SelectionConfig('random', config.seconds, seed=seed + 1))
    judged = [pair for pair in everything if abs(held.gap(pair)) > TEACHER.indifference][:400]
    clips, unseen = pool.clips, held.clips
    said: list[Answer] = []
    points = []
    rewards, tie = None, 0.0
    while len(said) < answers:
        known = {answer.pair.pair_id for answer in said}
        asked = [answer.pair for answer in said][-12:]
        chosen = choose(pool.candidates, batch, selection, rewards, tie, known, asked)
        for pair in chosen:
            left, right = (pool.truth[stretch.key()] for stretch in (pair.left, pair.right))
            said.append(Answer(pair, teacher.compare(left, right)))
        ensemble, _ = fit_answers(pool.features, said, FitConfig(seed=seed), held_out=0.0)
        points.append((len(said), accuracy(ensemble, held, unseen, judged)))
        if arm != 'drawn':
            rewards, tie = ensemble.rewards(clips), tie_of(ensemble, said)
    return points


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--robot', default='', help='name of a shipped robot or a file (default sim_arm)')
    parser.add_argument('--first', type=int, default=0, help='first seed (default 0)')
    parser.add_argument('--seeds', type=int, default=8, help='seeds (default 8)')
    parser.add_argument('--attempts', type=int, default=40, help='attempts of a seed (default 40)')
    parser.add_argument('--answers', type=int, default=60, help='answers at the end (default 60)')
    parser.add_argument('--batch', type=int, default=10, help='answers between fits (default 10)')
    parser.add_argument('--seconds', type=float, default=1.5, help='of a stretch (default 1.5)')
    parser.add_argument(
        '--out', type=Path, help='JSON file of the numbers; with it, seeds that are there stay'
    )
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    spec = RobotSpec.load(find_robot(args.robot or 'sim_arm'))
    clip = ClipReward.load(share('weights', 'clip'))
    config = SelectionConfig(seconds=args.seconds)
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    if args.out and args.out.exists():
        found = json.loads(args.out.read_text())
    for seed in range(args.first, args.first + args.seeds):
        if str(seed) in found:
            continue
        began = time.monotonic()
        seeds = [range(base + 1000 * seed, base + 1000 * seed + n) for base, n in
                 ((TRAIN_SEEDS, args.attempts), (HELD_OUT, max(10, args.attempts // 2)))]  # fmt: skip
        pool, held = (Pool(clip, spec, render(args.robot, some, MIX)[0], config) for some in seeds)
        found[str(seed)] = {
            arm: curve(pool, held, arm, seed, args.answers, args.batch, config) for arm in ARMS
        }
        print(f'seed {seed}: {len(pool.candidates)} stretches, {time.monotonic() - began:.0f} s', flush=True)
        if args.out:
            keep(args.out, found)
    print('\n'.join(table(found)))


def table(found: dict[str, dict[str, list[tuple[int, float]]]]) -> list[str]:
    """Accuracy as median (lowest to highest seed), and at the end the gain over random, seed by seed."""
    arms = list(next(iter(found.values())))
    answers = [point[0] for point in next(iter(found.values()))[arms[0]]]
    lines = [
        f'| pairs, {len(found)} seeds | ' + ' | '.join(f'{n} answers' for n in answers) + ' | over random |'
    ]
    lines.append('|---' * (len(answers) + 2) + '|')
    for arm in arms:
        cells = []
        for i in range(len(answers)):
            values = [each[arm][i][1] for each in found.values()]
            cells.append(f'{statistics.median(values):.3f} ({min(values):.2f} to {max(values):.2f})')
        gains = [each[arm][-1][1] - each['random'][-1][1] for each in found.values()]
        better = sum(gain > 0 for gain in gains)
        end = (
            '' if arm == 'random' else f'{statistics.median(gains):+.3f}, better in {better} of {len(gains)}'
        )
        lines.append(f'| {arm} | ' + ' | '.join(cells) + f' | {end} |')
    return lines


def _episode(attempt: Attempt, spec: RobotSpec, name: str) -> Episode:
    count = len(attempt.frames)
    joints = np.tile(spec.vector('home'), (count, 1)).astype(np.float32)  # nobody looks at them
    return Episode(
        episode_id=name,
        task=attempt.text,
        seed=attempt.seed,
        outcome=Outcome.SUCCESS if attempt.success else Outcome.FAILURE,
        end_cause=2,
        eval_only=False,
        stamps=1.0 + spec.action_dt * np.arange(count),
        images={camera.name: attempt.frames[:, i] for i, camera in enumerate(spec.cameras)},
        state=joints,
        action=joints,
        source=np.full(count, int(Source.POLICY), np.uint8),
        takeover_id=np.zeros(count, np.int64),
        robot=spec.name,
    )


if __name__ == '__main__':
    main()
