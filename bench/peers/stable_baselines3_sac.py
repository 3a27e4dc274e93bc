# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Updates per second of the SAC of Stable-Baselines3 on random transitions."""

import json
import sys
import time
from importlib import metadata

import gymnasium
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger


class Spaces(gymnasium.Env):
    """An environment that is never stepped."""

    def __init__(self, feature: int, actions: int):
        self.observation_space = gymnasium.spaces.Box(-10, 10, (feature,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (actions,), np.float32)


def measure(
    batch: int, feature: int, width: int, actions: int, held: int, seconds: float, bfloat16: bool = False
) -> dict:
    kwargs = {'net_arch': [width, width]}
    model = SAC('MlpPolicy', Spaces(feature, actions), policy_kwargs=kwargs, buffer_size=held, device='cpu')
    model.set_logger(Logger(None, []))
    rng = np.random.default_rng(0)
    for _ in range(held):
        now, then = rng.normal(size=(2, 1, feature))
        action = rng.uniform(-1, 1, (1, actions))
        model.replay_buffer.add(now, then, action, rng.normal(size=1), np.zeros(1), [{}])
    with torch.autocast('cpu', torch.bfloat16, enabled=bfloat16):
        model.train(3, batch)
        done, wall, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - wall < seconds:
            model.train(10, batch)
            done += 10
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        'value': done / wall,
        'count': done,
        'wall_s': wall,
        'cpu_s': cpu,
        'versions': {name: metadata.version(name) for name in ('stable-baselines3', 'torch')},
        'also': {'ms an update': 1000 * wall / done},
    }


if __name__ == '__main__':
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
