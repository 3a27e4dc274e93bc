# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""train rewards from a few clips (perceptual) or from comparisons of clips (preference)"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from pathlib import Path

import numpy as np

from apprentice.cli import train_answers
from apprentice.robot.files import write_text

SEEDS = 80_000_000  # of nothing else; held-out ones follow
HELD_OUT = 500_000
MIX = ('expert', 'miss', 'expert', 'drop', 'expert', 'wrong', 'wander')


def perceptual_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train perceptual``."""
    _common(parser, 'weights/perceptual')
    parser.add_argument('--clips', type=int, default=8, help='demonstrations, 5 to 12 (default 8)')
    parser.add_argument('--steps', type=int, default=3, help='steps to find (default 3)')
    parser.add_argument(
        '--layer', default='', help='layer of the encoder, e.g. visual.layer2; default: embedding'
    )
    parser.add_argument('--grid', type=int, default=4, help='cells of a layer map each way (default 4)')
    parser.add_argument(
        '--plain-cost',
        action='store_true',
        help='all steps count alike, as in the paper, not by their length',
    )


def preference_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train preference``."""
    _common(parser, 'weights/preference')
    parser.add_argument(
        '--attempts', type=int, default=40, help='attempts that clips are cut from (default 40)'
    )
    parser.add_argument(
        '--answers', type=int, default=120, help='pairs a simulated person answers (default 120)'
    )
    parser.add_argument(
        '--rule', default='information', choices=('random', 'disagreement', 'information'), help='which pairs'
    )
    parser.add_argument('--save-answers', type=Path, help='write the answers there, as JSON lines')
    train_answers.add_arguments(parser)


def _common(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument('--out', type=Path, default=Path(out), help=f'folder of the weights (default {out})')
    parser.add_argument('--clip', default='weights/clip', help='CLIP weights to look through')
    parser.add_argument('--robot', default='', help='name of a shipped robot or a file (default sim_arm)')
    parser.add_argument('--seed', type=int, default=0)


def perceptual_run(args: argparse.Namespace) -> int:
    """Film demonstrations, find their steps, write the reward, and say how it does on unseen ones."""
    from apprentice.cli.train_rewards import render
    from apprentice.reward_models.base import Episodes
    from apprentice.reward_models.evaluation.metrics import value_order_correlation
    from apprentice.reward_models.perceptual.features import FrameFeatures
    from apprentice.reward_models.perceptual.reward import PerceptualReward
    from apprentice.reward_models.perceptual.train import train_perceptual

    source, relative = _encoder(args)
    features = FrameFeatures.load(source, 'cpu', False, args.layer, args.grid)
    first = SEEDS + 1000 * args.seed
    acted, cameras = render(args.robot, range(first, first + args.clips), ('expert',))
    ends = [int(np.argmax(a.solved)) + 2 for a in acted]
    episodes = Episodes(
        [a.frames[:end] for a, end in zip(acted, ends, strict=True)],
        [a.text for a in acted],
        [a.success for a in acted],
        cameras,
    )
    report = train_perceptual(
        episodes, features, relative, args.out, args.steps, by_length=not args.plain_cost
    )
    reward = PerceptualReward.load(args.out)
    held, _ = render(args.robot, range(first + HELD_OUT, first + HELD_OUT + 10), ('expert',))
    curves = [reward.steps.progress(reward.encode(a.frames).reshape(len(a.frames), -1)) for a in held]
    report['voc_held_out'] = float(np.mean([value_order_correlation(curve) for curve in curves]))
    about = f"""Steps found in {report['clips']:.0f} demonstrations of one task without a label, and the
{len(reward.steps.chosen[0])} features that tell each best (arXiv 1612.06699). It knows no instruction.
Used by `apprentice.reward_models.perceptual.reward:PerceptualReward`."""
    options = ['--clips', str(args.clips), '--steps', str(args.steps), '--grid', str(args.grid)]
    options += ['--layer', args.layer] if args.layer else []
    options += ['--plain-cost'] if args.plain_cost else []
    _card(args, 'Perceptual reward', about, 'perceptual', options, reward.version, report)
    print(f'perceptual reward in {args.out}: ' + json.dumps({k: round(v, 3) for k, v in report.items()}))
    return 0


def preference_run(args: argparse.Namespace) -> int:
    """From recorded answers (--data), or ask a simulated person and judge on pairs from unseen seeds."""
    from apprentice.cli.train_rewards import render
    from apprentice.learning.comparing import compare, cut_clips, true_comparisons
    from apprentice.reward_models.clip.reward import ClipReward
    from apprentice.reward_models.preferences.choosing import choose_pairs
    from apprentice.reward_models.preferences.comparisons import Comparison, write_comparisons
    from apprentice.reward_models.preferences.ensemble import FitConfig, fit, judge
    from apprentice.reward_models.preferences.reward import PreferenceReward, save

    source, relative = _encoder(args)
    if args.data or args.labels:
        return train_answers.run(args, source, relative)
    clip = ClipReward.load(source)
    first = SEEDS + 100_000 + 1000 * args.seed
    acted, cameras = render(args.robot, range(first, first + args.attempts), MIX)
    features, progress, groups = cut_clips(clip, acted)
    config, rng = FitConfig(seed=args.seed), np.random.default_rng(args.seed)
    known: list[Comparison] = []
    rewards = None
    while len(known) < args.answers:
        asked = min(20, args.answers - len(known))
        done = {(min(c.left, c.right), max(c.left, c.right)) for c in known}
        rule = 'random' if rewards is None else args.rule
        pairs = choose_pairs(rewards, asked, rng, rule, len(features), groups, known=done)
        if not len(pairs):
            break
        known += compare(progress, pairs, rng)
        ensemble = fit(features, known, config)
        rewards = ensemble.rewards(features)
    if not known:
        raise ValueError('no pair could be asked about; give more --attempts and --answers')
    others = range(first + HELD_OUT, first + HELD_OUT + max(10, args.attempts // 3))
    held, truth, texts = cut_clips(clip, render(args.robot, others, MIX)[0])
    report = judge(ensemble, held, true_comparisons(truth, texts, 400, rng))
    save(args.out, ensemble, clip, relative, cameras, f'{clip.version}-{args.seed}-{len(known)}')
    if args.save_answers:
        write_comparisons(args.save_answers, known)
    about = f"""An ensemble of {config.members} small heads on the embeddings of a CLIP model, fitted by
Bradley and Terry's likelihood to {len(known)} answers of a simulated person, some of them wrong.
Used by `apprentice.reward_models.preferences.reward:PreferenceReward`."""
    options = ['--attempts', str(args.attempts), '--answers', str(args.answers), '--rule', args.rule]
    version = PreferenceReward.load(args.out).version
    _card(args, 'Preference reward', about, 'preference', options, version, report)
    print(
        f'preference reward in {args.out}, {len(known)} answers, held out: '
        + json.dumps({k: round(v, 3) for k, v in report.items()})
    )
    return 0


def _card(
    args: argparse.Namespace,
    title: str,
    about: str,
    kind: str,
    options: list[str],
    version: str,
    report: dict[str, float],
) -> None:
    """README.md beside the weights."""
    words = ['apprentice', 'train', kind, '--out', str(args.out), *options]
    words += ['--clip', args.clip] if args.clip != 'weights/clip' else []
    words += ['--robot', args.robot] if args.robot else []
    command = shlex.join([*words, '--seed', str(args.seed)])
    rows = '\n'.join(f'| {name} | {value:.3f} |' for name, value in report.items() if name != 'seconds')
    card = f"""# {title}

{about}

Reproduce:

    {command}

Version {version}; it looks through the CLIP model it was trained on and loads with no other. Licence:
Apache-2.0, as the package.

| | |
|---|---|
{rows}

Numbers with `held_out` in their name, and all of a preference reward, are from seeds it was not trained on.
How it does beside a clock and a cosine: `apprentice bench rewards`. It knows this simulator's pictures and
nothing else; for another robot or camera, train it again.
"""
    write_text(args.out / 'README.md', card)


def _encoder(args: argparse.Namespace) -> tuple[str, str]:
    """Where the encoder is now, and how the reward will find it from its own folder."""
    from apprentice.robot.parts import find_weights, share

    path = Path(args.clip).expanduser()
    if not path.exists():
        if args.clip == 'weights/clip':
            path = share('weights', 'clip')
        elif ':' not in args.clip:
            path = find_weights(args.clip)
    return (str(path), os.path.relpath(path, args.out)) if path.exists() else (args.clip, args.clip)
