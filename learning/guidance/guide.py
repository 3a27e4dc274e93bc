# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The graded protocol as a whole: where the next episode begins, and who should help how.

A loop around it, with episodes of any kind::

    guide = Guide(GuidanceConfig())
    guide.rebuild(sealed_episodes)                      # after a crash; nothing else is kept
    plan = guide.next_start(available_seeds, rng)       # plan.seed, plan.grade, plan.demonstrate
    ...                                                 # at every measurement of the running episode:
    advice = guide.observe(now, phi, std, human, episode_id='a')
    guide.ended(episode)                                # an Episode as read from the log

Several episodes may run at the same time: ask for a plan for each, and give ``observe`` their names.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np

from apprentice.learning.guidance.clusters import Clusters, Feature, thumbnails
from apprentice.learning.guidance.config import GuidanceConfig
from apprentice.learning.guidance.grades import Advice, AdviceKind, Grade, Plan
from apprentice.learning.guidance.returns import StartRecord
from apprentice.learning.guidance.takeover import TakeoverAdvisor
from apprentice.learning.guidance.tries import (
    Rate,
    Try,
    autonomous,
    finished_by_people,
    intervention_share,
    try_of,
)
from apprentice.robot.types import Episode


class Guide:
    """Decides by written triggers how much a person should help now. No ROS, no clock, no dice of its own.

    Everything it knows follows from the episodes it was told of, in their order: telling it the same log
    again changes nothing, and an episode that was labelled later replaces the earlier reading.

    Args:
        feature: of the first observation [D], to tell starts apart; None: thumbnails of the pictures.
        model: the reward model whose standard deviations count; empty: all.
    """

    def __init__(self, config: GuidanceConfig | None = None, feature: Feature | None = None, model: str = ''):
        self.config = config or GuidanceConfig()
        self._feature, self._model = feature or thumbnails, model
        self._tries: dict[str, Try] = {}
        self._advisors: dict[str, TakeoverAdvisor] = {}
        self._pending: deque[Plan] = deque(maxlen=self.config.share_window)  # planned, not ended
        self._forget()

    def _forget(self) -> None:
        self._clusters = Clusters(self.config)
        self._records: dict[str, StartRecord] = {}
        self._returned: deque[bool] = deque(maxlen=self.config.share_window)
        self._count = 0

    # before an episode

    def next_start(self, available: Sequence[int], rng: np.random.Generator) -> Plan:
        """Where the next learning episode begins.

        Args:
            available: seeds that may be learned from; held-out starts are not among them. Where nothing is
                proposed, one of those that were tried least is drawn.

        Raises ValueError without a seed.
        """
        if not len(available):
            raise ValueError('no start is available; give the seeds that may be learned from')
        plan = self.proposal(rng, available)
        if not plan.proposed:
            seeds = np.asarray(available)
            times = {int(seed): 0 for seed in seeds}
            for seed in [each.seed for each in self._tries.values()] + [p.seed for p in self._pending]:
                if seed in times:
                    times[seed] += 1
            fewest = min(times.values())
            seed = int(rng.choice([s for s, n in times.items() if n == fewest]))
            plan = Plan(seed, plan.grade)
        self.began(plan)
        return plan

    def proposal(self, rng: np.random.Generator, available: Sequence[int] | None = None) -> Plan:
        """The start to return to, if there is one; else a plan without a seed. Changes nothing.

        Args:
            available: seeds that may be proposed; None: every seed that was tried.
        """
        config = self.config
        returns = list(self._returned) + [plan.proposed for plan in self._pending]
        recent = returns[-(config.share_window - 1) :] if config.share_window > 1 else []
        if sum(recent) + 1 > config.return_share * (len(recent) + 1):
            return Plan(grade=Grade.REPLAY)
        allowed = None if available is None else {int(seed) for seed in available}
        choices = []
        for record in self._records.values():
            seeds = [seed for seed in record.failed_seeds if allowed is None or seed in allowed]
            asked = any(p.demonstrate and p.cluster == record.start.name for p in self._pending)
            guided = record.grade == Grade.GUIDED_EXPLORE and 3 in config.grades and not asked
            if seeds and (guided or (record.grade > Grade.NONE and 2 in config.grades)):
                waiting = sum(p.cluster == record.start.name for p in self._pending)
                choices.append(((record.success, waiting, record.last_return), record, seeds, guided))
        if not choices:
            return Plan(grade=Grade.REPLAY)
        _, record, seeds, guided = min(choices, key=lambda choice: choice[0])
        return Plan(
            seed=int(rng.choice(seeds)),
            grade=Grade.GUIDED_EXPLORE if guided else Grade.RETURN_AND_EXPLORE,
            proposed=True,
            demonstrate=guided,
            cluster=record.start.name,
            success=record.success,
            tries=record.tries,
            reason=record.reason(),
        )

    def began(self, plan: Plan) -> None:
        """An episode begins by a plan that :meth:`next_start` did not make; until it ends it counts too."""
        self._pending.append(plan)

    # during an episode

    def observe(
        self, now: float, phi: float, std: float = math.nan, human: bool | None = False, episode_id: str = ''
    ) -> Advice:
        """What to advise in a running episode, at a measurement of it.

        Args:
            now: stamp of the measurement [s].
            phi: the potential in [0, 1]; NaN: none.
            std: of an ensemble of critics or reward models, always of the same kind; NaN: unknown.
            human: a person drives, as the gate says; None: nobody does, the robot holds.
            episode_id: of the episodes that run at the same time, which one.
        """
        if episode_id not in self._advisors:
            self._advisors[episode_id] = TakeoverAdvisor(self.config, self.usual_std(), self.tapered)
        return self._advisors[episode_id].observe(now, phi, std, human)

    def cancelled(self, plan: Plan, episode_id: str = '') -> None:
        """A planned episode will not end: forget that it was planned, and what was observed of it."""
        self._advisors.pop(episode_id, None)
        for number, pending in enumerate(self._pending):
            if pending is plan:
                del self._pending[number]
                return

    # after an episode

    def ended(self, episode: Episode) -> None:
        """Take an episode, aborted ones too; of evaluations nothing is kept. Told again, it replaces itself.

        The advisor of this ``episode_id``, or of an episode observed without a name, ends.
        """
        if episode.eval_only:
            self._end_advice(episode.episode_id)
            return
        feature = self._feature(episode) if self.config.starts == 'observation' else None
        tried = try_of(episode, feature, self._model)
        known = self._tries.get(tried.key)
        self._tries[tried.key] = tried
        if known is None:
            self._end_advice(episode.episode_id)
            # told again, it ended long ago: a plan for the same start is that of an episode that runs now
            for number, plan in enumerate(self._pending):
                if plan.seed == episode.seed:
                    del self._pending[number]
                    break
            self._count_in(tried)
        elif (known.judged, known.success) != (tried.judged, tried.success):
            self._forget()  # labelled otherwise: everything after it may be otherwise too
            for each in self._tries.values():
                self._count_in(each)

    def _end_advice(self, episode_id: str) -> None:
        if self._advisors.pop(episode_id, None) is None:
            self._advisors.pop('', None)

    def rebuild(self, episodes: Iterable[Episode]) -> None:
        """Forget everything and begin from these episodes, in the order in which they were recorded."""
        self._tries.clear()
        self._advisors.clear()
        self._pending.clear()
        self._forget()
        for episode in episodes:
            self.ended(episode)

    def _count_in(self, tried: Try) -> None:
        start = self._clusters.group(tried)
        record = self._records.setdefault(start.name, StartRecord(start, self.config))
        self._returned.append(record.add(tried, self._count))
        self._count += 1

    # what there is to know

    @property
    def tries(self) -> list[Try]:
        """All learning episodes, in their order."""
        return list(self._tries.values())

    @property
    def starts(self) -> list[StartRecord]:
        """The groups of starts, in the order of their first episode."""
        return list(self._records.values())

    @property
    def success(self) -> Rate:
        """Of the policy alone, in the last ``taper_episodes``; episodes with help are not counted.

        It is for orientation: results come from held-out starts.
        """
        return autonomous(self.tries[-self.config.taper_episodes :])

    @property
    def intervention_share(self) -> float:
        """Share of the steps of the last ``taper_episodes`` that people drove; demonstrations left out."""
        return intervention_share(self.tries[-self.config.taper_episodes :], self.config.demonstrated)

    @property
    def tapered(self) -> bool:
        """Whether people should help less: they hardly do, and the policy does well alone and everywhere."""
        config = self.config
        recent = [each for each in self.tries if each.judged and not each.demonstration(config.demonstrated)]
        recent = recent[-config.taper_episodes :]
        if len(recent) < config.taper_episodes or any(record.grade for record in self.starts):
            return False
        alone = sum(each.won_alone for each in recent) / len(recent)
        share = intervention_share(recent, config.demonstrated)
        return share < config.taper_share and alone >= config.taper_success

    @property
    def warning(self) -> str:
        """That people finish too many early successes, of which arXiv 2410.21845 warns; or empty."""
        config = self.config
        by_people, successes = finished_by_people(self.tries, config.early_successes + 1)
        early = 1 < successes <= config.early_successes
        if not early or by_people <= config.early_share * successes:
            return ''
        return (
            f'people finished {by_people} of the first {successes} successes; hand back sooner, '
            'or the critic learns to expect help'
        )

    def usual_std(self) -> float:
        """The quantile of recent episodes above which a standard deviation is unusual; infinity: unknown."""
        config = self.config
        stds = [std for each in self.tries[-config.uncertain_episodes :] for std in each.stds]
        if len(stds) < config.uncertain_samples:
            return math.inf
        return float(np.quantile(stds, config.uncertain_quantile))

    def between(self, plan: Plan) -> Advice:
        """What to advise before the next episode, given its plan; without advice there may be a warning."""
        if plan.demonstrate:
            return Advice(AdviceKind.DEMONSTRATE, plan.reason)
        if self.tapered:
            share, rate = self.intervention_share, self.success
            return Advice(
                AdviceKind.TAPER,
                f'people drove {share:.1%} of the last steps, and the policy won {rate.successes} '
                f'of {rate.n} episodes alone',
            )
        return Advice(reason=self.warning)
