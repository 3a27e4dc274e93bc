# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Batches for training in random order: our uint8 cache beside LeRobotDataset, on the same episodes.

The episodes are exported once as a LeRobotDataset (AV1, key frame every second frame, as LeRobot's own).
LeRobot's loader reads it with either of its decoders, in its process; ours has read the same dataset into
its cache before, which is not measured but said (``build s``). Both give the pictures of one moment and a
chunk of 16 actions for each sample: LeRobot float pictures, ours uint8, which the policy scales on its
device. torchcodec needs FFmpeg's shared libraries; without them its row says so.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.bench.measure import numbers, timed
from apprentice.bench.recording import pictures
from apprentice.bench.runner import OURS, SHIPPED, Case, Contestant, Ratio
from apprentice.robot.files import cache_folder
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec

HERE = 'apprentice.bench.load'
HORIZON = 16
# side of the pictures, episodes, frames of each
SIZES = (((128, 128), 8, 100), ((480, 640), 4, 60))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--batch', type=int, default=32, help='samples of a batch (default 32)')


def cases(args: argparse.Namespace) -> list[Case]:
    return [_case(*size, args.batch, args.seconds) for size in SIZES]


def _case(size: tuple[int, int], episodes: int, frames: int, batch: int, seconds: float) -> Case:
    folder = dataset(size, episodes, frames)
    shared = {'folder': str(folder), 'batch': batch, 'seconds': seconds}

    def peer(name: str, backend: str) -> Contestant:
        parameters = {**shared, 'backend': backend, 'horizon': HORIZON}
        return Contestant(name, SHIPPED, peer='lerobot', script='lerobot_load', parameters=parameters)

    pyav, codec, ours = 'LeRobotDataset, pyav', 'LeRobotDataset, torchcodec', 'uint8 cache'
    return Case(
        f'2 cameras {size[1]}x{size[0]}, {episodes * frames} samples',
        'samples/s',
        [
            peer(pyav, 'pyav'),
            peer(codec, 'torchcodec'),
            Contestant(ours, OURS, f'{HERE}:cached', parameters=shared),
        ],
        [Ratio(ours, pyav, 10.0), Ratio(ours, codec)],
        note=f'batches of {batch}, chunks of {HORIZON}, no worker processes',
    )


def robot(size: tuple[int, int]) -> RobotSpec:
    """The simulated arm with cameras of (height, width)."""
    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    cameras = tuple(dataclasses.replace(c, height=size[0], width=size[1]) for c in spec.cameras)
    return dataclasses.replace(spec, cameras=cameras)


def dataset(size: tuple[int, int], episodes: int, frames: int) -> Path:
    """The dataset of a case, made once."""
    from apprentice.episodes.lerobot_store import finishing
    from apprentice.episodes.lerobot_writer import LeRobotWriter
    from apprentice.robot.types import Episode, Outcome, Source

    folder = cache_folder() / 'bench' / f'load-{size[0]}x{size[1]}-{episodes}x{frames}'
    if (folder / 'meta' / 'info.json').exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    spec, random, found = robot(size), np.random.default_rng(0), pictures(*size)
    writer = LeRobotWriter(folder, spec, images='av1', hardware=False)
    with finishing(writer.store):
        for number in range(episodes):
            stack = np.stack([found[(row + number) % len(found)] for row in range(frames)])
            vectors = random.normal(size=(2, frames, spec.dim)).astype(np.float32)
            writer.add(
                Episode(
                    f'bench{number}', 'pick up the red cube', 0, Outcome.SUCCESS, 0, False,
                    np.arange(frames) * spec.action_dt, {c.name: stack for c in spec.cameras}, *vectors,
                    np.full(frames, int(Source.HUMAN), np.uint8), np.ones(frames, np.int64), robot=spec.name,
                )
            )  # fmt: skip
    return folder


def cached(folder: str, batch: int, seconds: float) -> dict[str, Any]:
    """Our row."""
    import tempfile

    import torch

    from apprentice.episodes.lerobot_dataset import LeRobotSource
    from apprentice.episodes.lerobot_meta import LeRobotMeta
    from apprentice.learning.cache import open_cache, rebuilding
    from apprentice.learning.loader import Loader

    torch.set_num_threads(1)
    size = LeRobotMeta.load(folder).size('observation.images.front')
    with tempfile.TemporaryDirectory(prefix='apprentice-bench-') as temporary:
        place, begun = Path(temporary, 'cache'), time.perf_counter()
        source = LeRobotSource(folder, robot(size))
        with rebuilding(place, HORIZON) as writer:
            for number in range(len(source)):
                writer.add(source.episode(number))
            writer.finish('bench', {})
        build = time.perf_counter() - begun
        opened = open_cache(place, 'bench')
        assert opened is not None
        chunks = opened[0].chunks
        with Loader(chunks, np.arange(len(chunks)), batch, np.random.default_rng(0), workers=0) as loader:
            for _ in range(3):
                loader.next()
            measured = timed(lambda: loader.next().size, seconds)
        stored = sum(path.stat().st_size for path in place.iterdir()) / len(chunks)
    return numbers(measured, 'torch', 'numpy', **{'kB a sample': stored / 1000, 'build s': build})
