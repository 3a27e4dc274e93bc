# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Whatever arrives, in whatever order, the commanded setpoint keeps its promises."""

import numpy as np
import pytest
from gate_rig import HOME, PERIOD, SPEC, Rig

from apprentice.robot.types import ControlMode, Source


@pytest.mark.parametrize('seed', range(8))
def test_whatever_arrives_the_setpoint_is_finite_inside_and_slow(seed):
    random = np.random.default_rng(seed)
    rig = Rig()
    gate = rig.gate
    lower, upper = SPEC.vector('lower'), SPEC.vector('upper')
    step = SPEC.vector('velocity') * PERIOD + 1e-9
    specials = [np.nan, np.inf, -np.inf, 1e300, -1e300, 0.0]

    def vector():
        value = HOME + random.normal(0, random.choice([0.02, 0.5, 5.0]), 7)
        if random.random() < 0.05:
            value[random.integers(7)] = random.choice(specials)
        return value

    def stamp():
        return rig.now + random.choice([0.0, -0.02, -0.3, -2.0, 0.3], p=[0.8, 0.1, 0.04, 0.03, 0.03])

    def chunk():
        actions = np.array([vector() for _ in range(random.integers(0, 6))]).reshape(-1, 7)
        epoch = max(0, gate.epoch - int(random.random() < 0.1))
        gate.on_chunk(
            rig.plan(actions=actions, stamp=stamp(), epoch=epoch, dt=random.choice([0.1, 0.02, 0.0])), rig.now
        )

    actions = [
        (chunk, 6),
        (lambda: gate.on_human(vector(), stamp(), rig.now), 6),
        (lambda: gate.on_joint_state(vector(), stamp(), rig.now), 1),
        (lambda: gate.arm(rig.now), 3),
        (lambda: gate.disarm(rig.now), 0.2),
        (lambda: gate.stop(rig.now), 0.2),
        (lambda: gate.clear(rig.now), 2),
        (lambda: gate.request_control(bool(random.integers(2)), rig.now), 1),
        (lambda: gate.pause(bool(random.integers(2)), rig.now), 0.5),
        (lambda: gate.reset(bool(random.integers(2)), rig.now), 0.5),
    ]
    weights = np.array([weight for _, weight in actions])
    before, modes = None, set()
    for _ in range(1500):
        rig.now += PERIOD * random.choice([1.0, 0.3, 3.0, -1.0], p=[0.9, 0.05, 0.045, 0.005])
        if random.random() < 0.98:
            rig.feel()
        for _ in range(random.integers(3)):
            actions[random.choice(len(actions), p=weights / weights.sum())][0]()
        tick = gate.tick(rig.now)
        modes.add(tick.mode)
        value = tick.setpoint
        assert np.all(np.isfinite(value))
        assert np.all((value >= lower) & (value <= upper))
        resynchronised = (
            tick.mode in (ControlMode.DISARMED, ControlMode.RESET)
            and before is not None
            and gate.limits.far(before, gate.measured)
        )
        if before is not None and not resynchronised:
            assert np.all(np.abs(value - before) <= step)
        if tick.mode not in (ControlMode.POLICY, ControlMode.HUMAN):
            assert tick.source not in (Source.POLICY, Source.HUMAN)
        before = value
        rig.position = np.clip(value + random.normal(0, 0.01, 7), lower, upper)
    assert {ControlMode.POLICY, ControlMode.HUMAN, ControlMode.HOLD, ControlMode.RESET} <= modes
