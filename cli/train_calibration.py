# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""calibration of a reward model: ``apprentice train calibration``, from labelled episodes"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train calibration``."""
    parser.add_argument('--data', type=Path, nargs='+', required=True, help='folders of recorded episodes')
    parser.add_argument('--robot', default='sim_arm', help='name of a shipped robot or a file')
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
    from apprentice.episodes.files import EpisodeFileError
    from apprentice.episodes.join import read_episode
    from apprentice.episodes.labels import iter_sealed
    from apprentice.learning.calibrate import calibrate, samples
    from apprentice.reward_models.calibration.units import Units
    from apprentice.robot.parts import find_robot
    from apprentice.robot.spec import RobotSpec

    robot = RobotSpec.load(find_robot(args.robot))
    files = [path for folder in args.data for path in iter_sealed(folder)]
    if not files:
        raise EpisodeFileError(f'no episodes in {", ".join(map(str, args.data))}')
    low, high = args.bounds or (None, None)
    found = samples((read_episode(path, robot) for path in files), args.model, args.target)
    made = calibrate(found, args.model, args.family or ['*'], args.method, Units(args.seconds, low, high))
    args.out.mkdir(parents=True, exist_ok=True)
    path = made.save(args.out)
    for family, curve in made.curves.items():
        print(f'{family}: {curve.count} samples, mean squared error {curve.brier:.3f} (on these samples)')
    print(f'{path}: {args.model} {made.version}, {found.episodes} episodes, {made.sha256[:12]}')
    return 0
