# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""train reward models (clip, critic) on attempts rendered by the simulator; the critic on recordings, too"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from apprentice.reward_models.base import Episodes
    from apprentice.reward_models.critic.critic import ProgressCritic
    from apprentice.reward_models.evaluation.showing import Truth
    from apprentice.reward_models.resuming import State
    from apprentice.sim.captions import Attempt

# disjoint ranges of seeds; demonstrations and evaluations of policies use smaller ones
CLIP_SEEDS, CRITIC_SEEDS, HELD_OUT_SEEDS = 10_000_000, 20_000_000, 30_000_000
CLIP_MIX = ('expert', 'expert', 'miss', 'expert', 'wrong', 'drop', 'wander', 'expert')
# half of them demonstrations
CRITIC_MIX = tuple(
    each for bad in ('miss', 'stop_short', 'wrong', 'turn', 'idle', 'wander') for each in ('expert', bad)
)
ROLLOUTS, MORE = 40, ('pick', 'place')
CRITIC = 'weights/critic'  # where a critic is written unless somebody says otherwise
HELD_OUT_MIX = ('expert', 'miss', 'wrong', 'drop', 'wander')
GOAL = ('the robot holds the {object} above the table', 'the {object} is in the air')
CONTRAST = ('the robot grasps the {object} on the table', 'the gripper is close to the {object}')


def clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train clip``."""
    _common(parser, 'weights/clip', episodes=320, steps=700)


def critic_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train critic``."""
    _output(parser, CRITIC, steps=700)
    parser.add_argument(
        '--data', type=Path, nargs='+', default=[], metavar='FOLDER',
        help='runs, folders of episodes or LeRobot datasets of your robot to learn from, instead of the '
        'simulator: successes and failures; of each five three train, one calibrates and one judges',
    )  # fmt: skip
    parser.add_argument(
        '--demonstrations', type=int, default=20, help='of each training task (default 20); as many failures'
    )
    parser.add_argument(
        '--more',
        nargs='*',
        default=list(MORE),
        metavar='TASK',
        help=f'twice as many demonstrations and failures of these (default {" ".join(MORE)})',
    )
    parser.add_argument(
        '--rollouts',
        type=int,
        default=ROLLOUTS,
        help=f'attempts of the starter policy at its task, as well; of its robot only (default {ROLLOUTS})',
    )
    parser.add_argument(
        '--clip', type=Path, help='look through the embeddings of these CLIP weights, instead of thumbnails'
    )
    parser.add_argument(
        '--held-out', type=int, default=24, help='attempts at each task to judge it on (default 24)'
    )


def _common(parser: argparse.ArgumentParser, out: str, episodes: int, steps: int) -> None:
    _output(parser, out, steps)
    parser.add_argument(
        '--episodes', type=int, default=episodes, help=f'attempts to render (default {episodes})'
    )
    parser.add_argument('--held-out', type=int, default=60, help='attempts to judge it on (default 60)')


def _output(parser: argparse.ArgumentParser, out: str, steps: int) -> None:
    parser.add_argument('--out', type=Path, default=Path(out), help=f'folder of the weights (default {out})')
    parser.add_argument(
        '--robot',
        default='',
        help='name of a shipped robot or a file, with a simulator section (default sim_arm)',
    )
    parser.add_argument('--steps', type=int, default=steps, help=f'gradient steps (default {steps})')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--threads', type=int, default=0, help='threads of torch (default: one per core)')


def clip_run(args: argparse.Namespace) -> int:
    """Render, caption, train, judge on held-out seeds, write weights and model card."""
    _prepare(args)
    from apprentice.cli.reward_cards import clip_card
    from apprentice.reward_models.clip.prompts import Prompts
    from apprentice.reward_models.clip.reward import ClipReward
    from apprentice.reward_models.clip.train import train_clip
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
    items = held_out(args.robot, args.held_out)
    clip_card(args, report, ClipReward.load(args.out), items, len(images))
    return 0


def critic_run(args: argparse.Namespace) -> int:
    """Act out attempts at the training tasks, train, calibrate, judge on what is held out, write it all."""
    _prepare(args)
    # triton's LLVM must be there before Mesa's: an optimiser made after the first GL context would crash
    import torch._dynamo  # noqa: F401

    from apprentice.cli.reward_cards import critic_card
    from apprentice.cli.train_recorded import critic_on_recordings
    from apprentice.learning import snapshot

    if args.data:
        return critic_on_recordings(args)
    if args.robot not in ('', 'sim_arm'):
        args.rollouts = 0  # the starter policy is of another robot
    episodes, held_back = critic_episodes(
        args.demonstrations, args.robot, args.seed, args.rollouts, args.more
    )
    critic, report = fit_critic(args, episodes, held_back)
    critic_card(args, report, critic, sum(map(len, episodes.frames)))
    snapshot.remove(unfinished(args))  # not before: judging takes as long, and may be killed too
    return 0


def unfinished(args: argparse.Namespace) -> Path:
    """Where a training that was killed goes on from."""
    return args.out.with_name(f'{args.out.name}.training')


def fit_critic(
    args: argparse.Namespace, episodes: Episodes, held_back: Episodes | None
) -> tuple[ProgressCritic, dict[str, float]]:
    """Train as the options say; a killed training goes on. The critic, and what its training reports."""
    from apprentice.learning import snapshot
    from apprentice.reward_models.clip.reward import ClipReward
    from apprentice.reward_models.critic.critic import ProgressCritic
    from apprentice.reward_models.critic.eyes import ClipEye, ThumbnailEye
    from apprentice.reward_models.critic.train import CriticTraining, train_critic
    from apprentice.reward_models.resuming import Snapshots

    if args.clip is None:
        eye: ClipEye | ThumbnailEye = ThumbnailEye.of(episodes.text)
    else:
        eye = ClipEye(ClipReward.load(args.clip), os.path.relpath(args.clip, args.out))
    settings = CriticTraining(seed=args.seed, steps=args.steps)
    folder = unfinished(args)

    def newest() -> State | None:
        found = snapshot.newest(folder)
        return None if found is None else found[:2]

    snapshots = Snapshots(lambda tensors, state: snapshot.write(tensors, folder, state), newest)
    with _bar(args.steps, 'training critic') as progress:
        report = train_critic(episodes, eye, args.out, settings, held_back, progress, snapshots)
    return ProgressCritic.load(args.out), report


def critic_episodes(
    demonstrations: int, robot: str = '', seed: int = 0, rollouts: int = 0, more: Sequence[str] = ()
) -> tuple[Episodes, Episodes]:
    """What the critic is trained on, and what its done probability is calibrated on.

    Of each training task ``demonstrations`` successes and nearly as many failures, without any held-out
    colour in the scene, and twice as many of the tasks ``more``; half of that for the calibration.
    ``rollouts`` attempts of the starter policy, and a quarter of that for the calibration.
    """
    from apprentice.learning.policy_attempts import CALIBRATION, POLICY_SEEDS, policy_attempts
    from apprentice.learning.reward_attempts import (
        CALIBRATION_SEEDS,
        TRAINING_SEEDS,
        attempts,
        plan,
        training_tasks,
    )
    from apprentice.reward_models.base import Episodes
    from apprentice.robot.parts import find_robot
    from apprentice.robot.spec import RobotSpec

    spec = RobotSpec.load(find_robot(robot or 'sim_arm'))
    cameras = tuple(camera.name for camera in spec.cameras)
    tasks = training_tasks(spec.name)

    def acted(first: int, count: int, policy_first: int, policy_count: int) -> Episodes:
        own = 1_000_000 * (seed % 10)
        wanted = [
            one
            for task in tasks
            for one in plan([task], first + own, count * (1 + (task in more)), CRITIC_MIX, 'seen')
        ]
        found = attempts(wanted, robot, watch=_watch)
        if policy_count:
            found += policy_attempts(policy_first + 10_000 * (seed % 10), policy_count, robot=robot)
        kept = [a for a in found if a.success or not a.solved.any()]
        done = [int(a.solved.argmax()) if a.success else len(a.solved) for a in kept]
        return Episodes(
            [a.frames for a in kept],
            [a.text for a in kept],
            [a.success for a in kept],
            cameras,
            {'done_from': [np.array(first) for first in done]},
        )

    return (
        acted(TRAINING_SEEDS, 2 * demonstrations, POLICY_SEEDS, rollouts),
        acted(CALIBRATION_SEEDS, max(6, demonstrations), CALIBRATION, rollouts // 4),
    )


def _watch(wanted: Sequence) -> Iterable:
    from tqdm import tqdm

    return tqdm(wanted, desc='acting out', unit='attempt')


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


def held_out(robot: str, count: int, offset: int = 0) -> list[Truth]:
    """Attempts at the pick task with ground truth from seeds no model is trained on."""
    from apprentice.reward_models.evaluation.showing import FAILURE, NEAR_MISS, OTHER_OBJECT, SUCCESS, Truth
    from apprentice.sim.captions import OBJECTS

    start = HELD_OUT_SEEDS + offset
    kinds = {'expert': SUCCESS, 'miss': NEAR_MISS, 'drop': NEAR_MISS, 'wrong': OTHER_OBJECT}
    acted, _ = render(robot, range(start, start + count), HELD_OUT_MIX)
    return [
        Truth(
            a.frames,
            0.1 * np.arange(len(a.frames)),
            a.text,
            kinds.get(a.behaviour, FAILURE),
            a.truth,
            a.solved,
            'pick',
            tuple(f'pick up the {item}' for item in OBJECTS if item not in a.text),
        )
        for a in acted
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
