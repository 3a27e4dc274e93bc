# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The sampling planner: it goes where the cost is small, keeps the robot's limits, and repeats itself."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from task_checks import spec_of

from apprentice.sim.mpc import SPLINES, PlannerConfig, SamplingPlanner
from apprentice.sim.state import BranchState, read_state
from apprentice.sim.tasks.pick import PickCube
from apprentice.sim.worlds import Worlds

TASK = PickCube()
SPEC = spec_of(TASK)
GOAL = SPEC.vector('home') + np.array([0.3, -0.2, 0.1, 0, 0, 0, 0])


def posture(state):
    return np.sum((state['joints'] - GOAL) ** 2, axis=1)


def planner(worlds, cost=posture, seed=0, **settings) -> SamplingPlanner:
    config = PlannerConfig(**{'samples': worlds.count, 'horizon_s': 0.3, 'knots': 2, **settings})
    return SamplingPlanner(worlds, cost, config, seed)


@pytest.fixture(scope='module')
def worlds():
    with contextlib.closing(Worlds(SPEC, 8, task=TASK)) as many:
        yield many


@pytest.fixture
def world():
    with contextlib.closing(Worlds(SPEC, 1, task=TASK)) as one:
        one.reset([0], [3])
        yield one


def drive(world, planned, plans: int = 8) -> float:
    """Follow two control steps of each plan; the cost at the end."""
    setpoint = world.joints[0].copy()
    for number in range(plans):
        for target in planned.plan(world.save(0), setpoint, 0.1 if number else 0.0)[:2]:
            setpoint = target
            world.step(setpoint[None], planned.period)
    return float(posture(read_state(world))[0])


@pytest.mark.parametrize(('settings', 'left'), [({}, 0.2), ({'temperature': 0.3}, 0.6), ({'rounds': 2}, 0.2)])
def test_it_goes_where_the_cost_is_small(worlds, world, settings, left):
    before = float(posture(read_state(world))[0])
    assert drive(world, planner(worlds, **settings)) < left * before


@pytest.mark.parametrize('spline', SPLINES)
def test_plans_keep_the_limits_of_the_robot(worlds, world, spline):
    setpoint = world.joints[0].copy()
    planned = planner(worlds, spline=spline, noise=3.0, knots=3)
    plan = planned.plan(world.save(0), setpoint)
    assert plan.shape == (6, SPEC.dim)
    steps = np.diff(np.concatenate([setpoint[None], plan]), axis=0)
    assert np.all(np.abs(steps) <= SPEC.vector('velocity') / SPEC.control_hz + 1e-9)
    assert np.all((plan >= SPEC.vector('lower')) & (plan <= SPEC.vector('upper')))


def test_the_same_seed_makes_the_same_plan(worlds, world):
    now, setpoint = world.save(0), world.joints[0].copy()
    plans = [planner(worlds, seed=seed).plan(now, setpoint) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(plans[0], plans[1])
    assert not np.array_equal(plans[0], plans[2])


def test_planning_does_not_move_the_robot(worlds, world):
    before = read_state(world)
    planner(worlds).plan(world.save(0), world.joints[0].copy())
    for name, values in read_state(world).items():
        np.testing.assert_array_equal(values, before[name])


def test_a_plan_goes_on_from_the_one_before(worlds, world):
    """Where every disturbance is refused, the rest of the plan before is followed and its end is held."""
    planned = planner(worlds, noise=0.0, gripper=0.0, spline='zero', knots=3)
    setpoint = world.joints[0].copy()
    planned._knots = setpoint + np.arange(1, 4)[:, None] * 0.01
    shifted = planned._shifted(setpoint, 0.1)
    np.testing.assert_allclose(shifted[:, 0] - setpoint[0], [0.02, 0.03, 0.03])


def test_samples_whose_cost_is_not_finite_are_left_out(worlds, world):
    def broken(state):
        cost = posture(state)
        cost[1:] = np.nan
        return cost

    setpoint = world.joints[0].copy()
    plan = planner(worlds, broken).plan(world.save(0), setpoint)
    np.testing.assert_allclose(plan, np.tile(setpoint, (6, 1)))
    with pytest.raises(RuntimeError, match='every sample'):
        planner(worlds, lambda state: np.full(8, np.nan)).plan(world.save(0), setpoint)


def test_wrong_settings_are_refused(worlds):
    with pytest.raises(ValueError, match='spline'):
        PlannerConfig(spline='round')
    with pytest.raises(ValueError, match='at least'):
        PlannerConfig(samples=1)
    with pytest.raises(ValueError, match='9 samples need as many simulations; there are 8'):
        planner(worlds, samples=9)


def test_branches_read_the_same_state_as_asking_the_task(worlds, world):
    for sim in range(worlds.count):
        worlds.restore(sim, world.save(0))
    branches = BranchState(worlds)
    branches.bind()
    worlds.step(worlds.joints + 0.1 * np.arange(8)[:, None], 0.1)
    fast, slow = branches.read(), read_state(worlds)
    assert set(fast) == set(slow)
    assert branches._bodies
    for name, values in slow.items():
        np.testing.assert_allclose(fast[name], values, atol=1e-12)
    tip = slow['tip']
    np.testing.assert_allclose(tip[:, :3], worlds.view.tip)
    np.testing.assert_allclose(np.linalg.norm(tip[:, 3:], axis=1), 1.0)
