# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Model cards of trained reward models: how to make them again, and their numbers on what is held out."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

import numpy as np
from tqdm import tqdm

from apprentice.bench.reward_table import ALL, Result, judge_all, make_verdict, text
from apprentice.bench.reward_truths import COLOURS, SEEDS, TASKS, simulated
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.reward_models.critic.critic import ProgressCritic
from apprentice.reward_models.evaluation import verdict
from apprentice.reward_models.evaluation.evaluate import evaluate
from apprentice.reward_models.evaluation.showing import Truth, model_curve
from apprentice.robot.files import write_text


def clip_card(
    args: argparse.Namespace, report: dict[str, float], clip: ClipReward, items: list[Truth], images: int
) -> None:
    """Judge the model on attempts at the pick task and write README.md beside its weights."""
    judged = evaluate(model_curve(clip), items)
    numbers = {name: value for name, value in judged.numbers.items() if np.isfinite(value)}
    rows = '\n'.join(f'| {name} | {value:.3f} |' for name, value in numbers.items())
    write_text(
        args.out / 'README.md',
        f"""# CLIP reward

A small open_clip model (ResNet image tower, transformer text tower, its own byte-pair vocabulary), trained
from scratch on the simulator's renders and captions. Used by `apprentice.reward_models.clip:ClipReward`;
`reward.json` holds its prompts.

Reproduce:

    apprentice train clip --out {args.out} --episodes {args.episodes} --steps {args.steps} --seed {args.seed}

{report['parameters']:.0f} parameters, stored as float16; {images} images from {args.episodes} attempts;
trained in {report['seconds']:.0f} s; version {clip.version}. Licence: Apache-2.0, as the package.

Measured on {args.held_out} attempts at the task `pick` with held-out seeds (definitions:
`reward_models/evaluation/evaluate.py`; all tasks: `apprentice bench rewards`):

| | |
|---|---|
{rows}

It knows this simulator's pictures and nothing else. For another robot or camera, train it again or load a
larger open_clip model by name.
""",
    )
    print(f'CLIP reward in {args.out}: ' + ', '.join(f'{k} {v:.3f}' for k, v in numbers.items()))


def critic_card(
    args: argparse.Namespace, report: dict[str, float], critic: ProgressCritic, moments: int
) -> None:
    """Judge the critic on everything held out, leave its verdict, and write README.md beside its weights."""
    groups = simulated((SEEDS, COLOURS, TASKS), args.held_out, args.robot or 'sim_arm', watch=_attempts)
    alone = judge_all(critic, groups, watch=_bar)
    shown = judge_all(critic, groups, in_context=True, with_baselines=False, watch=_bar)
    write_critic_card(args, report, critic, moments, alone, shown)


def write_critic_card(
    args: argparse.Namespace,
    report: dict[str, float],
    critic: ProgressCritic,
    moments: int,
    alone: Result,
    shown: Result,
) -> None:
    """Verdict and README.md of a critic that was judged by itself and with a demonstration in context."""
    groups = [group for group in alone[next(iter(alone))] if group != ALL]
    found = make_verdict(critic, str(args.out), alone, f'simulator: {", ".join(groups)}')
    verdict.write(found, [args.out])
    own, in_context = next(iter(alone)), next(iter(shown))
    tables = '\n'.join(text({own: alone[own], in_context: shown[in_context], **alone}, found))
    command = f'apprentice train critic --out {args.out} --demonstrations {args.demonstrations} '
    command += f'--more {" ".join(args.more)} ' if args.more else ''
    command += f'--rollouts {args.rollouts} --steps {args.steps} '
    command += f'--seed {args.seed} --held-out {args.held_out}'
    command += f' --clip {args.clip}' if args.clip else ''
    often = f' (twice as many of {" and ".join(args.more)})' if args.more else ''
    policy = f', {args.rollouts} attempts of the starter policy at its task' if args.rollouts else ''
    looks = f'of {args.clip}' if args.clip else 'that no training made: thumbnails of 32 x 32 pixels'
    write_text(
        args.out / 'README.md',
        f"""# Progress critic

A pairwise progress critic with a done head, an ensemble of small networks on frozen embeddings {looks}.
Labels are what a real robot has too: time on {args.demonstrations} demonstrations of each training
task{often}, and which attempts failed: as many on purpose{policy}. Used by
`apprentice.reward_models.critic:ProgressCritic`.

Reproduce:

    {command}

{report['parameters']:.0f} parameters, stored as float16; {moments} moments; trained in
{report['seconds']:.0f} s; version {critic.version}. Licence: Apache-2.0, as the package.

Measured as by `apprentice bench rewards --attempts {args.held_out}` (definitions:
`reward_models/evaluation/evaluate.py`), by itself and with one demonstration of the instruction in context:

{tables}

It knows this simulator's pictures and nothing else. For another robot or camera, train it again.
""",
    )
    print(tables)


def _attempts(items: Sequence) -> Iterable:
    return _bar(items, 'attempts')


def _bar(items: Sequence, about: str) -> Iterable:
    return tqdm(items, desc=about, unit='attempt')
