# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Episodes without a ROS graph: demonstrations, evaluation, and people in the loop, many at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from apprentice.robot.chunk import next_setpoint
from apprentice.robot.guidance import AdviceKind
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import ActionChunk, Episode, Observation, Outcome, Reward, RewardKind, Source
from apprentice.sim.people import ScriptedPerson
from apprentice.sim.task import Expert
from apprentice.sim.world import World
from apprentice.sim.worlds import Worlds

Act = Callable[[Observation], np.ndarray]
ActBatch = Callable[[list[Observation]], np.ndarray]
Turn = tuple[int, int, int]  # seed of the episode, how often that seed came before, step of the episode
# turn, time [s], true progress, whether a person drives -> what is advised
Advise = Callable[[Turn, float, float, bool], AdviceKind]

PREDICATE, TIMEOUT, FAULT = 2, 3, 5  # EpisodeState.CAUSE_*
_LOGGED = ('stamps', 'state', 'action', 'source', 'takeover', 'truth')


@dataclass(frozen=True)
class SeededAct:
    """A policy that draws noise. It is told whose turn it is, so an episode can have noise of its own,
    whatever runs beside it and before it.

    Attributes:
        act: observations and the turn of each, to chunks [B, H, dim].
    """

    act: Callable[[list[Observation], list[Turn]], np.ndarray]


Policy = ActBatch | SeededAct


class Simulations(Protocol):
    """What rollouts need of :class:`Worlds` or :class:`~apprentice.sim.pool.WorldPool`."""

    spec: RobotSpec
    count: int
    instructions: list[str]

    @property
    def max_duration_s(self) -> float: ...
    @property
    def joints(self) -> np.ndarray: ...
    @property
    def failed(self) -> np.ndarray: ...
    def reset(self, sims: Sequence[int], seeds: Sequence[int], instruction: str = '') -> list[str]: ...
    def step(self, targets: np.ndarray, duration_s: float, sims: Sequence[int] | None = None) -> object: ...
    def render(self, sims: Sequence[int] | None = None) -> dict[str, np.ndarray]: ...
    def progress(self) -> np.ndarray: ...
    def success(self) -> np.ndarray: ...
    def objects(self, sim: int = 0) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class RolloutConfig:
    """How episodes are run.

    Attributes:
        task: instruction; empty: drawn for each start.
        max_duration_s: then the episode is a failure; 0 takes the task's.
        execute_steps: rows of a chunk followed before the next is planned.
        eval_only: marks the episodes as not to be learned from.
    """

    task: str = ''
    max_duration_s: float = 0.0
    execute_steps: int = 4
    eval_only: bool = False


@dataclass
class _Trial:
    """One episode being run in simulation ``sim``."""

    spec: RobotSpec
    config: RolloutConfig
    seed: int
    instruction: str
    setpoint: np.ndarray
    expert: Expert | None
    person: ScriptedPerson | None
    start: float
    repeat: int = 0
    step: int = 0
    chunk: ActionChunk | None = None
    takeovers: int = 0
    outcome: Outcome = Outcome.FAILURE
    cause: int = TIMEOUT
    log: dict[str, list] = field(default_factory=lambda: {k: [] for k in _LOGGED})
    images: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.human = self.expert is not None
        self.images = {camera.name: [] for camera in self.spec.cameras}
        if self.person:
            self.person.reset(self.start)

    @property
    def now(self) -> float:
        return self.start + self.step * self.spec.action_dt

    def change_hands(self, progress: float, advise: Advise | None) -> None:
        """Whether the person takes over or hands back."""
        person = self.person
        if person is None:
            return
        if advise is not None:
            turn = (int(self.seed), self.repeat, self.step)
            person.advised(self.now, advise(turn, self.now, progress, self.human))
        if self.human:
            if person.lets_go(self.now, progress):
                self.human, self.chunk = False, None
        elif person.wants_control(self.now, progress):
            self.human, self.takeovers = True, self.takeovers + 1

    def over(self, progress: float, success: bool, failed: bool) -> bool:
        """Log the truth; whether the episode ends here."""
        self.log['truth'].append((self.now, progress, success))
        if failed:
            self.cause = FAULT
        elif success:
            self.outcome, self.cause = Outcome.SUCCESS, PREDICATE
        return failed or success or self.step >= round(self.config.max_duration_s / self.spec.action_dt)

    @property
    def plans(self) -> bool:
        """Whether the policy is asked now."""
        return not self.human and (self.chunk is None or self.step % self.config.execute_steps == 0)

    def record(self, frames: dict[str, np.ndarray], state: np.ndarray) -> None:
        for name, frame in frames.items():
            self.images[name].append(frame)
        self.log['stamps'].append(self.now)
        self.log['state'].append(state)
        self.log['source'].append(int(Source.HUMAN if self.human else Source.POLICY))
        self.log['takeover'].append(max(1, self.takeovers) if self.human else 0)

    def follow(self, tick: int, period: float) -> np.ndarray:
        """The setpoint [dim] of one control tick, with the robot's limits."""
        spec = self.spec
        followed = next_setpoint(self.chunk, self.setpoint, self.now + tick * period, period)
        if followed is not None:
            reach = spec.vector('velocity') * period
            setpoint = self.setpoint + np.clip(followed[0] - self.setpoint, -reach, reach)
            self.setpoint = np.clip(setpoint, spec.vector('lower'), spec.vector('upper'))
        return self.setpoint

    def episode(self, episode_id: str = '') -> Episode:
        """As the recorder would have logged it."""
        log = self.log
        return Episode(
            episode_id=episode_id or attempt_id(self.seed, self.repeat),
            task=self.instruction,
            seed=self.seed,
            outcome=self.outcome,
            end_cause=self.cause,
            eval_only=self.config.eval_only,
            stamps=np.array(log['stamps']),
            images={name: np.stack(stack) for name, stack in self.images.items() if stack},
            state=np.array(log['state'], np.float32),
            action=np.array(log['action'], np.float32),
            source=np.array(log['source'], np.uint8),
            takeover_id=np.array(log['takeover'], np.int64),
            rewards=[
                Reward(t, t, RewardKind.TRUTH, p, progress=p, done_prob=float(s), model='simulator')
                for t, p, s in log['truth']
            ],
            robot=self.spec.name,
        )


def attempt_id(seed: int, repeat: int = 0) -> str:
    """Name of the episode of a seed; ``repeat``: how often that seed came before."""
    return f'seed{seed:06d}' + (f'-{repeat}' if repeat else '')


def rollouts(
    sims: Simulations,
    seeds: Sequence[int],
    act: Policy | None,
    config: RolloutConfig | None = None,
    *,
    expert: Expert | None = None,
    person: Callable[[int], ScriptedPerson] | None = None,
    advise: Advise | None = None,
) -> Iterator[Episode]:
    """Run one episode for every seed, as many at a time as there are simulations; yields them as they end.

    Args:
        act: the policy, observations to chunks [B, H, dim], asked once for all simulations that are due;
            None lets the task's expert drive (demonstrations, every step marked HUMAN).
        expert: the demonstrator; needed without a policy.
        person: makes the person who takes over in the episode of a seed.
        advise: what that person is advised before every step; before the first it may be to demonstrate.
    """
    config = config or RolloutConfig()
    if not config.max_duration_s:
        config = replace(config, max_duration_s=sims.max_duration_s)
    if act is None and expert is None:
        raise ValueError('without a policy somebody must drive: pass expert=worlds.expert()')
    spec = sims.spec
    period = 1 / spec.control_hz
    ticks = max(1, round(spec.action_dt / period))
    waiting, running = list(seeds)[::-1], dict[int, _Trial]()
    targets = np.tile(spec.vector('home'), (sims.count, 1))
    times = Counter[int]()

    while waiting or running:
        free = [sim for sim in range(sims.count) if sim not in running][: len(waiting)]
        if free:
            drawn = [waiting.pop() for _ in free]
            sims.reset(free, drawn, config.task)
            for sim, seed in zip(free, drawn, strict=True):
                running[sim] = _Trial(
                    spec, config, seed, sims.instructions[sim], sims.joints[sim].copy(),
                    expert if act is None else None,
                    person(seed) if person and act else None, start=1.0, repeat=times[seed],
                )  # fmt: skip
                times[seed] += 1
        chosen = sorted(running)
        frames, joints = sims.render(chosen), sims.joints
        progress, success = sims.progress(), sims.success()
        seen: dict[int, Observation] = {}
        for row, sim in enumerate(chosen):
            trial = running[sim]
            if trial.over(float(progress[sim]), bool(success[sim]), bool(sims.failed[sim])):
                yield running.pop(sim).episode()
                continue
            images = {name: stack[row].copy() for name, stack in frames.items()}
            seen[sim] = Observation(trial.now, images, joints[sim].copy(), trial.instruction)
        _decide(sims, running, seen, progress, act, advise)
        for sim, observation in seen.items():
            running[sim].record(observation.images, observation.state)
        chosen = sorted(running)
        for tick in range(ticks):
            for sim in chosen:
                targets[sim] = running[sim].follow(tick, period)
            if chosen:
                sims.step(targets[chosen], period, chosen)
        for sim in chosen:
            running[sim].log['action'].append(running[sim].setpoint.copy())
            running[sim].step += 1


def _decide(
    sims: Simulations,
    running: dict[int, _Trial],
    seen: dict[int, Observation],
    progress: np.ndarray,
    act: Policy | None,
    advise: Advise | None,
) -> None:
    """Who drives this step, and where to."""
    spec, due = sims.spec, []
    for sim, observation in seen.items():
        trial = running[sim]
        trial.change_hands(float(progress[sim]), advise)
        if trial.human:
            driver = trial.expert or trial.person
            assert driver is not None
            target = driver.act(observation.state, sims.objects(sim), trial.instruction)
            trial.chunk = ActionChunk(trial.now, target[None], spec.action_dt)
        elif trial.plans:
            due.append(sim)
    if due:
        assert act is not None
        observations = [seen[sim] for sim in due]
        if isinstance(act, SeededAct):
            turns = [(int(running[s].seed), running[s].repeat, running[s].step) for s in due]
            chunks = act.act(observations, turns)
        else:
            chunks = act(observations)
        for sim, actions in zip(due, chunks, strict=True):
            running[sim].chunk = ActionChunk(running[sim].now, actions, spec.action_dt)


def rollout(
    world: World | Worlds,
    seed: int,
    act: Act | None,
    *,
    person: ScriptedPerson | None = None,
    config: RolloutConfig | None = None,
) -> Episode:
    """Run one episode in one world; see :func:`rollouts`."""
    worlds = world.worlds if isinstance(world, World) else world
    policy = None if act is None else (lambda seen: np.stack([act(each) for each in seen]))
    people = None if person is None else (lambda _: person)
    expert = worlds.expert() if act is None else None
    return next(rollouts(worlds, [seed], policy, config, expert=expert, person=people))
