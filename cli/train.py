# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""train a policy (bc) or reward models (clip, critic) from recorded episodes"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train``: a subcommand per kind of model."""
    kinds = parser.add_subparsers(dest='kind', metavar='KIND', required=True)
    bc = kinds.add_parser('bc', help='behaviour cloning of a VLA policy')
    bc.add_argument(
        '--data', type=Path, nargs='+', default=[Path('runs/demonstrations')], help='folders of episodes'
    )
    bc.add_argument('--out', type=Path, default=Path('runs/policy'), help='folder of the policy')
    bc.add_argument(
        '--robot',
        default='',
        help='name of a shipped robot or a file; the one the episodes were recorded with (default sim_arm)',
    )
    bc.add_argument('--steps', type=int, default=2000, help='gradient steps (default 2000)')
    bc.add_argument('--batch', type=int, default=64, help='samples per step (default 64)')
    bc.add_argument('--learning-rate', type=float, default=1e-3, help='peak learning rate (default 1e-3)')
    bc.add_argument('--horizon', type=int, default=8, help='rows of an action chunk (default 8)')
    bc.add_argument('--threads', type=int, default=0, help='threads of torch (default: one per core)')
    bc.add_argument('--seed', type=int, default=0)
    rewards = importlib.import_module('apprentice.cli.train_rewards')
    rewards.clip_arguments(
        kinds.add_parser('clip', help='CLIP reward model on simulator renders and captions')
    )
    rewards.critic_arguments(kinds.add_parser('critic', help='pairwise progress critic on CLIP embeddings'))


def run(args: argparse.Namespace) -> int:
    """Dispatch on the kind."""
    if args.kind == 'bc':
        return _clone(args)
    rewards = importlib.import_module('apprentice.cli.train_rewards')
    return rewards.clip_run(args) if args.kind == 'clip' else rewards.critic_run(args)


def _clone(args: argparse.Namespace) -> int:
    import torch
    from tqdm import tqdm

    from apprentice.episodes.join import read_episode
    from apprentice.episodes.labels import iter_sealed
    from apprentice.learning.clone import CloneConfig, clone
    from apprentice.robot.parts import find_robot
    from apprentice.robot.spec import RobotSpec
    from apprentice.robot.types import Outcome

    if args.threads:
        torch.set_num_threads(args.threads)
    spec = RobotSpec.load(find_robot(args.robot or 'sim_arm'))
    paths = [path for folder in args.data for path in iter_sealed(folder)]
    if not paths:
        raise ValueError(
            f'no episodes in {", ".join(map(str, args.data))}; run `apprentice demonstrate` first'
        )
    episodes = [read_episode(path, spec) for path in tqdm(paths, desc='reading', unit='episode')]
    good = [e for e in episodes if e.outcome == Outcome.SUCCESS and not e.eval_only]
    print(f'{len(good)} of {len(episodes)} episodes are successes and are cloned')
    config = CloneConfig(steps=args.steps, horizon=args.horizon, seed=args.seed)
    config = dataclasses.replace(
        config,
        algorithm=dataclasses.replace(config.algorithm, learning_rate=args.learning_rate, batch=args.batch),
    )
    with tqdm(total=args.steps, desc='cloning', unit='step') as bar:

        def progress(step: int, metrics: dict[str, float]) -> None:
            bar.update(step - bar.n)
            bar.set_postfix(loss=f'{metrics["loss"]:.4f}')

        clone(good, spec, args.out, config, progress, {'episodes': len(good)})
    print(f'policy in {args.out}; evaluate it with: apprentice eval {args.out}')
    return 0
