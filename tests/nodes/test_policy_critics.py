# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The policy's process with the critics of the default recipe."""

import numpy as np
from apprentice_interfaces.msg import ControlState
from policy_rig import ROBOT, Rig, make_weights

from apprentice.learning.rl.features import FeatureConfig
from apprentice.learning.rl.online import OnlineConfig, OnlineCritics
from apprentice.learning.weights import WeightStore
from apprentice.nodes import convert
from apprentice.nodes.policy import elapsed_s
from apprentice.policies import checkpoint

ONLINE = OnlineConfig(
    act_after=0,
    settings={'critic': {'members': 2, 'hidden': [16]}, 'hidden': [16]},
    features=FeatureConfig(candidates=2, rows=4, potential=False),
)


def test_before_an_episode_begins_no_time_of_it_is_over():
    """Its first chunk is planned while it is ready, and its beginning is not known yet."""
    assert elapsed_s(1_700_000_000.0, 0.0) == 0.0
    assert elapsed_s(9.0, 10.0) == 0.0
    assert elapsed_s(12.5, 10.0) == 2.5


def test_critics_beside_the_policy_choose(ros, start_node, tmp_path):
    """A version of the default recipe: the node acts with its critics, and refuses damaged ones."""
    make_weights(tmp_path / 'starter')
    policy, _ = checkpoint.load(tmp_path / 'starter')
    online = OnlineCritics(policy, ONLINE)
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
    assert ros.spin_until(lambda: bool(rig.chunks), 30.0), process.output()
    assert rig.chunks[-1].weights_version == bad.version + 1
    assert np.isfinite(rig.chunks[-1].data).all()
    assert process.stop() == 0


def test_critics_judge_what_is_followed_while_they_plan(ros, start_node, tmp_path):
    """Also without real-time chunking, where the scheduler copies nothing; too few judged rows are named."""
    make_weights(tmp_path / 'starter')
    policy, _ = checkpoint.load(tmp_path / 'starter')
    made = WeightStore(tmp_path / 'weights').publish(policy, {}, OnlineCritics(policy, ONLINE).beside())
    process = start_node(
        'policy', '-p', f'robot:={ROBOT}', '-p', f'weights:={made.folder}', '-p', 'rtc:=none'
    )
    rig = Rig(ros)
    assert ros.spin_until(rig.connected, 90.0), process.output()
    rig.control(ControlState.POLICY, 2)
    # one observation and no other until its chunk is there: no row is past by then, on a slow machine either
    rig.sense()
    assert ros.spin_until(lambda: bool(rig.chunks), 30.0), process.output()
    assert 'critics judge' not in process.output()
    before = rig.chunks[-1]
    rig.execute(before, 2)
    rig.execute(before, 3)
    count = len(rig.chunks)
    for _ in range(4):
        rig.sense()
    assert ros.spin_until(lambda: len(rig.chunks) > count, 30.0), process.output()
    first, second = (convert.chunk_of(chunk) for chunk in (before, rig.chunks[count]))
    shift = round((second.stamp - first.stamp) / 0.1)
    np.testing.assert_allclose(second.actions[:2], first.actions[shift : shift + 2], atol=1e-5)
    assert np.abs(second.actions[2] - first.actions[shift + 2]).max() > 1e-3
    wanted = 'critics judge 4 rows of a chunk, but 6 are followed: 2 while it is planned, then 4.'
    assert ros.spin_until(lambda: wanted in process.output(), 10.0), process.output()
    assert 'set execute_steps to 2, or train with features.rows and windows.rows 6' in process.output()
    assert process.stop() == 0
