# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A learner and a simulated robot in lock-step: episodes, people, updates, evaluations. No ROS.

The nodes do the same on a graph (nodes/session.py); here it is as fast as the computer allows, for benchmarks
and for tuning. Between two groups of episodes the learner makes all the updates it owes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from apprentice.learning.guidance.advising import advising, by_attempt
from apprentice.learning.guidance.config import GuidanceConfig
from apprentice.learning.guidance.grades import Grade
from apprentice.learning.guidance.guide import Guide
from apprentice.learning.learner import Learner
from apprentice.learning.rl.choosing import Choosing
from apprentice.learning.sampling import seeded
from apprentice.learning.statistics import wilson
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind, Source
from apprentice.sim.people import PersonConfig, ScriptedPerson
from apprentice.sim.rollout import Policy, RolloutConfig, Simulations, Turn, rollouts
from apprentice.sim.task import Expert


@dataclass(frozen=True)
class Judge:
    """A reward model that knows the truth and is wrong sometimes.

    Attributes:
        noise: standard deviation of its progress.
        false_done: share of the failed episodes that it takes for successes.
        rate_hz: of its samples.
        delay_s: from a moment until whoever advises people knows what it says of it.
        dead: (first, last) episode of which it says nothing; how they ended is known nevertheless.
    """

    noise: float = 0.1
    false_done: float = 0.05
    rate_hz: float = 5.0
    delay_s: float = 0.5
    dead: tuple[int, ...] = ()

    def measure(self, progress: float, rng: np.random.Generator) -> float:
        """What it says of a moment."""
        return float(np.clip(progress + rng.normal(0, self.noise), 0, 1))

    def silent(self, number: int) -> bool:
        """Whether it is dead in the ``number``-th episode."""
        return bool(self.dead) and self.dead[0] <= number <= self.dead[1]

    def judge(self, episode: Episode, number: int, rng: np.random.Generator) -> Episode:
        """The ``number``-th episode as a robot knows it: measured progress instead of truth, an outcome."""
        truth = [reward for reward in episode.rewards if reward.kind == RewardKind.TRUTH]
        rewards, following = list[Reward](), -np.inf
        for sample in truth:
            if sample.t1 < following - 1e-6:
                continue
            following = sample.t1 + 1 / self.rate_hz
            seen = self.measure(sample.value, rng)
            rewards.append(
                Reward(sample.t1, sample.t1, RewardKind.ABS_PROGRESS, seen, progress=seen, model='judge')
            )
        if self.silent(number):
            rewards = []
        outcome = episode.outcome
        if outcome == Outcome.FAILURE and rng.random() < self.false_done:
            outcome = Outcome.SUCCESS
        return replace(episode, rewards=rewards, outcome=outcome)


@dataclass(frozen=True)
class PracticeConfig:
    """A run.

    Attributes:
        episodes: to learn from.
        group: episodes between two rounds of updates; as many simulations run together.
        evaluate_every: episodes between evaluations; 0: at the end only.
        trials: of an evaluation, without people.
        first_seed: of the evaluations; nothing is learned from there.
        starts: different starts to learn from.
        seed: of the starts, the people, the judge and the noise.
        person: who takes over; None: nobody.
        people_until: episodes after which they go and nobody helps any more, counted in whole groups; 0: they
            stay. Where episodes begin is proposed as before.
        guidance: when help is advised, and where episodes begin; None: starts are drawn, and the person is on
            their own.
        judge: in place of a reward model.
    """

    episodes: int = 200
    group: int = 4
    evaluate_every: int = 20
    trials: int = 50
    first_seed: int = 900_000
    starts: int = 1000
    seed: int = 0
    person: PersonConfig | None = field(default_factory=PersonConfig)
    people_until: int = 0
    guidance: GuidanceConfig | None = None
    judge: Judge = field(default_factory=Judge)


@dataclass(frozen=True)
class Evaluation:
    """What the policy does alone, on starts that are held out."""

    episodes: int
    successes: int
    trials: int
    seconds: float  # mean time to success [s], nan without one

    @property
    def rate(self) -> float:
        return self.successes / self.trials

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson interval, 95 %."""
        return wilson(self.successes, self.trials)


@dataclass
class Practised:
    """What a run brought: one entry for every episode, and the evaluations."""

    alone: list[bool] = field(default_factory=list)  # the policy succeeded without a person
    human: list[float] = field(default_factory=list)  # share of the steps that a person drove
    steps: list[int] = field(default_factory=list)
    grades: list[int] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)

    def episodes_to(self, rate: float) -> int | None:
        """Episodes before the first evaluation of at least ``rate``; None: never."""
        return next((found.episodes for found in self.evaluations if found.rate >= rate - 1e-9), None)


def evaluate(
    sims: Simulations,
    act: Policy,
    seeds: Sequence[int],
    episodes: int = 0,
    config: RolloutConfig | None = None,
) -> Evaluation:
    """Autonomous trials on ``seeds``, as many at a time as there are simulations."""
    config = replace(config or RolloutConfig(), eval_only=True)
    seconds, won = [], 0
    for episode in rollouts(sims, seeds, act, config):
        if episode.outcome == Outcome.SUCCESS:
            won += 1
            seconds.append(float(episode.stamps[-1] - episode.stamps[0]))
    return Evaluation(episodes, won, len(seeds), float(np.mean(seconds)) if seconds else float('nan'))


class Practice:
    """Runs a learner and a policy together.

    Args:
        make_learner: called at the beginning and by :meth:`restart`.
        sims: as many simulations as there are episodes in a group, or more.
        expert: how a person drives.
        take: gives an episode to the learner; default: in memory, where a killed one does not find it again.
    """

    def __init__(
        self,
        make_learner: Callable[[], Learner],
        sims: Simulations,
        expert: Callable[[], Expert],
        config: PracticeConfig | None = None,
        take: Callable[[Learner, Episode], object] = Learner.take,
    ):
        self._make, self._sims, self._expert = make_learner, sims, expert
        self.config, self._give = config or PracticeConfig(), take
        self.learner = make_learner()
        self.result = Practised()
        self._guide = Guide(self.config.guidance) if self.config.guidance else None
        seeds = np.random.SeedSequence((self.config.seed, 7)).spawn(3)
        self._starts, self._judge, self._noise = (np.random.default_rng(seed) for seed in seeds)
        self._measured: dict[tuple[int, int], list[float]] = {}  # of the episodes that run

    def restart(self) -> None:
        """Throw the learner away as if it had been killed, and make it again."""
        self.learner = self._make()

    def run(self) -> Iterator[Practised]:
        """Yields the result so far after every group of episodes; a round of updates comes before."""
        config = self.config
        due = config.evaluate_every
        self.evaluate(0)
        for first in range(0, config.episodes, config.group):
            self._group(first, min(config.group, config.episodes - first))
            while self.learner.ready:
                self.result.metrics |= self.learner.update()
            done = len(self.result.alone)
            if done == config.episodes or (due and done // due > first // due):
                self.evaluate(done)
            yield self.result

    def _group(self, first: int, count: int) -> None:
        config, guide = self.config, self._guide
        pool = [10_000 * (config.seed + 1) + i for i in range(config.starts)]
        advise = None
        if guide is None:
            seeds = [pool[(first + i) % len(pool)] for i in range(count)]
            grades = dict[str, Grade]()
        else:
            plans = [guide.next_start(pool, self._starts) for _ in range(count)]
            seeds = [int(plan.seed) for plan in plans if plan.seed is not None]
            grades = {name: plan.grade for name, plan in by_attempt(plans).items()}
            advise = advising(guide, plans, self._measure)
            self._measured.clear()
        helped = config.person is not None and (not config.people_until or first < config.people_until)
        person = self._person if helped else None
        for episode in rollouts(self._sims, seeds, self._acting(True), person=person, advise=advise):
            self._take(
                replace(episode, episode_id=f'{len(self.result.alone):05d}-{episode.episode_id}'), episode
            )
            self.result.grades.append(int(grades.get(episode.episode_id, Grade.NONE)))

    def _measure(self, turn: Turn, progress: float) -> tuple[float, float]:
        """What is known at a turn of what the judge measured; it knows no doubt of its own."""
        judge, measured = self.config.judge, self._measured.setdefault(turn[:2], [])
        measured.append(judge.measure(progress, self._noise))
        late = round(judge.delay_s / self._sims.spec.action_dt)
        known = len(measured) > late and not judge.silent(len(self.result.alone))
        return (measured[-1 - late] if known else float('nan')), float('nan')

    def _take(self, episode: Episode, ran: Episode) -> None:
        result, human = self.result, episode.source == int(Source.HUMAN)
        judged = self.config.judge.judge(episode, len(result.alone), self._judge)
        if self._guide is not None:
            self._guide.ended(replace(judged, episode_id=ran.episode_id))
        result.human.append(float(human.mean()) if len(human) else 0.0)
        result.steps.append(len(episode))
        result.alone.append(episode.outcome == Outcome.SUCCESS and not human.any())
        self._give(self.learner, judged)

    def _person(self, seed: int) -> ScriptedPerson:
        mixed = np.random.SeedSequence((self.config.seed, len(self.result.alone), seed))
        number = int(mixed.generate_state(1)[0])
        return ScriptedPerson(self._expert(), self.config.person, number, self._sims.spec)

    def _acting(self, explore: bool) -> Policy:
        policy = self.learner.acting()
        if isinstance(policy, Choosing):
            policy.explore = explore
        return seeded(policy, self.config.seed)

    def evaluate(self, episodes: int, first_seed: int | None = None, trials: int = 0) -> Evaluation:
        """Trials of what acts now, added to the result."""
        config = self.config
        first = config.first_seed if first_seed is None else first_seed
        seeds = [first + i for i in range(trials or config.trials)]
        found = evaluate(self._sims, self._acting(False), seeds, episodes)
        self.result.evaluations.append(found)
        return found
