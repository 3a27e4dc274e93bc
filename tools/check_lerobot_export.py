# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Does the lerobot package load what `apprentice dataset export` wrote, unchanged and completely?

    python tools/check_lerobot_export.py runs/demonstrations DATASET --python LEROBOT_PYTHON

Compares the dataset, as lerobot's own LeRobotDataset gives it, with the logs it was made from: episodes,
frame counts, states, actions, stamps, instructions, pictures (by their error) and statistics; reads windows
with delta_timestamps and batches with a DataLoader; lets lerobot append an episode to a copy. LEROBOT_PYTHON
is a Python that has lerobot, for example the one that `apprentice bench` makes in
~/.cache/apprentice/peers/lerobot-*/bin/python. Not part of CI: lerobot needs several GB.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np


def expectations(run: str, dataset: Path, target: Path) -> None:
    """What the logs say, in the order of the dataset, as one file of arrays."""
    from apprentice.episodes.facts import recorded_spec, sealed_files
    from apprentice.episodes.join import read_episode
    from apprentice.episodes.lerobot_ledger import read_ledger

    files = {path.name: path for path in sealed_files([run])}
    entries = read_ledger(dataset)
    spec = recorded_spec(next(iter(files.values())))
    arrays: dict[str, np.ndarray] = {}
    tasks, lengths = [], []
    for number, entry in enumerate(entries):
        episode = read_episode(files[entry.source['file']], spec)
        tasks.append(episode.task)
        lengths.append(len(episode))
        arrays |= {f'{number}/state': episode.state, f'{number}/action': episode.action}
        arrays |= {f'{number}/stamp': np.rint(episode.stamps * 1e9).astype(np.int64)}
        for camera, images in episode.images.items():
            arrays[f'{number}/observation.images.{camera}'] = images[[0, len(images) // 2, -1]]
    about = {'tasks': tasks, 'lengths': lengths, 'fps': round(1 / spec.action_dt)}
    np.savez(target, about=json.dumps(about), **arrays)


def check(dataset: str, expected: str) -> int:
    """Runs in the Python with lerobot."""
    import torch
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    arrays = np.load(expected)
    about = json.loads(str(arrays['about']))
    loaded = LeRobotDataset('local/check', root=dataset, video_backend='pyav')
    assert loaded.num_episodes == len(about['lengths']), (loaded.num_episodes, len(about['lengths']))
    assert loaded.num_frames == sum(about['lengths']), (loaded.num_frames, sum(about['lengths']))
    assert loaded.fps == about['fps']
    cameras = loaded.meta.camera_keys
    first, errors = 0, []
    plain = loaded.hf_dataset.with_format('numpy')
    for number, (task, length) in enumerate(zip(about['tasks'], about['lengths'])):
        row = loaded.meta.episodes[number]
        assert (row['length'], row['dataset_from_index'], row['tasks']) == (length, first, [task])
        rows = plain[first : first + length]
        for name, column in (
            ('state', 'observation.state'),
            ('action', 'action'),
            ('stamp', 'observation.stamp_ns'),
        ):
            np.testing.assert_array_equal(
                np.stack(rows[column]), arrays[f'{number}/{name}'], f'{number} {column}'
            )
        np.testing.assert_allclose(rows['timestamp'], np.arange(length) / about['fps'], atol=1e-6)
        for place, frame in enumerate((0, length // 2, length - 1)):
            item = loaded[first + frame]
            assert item['task'] == task
            for camera in cameras:
                wanted = arrays[f'{number}/{camera}'][place].astype(float)
                found = item[camera].permute(1, 2, 0).numpy() * 255
                assert found.shape == wanted.shape
                errors.append(10 * np.log10(255**2 / max(1e-9, np.mean((found - wanted) ** 2))))
        first += length
    every = {
        n: np.concatenate([arrays[f'{i}/{n}'] for i in range(len(about['lengths']))])
        for n in ('state', 'action')
    }
    for column, values in (('observation.state', every['state']), ('action', every['action'])):
        found = loaded.meta.stats[column]
        for name in ('mean', 'std', 'min', 'max'):
            wanted = getattr(np, name)(values.astype(np.float64), axis=0)
            np.testing.assert_allclose(found[name], wanted, rtol=1e-6, atol=1e-7, err_msg=f'{column} {name}')
        assert list(found['count']) == [len(values)]
    windows = LeRobotDataset(
        'local/check', root=dataset, video_backend='pyav',
        delta_timestamps={
            'action': [i / about['fps'] for i in range(8)], cameras[0]: [-1 / about['fps'], 0.0],
        },
    )  # fmt: skip
    batch = next(iter(torch.utils.data.DataLoader(windows, batch_size=8, shuffle=True)))
    assert batch['action'].shape[1] == 8
    assert batch[cameras[0]].shape[1] == 2
    append(dataset)
    result = {
        'episodes': loaded.num_episodes,
        'frames': loaded.num_frames,
        'features': sorted(loaded.features),
        'psnr_db': {'lowest': round(min(errors), 1), 'median': round(float(np.median(errors)), 1)},
    }
    sys.stdout.write(json.dumps(result) + '\n')
    return 0


def append(dataset: str) -> None:
    """LeRobot appends an episode of its own to a copy: only possible if every column and type is its own."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    made = {'timestamp', 'frame_index', 'episode_index', 'index', 'task_index'}
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(dataset, Path(folder, 'copy'))
        longer = LeRobotDataset('local/check', root=copy, video_backend='pyav')
        before = longer.num_episodes
        for row in range(6):
            frame: dict = {'task': 'appended by lerobot'}
            for name, feature in longer.features.items():
                if feature['dtype'] in ('video', 'image'):
                    frame[name] = np.full(feature['shape'], 40 * row, np.uint8)
                elif name not in made:
                    frame[name] = np.zeros(feature['shape'], feature['dtype'])
            longer.add_frame(frame)
        longer.save_episode()
        longer.finalize()
        again = LeRobotDataset('local/check', root=copy, video_backend='pyav')
        assert again.num_episodes == before + 1
        assert again[again.num_frames - 1]['task'] == 'appended by lerobot'


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('run', help='folder of the logs; with --loaded the file of expectations')
    parser.add_argument('dataset', type=Path)
    parser.add_argument('--python', help='a Python that has lerobot')
    parser.add_argument('--loaded', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.loaded:
        return check(str(args.dataset), args.run)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, 'expected.npz')
        expectations(args.run, args.dataset, target)
        command = [
            args.python or sys.executable,
            __file__,
            str(target),
            str(args.dataset.resolve()),
            '--loaded',
        ]
        return subprocess.run(command, check=False).returncode


if __name__ == '__main__':
    sys.exit(main())
