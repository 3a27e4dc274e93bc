# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Several trainings that differ in some settings: all combinations of the values given."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apprentice.learning.clone import training_folder
from apprentice.learning.metrics_file import read_metrics
from apprentice.learning.rl.rl_config import RlConfig
from apprentice.learning.rl.train import train
from apprentice.robot.settings import SettingsError
from apprentice.robot.spec import RobotSpec

LAST = 5  # iterations that a result is the mean of


@dataclass(frozen=True)
class SweepRun:
    """One training of a sweep: plain data, so that it can be sent elsewhere.

    Attributes:
        words: by which it differs.
    """

    words: tuple[str, ...]
    folder: str
    robot: RobotSpec
    out: str
    config: RlConfig


def combinations(lists: Sequence[str]) -> list[tuple[str, ...]]:
    """All combinations of ``key=a,b,c``, as words. Raises SettingsError for what is no such list."""
    axes = []
    for each in lists:
        key, equals, values = each.partition('=')
        if not equals or not all(values.split(',')):
            raise SettingsError(f'{each!r} is no list of values; write key=a,b, such as seed=0,1,2')
        axes.append([f'{key}={value}' for value in values.split(',')])
    return list(itertools.product(*axes))


def folder_name(words: Sequence[str]) -> str:
    """Name of the folder of a run."""
    return '_'.join(words).replace('/', '-').replace(' ', '')


def run_one(run: SweepRun) -> dict[str, Any]:
    """Train, with one worker; the means of the last iterations."""
    import torch

    torch.set_num_threads(1)
    train(run.folder, run.robot, run.out, run.config)
    last = read_metrics(training_folder(run.out) / 'metrics.jsonl')[-LAST:]
    means = {name: sum(m[name] for m in last) / len(last) for name in ('success', 'score', 'progress')}
    return {'words': list(run.words), 'out': run.out, **means}
