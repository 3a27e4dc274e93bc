# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""calibration of a reward model: ``apprentice train calibration``, from labelled or simulated episodes"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apprentice.robot.types import Episode

SIMULATED = {  # model -> part, and the tasks it was made for (none: all training tasks)
    'clip': ('apprentice.reward_models.clip:ClipReward', ('pick',)),
    'critic': ('apprentice.reward_models.critic:ProgressCritic', ()),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train calibration``."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--data', type=Path, nargs='+', help='run folders or folders of episodes')
    source.add_argument(
        '--simulated',
        type=int,
        metavar='N',
        help='instead: N attempts at each training task of the simulator, and as many of the starter policy, '
        'scored by the weights in --out; for clip and critic',
    )
    parser.add_argument(
        '--robot', help='name of a shipped robot or a file (default: the one recorded; simulated: sim_arm)'
    )
    parser.add_argument(
        '--model', required=True, help='name of the reward model in the log: clip, critic, ...'
    )
    parser.add_argument('--out', type=Path, required=True, help='folder of its weights')
    parser.add_argument(
        '--family',
        action='append',
        metavar='PATTERN',
        help="instructions, such as 'pick up *'; may be repeated",
    )
    parser.add_argument('--method', choices=('isotonic', 'platt'), default='isotonic')
    parser.add_argument(
        '--target', choices=('done', 'progress'), default='done', help='what the potential is to mean'
    )
    parser.add_argument('--seconds', type=float, default=10.0, help='time constant of seconds to go [s]')
    parser.add_argument('--bounds', type=float, nargs=2, metavar=('LOW', 'HIGH'), help='of a cost or reward')


def run(args: argparse.Namespace) -> int:
    """Calibrate and say how well it fits."""
    from apprentice.learning.calibrate import calibrate, samples
    from apprentice.reward_models.calibration.units import Units

    episodes = _recorded(args) if args.data else _simulated(args)
    low, high = args.bounds or (None, None)
    found = samples(episodes, args.model, args.target)
    made = calibrate(found, args.model, args.family or ['*'], args.method, Units(args.seconds, low, high))
    args.out.mkdir(parents=True, exist_ok=True)
    path = made.save(args.out)
    for family, curve in made.curves.items():
        print(f'{family}: {curve.count} samples, mean squared error {curve.brier:.3f} (on these samples)')
    print(f'{path}: {args.model} {made.version}, {found.episodes} episodes, {made.sha256[:12]}')
    return 0


def _recorded(args: argparse.Namespace) -> Iterable[Episode]:
    from apprentice.episodes.facts import recorded_robot, sealed_files
    from apprentice.episodes.join import read_episode

    files = sealed_files(args.data)
    robot = recorded_robot(args.data, args.robot)
    return (read_episode(path, robot) for path in files)


def _simulated(args: argparse.Namespace) -> Iterable[Episode]:
    """Attempts from the seeds for calibration, which no shipped model is trained on."""
    # triton's LLVM must be there before Mesa's: an optimiser made after the first GL context would crash
    import torch
    import torch._dynamo

    from apprentice.cli.train_rewards import CRITIC_MIX
    from apprentice.learning.calibrate import scored
    from apprentice.learning.policy_attempts import CALIBRATION, policy_attempts
    from apprentice.learning.reward_attempts import CALIBRATION_SEEDS, attempts, plan, training_tasks
    from apprentice.robot.parts import load_part

    if args.model not in SIMULATED or args.simulated < 4:
        raise ValueError(f'--simulated N is for {" and ".join(SIMULATED)}, with 4 attempts or more')
    part, tasks = SIMULATED[args.model]
    torch.set_num_threads(1)
    model = load_part(part).load(args.out)
    tasks = tasks or training_tasks(args.robot or 'sim_arm')
    wanted = plan(tasks, CALIBRATION_SEEDS, args.simulated, CRITIC_MIX, 'seen')
    acted = attempts(wanted) + policy_attempts(CALIBRATION, args.simulated)
    return (scored(model, attempt) for attempt in acted if attempt.success or not attempt.solved.any())
