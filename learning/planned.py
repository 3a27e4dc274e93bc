# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A reward program drives the simulated robot through a sampling planner: a trial without training.

As language to rewards does it (arXiv 2306.08647): the cost that a language model wrote is minimised by MPC.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from apprentice.reward_models.programs.folder import Written
from apprentice.reward_models.programs.forms import Form, make_form
from apprentice.reward_models.programs.reflection import POINTS, Trial, points
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import RewardKind
from apprentice.sim.mpc import Cost, PlannerConfig, SamplingPlanner
from apprentice.sim.state import read_state
from apprentice.sim.task import Task
from apprentice.sim.worlds import Worlds


@dataclass(frozen=True)
class PlannedConfig:
    """How a planned episode is run.

    Attributes:
        replan_s: how much of a plan is followed.
        max_duration_s: then the episode is a failure; 0 takes the task's.
        threads: of the physics; 0 takes all processors.
    """

    planner: PlannerConfig = field(default_factory=PlannerConfig)
    replan_s: float = 0.1
    max_duration_s: float = 0.0
    threads: int = 1


@dataclass
class PlannedEpisode:
    """One episode.

    Attributes:
        progress: the task's staged progress at the end.
        simulated_s: how long it took in simulation.
        plans_hz: plans a second of wall time; planning alone.
        plans_per_cpu_s: plans a second of processor time; a loaded machine changes it less.
        states: at each plan, one dict of [1, d].
    """

    seed: int
    success: bool
    progress: float
    simulated_s: float
    plans_hz: float
    plans_per_cpu_s: float
    states: list[dict[str, np.ndarray]] = field(default_factory=list)


def cost_of(form: Form) -> Cost:
    """A program as a cost of the planner: rewards with the sign turned."""
    sign = 1.0 if form.kind == RewardKind.COST else -1.0

    def cost(state: Mapping[str, np.ndarray]) -> np.ndarray:
        return sign * form.evaluate(state)[0]

    return cost


class Planned:
    """The robot of ``spec`` at one task, driven by a planner.

    Args:
        cost: what the planner makes small.
    """

    def __init__(
        self, spec: RobotSpec, cost: Cost, config: PlannedConfig | None = None, task: Task | None = None
    ):
        self.config = config or PlannedConfig()
        self.world = Worlds(spec, 1, task=task)
        self._branches = Worlds(spec, self.config.planner.samples, threads=self.config.threads, task=task)
        self._cost = cost

    def run(self, seed: int, instruction: str = '') -> PlannedEpisode:
        """One episode from the start of a seed."""
        world, config, spec = self.world, self.config, self.world.spec
        planner = SamplingPlanner(self._branches, self._cost, config.planner, seed)
        world.reset([0], [seed], instruction)
        setpoint, ticks = world.joints[0].copy(), max(1, round(config.replan_s * spec.control_hz))
        period, done, states = 1 / spec.control_hz, 0, []
        limit = (config.max_duration_s or world.max_duration_s) - 1e-9
        success = False
        while not success and done * period < limit and not world.failed[0]:
            states.append(read_state(world))
            targets = planner.plan(world.save(0), setpoint, config.replan_s if done else 0.0)
            for target in targets[:ticks]:
                setpoint = target
                world.step(setpoint[None], period)
                done += 1
                success = bool(world.success()[0])
                if success:
                    break
        states.append(read_state(world))
        return PlannedEpisode(
            seed, success, float(world.progress()[0]), done * period,
            len(planner.seconds) / sum(planner.seconds),
            len(planner.seconds) / max(sum(planner.cpu_seconds), 1e-9), states,
        )  # fmt: skip

    def close(self) -> None:
        """Free the simulations."""
        self.world.close()
        self._branches.close()


def trial(
    program: Written,
    spec: RobotSpec,
    seeds: Sequence[int],
    config: PlannedConfig | None = None,
    task: Task | None = None,
) -> Trial:
    """Success of a program's planner over starts, and what its components did (for reflection).

    Raises ProgramError where a program is stopped or refused.
    """
    form = make_form(program.form, program.source, program.task.sizes, program.task.residuals)
    with contextlib.closing(form), contextlib.closing(Planned(spec, cost_of(form), config, task)) as planned:
        episodes = [planned.run(seed, program.task.instruction) for seed in seeds]
        curves: dict[str, list[list[float]]] = {}
        for episode in episodes:
            states = [episode.states[i] for i in np.linspace(0, len(episode.states) - 1, POINTS).astype(int)]
            for state, before in zip(states, [states[0], *states], strict=False):
                for name, value in form.evaluate(state, before)[1].items():
                    curves.setdefault(name, []).append([float(value[0])])
    means = {
        name: np.reshape(values, (len(episodes), POINTS)).mean(axis=0).tolist()
        for name, values in curves.items()
    }
    done = np.array([episode.success for episode in episodes], float)
    so_far = np.cumsum(done) / np.arange(1, len(done) + 1)
    return Trial(float(done.mean()), means, points(so_far.tolist()), len(episodes))


def timed_expert(
    spec: RobotSpec, seeds: Sequence[int], instruction: str, idle: bool, task: Task | None = None
) -> dict:
    """Success of the task's scripted expert, or of doing nothing, on the same starts; wall seconds too."""
    from apprentice.learning.golden import drive

    started, successes, steps = time.perf_counter(), 0, 0
    with contextlib.closing(Worlds(spec, 1, task=task)) as worlds:
        expert = worlds.expert()
        for seed in seeds:
            told = worlds.reset([0], [seed], instruction)[0]
            setpoint, success = worlds.joints[0].copy(), False
            for _ in range(round(worlds.max_duration_s / spec.action_dt)):
                state = worlds.joints[0].copy()
                target = setpoint if idle else expert.act(state, worlds.objects(0), told)
                setpoint = drive(worlds, setpoint, target)
                steps += 1
                success = bool(worlds.success()[0])
                if success:
                    break
            successes += success
    return {'success': successes / len(seeds), 'steps': steps, 'wall_s': time.perf_counter() - started}
