# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Rollouts for reinforcement learning: steps/s with 1 to all processors, for the local engine and Ray.

A step is one row of action (0.1 s of the robot's time) of one simulation: physics, pictures of two cameras,
the share of the policy's forward pass that falls on it, and what the trainer needs. A worker is a lane: a
simulator process and the forward pass, on one processor. The efficiency with N workers is their rate over N
times that of one worker; 0.9 is wanted, so the target of a ratio is 0.9 N. Starting workers is not measured.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import numpy as np
import torch

from apprentice.bench.measure import numbers, timed
from apprentice.bench.report import cores
from apprentice.bench.runner import OURS, Case, Contestant, Ratio
from apprentice.learning.rl.engine import Engine, LocalEngine
from apprentice.learning.rl.flow_ppo import FlowPpo
from apprentice.learning.rl.ray_engine import RayEngine, require_ray
from apprentice.learning.rl.rl_config import SEEDS, RlConfig
from apprentice.learning.rl.train import lane_setup
from apprentice.policies import checkpoint
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec

HERE = 'apprentice.bench.scale:rollouts'
EFFICIENCY = 0.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--workers', default='', help='such as 1,2,4 (default: these, and all processors)')
    parser.add_argument('--engines', default='local,ray', help='(default local,ray)')
    parser.add_argument('--together', type=int, default=8, help='simulations of a worker (default 8)')


def worker_counts(most: int) -> list[int]:
    """1, 2, 4 ... and ``most``."""
    powers = itertools.takewhile(lambda n: n < most, (2**i for i in range(20)))
    return [*powers, most]


def cases(args: argparse.Namespace) -> list[Case]:
    counts = [int(n) for n in args.workers.split(',')] if args.workers else worker_counts(cores())
    made, common = [], {'together': args.together, 'seconds': args.seconds}
    for engine in args.engines.split(','):
        if engine == 'ray':
            require_ray()
        names = {n: f'{engine}, {n} worker{"s" * (n > 1)}' for n in sorted({1, *counts})}
        contestants = [
            Contestant(
                name, OURS, HERE,
                parameters={'engine': engine, 'workers': n, **common},
                environment={'OMP_NUM_THREADS': '1'},
            )
            for n, name in names.items()
        ]  # fmt: skip
        ratios = [Ratio(name, names[1], EFFICIENCY * n) for n, name in names.items() if n > 1]
        note = 'a ratio of N workers is N times their efficiency'
        made.append(Case(f'{engine} engine', 'steps/s', contestants, ratios, note=note))
    return made


def rollouts(engine: str, workers: int, together: int, seconds: float) -> dict[str, Any]:
    """Episodes of 3 s with the starter policy, two for each simulation, one batch after the other."""
    torch.set_num_threads(1)
    config = RlConfig(together=together, max_duration_s=3.0)
    robot, folder = RobotSpec.load(share('robots', 'sim_arm.yaml')), share('weights', 'policy')
    policy, _ = checkpoint.load(folder)
    algorithm = FlowPpo(policy, config.algorithm, config.execute_steps)
    setup = lane_setup(folder, robot, config)
    made: Engine
    if engine == 'ray':
        made = RayEngine(setup, workers)
    else:
        made = LocalEngine(setup, policy, algorithm.actor, workers)
    number = itertools.count()
    batch = 2 * together * workers

    def collect() -> int:
        first = SEEDS + next(number) * batch
        episodes = made.collect(algorithm.actor, range(first, first + batch))
        return int(np.sum([int(episode.rows.sum()) for episode in episodes]))

    try:
        collect()  # renderers are made at the first picture
        return numbers(timed(collect, seconds), 'ray' if engine == 'ray' else 'mujoco', 'torch')
    finally:
        made.close()
