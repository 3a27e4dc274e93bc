# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the probe set asks about."""

from __future__ import annotations

import numpy as np
import pytest
from clone_rig import ROBOT, make_episode

from apprentice.learning.dataset import policy_spec
from apprentice.learning.probe_set import ProbeConfig, ProbeSet


@pytest.mark.parametrize('shown', [1, 3, 8])
def test_the_probe_is_the_same_whether_demonstrations_come_first_or_last(shown):
    """After a restart the online episodes come back before the demonstrations."""
    spec = policy_spec([make_episode(i) for i in range(4)], ROBOT, 8)
    demonstrations = [make_episode(i) for i in range(shown)]
    online = [make_episode(i, episode_id=f'online-{i}') for i in range(20, 25)]
    first, last = (ProbeSet(spec, ProbeConfig(observations=10, rows_per_episode=4)) for _ in range(2))
    for episode in demonstrations:
        first.add(episode, demonstration=True)
    for episode in online:
        first.add(episode)
        last.add(episode)
        last.add(episode)  # a label came: it is no other episode
    for episode in demonstrations:
        last.add(episode, demonstration=True)
    assert len(first) == len(last) == 10
    for one, other in zip(first.observations, last.observations, strict=True):
        np.testing.assert_array_equal(one.state, other.state)
    np.testing.assert_array_equal(last.observations[0].state, demonstrations[0].state[0])
