# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Time of one plan: onnxruntime beside eager torch, and many candidates beside one.

One thread each, the shipped policy, images of 64 x 64. A plan is prefix and 5 Euler steps, raw units in and
out; in the first case it is steered to continue the chunk before (real-time chunking). Each runtime gets the
same observation and draws the same noise.
"""

from __future__ import annotations

import argparse
import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.bench.measure import numbers, timed
from apprentice.bench.runner import OURS, SHIPPED, Case, Contestant, Ratio
from apprentice.robot.parts import find_weights

HERE = 'apprentice.bench.policy'
TEXT = 'pick up the red cube'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--weights', default='policy', help='policy folder or shipped name (default policy)')
    parser.add_argument('--candidates', type=int, default=8, help='beside one (default 8)')


def cases(args: argparse.Namespace) -> list[Case]:
    weights, n = str(find_weights(args.weights).resolve()), args.candidates
    folders = {'torch': weights, 'onnx': _exported(weights)}

    def plans(name: str, kind: str, runtime: str, candidates: int, steered: bool) -> Contestant:
        parameters = {'runtime': runtime, 'folder': folders[runtime], 'candidates': candidates}
        return Contestant(
            name, kind, f'{HERE}:plan', parameters=parameters | {'steered': steered, 'seconds': args.seconds},
            environment={'OMP_NUM_THREADS': '1'},
        )  # fmt: skip

    return [
        Case(
            'one chunk that continues another',
            'chunks/s',
            [plans('torch, eager', SHIPPED, 'torch', 1, True), plans('onnxruntime', OURS, 'onnx', 1, True)],
            [Ratio('onnxruntime', 'torch, eager', 2.0)],
            note='prefix, Euler steps and guidance; the wanted time is below 10 ms',
        ),
        Case(
            f'1 and {n} candidates of one observation',
            'plans/s',
            [
                plans(f'{runtime}, {count}', OURS, runtime, count, False)
                for runtime in folders
                for count in (1, n)
            ],
            [
                *(Ratio(f'{runtime}, {n}', f'{runtime}, 1', 1 / 1.5) for runtime in folders),
                Ratio(f'onnx, {n}', 'torch, 1'),
            ],
            note='the prefix is encoded once; 0.667 is half as long again',
        ),
    ]


def _exported(weights: str) -> str:
    """The ONNX files of a checkpoint, in a folder that is gone after the bench."""
    from apprentice.policies import onnx_export

    folder = Path(tempfile.mkdtemp(prefix='apprentice-bench-'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    onnx_export.export(weights, folder / 'onnx')
    return str(folder / 'onnx')


def plan(runtime: str, folder: str, candidates: int, steered: bool, seconds: float) -> dict[str, Any]:
    """Plans per second from an observation to actions in raw units."""
    import torch

    from apprentice.policies.policy import inputs_of
    from apprentice.policies.rtc import PreviousChunk
    from apprentice.policies.runtime import load_policy
    from apprentice.robot.types import Observation

    torch.set_num_threads(1)
    policy: Any = load_policy(folder, runtime=runtime)[0]
    spec, rng = policy.spec, np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (*size, 3), np.uint8) for name, size in spec.cameras.items()}
    seen = Observation(0.0, images, spec.state.mean, TEXT)
    overlap = spec.horizon // 2
    previous = PreviousChunk(np.tile(spec.state.mean, (overlap, 1)), overlap // 2) if steered else None
    generator = torch.Generator().manual_seed(0)

    def one() -> int:
        policy.candidates(inputs_of([seen], spec), candidates, generator, previous)
        return 1

    for _ in range(5):
        one()
    measured = timed(one, seconds)
    return numbers(measured, 'torch', 'onnxruntime', **{'ms a plan': 1000 / measured['value']})
