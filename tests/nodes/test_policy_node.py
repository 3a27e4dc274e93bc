# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The policy's process: plans when it should, continues chunks, swaps only verified weights."""

import numpy as np
import pytest
import yaml
from apprentice_interfaces.msg import (
    ControlState,
)
from policy_rig import ROBOT, SPEC, Rig, make_weights
from remote_rig import TOKEN, make_policy, serving

from apprentice.nodes import convert


@pytest.fixture
def rig(ros, start_node, tmp_path):
    make_weights(tmp_path / 'weights')
    process = start_node(
        'policy', '-p', f'robot:={ROBOT}', '-p', f'weights:={tmp_path / "weights"}', '-p', 'lockstep:=true'
    )
    made = Rig(ros)
    made.process = process
    assert ros.spin_until(made.connected, 60.0), process.output()
    return made


def test_policy_node(rig, tmp_path):
    ros = rig.ros
    rig.control(ControlState.DISARMED, 1)
    rig.sense()
    assert not rig.chunks  # nobody asked

    rig.control(ControlState.POLICY, 2)
    for _ in range(9):
        rig.sense()
    assert ros.spin_until(lambda: len(rig.chunks) >= 2, 30.0)
    stamps = [convert.seconds(c.header.stamp) for c in rig.chunks]
    assert np.all(np.diff(stamps) > 0.39)  # every execute_steps rows
    chunk = convert.chunk_of(rig.chunks[-1])
    assert chunk.actions.shape == (8, 7)
    assert chunk.names == SPEC.joint_names
    assert chunk.epoch == 2
    assert np.all(np.isfinite(chunk.actions))

    # a new epoch is planned for at once, from the first picture after it began
    since = rig.stamp + 0.05
    rig.control(ControlState.PAUSED, 3)
    rig.sense()
    assert ros.spin_until(lambda: rig.chunks[-1].epoch == 3, 30.0)
    assert convert.seconds(rig.chunks[-1].header.stamp) > since

    # while a person drives, plans are shadows
    rig.control(ControlState.HUMAN, 4)
    before = len(rig.chunks)
    rig.sense()
    assert ros.spin_until(lambda: rig.shadows and rig.shadows[-1].shadow, 30.0)
    assert len(rig.chunks) == before

    # weights: verified, loaded beside, swapped, acknowledged
    good = make_weights(tmp_path / 'v1', seed=1)
    assert rig.offer(tmp_path / 'v1', good, 1).active_version in (0, 1)
    rig.control(ControlState.POLICY, 5)
    rig.sense()
    assert ros.spin_until(lambda: rig.chunks[-1].weights_version == 1, 30.0)
    refused = rig.offer(tmp_path / 'v1', '0' * 64, 2)
    assert not refused.ok
    assert 'announced' in refused.reason
    foreign = make_weights(tmp_path / 'v3', robot='ur5e')
    refused = rig.offer(tmp_path / 'v3', foreign, 3)
    assert not refused.ok
    assert 'ur5e' in refused.reason
    assert refused.active_version == 1

    # a state that is not finite gives no chunk, so the gate holds
    before = len(rig.chunks)
    rig.control(ControlState.POLICY, 6)
    rig.sense(state=np.full(7, np.nan))
    assert ros.spin_until(lambda: 'not finite' in rig.process.output(), 30.0)
    assert len(rig.chunks) == before
    # nor does a camera that stopped
    rig.control(ControlState.POLICY, 7)
    for _ in range(3):
        rig.sense(cameras=('front',))
    assert len(rig.chunks) == before
    assert rig.process.stop() == 0


def test_live_plans_on_time_when_frames_are_early(ros, start_node, tmp_path):
    make_weights(tmp_path / 'weights')
    start_node('policy', '-p', f'robot:={ROBOT}', '-p', f'weights:={tmp_path / "weights"}')
    rig = Rig(ros)
    assert ros.spin_until(rig.connected, 60.0)
    rig.control(ControlState.POLICY, 2)
    for number in range(13):
        planned = len(rig.chunks)
        rig.stamp -= 0.003
        rig.sense()
        if number % 4 == 0:  # a planner that is not through when the next frame comes would take that one
            assert ros.spin_until(lambda count=planned: len(rig.chunks) > count, 30.0)
    # four frames of 97 ms, not five
    np.testing.assert_allclose(
        np.diff([convert.seconds(c.header.stamp) for c in rig.chunks]), 0.388, atol=1e-3
    )


def test_real_time_chunks(ros, start_node, tmp_path):
    make_weights(tmp_path / 'weights')
    process = start_node(
        'policy', '-p', f'robot:={ROBOT}', '-p', f'weights:={tmp_path / "weights"}', '-p', 'lockstep:=true',
        '-p', 'rtc:=soft', '-p', 'rtc_max_weight:=8.0',
    )  # fmt: skip
    rig = Rig(ros)
    assert ros.spin_until(rig.connected, 60.0), process.output()

    def next_chunk() -> np.ndarray:
        count = len(rig.chunks)
        for _ in range(4):
            rig.sense()
        assert ros.spin_until(lambda: len(rig.chunks) == count + 1, 30.0), process.output()
        return convert.chunk_of(rig.chunks[-1]).actions

    rig.control(ControlState.POLICY, 2)
    first = next_chunk()
    rig.execute(rig.chunks[-1], 2)
    rig.execute(rig.chunks[-1], 3)
    second = next_chunk()
    # the rows that will be past are those of the chunk before, the rest is not
    np.testing.assert_array_equal(second[:2], first[4:6])
    assert np.abs(second[2:4] - first[6:8]).max() > 1e-3
    rig.execute(rig.chunks[-1], 2)  # measured, too: until then its delay is what planning took here
    wanted = {'rtc': 'soft', 'chunks_continued': '1', 'delay_rows_measured': '2', 'delay_rows': '2'}
    assert ros.spin_until(lambda: wanted.items() <= rig.status.items(), 30.0), rig.status

    # after a takeover nothing of before is continued
    rig.control(ControlState.HUMAN, 3)
    rig.sense()
    assert ros.spin_until(lambda: bool(rig.shadows), 30.0)
    rig.control(ControlState.PAUSED, 4)
    third = next_chunk()
    assert np.abs(third[:2] - second[4:6]).max() > 1e-3
    assert ros.spin_until(lambda: rig.status.get('chunks') == '4', 10.0)  # the shadow is one of them
    assert rig.status['chunks_continued'] == '1'

    # a plan that comes after the rows before it have run out
    rig.execute(rig.chunks[-1], 6)
    fourth = next_chunk()
    assert np.abs(fourth[:2] - third[4:6]).max() > 1e-3
    assert ros.spin_until(lambda: 'planning takes 6 rows' in rig.status[''], 10.0), rig.status
    assert process.stop() == 0


RUNTIME = """
import numpy as np

from apprentice.policies import checkpoint


class Counting:
    def __init__(self, spec, first):
        self.spec, self.count = spec, first

    def act(self, observation, generator=None, previous=None, rtc=None):
        self.count += 1
        return np.full((self.spec.horizon, self.spec.dim), self.count, float)


def load(weights, expected_sha256='', first=0):
    policy, manifest = checkpoint.load(weights, expected_sha256)
    return Counting(policy.spec, first), manifest
"""


def test_a_runtime_of_somebody_else(ros, start_node, tmp_path):
    make_weights(tmp_path / 'weights')
    (tmp_path / 'counting_runtime.py').write_text(RUNTIME)
    process = start_node(
        'policy', '-p', f'robot:={ROBOT}', '-p', f'weights:={tmp_path / "weights"}', '-p', 'lockstep:=true',
        '-p', 'runtime:=counting_runtime:load', '-p', 'runtime_options:="{first: 10}"',
        environment={'PYTHONPATH': str(tmp_path)},
    )  # fmt: skip
    rig = Rig(ros)
    assert ros.spin_until(rig.connected, 60.0), process.output()
    rig.control(ControlState.POLICY, 2)
    rig.sense()
    assert ros.spin_until(lambda: bool(rig.chunks), 30.0), process.output()
    assert set(rig.chunks[-1].data) == {11.0}
    # weights go the same way
    digest = make_weights(tmp_path / 'v1', seed=1)
    assert rig.offer(tmp_path / 'v1', digest, 1).active_version == 1
    rig.control(ControlState.POLICY, 3)
    rig.sense()
    assert ros.spin_until(lambda: rig.chunks[-1].weights_version == 1, 30.0)
    # in lock-step nothing moves while the policy plans
    assert ros.spin_until(lambda: rig.status.get('rtc') == 'none', 10.0)


def test_onnxruntime_takes_the_learners_weights(ros, start_node, tmp_path):
    pytest.importorskip('onnxruntime', reason="pip install 'apprentice[onnx]'")
    make_weights(tmp_path / 'weights')
    process = start_node(
        'policy', '-p', f'robot:={ROBOT}', '-p', f'weights:={tmp_path / "weights"}', '-p', 'lockstep:=true',
        '-p', 'runtime:=onnx', environment={'APPRENTICE_CACHE': str(tmp_path / 'cache')},
    )  # fmt: skip
    rig = Rig(ros)
    assert ros.spin_until(rig.connected, 90.0), process.output()
    digest = make_weights(tmp_path / 'v1', seed=1)
    taken = rig.offer(tmp_path / 'v1', digest, 1)
    assert taken.ok, taken.reason
    rig.control(ControlState.POLICY, 2)
    rig.sense()
    assert ros.spin_until(lambda: bool(rig.chunks), 30.0), process.output()
    assert rig.chunks[-1].weights_version == 1
    assert len(list((tmp_path / 'cache' / 'onnx').iterdir())) == 2
    assert process.stop() == 0


def test_weights_on_a_server_are_not_changed_by_an_offer(ros, start_node, tmp_path):
    token = tmp_path / 'token'
    token.write_text(TOKEN)
    with serving(make_policy()) as served:
        process = start_node(
            'policy', '-p', f'robot:={ROBOT}', '-p', f'weights:={served.address}', '-p', 'lockstep:=true',
            '-p', 'runtime:=remote', '-p', f'remote_token_file:={token}', '-p', 'remote_timeout_s:=20.0',
        )  # fmt: skip
        rig = Rig(ros)
        assert ros.spin_until(rig.connected, 60.0), process.output()
        digest = make_weights(tmp_path / 'v1')
        refused = rig.offer(tmp_path / 'v1', digest, 1)
        assert not refused.ok
        assert refused.active_version == 0
        assert f'start the server there with {tmp_path / "v1"}' in refused.reason
        rig.control(ControlState.POLICY, 2)
        rig.sense()
        assert ros.spin_until(lambda: bool(rig.chunks), 20.0), process.output()
        assert rig.chunks[-1].weights_version == 0
        assert process.stop() == 0


def test_refused_settings_name_the_remedy(start_node, tmp_path):
    make_weights(tmp_path / 'weights')
    wanted = {
        'rtc:=firm': "use one of ['none', 'hard', 'soft', 'trained']",
        'rtc:=trained': 'train with a max_delay',
        'runtime:=abacus': "no runtime 'abacus'; use one of",
        'runtime_options:=[1]': 'is no YAML mapping',
        'runtime_options:={speed: 3}': 'check runtime_options',
        'execute_steps:=9': 'exceeds the horizon 8',
    }
    started = {}
    for setting in wanted:
        name, value = setting.split(':=')
        quoted = f'"{value}"' if name == 'runtime_options' else value
        started[setting] = start_node(
            'policy', '-p', f'robot:={ROBOT}', '-p', f'weights:={tmp_path / "weights"}',
            '-p', f'{name}:={quoted}',
        )  # fmt: skip
    for setting, process in started.items():
        assert process.popen.wait(90) == 2, setting
        assert wanted[setting] in process.output(), setting
        assert 'Traceback' not in process.output()


@pytest.mark.parametrize('fault', ['missing', 'foreign', 'camera'])
def test_refused_start_names_cause_and_remedy(start_node, tmp_path, fault):
    robot, folder = ROBOT, tmp_path / 'weights'
    if fault != 'missing':
        make_weights(folder, robot='ur5e' if fault == 'foreign' else 'sim_arm')
    if fault == 'camera':
        data = yaml.safe_load(ROBOT.read_text())
        data['cameras'] = data['cameras'][:1]
        robot = tmp_path / 'robot.yaml'
        robot.write_text(yaml.safe_dump(data))
    process = start_node('policy', '-p', f'robot:={robot}', '-p', f'weights:={folder}')
    assert process.popen.wait(60) == 2
    wanted = {'missing': 'apprentice train bc', 'foreign': "'ur5e'", 'camera': "camera 'wrist' is missing"}
    assert wanted[fault] in process.output()
    assert 'Traceback' not in process.output()
