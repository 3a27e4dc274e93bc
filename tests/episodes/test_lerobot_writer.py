# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A dataset written by LeRobot's own writer, read by ours. Needs lerobot, see docs/policies.md."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from apprentice.episodes.lerobot_dataset import LeRobotSource
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome, Source

lerobot_dataset = pytest.importorskip(
    'lerobot.datasets.lerobot_dataset', reason='lerobot is not installed (see docs/policies.md, LeRobot)'
)

SIM_ARM = RobotSpec.load(share('robots', 'sim_arm.yaml'))
SIZE = (96, 128)


def picture(number: int, row: int, camera: int) -> np.ndarray:
    """Smooth, so that a video codec keeps it; which frame it is shows in its brightness."""
    ramp = np.linspace(0, 60, SIZE[1])[None, :, None] + np.linspace(0, 40, SIZE[0])[:, None, None]
    return (ramp + np.array([0, 10, 20]) + 6 * row + 20 * number + 3 * camera).astype(np.uint8)


@pytest.mark.parametrize('video', [False, True], ids=['images', 'video'])
def test_frames_states_stamps_and_tasks_are_theirs(tmp_path, video):
    spec = dataclasses.replace(
        SIM_ARM, cameras=tuple(dataclasses.replace(c, height=SIZE[0], width=SIZE[1]) for c in SIM_ARM.cameras)
    )
    vector = {'dtype': 'float32', 'shape': (7,), 'names': list(spec.joint_names)}
    image = {
        'dtype': 'video' if video else 'image',
        'shape': (*SIZE, 3),
        'names': ['height', 'width', 'channels'],
    }
    single = {'dtype': 'bool', 'shape': (1,), 'names': None}
    theirs = lerobot_dataset.LeRobotDataset.create(
        'test', 10, root=tmp_path / 'set', robot_type='sim_arm', use_videos=video,
        features={
            'observation.state': vector, 'action': vector, 'next.success': single, 'intervention': single,
            **{f'observation.images.{camera.name}': image for camera in spec.cameras},
        },
    )  # fmt: skip
    rng = np.random.default_rng(0)
    states, actions = rng.normal(size=(2, 3, 15, 7)).astype(np.float32)
    lengths = (12, 9, 15)
    for number, length in enumerate(lengths):
        for row in range(length):
            frame = {'observation.state': states[number, row], 'action': actions[number, row]}
            frame |= {'next.success': np.array([number != 1 and row == length - 1])}
            frame |= {'intervention': np.array([row > 5]), 'task': f'task {number % 2}'}
            frame |= {
                f'observation.images.{camera.name}': picture(number, row, place)
                for place, camera in enumerate(spec.cameras)
            }
            theirs.add_frame(frame)
        theirs.save_episode()
    theirs.finalize()
    loaded = lerobot_dataset.LeRobotDataset('test', root=tmp_path / 'set', video_backend='pyav')

    source, begin = LeRobotSource(tmp_path / 'set', spec), 0
    assert len(source) == 3
    for number, length in enumerate(lengths):
        found = source.episode(number)
        rows = [loaded[begin + row] for row in range(length)]
        begin += length
        assert (len(found), found.task) == (length, f'task {number % 2}')
        assert found.outcome == (Outcome.FAILURE if number == 1 else Outcome.SUCCESS)
        assert (found.source == int(Source.HUMAN)).tolist() == [row > 5 for row in range(length)]
        np.testing.assert_array_equal(found.state, states[number, :length])
        np.testing.assert_array_equal(found.action, actions[number, :length])
        np.testing.assert_allclose(found.stamps, [float(row['timestamp']) for row in rows], atol=1e-6)
        for place, camera in enumerate(spec.cameras):
            decoded = torch.stack([row[f'observation.images.{camera.name}'] for row in rows])
            decoded = (decoded * 255).permute(0, 2, 3, 1).numpy()
            ours = found.images[camera.name].astype(float)
            made = np.stack([picture(number, row, place) for row in range(length)]).astype(float)
            # the same frames as LeRobot's decoder gives; of a video, near to what was written
            assert np.abs(ours - decoded).max() <= (1.0 if video else 1e-3)
            assert np.abs(ours - made).mean() <= (2.5 if video else 0.0)
