# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""An episode with random arrays, for the tests of the log."""

import numpy as np
import pytest

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind


@pytest.fixture(scope='session')
def spec() -> RobotSpec:
    return RobotSpec.load(share('robots', 'sim_arm.yaml'))


@pytest.fixture
def episode(spec) -> Episode:
    steps, random = 20, np.random.default_rng(0)
    source = np.array([1] * 12 + [2] * 5 + [1] * 3, np.uint8)
    return Episode(
        episode_id='s1_ep0007',
        task='pick up the red cube',
        seed=7,
        outcome=Outcome.SUCCESS,
        end_cause=2,
        eval_only=False,
        stamps=100.0 + np.arange(steps) * spec.action_dt,
        images={c.name: random.integers(0, 255, (steps, 64, 64, 3), dtype=np.uint8) for c in spec.cameras},
        state=random.normal(size=(steps, spec.dim)).astype(np.float32),
        action=random.normal(size=(steps, spec.dim)).astype(np.float32),
        source=source,
        takeover_id=np.where(source == 2, 3, 0).astype(np.int64),
        rewards=[
            Reward(100.0 + i * 0.1, 100.0 + i * 0.1, RewardKind.TRUTH, i / 32, model='simulator')
            for i in range(steps)
        ]
        + [Reward(100.0, 102.0, RewardKind.PROGRESS_DELTA, 0.5, 0.75, 0.25, True, 'critic', '2', 'front')],
        robot='sim_arm',
        frames_dropped=2,
        weights_version=4,
    )
