# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""LeRobotDataset behind a DataLoader in random order: samples a second."""

import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path

import torch

os.environ['HF_HUB_OFFLINE'] = '1'
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def measure(folder: str, batch: int, seconds: float, backend: str, horizon: int) -> dict:
    torch.manual_seed(0)
    fps = json.loads(Path(folder, 'meta', 'info.json').read_text())['fps']
    dataset = LeRobotDataset(
        'bench/load', root=folder, video_backend=backend,
        delta_timestamps={'action': [i / fps for i in range(horizon)]},
    )  # fmt: skip
    loader = torch.utils.data.DataLoader(dataset, batch_size=batch, shuffle=True, drop_last=True)
    batches = iter(loader)
    next(batches)
    done, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        try:
            next(batches)
        except StopIteration:
            batches = iter(loader)
            continue
        done += batch
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    stored = sum(path.stat().st_size for path in Path(folder).rglob('*') if path.is_file()) / len(dataset)
    return {
        'value': done / wall,
        'count': done,
        'wall_s': wall,
        'cpu_s': cpu,
        'versions': {name: metadata.version(name) for name in ('lerobot', 'torch', 'torchcodec')},
        'also': {'kB a sample': stored / 1000},
    }


if __name__ == '__main__':
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
