# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A gate, a fake clock and an arm, for the tests of the gate's logic."""

import dataclasses

import numpy as np

from apprentice.robot.gate import Gate, GateConfig
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import ActionChunk, ControlMode

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
PERIOD = 1.0 / SPEC.control_hz
HOME = SPEC.vector('home')


class Rig:
    """A gate, a clock, and an arm that reaches every setpoint within one period."""

    def __init__(self, **config):
        self.gate = Gate(SPEC, GateConfig(**config))
        self.now, self.seq = 100.0, 0
        self.position = HOME.copy()
        self.joint_states = True
        self.executed = []
        self.feel()

    def feel(self):
        self.gate.on_joint_state(self.position, self.now, self.now)

    def step(self, count=1, human=None, chunk=False):
        for _ in range(count):
            self.now += PERIOD
            if self.joint_states:
                self.feel()
            if human is not None:
                self.gate.on_human(human, self.now, self.now)
            if chunk:
                assert self.send() == ''
            tick = self.gate.tick(self.now)
            self.executed.append(tick)
            if tick.setpoint is not None:
                self.position = tick.setpoint.copy()
        return tick

    def plan(self, **changes):
        self.seq += 1
        chunk = ActionChunk(
            stamp=self.now,
            actions=np.tile(HOME + 0.05 * ~SPEC.gripper_mask, (8, 1)),
            dt=0.1,
            seq=self.seq,
            epoch=self.gate.epoch,
            names=SPEC.joint_names,
        )
        return dataclasses.replace(chunk, **changes)

    def send(self, **changes):
        return self.gate.on_chunk(self.plan(**changes), self.now)

    def arm(self):
        assert self.gate.arm(self.now)[0]
        return self

    def run_policy(self):
        self.arm()
        assert self.send() == ''
        assert self.gate.mode == ControlMode.POLICY
        return self

    def take(self):
        assert self.gate.request_control(True, self.now)[0]
        return self

    @property
    def mode(self):
        return self.gate.mode
