# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Bounded waits of a lock-step control step, under a fake wall clock."""

from gate_rig import HOME, PERIOD, Rig

from apprentice.robot.lockstep import IDLE_PERIOD_S, LockstepWait
from apprentice.robot.types import ControlMode


def test_lockstep_waits_for_a_newer_chunk_after_execute_steps_rows_then_holds():
    rig = Rig().run_policy()
    wait = LockstepWait(rig.gate, execute_steps=2, policy_wait_s=5.0, human_wait_s=1.0)
    for _ in range(3):
        rig.now += PERIOD
        rig.feel()
        wait.begin(rig.now)
        assert wait.over(0.0)
        rig.gate.tick(rig.now)
    rig.now += PERIOD
    rig.feel()
    wait.begin(rig.now)
    assert not wait.over(0.0)
    assert not wait.over(4.9)
    assert rig.send() == ''
    assert wait.over(4.95)
    rig.now += 0.2
    wait.begin(rig.now)
    assert not wait.over(10.0)
    assert wait.over(15.0)
    assert rig.mode == ControlMode.HOLD


def test_lockstep_waits_for_the_person_who_took_over_meanwhile():
    rig = Rig().run_policy()
    wait = LockstepWait(rig.gate, execute_steps=1, policy_wait_s=5.0, human_wait_s=1.0)
    rig.now += 0.1
    rig.feel()
    wait.begin(rig.now)
    assert not wait.over(0.0)
    rig.take()
    assert not wait.over(4.0)
    assert not wait.over(4.9)
    rig.gate.on_human(HOME, rig.now, rig.now)
    assert wait.over(4.95)


def test_lockstep_paces_a_missing_policy_after_one_full_wait():
    rig = Rig().arm()
    wait = LockstepWait(rig.gate, execute_steps=4, policy_wait_s=5.0, human_wait_s=1.0)
    wait.begin(100.0)
    assert not wait.over(0.0)
    assert not wait.over(4.9)
    assert wait.over(5.0)
    assert rig.mode == ControlMode.PAUSED
    wait.begin(100.1)
    assert not wait.over(6.0)
    assert wait.over(6.001 + PERIOD)


def test_lockstep_does_not_wait_long_off_the_image_grid_or_after_a_refusal():
    rig = Rig().arm()
    wait = LockstepWait(rig.gate, execute_steps=4, policy_wait_s=5.0, human_wait_s=1.0)
    wait.begin(100.05)
    assert not wait.over(0.0)
    assert wait.over(PERIOD + 0.001)
    wait.begin(100.1)
    assert not wait.over(1.0)
    wait.refused(rig.plan(stamp=100.1, epoch=0))
    assert wait.over(1.0)


def test_time_does_not_fly_while_nobody_moves_the_robot():
    wait = LockstepWait(Rig().gate, 4, 5.0, 1.0)
    wait.begin(1.0)
    assert not wait.over(10.0)  # DISARMED
    assert not wait.over(10.0 + 0.9 * IDLE_PERIOD_S)
    assert wait.over(10.0 + 1.1 * IDLE_PERIOD_S)
