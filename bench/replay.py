# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Batches out of replay buffers: ours beside LeRobot's (HIL-SERL) and Stable-Baselines3's.

Two cameras, both observations of a transition, a random shift of up to 4 pixels where the row says so. Ours
gives uint8, which goes to the GPU as it is; LeRobot's gives float32, Stable-Baselines3's uint8 without a
shift. All samples are drawn from episodes of 50 steps of random images, in one process without a GPU.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from apprentice.bench.measure import numbers, timed
from apprentice.bench.runner import OURS, SHIPPED, TUNED, Case, Contestant, Ratio
from apprentice.learning.transitions import TransitionBuffer

HERE = 'apprentice.bench.replay'
EPISODE = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--size', type=int, default=128, help='of the images, pixels (default 128)')
    parser.add_argument('--batch', type=int, default=256, help='transitions of a batch (default 256)')
    parser.add_argument('--capacity', type=int, default=2000, help='transitions held (default 2000)')


def cases(args: argparse.Namespace) -> list[Case]:
    common = {'capacity': args.capacity, 'size': args.size, 'batch': args.batch, 'seconds': args.seconds}

    def ours(shift: bool) -> Contestant:
        name = 'TransitionBuffer, shifted' if shift else 'TransitionBuffer'
        return Contestant(name, OURS, f'{HERE}:sampling', parameters=common | {'shift': shift})

    def lerobot(name: str, kind: str, **options: bool) -> Contestant:
        return Contestant(name, kind, peer='lerobot', parameters=common | options)

    title = f'2 cameras of {args.size} px, batches of {args.batch}'
    plain = Contestant('Stable-Baselines3', SHIPPED, peer='stable_baselines3', parameters=common)
    return [
        Case(
            title,
            'transitions/s',
            [
                lerobot('LeRobot, shifted', SHIPPED, shift=True),
                lerobot('LeRobot, shifted, images once', TUNED, shift=True, single=True),
                lerobot('LeRobot', TUNED, shift=False),
                plain,
                ours(False),
                ours(True),
            ],
            [
                Ratio('TransitionBuffer, shifted', 'LeRobot, shifted', 30.0),
                Ratio('TransitionBuffer, shifted', 'LeRobot, shifted, images once'),
                Ratio('TransitionBuffer, shifted', 'Stable-Baselines3', 0.7),
                Ratio('TransitionBuffer', 'Stable-Baselines3'),
            ],
            note='LeRobot converts to float32 when it stores, ours leaves that to whoever takes the batch',
        )
    ]


def sampling(capacity: int, size: int, batch: int, seconds: float, shift: bool) -> dict[str, Any]:
    """Transitions per second from a full buffer, and how fast it was filled."""
    buffer = TransitionBuffer(capacity, {'front': (size, size), 'wrist': (size, size)}, 7, 7)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (EPISODE, 2, size, size, 3), dtype=np.uint8)
    observations = [({'front': front, 'wrist': wrist}, rng.normal(size=7)) for front, wrist in pictures]
    action, started = np.zeros(7), time.perf_counter()
    for i in range(capacity):
        images, state = observations[i % EPISODE]
        if i % EPISODE == 0:
            buffer.start(images, state)
        else:
            buffer.add(action, 0.0, images, state, terminal=i % EPISODE == EPISODE - 1)
    added = capacity / (time.perf_counter() - started)

    def draw() -> int:
        buffer.sample(batch, shift=shift)
        return batch

    draw()
    also = {'added/s': added, 'kB a transition': buffer.nbytes / capacity / 1000}
    return numbers(timed(draw, seconds), 'numpy', **also)
