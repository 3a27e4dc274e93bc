# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The benches of recording and loading: that they measure what they say."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

pytest.importorskip('av', reason="needs pip install 'apprentice[lerobot-dataset]'")
pytest.importorskip('pyarrow', reason="needs pip install 'apprentice[lerobot-dataset]'")

from apprentice.bench import load, record, recording
from apprentice.bench.runner import OURS
from apprentice.robot.parts import load_part
from apprentice.robot.spec import RobotSpec


def test_cases_name_functions_that_exist_and_compare_rows_that_exist():
    options = argparse.Namespace(quick=True, part='all', episode=60.0, steps=60)
    for case in record.cases(options):
        names = [contestant.name for contestant in case.contestants]
        assert all(ratio.ours in names and ratio.peer in names for ratio in case.ratios)
        for contestant in case.contestants:
            if contestant.kind == OURS:
                assert callable(load_part(contestant.function))
    assert [case.contestants[0].parameters['seconds'] for case in record.cases(options)[:1]] == [5.0]


def test_pictures_differ_and_are_the_same_every_time():
    first, second = recording.pictures(48, 64), recording.pictures(48, 64)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert len({picture.tobytes() for picture in first}) == len(first) == 10


def test_writer_counts_the_bytes_it_wrote():
    plain = recording.writer(2, 48, 64, 30.0, 20, sealed=False, exported=False)
    assert plain['count'] == 40
    assert 48 * 64 * 3 <= plain['also']['kB a frame'] * 1000 <= 48 * 64 * 3 + 2000
    sealed = recording.writer(2, 48, 64, 30.0, 20, sealed=True, exported=False)
    assert sealed['also']['kB a frame'] < plain['also']['kB a frame']


def test_robot_file_of_the_bench_is_one(tmp_path):
    spec = RobotSpec.load(recording.robot_file(tmp_path, 4, 480, 640, 30.0))
    assert [camera.topic for camera in spec.cameras] == [f'camera{i}/image_raw' for i in range(4)]


@pytest.mark.timeout(120)
def test_recorder_node_is_measured():
    row = recording.node(2, 48, 64, 10.0, 3.0)
    # of 60 and 300; best effort, so a busy machine may lose some
    assert 0 <= row['also']['frames dropped'] < 30
    assert 0 <= row['also']['joint states dropped'] < 150
    assert row['cpu_s'] > 0
    assert row['also']['MB/min on disk'] > 0


def test_cache_is_read_from_the_dataset(tmp_path, monkeypatch):
    monkeypatch.setenv('APPRENTICE_CACHE', str(tmp_path))
    folder = load.dataset((64, 64), 2, 20)
    assert load.dataset((64, 64), 2, 20) == folder  # made once
    row = load.cached(str(folder), 8, 0.1)
    assert row['count'] % 8 == 0
    assert row['also']['kB a sample'] > 2 * 64 * 64 * 3 / 1000
