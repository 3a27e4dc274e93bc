# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""People at the controls of the real gate: pads, pages, a SpaceMouse and a leader arm, as messages."""

import re
import time

import numpy as np
from apprentice_interfaces.msg import EpisodeState
from geometry_msgs.msg import Twist, TwistStamped, Vector3
from std_srvs.srv import SetBool, Trigger
from teleop_rig import CHAIN, HOME, RATE, ROBOT, SPEC, TeleopRig, axes, patient
from visualization_msgs.msg import MarkerArray

from apprentice.nodes import convert, qos
from apprentice.nodes.sim_poses import object_markers
from apprentice.nodes.teleop_commands import HumanCommands
from apprentice.robot.limits import CLAMP_NAMES
from apprentice.robot.types import ControlMode, Source

HOLD = 4


def tool(joints: np.ndarray) -> np.ndarray:
    return CHAIN.forward(joints[:6])[0]


def test_a_pad_takes_over_drives_and_gives_back(ros, start_node, tmp_path):
    rig = TeleopRig(ros, start_node, patient(tmp_path, 'joy'))
    rig.ready('joy')
    rest = lambda: rig.joy(axes=axes())  # noqa: E731
    rig.keep(0.3, rest)
    rig.plan_until_followed(HOME)

    start, epoch = rig.position(), rig.states[-1].epoch
    moved = lambda: tool(rig.position()) - tool(start)  # noqa: E731
    rig.hold_until(lambda: moved()[0] > 0.02, rest, lambda: rig.joy([HOLD], axes(x=1.0)))
    assert rig.mode == ControlMode.HUMAN, rig.teleop.output()
    np.testing.assert_allclose(moved()[1:], 0.0, atol=2e-3)
    clamped = dict(zip(CLAMP_NAMES.values(), rig.states[-1].clamped))
    slow = rig.speed()[0]
    assert slow < 0.2 * 0.3 * 1.2  # m/s of the mapping, share of the slow speed

    up = lambda: rig.joy([HOLD, 5], axes(z=1.0))  # noqa: E731
    rig.hold_until(lambda: moved()[2] > 0.02, rest, up)
    count = len(rig.executed)
    rig.hold_until(lambda: moved()[2] > 0.07, rest, up)
    assert 1.2 * slow < rig.speed(count)[2] < 0.2 * 1.2

    # letting go: PAUSED, a plan of before is worthless, a fresh one goes on
    rest()
    rig.until_mode(ControlMode.PAUSED)
    assert 'released: the dead-man was let go' in rig.teleop.output()
    assert rig.states[-1].epoch > epoch
    assert ros.spin_until(lambda: rig.sources()[-20:] == [Source.HOLD] * 20), rig.said()
    stands = np.array([m.executed for _, m in rig.executed[-20:]])
    np.testing.assert_array_equal(stands, np.tile(stands[0], (len(stands), 1)))
    assert rig.mode == ControlMode.PAUSED
    rig.plan_until_followed(rig.position())
    # what the teleop node asked for was within the limits
    assert dict(zip(CLAMP_NAMES.values(), rig.states[-1].clamped)) == clamped
    assert rig.teleop.stop() == 0


def test_a_second_teleop_node_is_refused_while_the_first_drives(ros, start_node, tmp_path):
    rig = TeleopRig(ros, start_node, patient(tmp_path, 'joy'))
    rig.ready('joy')
    more = ('-p', f'robot:={ROBOT}', '-p', f'rate_hz:={RATE}', '-p', "person:=''")
    page = ('-p', f'device:={patient(tmp_path, "browser")}')
    second = start_node('teleop', *more, *page, '-r', '__node:=teleop_two')
    heard = lambda: rig.publishers['teleop/joy'].get_subscription_count() >= 1  # noqa: E731
    assert ros.spin_until(lambda: heard() and ros.node.count_publishers('human/command') == 2, 60.0)

    def both(held, page):
        rig.joy([HOLD] if held else [], axes(x=1.0 if held else 0.0))
        rig.joy([0] if page else [], topic='teleop/joy', page='a')

    rig.keep(0.5, lambda: both(False, False))
    start = tool(rig.position())
    rig.hold_until(rig.drives, lambda: both(False, False), lambda: both(True, False))
    takeover = rig.states[-1].takeover_id
    reason = '/teleop may be driving, and one node drives at a time'
    for _ in range(20):  # a node that has just begun may not have heard the robot yet, and says so
        rig.keep(0.3, lambda: both(True, False))
        refused = second.output().count('does not drive')
        said = lambda: second.output().count('does not drive') > refused  # noqa: B023, E731
        end = time.monotonic() + 1.0
        while not said() and time.monotonic() < end:
            rig.keep(0.05, lambda: both(True, True))
        if reason in second.output():
            break
    assert reason in second.output()
    rig.keep_until(lambda: tool(rig.position())[0] > start[0] + 0.03, lambda: both(True, True))
    assert (rig.mode, rig.states[-1].takeover_id) == (ControlMode.HUMAN, takeover)
    rig.keep_until(lambda: rig.mode == ControlMode.PAUSED, lambda: both(False, True))
    # the second has to press anew, and then it drives
    rig.keep(0.3, lambda: both(False, True))
    assert rig.mode == ControlMode.PAUSED
    rig.press(lambda: both(False, False), lambda: both(False, True))
    # a third that asks nobody is not followed
    rogue, held = HumanCommands(ros.node, SPEC), tool(rig.position())

    def all_three():
        both(False, True)
        rogue.publish(time.time(), HOME + 0.2)

    ignored = 'human/command ignored: driver: /test_'
    rig.keep_until(lambda: ignored in rig.gate.output(), all_three)
    rig.keep(0.4, all_three)
    assert rig.mode == ControlMode.HUMAN
    np.testing.assert_allclose(tool(rig.position()), held, atol=5e-3)


def test_a_silent_pad_is_released(ros, start_node):
    rig = TeleopRig(ros, start_node, 'joy')
    rig.ready('joy')
    rest = lambda: rig.joy(axes=axes())  # noqa: E731
    rig.press(rest, lambda: rig.joy([HOLD], axes(x=1.0)))
    rig.until_mode(ControlMode.PAUSED)  # not HOLD: the node noticed before the gate had to
    silent = re.search(r'joy was silent for ([\d.]+) s', rig.teleop.output())
    assert silent
    assert float(silent[1]) >= 0.5  # of the mapping
    # it comes back with the button still held: that is no press
    rig.keep(0.4, lambda: rig.joy([HOLD], axes(x=1.0)))
    assert rig.mode == ControlMode.PAUSED
    rig.press(rest, lambda: rig.joy([HOLD], axes()))
    # messages that were long on their way are none
    late = lambda: rig.joy([HOLD], axes(x=1.0), stamp=time.time() - 3.0)  # noqa: E731
    said = lambda: 'is not heard' in rig.teleop.output()  # noqa: E731
    rig.keep_until(lambda: rig.mode == ControlMode.PAUSED and said(), late)


def test_a_killed_teleop_node_leaves_the_arm_standing(ros, start_node, tmp_path):
    rig = TeleopRig(ros, start_node, patient(tmp_path, 'joy'))
    rig.ready('joy')
    start = rig.tool()
    rest = lambda: rig.joy(axes=axes())  # noqa: E731
    rig.keep(0.3, rest)
    rig.hold_until(lambda: rig.tool()[0] > start[0] + 0.01, rest, lambda: rig.joy([HOLD], axes(x=1.0)))
    rig.teleop.popen.kill()
    rig.until_mode(ControlMode.HOLD)
    assert 'no human command' in rig.states[-1].reason
    assert ros.spin_until(lambda: rig.sources()[-1:] == [Source.HOLD])
    # from its last command on
    last = max(i for i, source in enumerate(rig.sources()) if source == Source.HUMAN)
    stands = np.array([m.executed for _, m in rig.executed[last:]])
    np.testing.assert_array_equal(stands, np.tile(stands[0], (len(stands), 1)))
    near = lambda: np.allclose(rig.position(), stands[-1], atol=5e-3)  # noqa: E731
    assert ros.spin_until(near), rig.position()


def test_stop_labels_and_a_refused_takeover(ros, start_node, tmp_path):
    rig = TeleopRig(ros, start_node, patient(tmp_path, 'joy'))
    rig.ready('joy')
    rest = lambda: rig.joy(axes=axes())  # noqa: E731
    rig.keep(0.3, rest)
    # stop needs no dead-man
    rig.joy([1], axes())
    rig.until_mode(ControlMode.STOP)
    rig.keep(0.3, rest)
    refused = lambda: 'takeover was refused' in rig.teleop.output()  # noqa: E731
    rig.hold_until(refused, rest, lambda: rig.joy([HOLD], axes(x=1.0)))
    assert rig.mode == ControlMode.STOP
    for buttons in ((3,), (), (7,), ()):
        rig.joy(buttons, axes())
        rig.wait(0.1)
    ros.spin_until(lambda: len(rig.events) >= 3)
    assert rig.events == ['stop', 'success', 'record']
    assert Source.HUMAN not in rig.sources()


def test_the_first_of_two_devices_has_control(ros, start_node, tmp_path):
    rig = TeleopRig(ros, start_node, patient(tmp_path, 'joy', 'spacemouse'))
    rig.ready('joy', 'spacenav/twist')

    def both(joy_buttons, push):
        rig.joy(joy_buttons, axes())
        rig.publishers['spacenav/twist'].publish(Twist(linear=Vector3(z=push)))

    rest = lambda: both([], 0.0)  # noqa: E731
    rig.keep(0.3, rest)
    start = tool(rig.position())
    rig.hold_until(rig.drives, rest, lambda: both([HOLD], 0.0))
    rig.keep(0.4, lambda: both([HOLD], 1.0))  # the mouse is ignored
    np.testing.assert_allclose(tool(rig.position()), start, atol=3e-3)
    # and stays so: its motion began too early
    rig.keep_until(lambda: rig.mode == ControlMode.PAUSED, lambda: both([], 1.0))
    rig.keep(0.3, lambda: both([], 1.0))
    assert rig.mode == ControlMode.PAUSED
    rig.keep(1.3, rest)  # longer than a motion of the mapping lasts
    higher = lambda: tool(rig.position())[2] > start[2] + 0.01  # noqa: E731
    rig.hold_until(higher, rest, lambda: both([], 1.0), rest=1.3)
    assert rig.mode == ControlMode.HUMAN
    # resting, the cap is no dead-man any more
    rig.keep_until(lambda: rig.mode == ControlMode.PAUSED, rest)


def test_pages_drive_one_at_a_time(ros, start_node, tmp_path):
    rig = TeleopRig(ros, start_node, patient(tmp_path, 'browser'))
    rig.ready('teleop/joy', 'teleop/twist')

    def page(name, held, push=0.0, yaw=0.0):
        message = TwistStamped()
        message.header.frame_id, message.header.stamp = name, convert.stamp_of(time.time())
        message.twist.linear.y, message.twist.angular.z = push, yaw
        rig.publishers['teleop/twist'].publish(message)
        rig.joy([0, 1] if held else [], topic='teleop/joy', page=name)

    far = lambda: tool(rig.position())[1]  # noqa: E731
    rig.keep(0.1, lambda: page('a', False))
    start = tool(rig.position())
    there = lambda: far() > start[1] + 0.02  # noqa: E731
    rig.hold_until(there, lambda: page('a', False), lambda: page('a', True, push=1.0), period=0.05)
    moved = tool(rig.position()) - start
    np.testing.assert_allclose(moved[[0, 2]], 0.0, atol=3e-3)

    def two():
        page('a', True)
        page('b', True, push=-1.0)

    def stands():
        last = [tuple(m.executed) for _, m in rig.executed[-10:]]
        return set(last) == {last[0]} and np.allclose(rig.position(), last[0], atol=1e-3)

    rig.keep_until(stands, two, period=0.05)
    held = tool(rig.position())
    rig.keep(0.4, two, 0.05)
    np.testing.assert_allclose(tool(rig.position()), held, atol=3e-3)
    rig.keep_until(lambda: rig.mode == ControlMode.PAUSED, lambda: page('a', False), period=0.05)
    there = lambda: far() < held[1] - 0.02  # noqa: E731
    rig.hold_until(there, lambda: page('b', False), lambda: page('b', True, push=-1.0), period=0.05)
    assert rig.mode == ControlMode.HUMAN


def test_a_leader_is_followed_once_it_is_near(ros, start_node, tmp_path):
    rig = TeleopRig(ros, start_node, patient(tmp_path, 'leader'))
    rig.ready('joy', 'leader/joint_states')

    def leader(offset, buttons):
        message = convert.joint_state_msg(time.time(), SPEC.joint_names, HOME + offset)
        rig.publishers['leader/joint_states'].publish(message)
        rig.joy(buttons, axes())

    far, near = np.zeros(7), np.zeros(7)
    far[0], near[0], near[6] = 1.0, 0.2, -0.03
    rest = lambda: leader(far, [])  # noqa: E731
    rig.press(rest, lambda: leader(far, [HOLD]))
    off = 'leader joint1 is 1.00 rad off'
    rig.hold_until(lambda: off in rig.teleop.output(), rest, lambda: leader(far, [HOLD]))
    assert rig.mode == ControlMode.HUMAN
    np.testing.assert_allclose(rig.position(), HOME, atol=5e-3)
    there = lambda: np.allclose(rig.position(), HOME + near, atol=0.01)  # noqa: E731
    rig.hold_until(there, rest, lambda: leader(near, [HOLD]))
    # the leader's cable falls out, the pad lives on
    rig.keep_until(lambda: rig.mode == ControlMode.PAUSED, lambda: rig.joy([HOLD], axes()))


def test_garbage_never_leaves_the_limits(ros, start_node, tmp_path):
    rig = TeleopRig(ros, start_node, patient(tmp_path, 'joy'))
    rig.ready('joy')
    clear = ros.node.create_client(Trigger, 'gate/clear')
    rng = np.random.default_rng(7)
    values = [np.nan, np.inf, -np.inf, 1e30, -1.0, 1.0, 0.3]

    def garbage():
        size = int(rng.integers(0, 12))
        rig.joy(
            [HOLD] if rng.random() > 0.1 else list(rng.integers(0, 11, 3)),
            rng.choice(values, size),
            stamp=rng.choice([0.0, time.time(), 1e9]),
        )

    def say():
        garbage()
        if rig.mode in (ControlMode.STOP, ControlMode.HOLD):
            # the stop button was in it; or the machine gave the teleop node no time
            late = rig.states[-1].reason.startswith('no human command')
            assert rig.mode == ControlMode.STOP or late, rig.states[-1].reason
            ros.call(clear, Trigger.Request())
            ros.call(rig.arm, SetBool.Request(data=True))

    rig.keep_until(lambda: rig.sources().count(Source.HUMAN) > 200, say, 60.0)
    human = [m for _, m in rig.executed if m.source == Source.HUMAN]
    asked = np.array([m.requested for m in human])
    assert np.all(np.isfinite(asked))
    assert np.all(asked >= SPEC.vector('lower') - 1e-5)
    assert np.all(asked <= SPEC.vector('upper') + 1e-5)
    steps = np.diff(np.array([m.executed for _, m in rig.executed]), axis=0)
    assert np.all(np.abs(steps) <= SPEC.vector('velocity') / RATE + 1e-5)
    assert np.max(np.abs(steps[:, :6])) > 0.005  # something moved


def test_the_scripted_person_leaves_the_controls_to_a_real_one(ros, start_node, tmp_path):
    """In lock-step, where the gate waits for an answer to every joint state."""
    (tmp_path / 'person_of_stone.py').write_text(PERSON)
    rate = ('-p', f'robot:={ROBOT}', '-p', 'use_sim_time:=true')
    start_node('loopback_robot', *rate, '-p', 'lockstep:=true')
    start_node('gate', *rate, '-p', 'lockstep:=true', '-p', 'policy_wait_s:=0.2', '-p', 'arm_on_start:=true')
    teleop = start_node(
        'teleop', *rate, '-p', f'device:={patient(tmp_path, "joy")}', '-p', 'person:=person_of_stone:Stands',
        environment={'PYTHONPATH': str(tmp_path)},
    )  # fmt: skip
    rig = TeleopRig(ros, start_node, 'joy', nodes=False)
    rig.teleop = rig.gate = teleop
    objects = ros.node.create_publisher(MarkerArray, 'sim/object_poses', qos.SENSOR_PUBLISHER)
    episode = ros.node.create_publisher(EpisodeState, 'episode/state', qos.STATE)
    here = lambda: objects.get_subscription_count() and rig.publishers['joy'].get_subscription_count()  # noqa: E731
    assert ros.spin_until(lambda: here() and rig.joints and rig.states, 60.0), teleop.output()
    episode.publish(EpisodeState(phase=EpisodeState.RUNNING, task='stand', episode_id='e'))
    cube = {'cube_red': np.array([0.4, 0, 0.02, 1, 0, 0, 0])}

    def say(*buttons, **sticks):
        objects.publish(object_markers(cube, 0.0, 'base_link'))
        rig.joy(buttons, axes(**sticks))

    rig.keep(0.3, say)
    assert ros.spin_until(lambda: rig.mode == ControlMode.PAUSED, 10.0)
    # the page's takeover: the scripted person drives
    assert ros.call(rig.control, SetBool.Request(data=True)).success
    rig.keep_until(lambda: rig.sources().count(Source.HUMAN) > 5, say)
    takeover, start = rig.states[-1].takeover_id, rig.tool()
    np.testing.assert_allclose(start, CHAIN.forward(HOME[:6])[0], atol=5e-3)
    rig.keep(2.0, say)  # a node that has just begun takes over from nobody
    # a real one presses: the same takeover, other hands
    rig.keep_until(lambda: rig.tool()[2] > start[2] + 0.02, lambda: say(HOLD, z=1.0), 20.0)
    assert (rig.mode, rig.states[-1].takeover_id) == (ControlMode.HUMAN, takeover)
    # and what is released is released, whatever the scripted person would like
    rig.keep_until(lambda: rig.mode == ControlMode.PAUSED, say)
    rig.keep(0.5, say)
    assert rig.mode == ControlMode.PAUSED
    assert rig.tool()[2] > start[2] + 0.015


PERSON = """
class Stands:
    def __init__(self, expert, seed):
        self.home = None

    def reset(self, now):
        pass

    def act(self, state, objects, task):
        self.home = state if self.home is None else self.home
        return self.home
"""
