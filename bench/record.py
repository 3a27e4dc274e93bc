# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Recording cameras: the recorder node end to end, and four cameras beside LeRobot's modes of recording.

The first case runs the real recorder node, fed over ROS by a publisher process; its CPU time is that of the
node, everything included that it does while it records. In the second, each writes the same frames as fast as
it can, and what counts is CPU time. LeRobot gets arrays and encodes while it records (AV1, with a queue long
enough to drop nothing) or writes PNG; statistics and the end of the episode are included. Our writer gets
serialised messages, as ROS hands them over, and writes them as they are; sealing (zstd) and encoding happen
after the episode and are rows of their own.
"""

from __future__ import annotations

import argparse

from apprentice.bench.runner import OURS, SHIPPED, Case, Contestant, Ratio

HERE = 'apprentice.bench.recording'
VGA = {'height': 480, 'width': 640, 'rate': 30.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--part', choices=('all', 'node', 'writers'), default='all', help='cases (default all)'
    )
    parser.add_argument('--episode', type=float, default=60.0, help='seconds the node records (default 60)')
    parser.add_argument('--steps', type=int, default=60, help='frames a camera for the writers (default 60)')


def cases(args: argparse.Namespace) -> list[Case]:
    found = []
    episode = 5.0 if args.quick else args.episode
    steps = 20 if args.quick else args.steps
    if args.part != 'writers':
        found.append(_node(episode))
    if args.part != 'node':
        found.append(_writers(steps))
    return found


def _node(seconds: float) -> Case:
    return Case(
        f'the recorder node, 2 cameras 640x480 at 30 Hz, joint states at 100 Hz, {seconds:g} s',
        'frames/CPU s',
        [
            Contestant(
                'recorder node', OURS, f'{HERE}:node', parameters={**VGA, 'cameras': 2, 'seconds': seconds}
            )
        ],
        note='dropped: sent by the publisher and not in the sealed file',
    )


def _writers(steps: int) -> Case:
    shared = {**VGA, 'cameras': 4, 'steps': steps}

    def peer(name: str, **how: bool) -> Contestant:
        return Contestant(
            name, SHIPPED, peer='lerobot', script='lerobot_record', parameters={**shared, **how}
        )

    def ours(name: str, sealed: bool = False, exported: bool = False) -> Contestant:
        parameters = {**shared, 'sealed': sealed, 'exported': exported}
        return Contestant(name, OURS, f'{HERE}:writer', parameters=parameters)

    av1, png, log = 'LeRobot, streaming AV1', 'LeRobot, PNG', 'log'
    return Case(
        f'4 cameras 640x480, {steps} frames each',
        'frames/CPU s',
        [
            peer(av1, streaming=True),
            peer(png, streaming=False),
            ours(log),
            ours('log, sealed', True),
            ours('log, sealed, H.264 afterwards', True, True),
        ],
        [
            Ratio(log, av1, 8.0),
            Ratio(log, png, 8.0),
            Ratio('log, sealed', av1),
            Ratio('log, sealed, H.264 afterwards', av1),
        ],
    )
