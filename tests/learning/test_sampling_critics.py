# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A published version acts in rollouts as on the robot: with the critics that lie beside it."""

import numpy as np
import pytest
import torch
from critics_rig import publish

from apprentice.learning.rl.choosing import load_choosing
from apprentice.learning.sampling import load_policy, seeded
from apprentice.policies import checkpoint
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Observation

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
TURNS = [(7, 0, 0), (8, 0, 40)]


@pytest.fixture(scope='module')
def version(tmp_path_factory):
    return str(publish(tmp_path_factory.mktemp('weights'))[0].folder)


def chunks(act) -> np.ndarray:
    rng = np.random.default_rng(0)
    images = {c.name: rng.integers(0, 255, (c.height, c.width, 3), dtype=np.uint8) for c in SPEC.cameras}
    return act.act([Observation(1.0, images, SPEC.vector('home'), 'pick up the red cube')] * 2, TURNS)


def test_critics_choose_as_in_the_policy_node(version):
    """Expected is what the node loads, asked with the same noise at the same times."""
    policy, manifest = checkpoint.load(version)
    node = load_choosing(version, policy, manifest)
    loaded = load_policy(version, SPEC)
    assert loaded.critics
    np.testing.assert_allclose(chunks(loaded.act), chunks(seeded(node)), atol=1e-6)
    assert np.abs(chunks(loaded.act) - chunks(seeded(policy))).max() > 1e-3
    torch.manual_seed(1)  # exploring would draw from here
    first = chunks(loaded.act)
    torch.manual_seed(2)
    np.testing.assert_array_equal(chunks(load_policy(version, SPEC).act), first)


def test_the_policy_alone_is_another_one(version):
    alone, shipped = load_policy(version, SPEC, critics=False), load_policy('', SPEC)
    np.testing.assert_allclose(chunks(alone.act), chunks(shipped.act), atol=1e-6)
    assert (alone.critics, alone.left_out) == (False, True)
    assert (shipped.critics, shipped.left_out) == (False, False)
    assert alone.identity == alone.sha256 != load_policy(version, SPEC).identity
    assert not load_policy('', SPEC, critics=False).left_out


def test_critics_know_the_chunks_of_one_head(version):
    assert load_policy(version, SPEC, head='flow').critics
    with pytest.raises(ValueError, match=r'chunks of the flow head.*--without-critics'):
        load_policy(version, SPEC, head='fast')
