# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The file of metrics: what is behind the snapshot goes, what is torn too."""

import pytest

from apprentice.learning.metrics_file import MetricsFile, read_metrics


@pytest.fixture
def path(tmp_path):
    file = MetricsFile(tmp_path / 'metrics.jsonl')
    for step in (1, 2, 3, 4):
        file.write(step, {'loss': step / 2})
    file.close()
    return tmp_path / 'metrics.jsonl'


def steps(path):
    return [record['step'] for record in read_metrics(path)]


@pytest.mark.parametrize('done', [0, 2, 4, 9])
def test_steps_behind_the_snapshot_are_dropped(path, done):
    file = MetricsFile(path, done)
    file.write(done + 1, {'loss': 9.0})
    file.close()
    assert steps(path) == [*range(1, min(done, 4) + 1), done + 1]


@pytest.mark.parametrize('tail', ['{"step": 5, "lo', '{"step": 5}', '\0\0\0\n{"step": 5}\n', '[5]\n', '{}\n'])
def test_torn_lines_are_dropped_and_hide_what_follows(path, tail):
    with open(path, 'a') as file:
        file.write(tail)
    assert steps(path) == [1, 2, 3, 4]
    file = MetricsFile(path, 5)
    file.write(6, {'loss': float('nan')})
    file.sync()
    assert steps(path) == [1, 2, 3, 4, 6]  # readable at once
    file.close()
