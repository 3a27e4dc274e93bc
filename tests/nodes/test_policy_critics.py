# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The policy's process with the critics of the default recipe."""

import numpy as np
from apprentice_interfaces.msg import ControlState
from policy_rig import ROBOT, Rig, make_weights

from apprentice.learning.rl.features import FeatureConfig
from apprentice.learning.rl.online import OnlineConfig, OnlineCritics
from apprentice.learning.weights import WeightStore
from apprentice.nodes.policy import elapsed_s
from apprentice.policies import checkpoint


def test_before_an_episode_begins_no_time_of_it_is_over():
    """Its first chunk is planned while it is ready, and its beginning is not known yet."""
    assert elapsed_s(1_700_000_000.0, 0.0) == 0.0
    assert elapsed_s(9.0, 10.0) == 0.0
    assert elapsed_s(12.5, 10.0) == 2.5


def test_critics_beside_the_policy_choose(ros, start_node, tmp_path):
    """A version of the default recipe: the node acts with its critics, and refuses damaged ones."""
    make_weights(tmp_path / 'starter')
    policy, _ = checkpoint.load(tmp_path / 'starter')
    features = FeatureConfig(candidates=2, rows=4, potential=False)
    settings = {'critic': {'members': 2, 'hidden': [16]}, 'hidden': [16]}
    online = OnlineCritics(policy, OnlineConfig(settings=settings, features=features))
    store = WeightStore(tmp_path / 'weights')
    good = store.publish(policy, {}, online.beside())
    bad = store.publish(policy, {}, online.beside())
    (bad.folder / 'critics.safetensors').write_bytes(b'nothing')
    process = start_node(
        'policy', '-p', f'robot:={ROBOT}', '-p', f'weights:={tmp_path / "starter"}', '-p', 'lockstep:=true'
    )
    rig = Rig(ros)
    assert ros.spin_until(rig.connected, 90.0), process.output()
    refused = rig.offer(bad.folder, bad.sha256, bad.version)
    assert not refused.ok
    assert 'damaged' in refused.reason
    taken = rig.offer(good.folder, good.sha256, bad.version + 1)
    assert taken.ok, taken.reason
    rig.control(ControlState.POLICY, 2)
    rig.sense()
    assert ros.spin_until(lambda: bool(rig.chunks), 10.0), process.output()
    assert rig.chunks[-1].weights_version == bad.version + 1
    assert np.isfinite(rig.chunks[-1].data).all()
    assert process.stop() == 0
