# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A fake clock around the real gate and the real scheduler, with a planner of a chosen latency."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from apprentice.policies.execution import ChunkScheduler, Job
from apprentice.robot.gate import Gate, GateConfig, Tick
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import ActionChunk, Observation

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
PERIOD, DT = 1.0 / SPEC.control_hz, SPEC.action_dt
TICKS = round(DT / PERIOD)  # control steps of a row
HOME = SPEC.vector('home')


@dataclass
class Plan:
    """What came of a job: when it was ready, and the chunk, None where it was discarded."""

    job: Job
    ready: float
    chunk: ActionChunk | None = None
    refusal: str = ''


class Bench:
    """One call of :meth:`step` is one control step of the gate.

    Every chunk has rows of its own, so that a row tells which chunk it is from.

    Attributes:
        latency: seconds that planning takes.
        frame_rows: rows between two frames.
        jitter: seconds that stamps of frames lie beside the grid, at random.
        plans, ticks: everything that was planned and executed.
    """

    def __init__(
        self, latency: float = 0.0, horizon: int = 16, jitter: float = 0.0, frame_rows: int = 1, **settings
    ):
        gate = {
            'chunk_max_age_s': 5.0,
            'policy_hold_s': 30.0,
            'human_latch_s': 30.0,
            **settings.pop('gate', {}),
        }
        self.gate = Gate(SPEC, GateConfig(**gate))
        self.scheduler = ChunkScheduler(DT, **{'execute_steps': 4, **settings})
        self.latency, self.horizon, self.jitter = latency, horizon, jitter
        self.frame_rows = frame_rows
        self.count, self.position = 0, HOME.copy()
        self.plans: list[Plan] = []
        self.ticks: list[Tick] = []
        self._busy: Plan | None = None
        self._random = np.random.default_rng(0)
        self.scheduler.on_task('pick up the red cube', 'episode')

    @property
    def now(self) -> float:
        return 100.0 + self.count * PERIOD

    @property
    def jobs(self) -> list[Job]:
        return [plan.job for plan in self.plans]

    def arm(self) -> Bench:
        self.gate.on_joint_state(self.position, self.now, self.now)
        assert self.gate.arm(self.now)[0]
        return self

    def step(self, count: int = 1) -> Bench:
        for _ in range(count):
            self.count += 1
            self.gate.on_joint_state(self.position, self.now, self.now)
            self._control()
            if self.count % (TICKS * self.frame_rows) == 0:
                self._finish()  # a plan that is ready now comes before the frame of now
                stamp = self.now + self._random.uniform(-self.jitter, self.jitter)
                self.scheduler.on_observation(Observation(stamp, {}, self.position, ''), self.now)
                self.scheduler.schedule()
            self._plan()
            self._finish()
            self._plan()
            tick = self.gate.tick(self.now)
            self.ticks.append(tick)
            self.position = tick.setpoint
            self.scheduler.on_executed(tick.stamp, tick.epoch, tick.chunk_seq, tick.chunk_index)
        return self

    def rows(self, count: float) -> Bench:
        return self.step(round(count * TICKS))

    def call(self, name: str, *arguments) -> None:
        """A command to the gate, whose new state the scheduler hears at once."""
        done, message = getattr(self.gate, name)(*arguments, self.now)
        assert done, message
        self._control()

    def _control(self) -> None:
        self.scheduler.on_control(self.gate.mode, self.gate.epoch, self.gate.since)
        self.scheduler.schedule()

    def _plan(self) -> None:
        job = self.scheduler.take() if self._busy is None else None
        if job is not None:
            self._busy = Plan(job, self.now + self.latency)
            self.plans.append(self._busy)
            if self.latency == 0:
                self._finish()

    def _finish(self) -> None:
        plan = self._busy
        if plan is None or self.now < plan.ready - 1e-9:
            return
        self._busy = None
        # small and different: within the limits, so the gate follows every row as it is
        actions = HOME + self._random.uniform(-0.02, 0.02, (self.horizon, SPEC.dim)) * ~SPEC.gripper_mask
        chunk = self.scheduler.finish(plan.job, actions)
        if chunk is not None and not chunk.shadow:
            plan.chunk = dataclasses.replace(chunk, names=SPEC.joint_names)
            plan.refusal = self.gate.on_chunk(plan.chunk, self.now)
            self._control()

    # what is known afterwards

    def executed(self, begin: float, end: float) -> list[Tick]:
        """The control steps within [begin, end) that followed a chunk."""
        return [t for t in self.ticks if t.chunk_seq and begin - 1e-6 <= t.stamp < end - 1e-6]

    def row(self, tick: Tick) -> np.ndarray:
        """The row that a control step went to."""
        return next(p.chunk for p in self.plans if p.chunk and p.chunk.seq == tick.chunk_seq).actions[
            tick.chunk_index
        ]

    def delays(self) -> list[int]:
        """Of every executed chunk the row that was executed first."""
        first: dict[int, int] = {}
        for tick in self.ticks:
            if tick.chunk_seq:
                first.setdefault(tick.chunk_seq, tick.chunk_index)
        return list(first.values())
