# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How well the reward models agree with the truth, on groups of held-out seeds, beside baselines.

    python bench/reward_models.py --groups 3 --attempts 50

Baselines: a clock, a constant, noise, and the raw cosine between image and instruction. Prints one table
(mean and range over the groups) and the cost of scoring; ``--out`` writes the numbers as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from apprentice.cli.train_rewards import held_out
from apprentice.reward_models.base import ScoreRequest
from apprentice.reward_models.clip import ClipReward
from apprentice.reward_models.critic import ProgressCritic
from apprentice.reward_models.evaluate import baselines, evaluate, model_curve
from apprentice.reward_models.prompts import Prompts
from apprentice.robot.parts import share

COLUMNS = (
    'success_auc',
    'done_auc',
    'end_auc',
    'voc',
    'voc_reversed',
    'truth',
    'margin',
    'margin_positive',
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--clip', default='', help='CLIP weights (default: shipped)')
    parser.add_argument('--critic', default='', help='critic weights (default: shipped)')
    parser.add_argument('--robot', default='', help='name of a shipped robot or a file (default sim_arm)')
    parser.add_argument('--groups', type=int, default=3, help='groups of held-out seeds')
    parser.add_argument('--attempts', type=int, default=50, help='attempts per group')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch')
    parser.add_argument('--out', type=Path, help='JSON file of the numbers')
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    clip = ClipReward.load(args.clip or share('weights', 'clip'))
    critic = ProgressCritic.load(args.critic or share('weights', 'critic'))
    objects = clip.prompts.objects
    cosine = ClipReward(clip.encoder, Prompts(objects=objects), alpha=0.0, cameras=clip.needs.cameras)
    numbers: dict[str, list[dict[str, float]]] = {}
    for group in range(args.groups):
        items = held_out(args.robot, args.attempts, offset=1000 * (group + 1))
        curves = {
            'clip': model_curve(clip),
            'critic': model_curve(critic),
            'raw cosine': model_curve(cosine),
            **baselines(group),
        }
        for name, curve in curves.items():
            numbers.setdefault(name, []).append(evaluate(curve, items, clip.negatives))
    print('| model | ' + ' | '.join(COLUMNS) + ' |')
    print('|---' * (len(COLUMNS) + 1) + '|')
    for name, groups in numbers.items():
        cells = []
        for column in COLUMNS:
            values = [group[column] for group in groups]
            cells.append(f'{np.mean(values):.3f} ({min(values):.3f}..{max(values):.3f})')
        print(f'| {name} | ' + ' | '.join(cells) + ' |')
    cost = latency(clip, critic, items[0].frames, items[0].text)
    print(', '.join(f'{name} {value:.1f} ms' for name, value in cost.items()))
    if args.out:
        args.out.write_text(json.dumps({'groups': numbers, 'latency_ms': cost}, indent=2) + '\n')


def latency(clip: ClipReward, critic: ProgressCritic, frames: np.ndarray, text: str) -> dict[str, float]:
    """Median milliseconds of one moment (all views): encoding, and scoring what is encoded."""
    emb = critic.encode(frames)

    def median(action) -> float:
        times = []
        for i in range(30):
            began = time.perf_counter()
            action(i % len(frames))
            times.append(time.perf_counter() - began)
        return 1e3 * float(np.median(times))

    return {
        'encode': median(lambda i: clip.encode(frames[i])),
        'clip score': median(lambda i: clip.score(ScoreRequest(text=[text], emb=emb[None, i : i + 1]))),
        'critic pair': median(
            lambda i: critic.delta(ScoreRequest(text=[text], emb=np.stack([emb[0], emb[i]])[None]))
        ),
    }


if __name__ == '__main__':
    main()
