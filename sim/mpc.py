# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Sampling model-predictive control: plan by trying out, in simulations that branch from the present.

Predictive sampling (arXiv 2212.00541): splines of joint targets, disturbed at their knots, the best one is
kept; with a temperature above 0 their mean weighted by exp(-cost / temperature) instead (MPPI, arXiv
1509.01149). Only the first part of a plan is followed; then everything is planned anew, from the rest of
the plan before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from apprentice.robot.spec import RobotSpec
from apprentice.sim.state import BranchState
from apprentice.sim.worlds import Snapshot, Worlds

Cost = Callable[[Mapping[str, np.ndarray]], np.ndarray]  # state by name [N, d] -> [N], small is good
SPLINES = ('zero', 'linear', 'cubic')


@dataclass(frozen=True)
class PlannerConfig:
    """How plans are made.

    Attributes:
        samples: simulations at once; the first follows the plan before, undisturbed.
        horizon_s: how far it looks.
        knots: of the spline over the horizon.
        spline: zero (steps), linear or cubic.
        noise: standard deviation of a knot of an arm joint (rad), for the coarsest sample; samples have
            between a tenth of it and all of it.
        gripper: share of the samples that open or close the gripper at a random knot.
        temperature: 0 keeps the best sample; above 0 the weighted mean, relative to the spread of the costs.
        rounds: of sampling in one plan.
        final: weight of the last state of the horizon, in steps.
    """

    samples: int = 32
    horizon_s: float = 0.6
    knots: int = 3
    spline: str = 'linear'
    noise: float = 0.25
    gripper: float = 0.3
    temperature: float = 0.0
    rounds: int = 1
    final: float = 5.0

    def __post_init__(self) -> None:
        if self.spline not in SPLINES:
            raise ValueError(f'spline is {self.spline!r}; use one of {list(SPLINES)}')
        if self.samples < 2 or self.knots < 1 or self.horizon_s <= 0 or self.rounds < 1:
            raise ValueError('a planner needs 2 samples, 1 knot, 1 round and a horizon above 0 at least')


class SamplingPlanner:
    """Plans joint targets for one robot.

    Args:
        worlds: as many simulations as samples, of the same robot and task as what is controlled; the
            planner owns their state.
        cost: of states; it is asked for all samples at each control step of the horizon.
        period: of the control steps (s).
    """

    def __init__(self, worlds: Worlds, cost: Cost, config: PlannerConfig | None = None, seed: int = 0):
        self.config = config or PlannerConfig(samples=worlds.count)
        if worlds.count != self.config.samples:
            raise ValueError(
                f'{self.config.samples} samples need as many simulations; there are {worlds.count}'
            )
        self._worlds, self._cost = worlds, cost
        self._state = BranchState(worlds)
        spec: RobotSpec = worlds.spec
        self.period = 1 / spec.control_hz
        self.ticks = max(1, round(self.config.horizon_s / self.period))
        self._lower, self._upper = spec.vector('lower'), spec.vector('upper')
        self._reach = spec.vector('velocity') * self.period
        self._gripper = spec.gripper_mask
        self._rng = np.random.default_rng(seed)
        self._times = np.arange(1, self.config.knots + 1) / self.config.knots * self.config.horizon_s
        self._knots: np.ndarray | None = None
        self.seconds: list[float] = []  # each plan took, of wall time
        self.cpu_seconds: list[float] = []  # and of processor time, all threads

    def reset(self) -> None:
        """A new episode: forget the plan."""
        self._knots = None
        self.seconds.clear()
        self.cpu_seconds.clear()

    def plan(self, now: Snapshot, setpoint: np.ndarray, elapsed_s: float = 0.0) -> np.ndarray:
        """Joint targets [ticks, dim] for the control steps from now on.

        Args:
            now: the simulation as it is.
            setpoint: what the robot is commanded at present [dim].
            elapsed_s: since the plan before.
        """
        started, used = time.perf_counter(), time.process_time()
        knots = self._shifted(setpoint, elapsed_s)
        for _ in range(self.config.rounds):
            tried = self._disturbed(knots)
            costs = self._evaluate(now, setpoint, tried)
            knots = self._chosen(tried, costs)
        self._knots = knots
        self.seconds.append(time.perf_counter() - started)
        self.cpu_seconds.append(time.process_time() - used)
        return self._targets(knots[None], setpoint)[0]

    def _shifted(self, setpoint: np.ndarray, elapsed_s: float) -> np.ndarray:
        if self._knots is None:
            return np.tile(setpoint, (self.config.knots, 1))
        known, values = np.concatenate([[0.0], self._times]), np.concatenate([setpoint[None], self._knots])
        later = np.minimum(self._times + elapsed_s, self._times[-1])
        return np.stack([np.interp(later, known, column) for column in values.T], axis=1)

    def _disturbed(self, knots: np.ndarray) -> np.ndarray:
        """Knots [samples, knots, dim]: the plan itself, then disturbed ones."""
        config, rng = self.config, self._rng
        shape = (config.samples - 1, *knots.shape)
        scale = np.geomspace(0.1, 1.0, config.samples - 1)[:, None, None] * config.noise
        tried = knots + scale * rng.normal(size=shape) * ~self._gripper
        if self._gripper.any():
            changed = rng.random(config.samples - 1) < config.gripper
            wide = rng.random(config.samples - 1) < 0.5
            first = rng.integers(0, config.knots, config.samples - 1)
            later = changed[:, None] & (np.arange(config.knots) >= first[:, None])
            ends = np.where(wide[:, None], self._upper[self._gripper], self._lower[self._gripper])
            for column, index in enumerate(np.flatnonzero(self._gripper)):
                tried[:, :, index] = np.where(later, ends[:, column, None], tried[:, :, index])
        tried = np.concatenate([knots[None], tried])
        return np.clip(tried, self._lower, self._upper)

    def _evaluate(self, now: Snapshot, setpoint: np.ndarray, tried: np.ndarray) -> np.ndarray:
        worlds = self._worlds
        for sim in range(worlds.count):
            worlds.restore(sim, now)
        self._state.bind()
        targets, total = self._targets(tried, setpoint), np.zeros(worlds.count)
        cost = total
        for tick in range(self.ticks):
            worlds.step(targets[:, tick], self.period)
            cost = self._cost(self._state.read())
            total = total + cost
        total = total + self.config.final * cost
        return np.where(worlds.failed | ~np.isfinite(total), np.inf, total)

    def _chosen(self, tried: np.ndarray, costs: np.ndarray) -> np.ndarray:
        best = int(np.argmin(costs))
        if not np.isfinite(costs[best]):
            raise RuntimeError('every sample of the plan diverged or has a cost that is not finite')
        if self.config.temperature <= 0:
            return tried[best]
        sound = np.isfinite(costs)
        above = np.where(sound, costs - costs[best], 0.0)
        spread = max(float(np.std(costs[sound])), 1e-9)
        weights = np.where(sound, np.exp(-above / (self.config.temperature * spread)), 0.0)
        mean = np.tensordot(weights / weights.sum(), tried, axes=1)
        mean[:, self._gripper] = tried[best][:, self._gripper]  # half closed is neither
        return mean

    def _targets(self, knots: np.ndarray, setpoint: np.ndarray) -> np.ndarray:
        """Setpoints [samples, ticks, dim] along the splines, within velocity and position limits."""
        times = np.arange(1, self.ticks + 1) * self.period
        known = np.concatenate([[0.0], self._times])
        values = np.concatenate([np.broadcast_to(setpoint, (len(knots), 1, len(setpoint))), knots], axis=1)
        if self.config.spline == 'zero':
            wanted = knots[:, np.minimum(np.searchsorted(self._times, times - 1e-9), self.config.knots - 1)]
        elif self.config.spline == 'cubic' and self.config.knots > 1:
            wanted = CubicSpline(known, values, axis=1, bc_type='natural')(times)
        else:
            after = np.clip(np.searchsorted(known, times - 1e-9), 1, len(known) - 1)
            share = ((times - known[after - 1]) / (known[after] - known[after - 1]))[:, None]
            wanted = values[:, after - 1] * (1 - share) + values[:, after] * share
        # a gripper does not pass slowly from open to closed
        step = np.minimum(np.searchsorted(self._times, times - 1e-9), self.config.knots - 1)
        wanted[:, :, self._gripper] = knots[:, step][:, :, self._gripper]
        found = np.empty_like(wanted)
        last = np.broadcast_to(setpoint, wanted[:, 0].shape)
        for tick in range(self.ticks):
            last = last + np.clip(wanted[:, tick] - last, -self._reach, self._reach)
            last = np.clip(last, self._lower, self._upper)
            found[:, tick] = last
        return found
