# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""a policy or a reward model as files for onnxruntime: onnx, clip-onnx"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apprentice.cli import export_clip

if TYPE_CHECKING:
    from apprentice.policies.runtime import ChunkPolicy

_ONNX = """\
Writes FOLDER with policy.onnx (observation, noise and what is being executed -> chunk, all Euler steps in one
graph), prefix.onnx and denoise.onnx (its two halves), and a golden input with the actions torch made of it.
The folder is complete or not there. Every later loading runs the golden input and refuses the folder if the
actions differ.

Then it measures: how far the actions are from torch, and how long one chunk takes that continues another.

Run what was made with the parameters runtime: onnx and weights: FOLDER of the policy node.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice export``: a subcommand per format."""
    formats = parser.add_subparsers(dest='format', metavar='FORMAT', required=True)
    onnx = formats.add_parser(
        'onnx',
        help='ONNX files, checked against torch and measured',
        description=_ONNX,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    onnx.add_argument('weights', metavar='WEIGHTS', help='policy folder, or a shipped name such as policy')
    onnx.add_argument('--out', type=Path, required=True, metavar='FOLDER', help='where the files go')
    onnx.add_argument(
        '--int8', action='store_true', help='also policy_int8.onnx, smaller and less exact; see the table'
    )
    onnx.add_argument(
        '--providers', nargs='+', default=['cpu'], metavar='NAME',
        help='where to measure: cpu, cuda, tensorrt (default cpu)',
    )  # fmt: skip
    onnx.add_argument('--rounds', type=int, default=50, help='chunks measured of each row (default 50)')
    export_clip.add_arguments(
        formats.add_parser(
            'clip-onnx',
            help='the image encoder of a CLIP reward, checked against torch and measured',
            description=export_clip.TEXT,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )


def run(args: argparse.Namespace) -> int:
    """Export, then print the table. Exit code 2 for weights, options or a folder that cannot be used."""
    if args.format == 'clip-onnx':
        return export_clip.run(args)
    if args.rounds < 1:
        raise ValueError(f'{args.rounds} rounds; give 1 or more')
    from apprentice.learning.rl.choosing import critics_act
    from apprentice.policies import onnx_export
    from apprentice.policies.onnx_session import require_providers
    from apprentice.robot.parts import find_weights

    weights, started = find_weights(args.weights), time.perf_counter()
    require_providers(args.providers)  # before the work, not after it

    def say(stage: str) -> None:
        print(f'{time.perf_counter() - started:5.1f} s  {stage}', file=sys.stderr, flush=True)

    manifest = onnx_export.export(weights, args.out, args.int8, say)
    if critics_act(manifest):
        say('the policy alone, without its critics; the policy node with runtime torch runs both')
    say('measuring')
    print(f'{args.out}, one chunk at a time, 1 thread, median of {args.rounds}')
    for line in _table(weights, args, manifest):
        print(line)
    print(f'run it with runtime:=onnx weights:={args.out}')
    return 0


def _table(weights: Path, args: argparse.Namespace, manifest: dict[str, Any]) -> list[str]:
    import torch

    from apprentice.policies import checkpoint, onnx_policy

    torch.set_num_threads(1)
    policies: dict[str, ChunkPolicy] = {'torch': checkpoint.load(weights)[0]}
    files = {'torch': weights / checkpoint.WEIGHTS}
    differences = {'torch': ''}
    for precision, file in onnx_policy.GRAPHS.items():
        if file not in manifest['golden']['difference']:
            continue
        for provider in args.providers:
            name = f'onnx {provider}' + (f' {precision}' if precision != 'float32' else '')
            policy, _ = onnx_policy.load(args.out, providers=provider, precision=precision)
            policies[name], files[name] = policy, args.out / file
            differences[name] = f'{policy.golden_difference:.1e}'
    took = latencies(policies, args.rounds)
    head = ['runtime', 'ms a chunk', 'largest difference (rad, m)', 'file', 'MB']
    rows = [
        [name, f'{took[name]:.2f}', differences[name], files[name].name, f'{_megabytes(files[name]):.1f}']
        for name in policies
    ]
    rows.insert(0, head)
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return ['  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def latencies(policies: dict[str, ChunkPolicy], rounds: int) -> dict[str, float]:
    """Median milliseconds of a chunk that continues another one; the policies take turns."""
    import numpy as np
    import torch

    from apprentice.policies.rtc import PreviousChunk
    from apprentice.robot.types import Observation

    spec = next(iter(policies.values())).spec
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    images = {name: rng.integers(0, 256, (*size, 3), np.uint8) for name, size in spec.cameras.items()}
    seen = Observation(0.0, images, spec.state.mean, 'pick up the red cube')
    half = max(1, spec.horizon // 2)
    previous = PreviousChunk(np.tile(spec.state.mean, (half, 1)), min(1, half))
    found: dict[str, list[float]] = {name: [] for name in policies}
    for turn in range(rounds + 3):
        for name, policy in policies.items():
            begin = time.perf_counter()
            policy.act(seen, generator, previous)
            if turn >= 3:  # the first ones allocate
                found[name].append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(each) for name, each in found.items()}


def _megabytes(path: Path) -> float:
    return path.stat().st_size / 1e6
