# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The bench of preferences: its table, and one small seed on the real simulator (slow)."""

import torch._dynamo  # isort: skip # noqa: F401 - before the first GL context of this process

import pytest

from apprentice.bench import preferences
from apprentice.cli.train_rewards import render
from apprentice.learning.preference.selection import SelectionConfig
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec


def test_the_table_compares_seed_by_seed():
    found = {
        '0': {'random': [[10, 0.5], [20, 0.6]], 'information': [[10, 0.7], [20, 0.9]]},
        '1': {'random': [[10, 0.6], [20, 0.8]], 'information': [[10, 0.6], [20, 0.7]]},
        '2': {'random': [[10, 0.7], [20, 0.7]], 'information': [[10, 0.8], [20, 0.8]]},
    }
    lines = preferences.table(found)
    assert '3 seeds' in lines[0]
    assert '0.700 (0.60 to 0.80)' in lines[2]
    assert '+0.100, better in 2 of 3' in lines[3]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_small_seed():
    spec, config = RobotSpec.load(share('robots', 'sim_arm.yaml')), SelectionConfig(seconds=1.5)
    clip = ClipReward.load(share('weights', 'clip'))
    pool, held = (
        preferences.Pool(clip, spec, render('', range(first, first + 8), preferences.MIX)[0], config)
        for first in (75_000_000, 75_500_000)
    )
    points = preferences.curve(pool, held, 'information', 0, 20, 10, config)
    assert [answers for answers, _ in points] == [10, 20]
    assert all(0.0 <= share <= 1.0 for _, share in points)
