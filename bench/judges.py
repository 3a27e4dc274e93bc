# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What perceptual rewards find in a few clips, and what comparisons are worth, random or chosen.

    apprentice bench judges --seeds 3

Steps: mean Jaccard agreement with the simulator's true steps (reach, grasp, lift), of cuts found in the
training clips and of the learned reward on clips from held-out seeds; beside cuts at random places in order.
Comparisons: accuracy on held-out pairs of clips from other seeds, over the number of answered pairs; the
answers are a simulated person's, who sees the true progress and errs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.cli.train_rewards import HELD_OUT_SEEDS, render
from apprentice.learning.comparing import SLIPS, compare, cut_clips, true_comparisons
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.reward_models.perceptual.features import FrameFeatures
from apprentice.reward_models.perceptual.steps import discover_steps, jaccard, random_steps, step_of_frames
from apprentice.reward_models.perceptual.train import fit_steps
from apprentice.reward_models.preferences.choosing import choose_pairs
from apprentice.reward_models.preferences.comparisons import Comparison
from apprentice.reward_models.preferences.ensemble import FitConfig, fit, judge
from apprentice.robot.parts import share
from apprentice.sim.captions import Attempt

TRAIN_SEEDS = 70_000_000  # of nothing else
PERSON_MIX = ('expert', 'miss', 'expert', 'drop', 'expert', 'wrong', 'wander')


def true_steps(attempt: Attempt, count: int) -> np.ndarray:
    """The step of every frame: reach and lift (2), or reach, grasp and lift (3), int [T]."""
    target = attempt.text.removeprefix('pick up ')
    lifted = np.array(
        [
            any(f'{word} {target}' in said for said in saying for word in ('lifts', 'holds'))
            for saying in attempt.captions
        ]
    )
    near = np.array(
        [
            any(f'{word} {target}' in said for said in saying for word in ('around', 'grasps'))
            for saying in attempt.captions
        ]
    )
    first_lift = int(np.argmax(lifted)) if lifted.any() else len(lifted)
    first_near = min(int(np.argmax(near)) if near.any() else first_lift, first_lift)
    starts = [0, first_lift] if count == 2 else [0, first_near, first_lift]
    return step_of_frames(starts, len(lifted))


def until_solved(attempts: list[Attempt]) -> list[int]:
    """Lengths of successful attempts: two frames after the moment of success."""
    return [min(int(np.argmax(a.solved)) + 2, len(a.solved)) for a in attempts]


def steps(clip: ClipReward, seed: int, clips: int, robot: str) -> dict[str, dict[str, float]]:
    """Agreement by features, number of steps and weighting, for one group of seeds."""
    rng = np.random.default_rng(seed)
    train, _ = render(robot, range(TRAIN_SEEDS + 1000 * seed, TRAIN_SEEDS + 1000 * seed + clips), ('expert',))
    held, _ = render(
        robot,
        range(HELD_OUT_SEEDS + 500_000 + 1000 * seed, HELD_OUT_SEEDS + 500_000 + 1000 * seed + 12),
        ('expert',),
    )
    known, unseen = ([a for a in some if a.success] for some in (train, held))
    rows: dict[str, dict[str, float]] = {}
    for layer in ('', 'visual.layer2'):
        features = FrameFeatures(clip.encoder, layer, 4)
        videos = [
            features(a.frames[:n]).reshape(n, -1) for a, n in zip(known, until_solved(known), strict=True)
        ]
        others = [
            features(a.frames[:n]).reshape(n, -1) for a, n in zip(unseen, until_solved(unseen), strict=True)
        ]
        for count in (2, 3):
            truth = [true_steps(a, count)[: len(v)] for a, v in zip(known, videos, strict=True)]
            true = [true_steps(a, count)[: len(v)] for a, v in zip(unseen, others, strict=True)]
            chance = [
                np.mean(
                    [
                        jaccard(step_of_frames(random_steps(len(t), count, rng), len(t)), t, count)
                        for _ in range(50)
                    ]
                )
                for t in true
            ]
            for by_length in (False, True):
                model, found = fit_steps(videos, count, by_length=by_length)
                name = f'{layer or "embedding"}, {count} steps{", by length" if by_length else ""}'
                rows[name] = {
                    'found': float(
                        np.mean([jaccard(f, t, count) for f, t in zip(found, truth, strict=True)])
                    ),
                    'held out': float(
                        np.mean(
                            [
                                jaccard(model.likely_step(v), t, count)
                                for v, t in zip(others, true, strict=True)
                            ]
                        )
                    ),
                    'ordered random': float(np.mean(chance)),
                    'cut of held out': float(
                        np.mean(
                            [
                                jaccard(
                                    step_of_frames(discover_steps(v, count, 3, by_length), len(v)), t, count
                                )
                                for v, t in zip(others, true, strict=True)
                            ]
                        )
                    ),
                }
    return rows


def pool(
    clip: ClipReward, first: int, attempts: int, robot: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clips of attempts that succeed and fail, see :func:`cut_clips`."""
    return cut_clips(clip, render(robot, range(first, first + attempts), PERSON_MIX)[0])


def comparisons(
    features: np.ndarray,
    progress: np.ndarray,
    groups: np.ndarray,
    held: tuple[np.ndarray, np.ndarray, np.ndarray],
    seed: int,
    rounds: int,
    batch: int,
) -> dict[str, list[dict[str, float]]]:
    """Numbers on held-out pairs after every round of answers, by rule."""
    other, truth, texts = held
    rng = np.random.default_rng(seed)
    judged = true_comparisons(truth, texts, 600, rng)
    config = FitConfig(members=4, steps=100, noise=SLIPS, seed=seed)
    curves: dict[str, list[dict[str, float]]] = {}
    for rule in ('random', 'disagreement', 'information'):
        rng = np.random.default_rng(seed)  # the first batch and the slips are the same for all
        known: list[Comparison] = []
        rewards = None
        for _ in range(rounds):
            done = {(min(c.left, c.right), max(c.left, c.right)) for c in known}
            pairs = choose_pairs(
                rewards,
                batch,
                rng,
                rule if rewards is not None else 'random',
                len(features),
                groups,
                known=done,
            )
            known += compare(progress, pairs, rng)
            ensemble = fit(features, known, config)
            rewards = ensemble.rewards(features)
            curves.setdefault(rule, []).append(
                {'answers': float(len(known)), **judge(ensemble, other, judged)}
            )
    return curves


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--robot', default='', help='name of a shipped robot or a file (default sim_arm)')
    parser.add_argument('--first', type=int, default=0, help='first group of seeds (default 0)')
    parser.add_argument('--seeds', type=int, default=3, help='groups of seeds (default 3)')
    parser.add_argument(
        '--clips', type=int, default=8, help='demonstrations of a perceptual reward (default 8)'
    )
    parser.add_argument('--attempts', type=int, default=50, help='attempts clips are cut from (default 50)')
    parser.add_argument('--rounds', type=int, default=6, help='rounds of answers (default 6)')
    parser.add_argument('--batch', type=int, default=20, help='pairs asked in a round (default 20)')
    parser.add_argument('--out', type=Path, help='JSON file of the numbers')
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    clip = ClipReward.load(share('weights', 'clip'))
    found: list[dict[str, dict[str, float]]] = []
    curves: list[dict[str, list[dict[str, float]]]] = []
    for seed in range(args.first, args.first + args.seeds):
        found.append(steps(clip, seed, args.clips, args.robot))
        some = pool(clip, TRAIN_SEEDS + 500_000 + 1000 * seed, args.attempts, args.robot)
        held = pool(clip, HELD_OUT_SEEDS + 600_000 + 1000 * seed, max(10, args.attempts // 2), args.robot)
        curves.append(comparisons(*some, held, seed, args.rounds, args.batch))
    _print(found, curves)
    if args.out:
        args.out.write_text(json.dumps({'steps': found, 'comparisons': curves}, indent=2) + '\n')


def _print(found: list[dict[str, dict[str, float]]], curves: list[dict[str, list[dict[str, float]]]]) -> None:
    columns = list(next(iter(found[0].values())))
    print('| features | ' + ' | '.join(columns) + ' |')
    print('|---' * (len(columns) + 1) + '|')
    for name in found[0]:
        print(f'| {name} | ' + ' | '.join(_cell([g[name][c] for g in found]) for c in columns) + ' |')
    answers = [round(point['answers']) for point in curves[0]['random']]
    for column in ('accuracy', 'ece'):
        print(f'\n| {column} after answers | ' + ' | '.join(map(str, answers)) + ' |')
        print('|---' * (len(answers) + 1) + '|')
        for rule in curves[0]:
            cells = [_cell([curve[rule][i][column] for curve in curves]) for i in range(len(answers))]
            print(f'| {rule} | ' + ' | '.join(cells) + ' |')


def _cell(values: list[float]) -> str:
    some: Any = np.array(values)
    return f'{some.mean():.3f} ({some.min():.3f}..{some.max():.3f})'


if __name__ == '__main__':
    main()
