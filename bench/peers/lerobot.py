# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""LeRobot's ReplayBuffer (HIL-SERL), as its learner makes it: batches sampled per second."""

import json
import sys
import time
from importlib import metadata

import torch
from lerobot.rl.buffer import ReplayBuffer


def measure(capacity: int, size: int, batch: int, seconds: float, shift: bool, single: bool = False) -> dict:
    """``single`` keeps each image once (optimize_memory); the learner of LeRobot sets it too."""
    keys = ['observation.images.front', 'observation.images.wrist', 'observation.state']
    buffer = ReplayBuffer(capacity, 'cpu', keys, use_drq=shift, optimize_memory=single)
    torch.manual_seed(0)
    shapes = [(1, 3, size, size), (1, 3, size, size), (1, 7)]
    observations = [{key: torch.rand(shape) for key, shape in zip(keys, shapes)} for _ in range(50)]
    adding = time.perf_counter()
    for i in range(capacity):
        now, then = observations[i % 50], observations[(i + 1) % 50]
        buffer.add(now, torch.zeros(1, 7), 0.0, then, i % 50 == 49, False)
    adding = capacity / (time.perf_counter() - adding)
    for _ in range(2):  # compiles the augmentation
        buffer.sample(batch)
    done, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        buffer.sample(batch)
        done += batch
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    images = [
        t
        for key in keys[:2]
        for t in ({id(s[key]): s[key] for s in (buffer.states, buffer.next_states)}.values())
    ]
    stored = sum(t.numel() * t.element_size() for t in images) / capacity
    return {
        'value': done / wall,
        'count': done,
        'wall_s': wall,
        'cpu_s': cpu,
        'versions': {name: metadata.version(name) for name in ('lerobot', 'torch')},
        'also': {'added/s': adding, 'kB a transition': stored / 1000},
    }


if __name__ == '__main__':
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
