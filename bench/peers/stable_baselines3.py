# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Transitions sampled per second by the DictReplayBuffer of Stable-Baselines3: uint8, no augmentation."""

import json
import sys
import time
from importlib import metadata

import gymnasium
import numpy as np
from stable_baselines3.common.buffers import DictReplayBuffer


def measure(capacity: int, size: int, batch: int, seconds: float) -> dict:
    image = gymnasium.spaces.Box(0, 255, (3, size, size), np.uint8)
    state = gymnasium.spaces.Box(-1, 1, (7,), np.float32)
    space = gymnasium.spaces.Dict({'front': image, 'wrist': image, 'state': state})
    buffer = DictReplayBuffer(
        capacity, space, gymnasium.spaces.Box(-1, 1, (7,)), 'cpu', handle_timeout_termination=False
    )
    space.seed(0)
    observations = [{key: value[None] for key, value in space.sample().items()} for _ in range(50)]
    adding = time.perf_counter()
    for i in range(capacity):
        now, then = observations[i % 50], observations[(i + 1) % 50]
        buffer.add(now, then, np.zeros((1, 7)), np.zeros(1), np.array([i % 50 == 49]), [{}])
    adding = capacity / (time.perf_counter() - adding)
    buffer.sample(batch)
    done, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        buffer.sample(batch)
        done += batch
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    images = [
        stack[key] for stack in (buffer.observations, buffer.next_observations) for key in ('front', 'wrist')
    ]
    return {
        'value': done / wall,
        'count': done,
        'wall_s': wall,
        'cpu_s': cpu,
        'versions': {name: metadata.version(name) for name in ('stable-baselines3', 'torch', 'numpy')},
        'also': {
            'added/s': adding,
            'kB a transition': sum(stack.nbytes for stack in images) / capacity / 1000,
        },
    }


if __name__ == '__main__':
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
