# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""train reward models (clip, critic) on attempts rendered by the simulator"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from apprentice.robot.files import replacing

if TYPE_CHECKING:
    from apprentice.reward_models.base import RewardModel
    from apprentice.sim.captions import Attempt

# disjoint ranges of seeds; demonstrations and evaluations of policies use smaller ones
CLIP_SEEDS, CRITIC_SEEDS, HELD_OUT_SEEDS = 10_000_000, 20_000_000, 30_000_000
CLIP_MIX = ('expert', 'expert', 'miss', 'expert', 'wrong', 'drop', 'wander', 'expert')
CRITIC_MIX = ('expert', 'miss', 'expert', 'drop', 'expert', 'wrong', 'expert', 'wander')
HELD_OUT_MIX = ('expert', 'miss', 'wrong', 'drop', 'wander')
GOAL = ('the robot holds the {object} above the table', 'the {object} is in the air')
CONTRAST = ('the robot grasps the {object} on the table', 'the gripper is close to the {object}')


def clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train clip``."""
    _common(parser, 'weights/clip', episodes=320, steps=700)


def critic_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train critic``."""
    _common(parser, 'weights/critic', episodes=320, steps=1000)
    parser.add_argument(
        '--clip', type=Path, default=Path('weights/clip'), help='folder of the CLIP weights it looks through'
    )


def _common(parser: argparse.ArgumentParser, out: str, episodes: int, steps: int) -> None:
    parser.add_argument('--out', type=Path, default=Path(out), help=f'folder of the weights (default {out})')
    parser.add_argument(
        '--robot',
        default='',
        help='name of a shipped robot or a file, with a simulator section (default sim_arm)',
    )
    parser.add_argument(
        '--episodes', type=int, default=episodes, help=f'attempts to render (default {episodes})'
    )
    parser.add_argument('--steps', type=int, default=steps, help=f'gradient steps (default {steps})')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--threads', type=int, default=0, help='threads of torch (default: one per core)')
    parser.add_argument('--held-out', type=int, default=60, help='attempts to judge it on (default 60)')


def clip_run(args: argparse.Namespace) -> int:
    """Render, caption, train, judge on held-out seeds, write weights and model card."""
    _prepare(args)
    from apprentice.reward_models.clip import ClipReward
    from apprentice.reward_models.prompts import Prompts
    from apprentice.reward_models.train_clip import train_clip
    from apprentice.sim.captions import BASELINE, OBJECTS, all_captions

    data, cameras = render(args.robot, _seeds(CLIP_SEEDS, args), CLIP_MIX)
    size = data[0].frames.shape[-3:]
    images = np.concatenate([a.frames.reshape(-1, *size) for a in data])
    captions = [said for a in data for said in a.captions for _ in cameras]
    prompts = Prompts(goal=GOAL, baseline=(BASELINE,), contrast=CONTRAST, objects=OBJECTS)
    with _bar(args.steps, 'training CLIP') as progress:
        report = train_clip(
            images,
            captions,
            all_captions(),
            args.out,
            prompts,
            {'alpha': 0.5, 'cameras': list(cameras)},
            seed=args.seed,
            steps=args.steps,
            progress=progress,
        )
    text = (
        'A small open_clip model (ResNet image tower, transformer text tower, its own byte-pair vocabulary), '
        "trained from scratch on the simulator's renders and captions. Used by "
        '`apprentice.reward_models.clip:ClipReward`; `reward.json` holds its prompts.'
    )
    _card(args, 'CLIP reward', text, 'clip', report, ClipReward.load(args.out), len(images))
    return 0


def critic_run(args: argparse.Namespace) -> int:
    """Render demonstrations and failed attempts, train, judge on held-out seeds, write weights and card."""
    _prepare(args)
    from apprentice.reward_models.base import Episodes
    from apprentice.reward_models.clip import ClipReward
    from apprentice.reward_models.critic import ProgressCritic
    from apprentice.reward_models.train_critic import train_critic

    clip = ClipReward.load(args.clip)
    data, cameras = render(args.robot, _seeds(CRITIC_SEEDS, args), CRITIC_MIX)
    frames = [a.frames[: int(np.argmax(a.solved)) + 2] if a.success else a.frames for a in data]
    episodes = Episodes(frames, [a.text for a in data], [a.success for a in data], cameras)
    relative = os.path.relpath(args.clip, args.out)
    with _bar(args.steps, 'training critic') as progress:
        report = train_critic(
            episodes, clip, relative, args.out, seed=args.seed, steps=args.steps, progress=progress
        )
    text = (
        'A pairwise progress critic with a done head, an ensemble of three small networks on frozen CLIP '
        'embeddings. Labels are what a real robot has too: time on successful demonstrations, and which '
        'attempts failed. Used by `apprentice.reward_models.critic:ProgressCritic`.'
    )
    _card(
        args, 'Progress critic', text, 'critic', report, ProgressCritic.load(args.out), sum(map(len, frames))
    )
    return 0


def render(robot: str, seeds: Sequence[int], mix: Sequence[str]) -> tuple[list[Attempt], tuple[str, ...]]:
    """Attempts of the simulator's task, one a seed, and the names of their views."""
    # triton's LLVM must be there before Mesa's: an optimiser made after the first GL context would crash
    import torch._dynamo  # noqa: F401
    from tqdm import tqdm

    from apprentice.robot.parts import find_robot
    from apprentice.robot.spec import RobotSpec
    from apprentice.sim.captions import attempt
    from apprentice.sim.world import World

    spec = RobotSpec.load(find_robot(robot or 'sim_arm'))
    world = World(spec)
    try:
        done = [
            attempt(world, seed, mix[i % len(mix)])
            for i, seed in enumerate(tqdm(seeds, desc='rendering', unit='attempt'))
        ]
    finally:
        world.close()
    return done, tuple(camera.name for camera in spec.cameras)


def held_out(robot: str, count: int, offset: int = 0) -> list:
    """Attempts with ground truth from seeds no model is trained on."""
    from apprentice.reward_models.evaluate import Truth

    start = HELD_OUT_SEEDS + offset
    return [
        Truth(a.frames, a.text, a.truth, a.solved, a.behaviour == 'expert')
        for a in render(robot, range(start, start + count), HELD_OUT_MIX)[0]
    ]


def _prepare(args: argparse.Namespace) -> None:
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)


def _seeds(base: int, args: argparse.Namespace) -> range:
    start = base + args.seed * 100_000
    return range(start, start + args.episodes)


class _bar:
    """A progress bar that shows the loss."""

    def __init__(self, total: int, name: str):
        from tqdm import tqdm

        self._bar = tqdm(total=total, desc=name, unit='step')

    def __enter__(self) -> Callable[[int, float], None]:
        def progress(step: int, loss: float) -> None:
            self._bar.update(step - self._bar.n)
            if step % 20 == 0:
                self._bar.set_postfix(loss=f'{loss:.4f}')

        return progress

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _card(
    args: argparse.Namespace, title: str, text: str, kind: str, report: dict, model: RewardModel, images: int
) -> None:
    """Judge the model and write README.md beside its weights."""
    from apprentice.reward_models.evaluate import evaluate, model_curve

    numbers = evaluate(model_curve(model), held_out(args.robot, args.held_out), model.negatives)
    rows = '\n'.join(f'| {name} | {value:.3f} |' for name, value in numbers.items())
    command = f'apprentice train {kind} --out {args.out} --episodes {args.episodes} --steps {args.steps}'
    command += f' --seed {args.seed}' + (f' --clip {args.clip}' if kind == 'critic' else '')
    card = f"""# {title}

{text}

Reproduce:

    {command}

{report['parameters']:.0f} parameters, stored as float16; {images} images from {args.episodes} attempts;
trained in {report['seconds']:.0f} s; version {model.version}. Licence: Apache-2.0, as the package.

Measured on {args.held_out} attempts with held-out seeds (definitions: `reward_models/evaluate.py`; more:
`python bench/reward_models.py`):

| | |
|---|---|
{rows}

It knows this simulator's pictures and nothing else. For another robot or camera, train it again or load
a larger open_clip model by name.
"""
    with replacing(args.out / 'README.md') as temporary:
        temporary.write_text(card)
    print(f'{title} in {args.out}: ' + ', '.join(f'{k} {v:.3f}' for k, v in numbers.items()))
