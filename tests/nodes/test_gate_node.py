# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The gate's process on a real ROS graph: timing, lock-step, bad input, start and end."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from apprentice_interfaces.msg import ControlState, ExecutedCommand
from gate_bench import HOME, NEAR, ROBOT_FILE, SPEC, Bench, Lockstep, Process, until
from ros_graph import spinning
from trajectory_msgs.msg import JointTrajectory

from apprentice.nodes import convert, qos
from apprentice.robot import limits
from apprentice.robot.types import ControlMode, Source

# a busy machine may stop the gate or its test for a while: no reason to hold in a test of something else
PATIENT = ('rate_hz:=50.0', 'joint_timeout_s:=5.0', 'human_latch_s:=5.0', 'policy_hold_s:=3.0')
START_S = 60.0  # longest start of the gate's process


@pytest.fixture
def bench():
    with spinning(Bench) as node:
        yield node


@pytest.fixture
def forward_bench():
    with spinning(lambda context: Bench(context, forward=True)) as node:
        yield node


@pytest.fixture
def start():
    processes = []

    def launch(*parameters, **arguments):
        processes.append(Process(*parameters, **arguments))
        return processes[-1]

    yield launch
    for process in processes:
        process.end()


def test_clamp_bits_and_enumerations_equal_the_messages():
    assert limits.CLAMP_POSITION == ExecutedCommand.CLAMP_POSITION
    assert limits.CLAMP_VELOCITY == ExecutedCommand.CLAMP_VELOCITY
    assert limits.CLAMP_JUMP == ExecutedCommand.CLAMP_JUMP
    assert limits.CLAMP_NONFINITE == ExecutedCommand.CLAMP_NONFINITE
    for mode in ControlMode:
        assert getattr(ControlState, mode.name) == mode
    for source in Source:
        assert getattr(ExecutedCommand, f'SOURCE_{source.name}') == source


def test_the_gate_does_not_import_torch():
    code = "import sys, apprentice.nodes.gate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_live_policy_takeover_release_stop(bench, start):
    process = start(*PATIENT, 'arm_on_start:=false', 'human_timeout_s:=5.0')
    until(lambda: bench.state and bench.executed, START_S)
    assert bench.mode == ControlMode.DISARMED
    time.sleep(0.3)
    assert not bench.commands  # before arming the controller is somebody else's
    bench.armed()
    bench.until_mode(ControlMode.PAUSED)
    until(lambda: bench.commands)
    np.testing.assert_allclose(bench.commands[-1][1].points[0].positions, HOME, atol=1e-6)
    bench.policy = True
    bench.until_mode(ControlMode.POLICY)
    until(lambda: np.allclose(bench.position, NEAR, atol=1e-3))

    bench.person = True
    epoch = bench.state.epoch
    until(lambda: bench.state.human_ready)
    assert bench.call('request_control', True).success
    bench.until_mode(ControlMode.HUMAN)
    begun = convert.seconds(bench.state.since)
    steps = until(lambda: [m for _, m in list(bench.executed) if m.epoch > epoch])
    first = steps[0]
    # effective with the next control step: the last one of the policy was before the gate changed its mind
    (last,) = (m for _, m in list(bench.executed) if m.seq == first.seq - 1)
    assert last.epoch == epoch
    assert convert.seconds(last.header.stamp) <= begun + 1e-6
    assert convert.seconds(first.header.stamp) >= begun - 1e-6
    assert first.source == ExecutedCommand.SOURCE_HUMAN
    assert first.takeover_id == 1
    assert first.epoch == epoch + 1
    assert bench.state.owner == 'human'

    bench.person = False
    assert bench.call('request_control', False).success
    bench.until_mode(ControlMode.POLICY)
    assert bench.state.epoch == epoch + 2

    assert bench.call('stop').success
    bench.until_mode(ControlMode.STOP)
    held = bench.position.copy()
    assert not bench.call('arm', True).success
    assert not bench.call('request_control', True).success
    time.sleep(0.3)
    assert bench.mode == ControlMode.STOP
    np.testing.assert_array_equal(bench.position, held)
    assert bench.call('clear').success
    bench.armed()
    bench.until_mode(ControlMode.POLICY)

    report = until(lambda: [s for m in bench.diagnostics for s in m.status if s.name == 'gate'])[-1]
    values = {v.key: v.value for v in report.values}
    assert {'interval_p50_ms', 'interval_p99_ms', 'rate_hz', 'clamped_velocity'} <= set(values)
    code, output = process.end()
    assert code == 0, output


def test_a_chunk_that_is_not_finite_holds(bench, start):
    start(*PATIENT)
    until(lambda: bench.state, START_S)
    bench.armed()
    bench.policy = True
    bench.until_mode(ControlMode.POLICY)
    until(lambda: np.allclose(bench.position, NEAR, atol=1e-3))
    bench.policy = False

    def held():  # said again: a chunk expires if the gate does not hear it within half a second
        with bench.lock:
            bench.plan(convert.now(bench), np.full((8, SPEC.dim), np.nan))
        time.sleep(0.05)
        return bench.mode == ControlMode.HOLD

    until(held)
    assert 'not finite' in bench.state.reason
    assert all(np.all(np.isfinite(m.points[0].positions)) for _, m in bench.commands)
    np.testing.assert_allclose(bench.position, NEAR, atol=1e-3)


def test_silence_of_the_robot_holds_and_the_gate_goes_on_commanding(bench, start):
    start('rate_hz:=50.0', 'joint_timeout_s:=0.5')
    until(lambda: bench.state, START_S)
    bench.armed()
    bench.live = False
    bench.until_mode(ControlMode.HOLD)
    assert 'joint states' in bench.state.reason
    seen = len(bench.commands)
    until(lambda: len(bench.commands) > seen + 5)


def test_another_publisher_on_the_command_topic_is_refused(bench, start):
    start(*PATIENT)
    until(lambda: bench.executed, START_S)
    intruder = bench.create_publisher(JointTrajectory, SPEC.command.topic, qos.COMMAND)

    def refused():
        answer = bench.call('arm', True)
        if answer.success:
            bench.call('arm', False)
            time.sleep(0.1)
        # it may also refuse because joint states are late, and a publisher is known before its node's name
        return not answer.success and all(text in answer.message for text in ('(/bench)', 'only the gate'))

    until(refused, 30.0)
    bench.destroy_publisher(intruder)
    bench.armed()


def test_lockstep_gives_exactly_one_command_per_stamp(bench, start):
    process = start('lockstep:=true', 'arm_on_start:=true', 'execute_steps:=2', 'policy_wait_s:=1.5')
    sim = Lockstep(bench)
    until(lambda: bench.state and bench.joints.get_subscription_count(), START_S)
    bench.until_mode(ControlMode.DISARMED)
    # armed at the first stamp, it waits for a policy, then paces; stamps go on all the while
    for _ in range(4):
        command = sim.tick()
        np.testing.assert_allclose(command.points[0].positions, HOME, atol=1e-6)
    bench.until_mode(ControlMode.PAUSED)
    sim.tick(plan=True)
    bench.until_mode(ControlMode.POLICY)
    for i in range(1, 40):
        sim.tick(plan=i % 4 == 0)
    assert bench.mode == ControlMode.POLICY
    np.testing.assert_allclose(bench.position, NEAR, atol=1e-3)

    # the same stamp again: the same command again, and no second control step
    until(lambda: len(bench.executed) == sim.step)
    sim.publish()
    until(lambda: len(sim.answers()) == 2)
    assert sim.answers()[0] == sim.answers()[1]
    time.sleep(0.1)
    stamps = [convert.seconds(m.header.stamp) for _, m in bench.executed]
    np.testing.assert_allclose(stamps, np.arange(sim.step) / SPEC.control_hz, atol=1e-6)
    assert [m.seq for _, m in bench.executed] == list(range(1, sim.step + 1))
    for k in range(sim.step - 1):
        assert len(sim.answers(k / SPEC.control_hz)) == 1

    # a person, one message a stamp
    assert bench.call('request_control', True).success
    for _ in range(5):
        sim.tick(human=True)
    until(lambda: len(bench.executed) == sim.step)
    assert [m.source for _, m in list(bench.executed)[-5:]] == [ExecutedCommand.SOURCE_HUMAN] * 5

    # released, the policy plans afresh; then it dies, and the robot holds
    assert bench.call('request_control', False).success
    bench.until_mode(ControlMode.PAUSED)
    if sim.step % 2:
        sim.tick()
    sim.tick(plan=True)
    bench.until_mode(ControlMode.POLICY)
    began = time.monotonic()
    while bench.mode == ControlMode.POLICY and sim.step < 80:
        sim.tick()
        time.sleep(0.02)
    assert bench.mode == ControlMode.HOLD
    assert time.monotonic() - began >= 1.4
    assert 'policy' in bench.state.reason
    sim.tick()
    code, output = process.end()
    assert code == 0, output


def test_forward_position_live(forward_bench, start, tmp_path):
    bench = forward_bench
    start(*PATIENT, robot=forward_file(tmp_path))
    until(lambda: bench.state and bench.executed, START_S)
    bench.armed()
    bench.policy = True
    until(lambda: np.allclose(bench.position, NEAR, atol=1e-3))


def forward_file(folder: Path) -> Path:
    path = folder / 'forward.yaml'
    path.write_text(ROBOT_FILE.read_text().replace('type: joint_trajectory', 'type: forward_position'))
    return path


@pytest.mark.parametrize(
    ('parameters', 'robot', 'expected'),
    [
        ((), 'no_such_robot', ('does not exist', 'robot:=')),
        ((), 'broken', ('velocity and jump must be positive', 'joint1')),
        ((), "''", ('parameter robot is empty',)),
        (
            ('lockstep:=true',),
            'forward',
            ('lockstep needs the stamped joint_trajectory', 'lockstep to false'),
        ),
        (('lockstep:=true', 'rate_hz:=50.0'), ROBOT_FILE, ('remove rate_hz',)),
        (('reset_scale:=7.0',), ROBOT_FILE, ('reset_scale',)),
    ],
)
def test_a_wrong_start_ends_with_one_line_and_code_2(start, tmp_path, parameters, robot, expected):
    if robot == 'broken':
        robot = tmp_path / 'broken.yaml'
        robot.write_text(ROBOT_FILE.read_text().replace('velocity: 2.0', 'velocity: 0.0', 1))
    elif robot == 'forward':
        robot = forward_file(tmp_path)
    code, output = start(*parameters, robot=robot).finish()
    assert code == 2, output
    errors = [line for line in output.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1, output
    assert 'Traceback' not in output
    for text in expected:
        assert text in errors[0]


def test_the_command_rate_and_its_jitter_are_reported(bench, start):
    start('rate_hz:=50.0', robot='sim_arm')
    until(lambda: bench.state and bench.executed, START_S)
    bench.armed()
    until(lambda: len(bench.commands) > 60, 20.0)
    # the gate's own stamps, and their median: neither a pause of somebody nor a lost command is the rate
    stamps = [convert.seconds(message.header.stamp) for _, message in list(bench.commands)]
    rate = 1 / np.median(np.diff(stamps))
    assert 35.0 < rate < 65.0, f'{rate:.1f} Hz with load {os.getloadavg()[0]:.1f}'
