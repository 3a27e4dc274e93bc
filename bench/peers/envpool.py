# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""EnvPool's PandaPickCube-v1 (MuJoCo Playground's task), state only: environment steps per second."""

import json
import sys
import time
from importlib import metadata

import envpool
import numpy as np


def measure(count: int, seconds: float, threads: int = 0) -> dict:
    """``threads`` 0 leaves EnvPool's default."""
    options = {'num_threads': threads} if threads else {}
    env = envpool.make('PandaPickCube-v1', env_type='gymnasium', num_envs=count, **options)
    config = env.spec.config
    env.reset()
    shape = (64, count, *env.action_space.shape)
    actions = np.random.default_rng(0).uniform(-1, 1, shape).astype(env.action_space.dtype)
    for i in range(10):
        env.step(actions[i])
    steps, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        env.step(actions[steps % len(actions)])
        steps += 1
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rate, substeps = count * steps / wall, round(config.ctrl_dt / config.sim_dt)
    return {
        'value': rate,
        'count': count * steps,
        'wall_s': wall,
        'cpu_s': cpu,
        'versions': {'envpool': metadata.version('envpool')},
        'also': {
            'physics steps/s': rate * substeps,
            'simulated s/s': rate * config.ctrl_dt,
        },
    }


if __name__ == '__main__':
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
