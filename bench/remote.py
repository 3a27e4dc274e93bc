# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a policy server costs: a chunk of the policy in this process, and of one behind a server beside it.

Two cameras, the default tiny policy with random weights, one thread, one request after the other, over the
loopback interface: the network between two machines comes on top. The time is from the observation to
actions in raw units; ``overhead ms`` is the median of what is not computing there, encoding included.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.bench.measure import Stopwatch, numbers
from apprentice.bench.runner import LIMIT, OURS, Case, Contestant, Ratio

HERE = 'apprentice.bench.remote'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--chunks', type=int, default=200, help='a round (default 200)')


def cases(args: argparse.Namespace) -> list[Case]:
    return [_case(size, args.chunks) for size in (64, 224)]


def _case(size: int, chunks: int) -> Case:
    def plans(name: str, kind: str, served: bool) -> Contestant:
        parameters = {'size': size, 'chunks': chunks, 'served': served}
        return Contestant(
            name, kind, f'{HERE}:chunks', parameters=parameters, environment={'OMP_NUM_THREADS': '1'}
        )

    return Case(
        f'two cameras of {size} x {size}',
        'ms a chunk, median',
        [plans('in this process', LIMIT, False), plans('behind a server', OURS, True)],
        [Ratio('behind a server', 'in this process')],
        lower_is_better=True,
    )


def chunks(size: int, chunks: int, served: bool) -> dict[str, Any]:
    """Median time of a chunk [ms]."""
    import torch

    from apprentice.policies import checkpoint, remote
    from apprentice.robot.types import Observation

    torch.set_num_threads(1)
    policy = _policy(size)
    spec, rng = policy.spec, np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (*shape, 3), np.uint8) for name, shape in spec.cameras.items()}
    seen = Observation(0.0, images, spec.state.mean, 'pick up the red cube')
    generator, times, watch = torch.Generator().manual_seed(0), [], Stopwatch()

    def measure(act: Any) -> None:
        for _ in range(10):
            act(seen, generator)
        with watch.section():
            for _ in range(chunks):
                began = time.perf_counter()
                act(seen, generator)
                times.append(1e3 * (time.perf_counter() - began))

    also: dict[str, float] = {}
    if served:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint.save(policy, Path(folder) / 'policy')
            with _server(Path(folder) / 'policy') as address:
                there, _ = remote.load(address, timeout_s=10.0)
                measure(there.act)
                spent = [t.round_trip_ms - t.infer_ms for t in there.timings]
                also = {
                    'overhead ms': float(np.median(spent)),
                    'overhead p99 ms': float(np.percentile(spent, 99)),
                }
                there.close()
    else:
        measure(policy.act)
    measured = {
        'value': float(np.median(times)),
        'count': chunks,
        'wall_s': watch.wall_s,
        'cpu_s': watch.cpu_s,
    }
    return numbers(
        measured, 'torch', 'aiohttp', 'msgpack', **{'p99 ms': float(np.percentile(times, 99))}, **also
    )


def _policy(size: int) -> Any:
    """The default policy with random weights for the simulated arm with cameras of another size."""
    import torch

    from apprentice.policies.policy import FlowPolicy
    from apprentice.policies.spec import PolicySpec
    from apprentice.robot.normalize import Statistics
    from apprentice.robot.parts import share
    from apprentice.robot.spec import RobotSpec

    robot = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    values = np.random.default_rng(0).normal(size=(100, robot.dim))
    statistics = Statistics.of(values, robot.joint_names, 'values')
    torch.manual_seed(0)
    spec = PolicySpec(
        robot=robot.name,
        joints=robot.joint_names,
        relative=tuple(not gripper for gripper in robot.gripper_mask),
        cameras={name: (size, size) for name in ('front', 'wrist')},
        horizon=8,
        action_dt=robot.action_dt,
        state=statistics,
        action=statistics,
    )
    return FlowPolicy(spec).eval()


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    """The address of ``apprentice serve policy`` in a process of its own."""
    words = ['serve', 'policy', str(folder), '--port', '0', '--no-token', '--threads', '1']
    command = [sys.executable, '-m', 'apprentice.cli.main', *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        found = None
        while found is None:
            line = process.stdout.readline()
            if not line:
                raise OSError(f'the server ended with code {process.wait()}')
            found = re.search(r'weights:=(ws://\S+)', line)
        yield found.group(1)
    finally:
        process.terminate()
        process.wait(10.0)
