# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The guide beside simulated episodes without a ROS graph: what ``advise`` of sim/rollout.py is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from apprentice.learning.guidance.grades import AdviceKind, Plan
from apprentice.learning.guidance.guide import Guide
from apprentice.sim.rollout import Advise, Turn, attempt_id

Measure = Callable[[Turn, float], tuple[float, float]]


def exactly(turn: Turn, progress: float) -> tuple[float, float]:
    """A reward model that is never wrong and does not know how sure it is."""
    return progress, float('nan')


def by_attempt(plans: Sequence[Plan]) -> dict[str, Plan]:
    """Plans by the names of their episodes; a seed that is there twice is two episodes."""
    times, planned = dict[int, int](), dict[str, Plan]()
    for plan in plans:
        if plan.seed is None:
            raise ValueError('a plan has no seed; take those of Guide.next_start')
        repeat = times[plan.seed] = times.get(plan.seed, -1) + 1
        planned[attempt_id(plan.seed, repeat)] = plan
    return planned


def advising(guide: Guide, plans: Sequence[Plan], measure: Measure = exactly) -> Advise:
    """Advice for a group of rollouts that follows ``plans``, one episode each, in the order of the seeds.

    Args:
        measure: what a reward model would say at a turn, given the true progress: potential in [0, 1] and
            standard deviation, NaN for none.
    """
    planned = by_attempt(plans)

    def advise(turn: Turn, now: float, progress: float, human: bool) -> AdviceKind:
        seed, repeat, step = turn
        phi, std = measure(turn, progress)
        attempt = attempt_id(seed, repeat)
        advice, plan = guide.observe(now, phi, std, human, attempt), planned.get(attempt)
        if plan is not None and plan.demonstrate:
            return AdviceKind.DEMONSTRATE
        # what is said before an episode is heard at its first step
        return AdviceKind.TAPER if step == 0 and guide.tapered else advice.kind

    return advise
