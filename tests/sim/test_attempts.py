# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Attempts of every quality: equal for a seed, within the limits, and not all alike."""

import torch._dynamo  # isort: skip # noqa: F401 - before the first GL context of this process

import numpy as np
import pytest

from apprentice.robot.parts import find_robot
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome
from apprentice.sim.attempts import attempts, followed, make_driver
from apprentice.sim.worlds import Worlds

SPEC = RobotSpec.load(find_robot('sim_arm'))


def run(count, seeds, drivers, steps=25):
    worlds = Worlds(SPEC, count)
    try:
        return list(attempts(worlds, seeds, drivers, steps))
    finally:
        worlds.close()


def test_an_attempt_does_not_depend_on_what_runs_beside_it():
    alone = run(1, [3, 4], ['changing', 'shaky'], 10)
    together = run(2, [3, 4], ['changing', 'shaky'], 10)
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.action, b.action)
        np.testing.assert_array_equal(a.images['front'], b.images['front'])
    assert np.abs(alone[0].action - alone[1].action[: len(alone[0])]).max() > 0.01


def test_the_expert_succeeds_and_its_last_frame_is_the_success():
    (episode,) = run(1, [5], ['expert'], 60)
    assert episode.outcome == Outcome.SUCCESS
    assert 10 < len(episode) < 60
    assert len(episode.state) == len(episode.action) == len(episode.images['wrist']) == len(episode.stamps)


def test_commands_keep_the_limits():
    (episode,) = run(1, [6], ['shaky'], 15)
    reach = SPEC.vector('velocity') * SPEC.action_dt
    assert (np.abs(np.diff(episode.action, axis=0)) <= reach + 1e-5).all()
    far = followed(np.full(SPEC.dim, 99.0), SPEC.vector('home'), SPEC)
    np.testing.assert_allclose(far, np.minimum(SPEC.vector('home') + reach, SPEC.vector('upper')))


def test_an_unknown_driver_is_named():
    with pytest.raises(ValueError, match='no driver'):
        make_driver('magic', None, SPEC, np.random.default_rng(0), lambda: 0.0)
