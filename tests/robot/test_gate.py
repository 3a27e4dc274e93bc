# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Plans, staleness, people and limits in the gate, under a fake clock."""

import numpy as np
import pytest
from gate_rig import HOME, PERIOD, SPEC, Rig

from apprentice.robot.gate import Gate
from apprentice.robot.limits import CLAMP_NONFINITE, CLAMP_POSITION, CLAMP_VELOCITY
from apprentice.robot.types import ControlMode, Source


def test_the_policys_rows_are_reached_on_their_time():
    rig = Rig().run_policy()
    first, second = rig.step(), rig.step()
    rig.step(2)
    assert first.source == Source.POLICY
    assert first.chunk_seq == 1
    # row 0 is due at stamp + 0.1; the step at stamp + 0.05 is its last one
    np.testing.assert_allclose(first.setpoint, HOME + 0.05 * ~SPEC.gripper_mask, atol=1e-9)
    assert (first.chunk_index, second.chunk_index) == (0, 1)
    assert first.clamp_bits == 0


def test_nothing_moves_before_arming_and_nothing_is_commanded_before_a_joint_state():
    gate = Gate(SPEC)
    assert gate.tick(1.0).setpoint is None
    assert not gate.arm(1.0)[0]
    assert 'joint_states' in gate.arm(1.0)[1]
    rig = Rig()
    tick = rig.step(5)
    assert rig.mode == ControlMode.DISARMED
    assert tick.source == Source.NONE
    np.testing.assert_array_equal(tick.setpoint, HOME)


def test_arming_with_old_joint_states_is_refused():
    rig = Rig()
    accepted, message = rig.gate.arm(rig.now + 1.0)
    assert not accepted
    assert 'old' in message


# every reason to refuse a chunk


@pytest.mark.parametrize(
    ('reason', 'changes'),
    [
        ('shadow', {'shadow': True}),
        ('control_mode', {'control_mode': 'ee_pose'}),
        ('names', {'names': ('joint1',)}),
        ('shape', {'dt': 0.0}),
        ('shape', {'dt': float('nan')}),
        ('shape', {'actions': np.zeros((0, 7))}),
        ('shape', {'actions': np.zeros((4, 6))}),
        ('epoch', {'epoch': 1}),
        ('nonfinite', {'actions': np.full((4, 7), np.nan)}),
        ('nonfinite', {'stamp': float('nan')}),
        ('age', {'stamp': 99.4}),
        ('future', {'stamp': 100.3}),
        ('expired', {'valid_until': 99.9}),
    ],
)
@pytest.mark.parametrize('mode', [ControlMode.POLICY, ControlMode.PAUSED])
def test_refusals_name_the_reason_and_are_counted(reason, changes, mode):
    rig = Rig().arm()
    if mode == ControlMode.POLICY:
        assert rig.send() == ''
    refusal = rig.send(**changes)
    assert refusal.startswith(f'{reason}: chunk')
    assert rig.gate.refused == {reason: 1}
    holds = reason == 'nonfinite' and mode == ControlMode.POLICY
    assert rig.mode == (ControlMode.HOLD if holds else mode)


def test_a_chunk_that_comes_twice_or_late_is_refused():
    rig = Rig().run_policy()
    assert rig.send() == ''
    assert rig.send(seq=2).startswith('seq: chunk 2')
    assert rig.send(seq=1).startswith('seq: chunk 1')
    assert rig.gate.refused == {'seq': 2}


@pytest.mark.parametrize('mode', ['DISARMED', 'HUMAN', 'RESET', 'HOLD', 'FAULT', 'STOP'])
def test_no_chunk_is_accepted_unless_the_policy_has_control(mode):
    rig = Rig()
    rig.gate.mode = ControlMode[mode]
    assert rig.send().startswith('mode:')


def test_a_broken_policy_holds_and_says_why():
    rig = Rig().run_policy()
    before = rig.step().setpoint
    rig.send(actions=np.full((8, 7), np.inf))
    tick = rig.step()
    assert rig.mode == ControlMode.HOLD
    assert 'roll back' in rig.gate.reason
    assert rig.gate.clamped[CLAMP_NONFINITE] == 1
    np.testing.assert_array_equal(tick.setpoint, before)


def test_a_restarted_policy_may_count_from_one_again_in_a_new_epoch():
    rig = Rig().run_policy()
    assert rig.send(seq=50) == ''
    rig.gate.hold('test', rig.now)
    rig.arm()
    assert rig.send(seq=1) == ''


# staleness


def test_a_silent_policy_is_held_after_its_last_row():
    rig = Rig().run_policy()
    rig.step(16)  # 8 rows of 0.1 s at 20 Hz
    assert rig.mode == ControlMode.POLICY
    rig.step(6)
    assert rig.mode == ControlMode.POLICY
    rig.step(1)
    assert rig.mode == ControlMode.HOLD
    assert 'no fresh chunk' in rig.gate.reason


def test_valid_until_ends_a_chunk_early():
    rig = Rig().arm()
    rig.send(valid_until=rig.now + 0.12)
    sources = [rig.step().source for _ in range(4)]
    assert sources == [Source.POLICY, Source.POLICY, Source.HOLD, Source.HOLD]


def test_hold_keeps_the_setpoint_and_does_not_resume_by_itself():
    rig = Rig().run_policy()
    rig.step()
    rig.gate.hold('test', rig.now)
    held = rig.gate.setpoint.copy()
    assert rig.send().startswith('mode:')
    np.testing.assert_array_equal(rig.step(20).setpoint, held)
    assert rig.mode == ControlMode.HOLD
    rig.arm()
    assert rig.mode == ControlMode.PAUSED
    rig.step()
    assert rig.send() == ''
    assert rig.mode == ControlMode.POLICY


@pytest.mark.parametrize('mode', ['POLICY', 'HUMAN', 'PAUSED', 'RESET'])
def test_old_joint_states_hold(mode):
    rig = Rig().run_policy()
    rig.gate.mode = ControlMode[mode]
    rig.joint_states = False
    rig.step(2)
    assert rig.mode == ControlMode[mode]
    rig.step()
    assert rig.mode == ControlMode.HOLD
    assert 'joint states' in rig.gate.reason


def test_joint_states_with_an_old_stamp_hold_although_they_keep_arriving():
    rig = Rig().run_policy()
    rig.joint_states = False
    for _ in range(3):
        rig.gate.on_joint_state(rig.position, 100.0, rig.now + PERIOD)
        rig.step()
    assert rig.mode == ControlMode.HOLD


def test_time_that_goes_back_holds():
    rig = Rig().run_policy()
    rig.step(3)
    rig.now -= 5.0
    rig.step()
    assert rig.mode == ControlMode.HOLD
    assert 'time went back' in rig.gate.reason


# people


def test_takeover_is_effective_at_the_next_tick_and_refuses_older_plans():
    rig = Rig().run_policy()
    rig.step()
    old = rig.plan(seq=99)
    rig.take()
    target = HOME + 0.02 * ~SPEC.gripper_mask
    tick = rig.step(human=target)
    assert (tick.mode, tick.source, tick.takeover_id) == (ControlMode.HUMAN, Source.HUMAN, 1)
    assert tick.epoch == old.epoch + 1
    np.testing.assert_allclose(tick.setpoint, target)
    assert rig.gate.request_control(False, rig.now)[0]
    assert rig.gate.on_chunk(old, rig.now).startswith('epoch:')
    assert rig.take().gate.takeover_id == 2


def test_release_needs_a_plan_observed_after_it():
    rig = Rig().run_policy().take()
    rig.step(3, human=HOME)
    rig.gate.request_control(False, rig.now)
    assert rig.mode == ControlMode.PAUSED
    assert rig.send(stamp=rig.now - 0.05).startswith('release:')
    rig.step()
    assert rig.send() == ''
    assert rig.mode == ControlMode.POLICY


def test_a_lost_human_stream_holds_inside_human_then_hold():
    rig = Rig().run_policy().take()
    held = rig.step(5, human=HOME).setpoint
    fresh = rig.now
    while rig.mode == ControlMode.HUMAN:
        tick = rig.step()
        if rig.now - fresh > 0.1 + 1e-6:
            assert tick.source == Source.HOLD
            assert tick.takeover_id == 0
        np.testing.assert_array_equal(tick.setpoint, held)
        assert rig.now - fresh < 1.0
    assert rig.mode == ControlMode.HOLD
    assert rig.now - fresh >= 0.5
    assert 'human' in rig.gate.reason


def test_a_short_gap_in_the_human_stream_goes_on():
    rig = Rig().run_policy().take()
    rig.step(3, human=HOME)
    rig.step(6)
    assert rig.step(human=HOME).source == Source.HUMAN


def test_an_old_stamp_makes_a_fresh_human_message_stale():
    rig = Rig().run_policy().take()
    rig.gate.on_human(HOME, rig.now - 0.5, rig.now)
    assert rig.step().source == Source.HOLD


def test_an_unstamped_human_message_counts_by_receipt():
    rig = Rig().run_policy().take()
    rig.gate.on_human(HOME, 0.0, rig.now)
    assert rig.step().source == Source.HUMAN


def test_a_human_command_that_is_not_finite_is_ignored():
    rig = Rig().run_policy().take()
    assert rig.gate.on_human(np.full(7, np.nan), rig.now, rig.now).startswith('nonfinite')
    assert rig.step().source == Source.HOLD


def test_a_takeover_follows_one_sender_until_it_ends():
    rig = Rig().run_policy()
    near = HOME + 0.01
    assert rig.gate.on_human(HOME, rig.now, rig.now, 'a') == ''  # streams as it begins
    rig.take()
    refusal = rig.gate.on_human(near, rig.now, rig.now, 'b')
    assert refusal.startswith('driver: b sends while a drives')
    tick = rig.step()
    assert tick.source == Source.HUMAN
    np.testing.assert_array_equal(tick.requested, HOME)
    # a falls silent: nobody steps in, the robot holds
    while rig.mode == ControlMode.HUMAN:
        assert rig.gate.on_human(near, rig.now, rig.now, 'b')
        np.testing.assert_array_equal(rig.step().setpoint, HOME)
    assert rig.mode == ControlMode.HOLD
    assert rig.gate.refused['driver'] > 10
    # the next one belongs to the first who streams in it, and not to what was left of the last
    rig.arm()
    rig.send()
    rig.take()
    assert rig.gate.on_human(near, rig.now, rig.now, 'b') == ''
    assert rig.gate.on_human(HOME, rig.now, rig.now, '').startswith('driver: a sender without a name')
    assert rig.step().source == Source.HUMAN


def test_what_was_streamed_before_a_release_is_not_followed_after_it():
    rig = Rig().run_policy().take()
    assert rig.gate.on_human(HOME, rig.now, rig.now, 'a') == ''
    assert rig.gate.request_control(False, rig.now)[0]
    rig.take()
    assert rig.gate.on_human(HOME, rig.now, rig.now, 'b') == ''


def test_a_person_may_rescue_a_held_robot_but_the_policy_stays_out():
    rig = Rig().run_policy()
    rig.gate.hold('test', rig.now)
    rig.take().step(human=HOME)
    rig.gate.request_control(False, rig.now)
    assert rig.mode == ControlMode.HOLD
    assert 'gate/arm' in rig.gate.reason


def test_a_person_outranks_reset_and_reset_does_not_take_control_back():
    rig = Rig().run_policy()
    assert rig.gate.reset(True, rig.now)[0]
    rig.take()
    assert rig.mode == ControlMode.HUMAN
    accepted, message = rig.gate.reset(True, rig.now)
    assert not accepted
    assert 'release' in message


# limits


def test_a_fast_policy_is_slowed_and_then_held():
    rig = Rig().arm()
    far = HOME.copy()
    far[0] = 2.5
    rig.send(actions=np.tile(far, (20, 1)), dt=0.1)
    ticks = [rig.step() for _ in range(9)]
    assert all(tick.clamp_bits & CLAMP_VELOCITY for tick in ticks)
    steps = np.diff([t.setpoint[0] for t in ticks])
    assert np.all(steps <= 2.0 * PERIOD + 1e-9)
    assert rig.mode == ControlMode.HOLD
    assert 'velocity' in rig.gate.reason


def test_a_gripper_that_snaps_and_a_touched_limit_do_not_hold():
    rig = Rig(chunk_max_age_s=5.0).arm()
    actions = np.tile(HOME, (40, 1))
    actions[:, 6] = np.where(np.arange(40) % 4 < 2, 0.0, 0.1)
    actions[:, 0] = 2.6 + 1e-4
    rig.position[0] = rig.gate.measured[0] = 2.59
    rig.gate.setpoint = rig.position.copy()
    rig.send(actions=actions)
    ticks = [rig.step() for _ in range(70)]
    assert any(tick.clamp_bits & CLAMP_POSITION for tick in ticks)
    assert any(tick.clamp_bits & CLAMP_VELOCITY for tick in ticks)
    assert rig.mode == ControlMode.POLICY


def test_clamp_share_one_never_holds():
    rig = Rig(clamp_share=1.0).arm()
    rig.send(actions=np.tile(HOME + 9.0, (20, 1)))
    rig.step(38)
    assert rig.mode == ControlMode.POLICY


def test_a_blocked_arm_is_not_pushed_further_than_jump():
    rig = Rig(clamp_share=1.0).run_policy().take()
    target = HOME.copy()
    target[0] = 2.0
    for _ in range(20):
        rig.now += PERIOD
        rig.gate.on_joint_state(HOME, rig.now, rig.now)
        rig.gate.on_human(target, rig.now, rig.now)
        tick = rig.gate.tick(rig.now)
    assert tick.setpoint[0] == pytest.approx(SPEC.joints[0].jump)
