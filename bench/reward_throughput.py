# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Frames a second of the reward node beside its bare model, of 8-bit ONNX beside torch, and on a GPU.

The towers: ViT-B/32 of open_clip with random weights (speed does not depend on them; the order of rewards is
harder to keep than with trained ones, whose embeddings differ more), and the shipped small model. Frames are
those of the simulator, resized beforehand to what the network sees. Rows of one case use the same threads.
The runtimes of a tower take turns in one process, because each start takes longer than a measurement.
"""

from __future__ import annotations

import argparse
import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.bench.measure import Stopwatch, numbers, timed
from apprentice.bench.reward_rig import frames_for, random_vit, rewards_of
from apprentice.bench.runner import LIMIT, OURS, SHIPPED, TUNED, Case, Contestant, Ratio
from apprentice.robot.parts import share

REPEATS, SECONDS = 3, 1.5  # with 5 and 3 it would take a quarter of an hour
HERE = 'apprentice.bench.reward_throughput'
NODE = 'apprentice.bench.reward_rig:node'
ROBOTS = 4
GPU_TOWERS = {'ViT-B-32': 1024, 'ViT-L-14': 256, 'ViT-H-14': 256, 'ViT-bigG-14': 128}  # images in a batch
TITLES = {
    'torch': 'torch, eager float32',
    'torch-bf16': 'torch, bfloat16',
    'onnx': 'onnx float32',
    'onnx-int8': 'onnx int8',
}
TARGETS = {1: 4.0, 8: 3.0}  # frames at a time -> int8 over float32 by torch
ORDERED = ('torch', 'onnx', 'onnx-int8')
PACKAGES = ('torch', 'onnxruntime', 'open_clip_torch')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--threads', type=int, default=1, help='of the encoder, on both sides (default 1)')
    parser.add_argument('--frames', type=int, default=128, help='frames to compare (default 128)')
    parser.add_argument(
        '--only', nargs='+', choices=('node', 'cpu', 'gpu'), default=['node', 'cpu', 'gpu'],
        help='which cases (default all)',
    )  # fmt: skip


def cases(args: argparse.Namespace) -> list[Case]:
    folder = Path(tempfile.mkdtemp(prefix='apprentice-bench-'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    found: list[Case] = []
    if set(args.only) & {'node', 'cpu'}:
        shutil.copytree(share('weights', 'clip'), folder / 'small')
        towers = {'ViT-B/32': random_vit(folder / 'vit'), 'shipped': folder / 'small'}
        frames = frames_for(towers, args.frames, 'cpu' in args.only)
        if 'node' in args.only:
            found += [_node_case(name, towers[name], frames[name], args) for name in towers]
        if 'cpu' in args.only:
            for name, weights in towers.items():
                found.append(_rate_case(name, weights, frames[name], args))
                found.append(_order_case(name, weights, frames[name]))
    if 'gpu' in args.only:
        found.append(_gpu_case(args))
    return found


def _node_case(name: str, weights: Path, frames: Path, args: argparse.Namespace) -> Case:
    parameters = {'folder': str(weights), 'frames': str(frames)}
    parameters |= {'threads': args.threads, 'seconds': args.seconds}
    environment = {'OMP_NUM_THREADS': str(args.threads)}
    bare = Contestant(
        'bare model', LIMIT, f'{HERE}:bare', environment=environment,
        parameters=parameters | {'batch': 2 * ROBOTS, 'runtime': 'torch'},
    )  # fmt: skip
    node = Contestant(
        'reward node', OURS, NODE, parameters=parameters | {'robots': ROBOTS}, environment=environment
    )
    return Case(
        f'{name}: {ROBOTS} robots of 2 cameras through one reward node',
        'frames/s',
        [bare, node],
        [Ratio('reward node', 'bare model', 0.95 if name == 'ViT-B/32' else None)],
        note='images over DDS, encoded 8 at a time, scored and published; the bare model only encodes',
    )


def _rate_case(name: str, weights: Path, frames: Path, args: argparse.Namespace) -> Case:
    parameters = {
        'folder': str(weights), 'frames': str(frames), 'batches': list(TARGETS), 'runtimes': list(TITLES),
        'threads': args.threads, 'seconds': args.seconds,
    }  # fmt: skip
    environment = {'OMP_NUM_THREADS': str(args.threads)}
    rows, ratios = [], []
    for batch, target in TARGETS.items():
        titles = {runtime: f'{title}, {batch} at a time' for runtime, title in TITLES.items()}
        for runtime, title in titles.items():
            kind = {'torch': SHIPPED, 'torch-bf16': TUNED}.get(runtime, OURS)
            rows.append(
                Contestant(
                    title, kind, f'{HERE}:rates', parameters=parameters, environment=environment,
                    part=f'{runtime} {batch}',
                )
            )  # fmt: skip
            if runtime != 'torch':
                ratios.append(Ratio(title, titles['torch'], target if runtime == 'onnx-int8' else None))
    note = f'image tower on the CPU, {args.threads} thread(s)'
    return Case(f'{name}: runtimes', 'frames/s', rows, ratios, note=note)


def _order_case(name: str, weights: Path, frames: Path) -> Case:
    def row(title: str, kind: str, runtime: str) -> Contestant:
        parameters = {'folder': str(weights), 'frames': str(frames), 'runtimes': list(ORDERED)}
        return Contestant(title, kind, f'{HERE}:orders', parameters=parameters, part=runtime)

    torch = row(TITLES['torch'], SHIPPED, 'torch')
    ours = [row(TITLES[runtime], OURS, runtime) for runtime in ORDERED if runtime != 'torch']
    return Case(
        f'{name}: order of the rewards',
        'Spearman',
        [torch, *ours],
        [Ratio(each.name, torch.name, 0.99) for each in ours],
        note='rank correlation with the rewards by torch of simulator frames, mean of the instructions',
        exact=True,
    )


def _gpu_case(args: argparse.Namespace) -> Case:
    rows = [
        Contestant(
            f'{tower}, {batch} at a time', OURS, f'{HERE}:gpu',
            parameters={'tower': tower, 'batch': batch, 'seconds': args.seconds},
        )
        for tower, batch in GPU_TOWERS.items()
    ]  # fmt: skip
    note = 'random weights, uint8 frames from host memory to embeddings in host memory'
    return Case('bfloat16 on a GPU', 'frames/s', rows, note=note)


def bare(folder: str, frames: str, batch: int, runtime: str, threads: int, seconds: float) -> dict[str, Any]:
    """Frames per second of a model's ``encode``, at a fixed batch."""
    import torch

    from apprentice.reward_models.clip.reward import ClipReward

    torch.set_num_threads(threads)
    model = ClipReward.load(folder, runtime=runtime)
    return _rate(model, np.load(frames)['frames'][:batch], seconds)


def rates(
    folder: str, frames: str, batches: list[int], runtimes: list[str], threads: int, seconds: float
) -> dict[str, Any]:
    """Frames per second of a model's ``encode``, the runtimes in turn; 'RUNTIME BATCH' -> numbers."""
    import torch

    from apprentice.reward_models.clip.reward import ClipReward

    torch.set_num_threads(threads)
    models = {runtime: ClipReward.load(folder, runtime=runtime) for runtime in runtimes}
    images = np.load(frames)['frames']
    return {
        'parts': {
            f'{runtime} {batch}': _rate(model, images[:batch], seconds)
            for batch in batches
            for runtime, model in models.items()
        }
    }


def _rate(model: Any, images: np.ndarray, seconds: float) -> dict[str, Any]:
    def one() -> int:
        return len(model.encode(images))

    for _ in range(2):
        one()
    measured = timed(one, seconds)
    return numbers(measured, *PACKAGES, **{'ms a call': 1000 * len(images) / measured['value']})


def orders(folder: str, frames: str, runtimes: list[str]) -> dict[str, Any]:
    """Rank correlation of the rewards by each runtime with those by torch, which come with the frames."""
    return {'parts': {runtime: order(folder, frames, runtime) for runtime in runtimes}}


def order(folder: str, frames: str, runtime: str) -> dict[str, Any]:
    """Rank correlation of the rewards with those of torch."""
    from apprentice.reward_models.clip.reward import ClipReward
    from apprentice.reward_models.evaluation.metrics import spearman

    data, watch = np.load(frames), Stopwatch()
    own = data['rewards']
    with watch.section():  # torch's are there already
        rewards = (
            own
            if runtime == 'torch'
            else rewards_of(ClipReward.load(folder, runtime=runtime), data['frames'])
        )
    found = [spearman(mine, torch) for mine, torch in zip(rewards, own, strict=True)]
    measured = {
        'value': float(np.mean(found)),
        'count': len(data['frames']),
        'wall_s': watch.wall_s,
        'cpu_s': watch.cpu_s,
    }
    also = {
        'worst instruction': min(found),
        'largest difference': float(np.abs(rewards - own).max()),
        'spread of rewards': float(own.std(axis=1).mean()),
    }
    return numbers(measured, *PACKAGES, **also)


def gpu(tower: str, batch: int, seconds: float, device: str = 'cuda') -> dict[str, Any]:
    """Frames per second of an open_clip tower with random weights in bfloat16."""
    import open_clip
    import torch

    from apprentice.reward_models.clip.encoder import ClipEncoder

    if device == 'cuda' and not torch.cuda.is_available():
        raise RuntimeError('there is no CUDA GPU here')
    torch.manual_seed(0)
    with torch.device(device):  # random numbers for billions of weights take minutes on a CPU
        model = open_clip.create_model(tower, device=device)
    encoder = ClipEncoder(model, None, tower, 'random', device)
    encoder.use_bfloat16()
    encoder.batch = batch
    images = np.random.default_rng(0).integers(0, 256, (batch, *encoder.size, 3), np.uint8)

    def one() -> int:
        return len(encoder.images(images))

    for _ in range(3):
        one()
    measured = timed(one, seconds)
    memory = torch.cuda.max_memory_allocated() / 1e9 if device == 'cuda' else 0.0
    name = torch.cuda.get_device_name() if device == 'cuda' else device
    result = numbers(measured, *PACKAGES, **{'ms a call': 1000 * batch / measured['value'], 'GB': memory})
    return result | {'versions': result['versions'] | {'GPU': name}}
