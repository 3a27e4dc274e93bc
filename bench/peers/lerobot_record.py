# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""LeRobotDataset while it records: frames for a CPU second, streaming AV1 or PNG."""

import json
import os
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import psutil

os.environ['HF_HUB_OFFLINE'] = '1'
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def pictures(height: int, width: int, count: int = 10) -> list:
    """As those of apprentice.bench.recording."""
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 120, width)[None, :, None] + np.linspace(0, 80, height)[:, None, None]
    base = ramp + 20 * np.sin(np.arange(width) / 15)[None, :, None] + np.array([0, 10, 20])
    shifted = (np.roll(base, 4 * i, axis=1) + random.normal(0, 2, base.shape) for i in range(count))
    return [np.clip(picture, 0, 255).astype(np.uint8) for picture in shifted]


def measure(cameras: int, height: int, width: int, rate: float, steps: int, streaming: bool) -> dict:
    found = pictures(height, width)
    keys = [f'observation.images.camera{i}' for i in range(cameras)]
    image = {
        'dtype': 'video' if streaming else 'image',
        'shape': (height, width, 3),
        'names': ['height', 'width', 'channels'],
    }
    vector = {'dtype': 'float32', 'shape': (7,), 'names': [f'joint{i}' for i in range(7)]}
    features = {'observation.state': vector, 'action': vector, **dict.fromkeys(keys, image)}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, 'set')
        more = {'streaming_encoding': True, 'encoder_queue_maxsize': steps + 1} if streaming else {}
        dataset = LeRobotDataset.create(
            'bench/record', round(rate), features, root=root, use_videos=streaming,
            image_writer_threads=0 if streaming else 4 * cameras, **more,
        )  # fmt: skip
        process = psutil.Process()
        wall, before = time.perf_counter(), process.cpu_times()
        state = np.zeros(7, np.float32)
        for step in range(steps):
            frame = dict.fromkeys(keys, found[step % len(found)])
            dataset.add_frame({**frame, 'observation.state': state, 'action': state, 'task': 'bench'})
        dataset.save_episode()
        dataset.finalize()
        after = process.cpu_times()
        wall = time.perf_counter() - wall
        cpu = after.user + after.system - before.user - before.system
        cpu += after.children_user + after.children_system - before.children_user - before.children_system
        size = sum(path.stat().st_size for path in root.rglob('*') if path.is_file())
        written = written_frames(root, keys, streaming, steps)
    frames = steps * cameras
    return {
        'value': frames / cpu,
        'count': frames,
        'wall_s': wall,
        'cpu_s': cpu,
        'versions': {name: metadata.version(name) for name in ('lerobot', 'av')},
        'also': {'frames dropped': frames - written, 'kB a frame': size / frames / 1000},
    }


def written_frames(root: Path, keys: list, streaming: bool, steps: int) -> int:
    if not streaming:
        return steps * len(keys)
    import av

    count = 0
    for path in root.rglob('*.mp4'):
        with av.open(str(path)) as container:
            count += sum(1 for packet in container.demux(video=0) if packet.size)
    return count


if __name__ == '__main__':
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
