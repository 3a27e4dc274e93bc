# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which pairs of stretches to ask a person about next: where an answer is expected to tell most.

Information gain is that of Biyik et al. (arXiv 1910.04365), over the three answers left, right and equal::

    I = H(mean over members of P(answer)) - mean over members of H(P(answer))

so pairs that every member finds undecided, which a person would find hard too, gain nothing. Disagreement is
PEBBLE's rule (arXiv 2106.05091). "Can't tell" says nothing about the reward and is taken to be equally likely
for every pair.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from apprentice.episodes.answers import Answer, Stretch, StretchPair
from apprentice.robot.settings import SettingsError
from apprentice.robot.types import Outcome

Rule = Literal['information', 'disagreement', 'random']


@dataclass(frozen=True)
class SelectionConfig:
    """How pairs are chosen.

    Attributes:
        rule: ``information``, ``disagreement`` or ``random``.
        seconds: length of a stretch.
        stride: seconds between the beginnings of stretches of one episode; 0: one after the other.
        candidates: random pairs among which to choose.
        noise: share of answers believed to be given at random, as in the fit of the ensemble.
        reuse: factor on the worth of a pair for each time that one of its episodes was asked about lately.
        spread: the same for its pair of outcomes, such as success against failure.
        seed: of the draws.
    """

    rule: Rule = 'information'
    seconds: float = 2.0
    stride: float = 0.0
    candidates: int = 2000
    noise: float = 0.05
    reuse: float = 0.7
    spread: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rule not in ('information', 'disagreement', 'random'):
            raise SettingsError(f'rule is {self.rule!r}; use information, disagreement or random')
        if not 0.2 <= self.seconds <= 60 or self.stride < 0:
            raise SettingsError(
                f'seconds {self.seconds}, stride {self.stride}: a stretch takes 0.2 to 60 s, a stride is 0 '
                'or more'
            )
        if not (0 < self.reuse <= 1 and 0 < self.spread <= 1 and 0 <= self.noise < 1 and self.candidates > 0):
            raise SettingsError('reuse and spread lie in (0, 1], noise in [0, 1), candidates is positive')


@dataclass(frozen=True)
class Recorded:
    """What is known of an episode without its images.

    Attributes:
        duration: until the end of its last complete step, ``begin``: until its first one [s].
    """

    episode: str
    instruction: str
    outcome: Outcome
    duration: float
    begin: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """A stretch that may be asked about, with the episode it is of."""

    stretch: Stretch
    recorded: Recorded

    @property
    def place(self) -> int:
        """0 in the first half of the episode, else 1."""
        recorded = self.recorded
        return int(self.stretch.begin + self.stretch.end > recorded.begin + recorded.duration)


def cut(episodes: Iterable[Recorded], config: SelectionConfig) -> list[Candidate]:
    """The stretches of these episodes, whole ones only; the last one ends where the episode ends.

    Shorter episodes, and aborted ones, give none.
    """
    found = []
    for recorded in episodes:
        spare = recorded.duration - recorded.begin - config.seconds
        if spare < -1e-6 or recorded.outcome == Outcome.ABORT:
            continue
        step = config.stride or config.seconds
        # counted from the end: it is what decides, so it is always there whole
        for i in range(int((spare + 1e-6) / step), -1, -1):
            begin = round(recorded.begin + max(spare, 0.0) - i * step, 3)
            stretch = Stretch(recorded.episode, begin, round(begin + config.seconds, 3))
            found.append(Candidate(stretch, recorded))
    return found


def answer_probabilities(
    rewards: np.ndarray, pairs: np.ndarray, tie: float = 0.0, noise: float = 0.0
) -> np.ndarray:
    """P(left), P(right), P(equal) of each member, float64 [M, P, 3].

    Bradley-Terry with Rao and Kupper's ties, as ``answer_log_probs`` of the reward's fit.

    Args:
        rewards: [M, N] of the stretches, nats. pairs: int [P, 2].
        tie: log of Rao and Kupper's theta; 0: nobody says equal.
        noise: share of answers given at random.
    """
    gap = (rewards[:, pairs[:, 0]] - rewards[:, pairs[:, 1]]).astype(np.float64)
    left, right = _sigmoid(gap - tie), _sigmoid(-gap - tie)
    p = np.stack([left, right, np.clip(1 - left - right, 0, 1)], axis=-1)
    return (1 - noise) * p + noise / 3


def information_gain(
    rewards: np.ndarray, pairs: np.ndarray, tie: float = 0.0, noise: float = 0.0
) -> np.ndarray:
    """Mutual information of the answer and the member that is right, bits [P] (arXiv 1910.04365)."""
    p = answer_probabilities(rewards, pairs, tie, noise)
    return np.maximum(_entropy(p.mean(axis=0)) - _entropy(p).mean(axis=0), 0.0)


def disagreement(rewards: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Standard deviation over members of P(left is better), [P] (PEBBLE, arXiv 2106.05091)."""
    return answer_probabilities(rewards, pairs)[..., 0].std(axis=0)


def choose(
    candidates: Sequence[Candidate],
    count: int,
    config: SelectionConfig | None = None,
    rewards: np.ndarray | None = None,
    tie: float = 0.0,
    known: Collection[str] = (),
    asked: Sequence[StretchPair] = (),
) -> list[StretchPair]:
    """The pairs to ask about next, at most ``count``, best first. The same arguments give the same pairs.

    Both stretches have the same instruction and come from different episodes. Which one is on the left is
    drawn, so that preferring one side means nothing.

    Args:
        rewards: [M, N] of an ensemble, for all candidates; None, before it has learned anything: pairs drawn
            over all strata (outcomes of both episodes, first or second half) in turn.
        tie: of the ensemble, see :func:`answer_probabilities`.
        known: ids of pairs that are answered or being asked.
        asked: pairs asked lately: their episodes and outcomes are worth less now.
    """
    config = config or SelectionConfig()
    rng = np.random.default_rng((config.seed, len(known)))
    pairs = _draw(candidates, config.candidates, rng, set(known))
    if not len(pairs):
        return []
    outcomes = {item.recorded.episode: item.recorded.outcome for item in candidates}
    used: Counter[str] = Counter(stretch.episode for pair in asked for stretch in (pair.left, pair.right))
    strata: Counter[object] = Counter(
        _outcomes(outcomes[pair.left.episode], outcomes[pair.right.episode])
        for pair in asked
        if pair.left.episode in outcomes and pair.right.episode in outcomes
    )
    if rewards is None or config.rule == 'random':
        worth, bits = rng.random(len(pairs)), np.full(len(pairs), math.nan)
        stratified = rewards is None and config.rule != 'random'
    else:
        if rewards.shape[1] != len(candidates):
            raise ValueError(f'{rewards.shape[1]} rewards for {len(candidates)} stretches')
        bits = information_gain(rewards, pairs, tie, config.noise)
        worth = bits if config.rule == 'information' else disagreement(rewards, pairs)
        stratified = False
    names = [(candidates[a].stretch.episode, candidates[b].stretch.episode) for a, b in pairs]
    if stratified:
        kinds: list[object] = [_stratum(candidates[a], candidates[b]) for a, b in pairs]
    else:
        kinds = [_outcomes(candidates[a].recorded.outcome, candidates[b].recorded.outcome) for a, b in pairs]
    chosen: list[StretchPair] = []
    left_over = np.ones(len(pairs), bool)
    fades = (1.0, 1.0) if config.rule == 'random' else (config.reuse, 1e-3 if stratified else config.spread)
    while len(chosen) < count and left_over.any():
        times = np.array([used[a] + used[b] for a, b in names], float)
        seen = np.array([strata[kind] for kind in kinds], float)
        value = np.log(np.maximum(worth, 1e-12)) + times * math.log(fades[0]) + seen * math.log(fades[1])
        best = int(np.argmax(np.where(left_over, value, -np.inf)))
        left_over[best] = False
        a, b = pairs[best]
        used.update(names[best])
        strata[kinds[best]] += 1
        instruction = candidates[a].recorded.instruction
        chosen.append(
            StretchPair(instruction, candidates[a].stretch, candidates[b].stretch, float(bits[best]))
        )
    return chosen


def to_repeat(history: Sequence[Answer], every: int, person: str, oldest: int = 10) -> StretchPair | None:
    """A pair of the past to ask again, sides exchanged, once in ``every`` answers; None: not now.

    One that was answered at least ``oldest`` answers ago and was not repeated yet, so that the person has
    forgotten it. ``every`` of 0: never.
    """
    mine = [answer for answer in history if answer.person == person]
    if not every or not mine or len(mine) % every:
        return None
    repeated = {answer.pair.pair_id for answer in mine if answer.repeat}
    for answer in mine[: max(0, len(mine) - oldest)]:
        if answer.pair.pair_id not in repeated and answer.choice in ('left', 'right'):
            return answer.pair.swapped()
    return None


def _draw(
    candidates: Sequence[Candidate], count: int, rng: np.random.Generator, known: set[str]
) -> np.ndarray:
    """Different random pairs that may be asked, int [at most count, 2]; all of them where there are few."""
    if len(candidates) < 2:
        return np.zeros((0, 2), np.int64)
    names = np.unique([item.recorded.episode for item in candidates], return_inverse=True)[1]
    tasks = np.unique([item.recorded.instruction for item in candidates], return_inverse=True)[1]
    number = len(candidates)
    if number * (number - 1) // 2 <= count:
        drawn = np.stack(np.triu_indices(number, 1), axis=1)
        turned = rng.random(len(drawn)) < 0.5
        drawn[turned] = drawn[turned][:, ::-1]
        drawn = drawn[rng.permutation(len(drawn))]
    else:
        drawn = rng.integers(0, number, (4 * count, 2))
    fits = (names[drawn[:, 0]] != names[drawn[:, 1]]) & (tasks[drawn[:, 0]] == tasks[drawn[:, 1]])
    seen: set[tuple[int, int]] = set()
    found = []
    for a, b in drawn[fits].tolist():
        key = (min(a, b), max(a, b))
        if key in seen:
            continue
        seen.add(key)
        if known and StretchPair('', candidates[a].stretch, candidates[b].stretch).pair_id in known:
            continue
        found.append((a, b))
        if len(found) == count:
            break
    return np.array(found, np.int64).reshape(-1, 2)


def _outcomes(a: Outcome, b: Outcome) -> tuple[int, int]:
    return (min(int(a), int(b)), max(int(a), int(b)))


def _stratum(a: Candidate, b: Candidate) -> tuple[tuple[int, int], ...]:
    """Outcome and half of both, whichever is on the left."""
    first, second = ((int(item.recorded.outcome), item.place) for item in (a, b))
    return (min(first, second), max(first, second))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -60.0, 60.0)))


def _entropy(p: np.ndarray) -> np.ndarray:
    """Bits, over the last axis."""
    return -(p * np.log2(np.clip(p, 1e-300, 1.0))).sum(axis=-1)
