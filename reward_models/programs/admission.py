# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Tests that a reward program must pass before anything learns from it.

They run on a golden buffer: states of episodes whose result is known, made in simulation or labelled by a
person.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from apprentice.reward_models.base import RewardModelError, ScoreRequest
from apprentice.reward_models.evaluation.metrics import spearman
from apprentice.reward_models.programs.folder import Written
from apprentice.reward_models.programs.model import RewardProgram
from apprentice.reward_models.programs.sandbox.process import Limits
from apprentice.reward_models.programs.syntax import ProgramError
from apprentice.reward_models.programs.terms import TermsError
from apprentice.robot.types import RewardKind

LABELS = ('success', 'near_miss', 'failure')
LENGTHS = ('m', 'pose')  # units that begin so hold lengths
_SHARPER = 10.0  # how much more a program may tell apart in mm than in m
_ALONE = 5  # states of an episode that are also evaluated each by itself


@dataclass(frozen=True)
class GoldenEpisode:
    """An episode whose result is known.

    Attributes:
        label: success, near_miss or failure.
        state: name -> [T, d].
    """

    label: str
    state: dict[str, np.ndarray]


@dataclass(frozen=True)
class AdmissionConfig:
    """Limits of the tests.

    Attributes:
        latency_ms: largest 99th percentile of the time for one state.
        order: smallest share of the pairs (end of a success, end of a near miss) and (end of a success,
            start) that are in order.
        near: the same of (end of a near miss, start).
        failure_gain: largest gain of a failure from its start, as share of the mean gain of successes.
        correlation: smallest rank correlation with the accepted program before.
        flagged: smallest share of states in a wrong unit that are refused.
        calls: for the latency.
    """

    latency_ms: float = 20.0
    order: float = 0.95
    near: float = 0.7
    failure_gain: float = 0.5
    correlation: float = 0.3
    flagged: float = 0.9
    calls: int = 100


@dataclass(frozen=True)
class Check:
    """One test: its name, whether it was passed, and what was found."""

    name: str
    passed: bool
    found: str


def admit(
    program: Written,
    golden: Sequence[GoldenEpisode],
    config: AdmissionConfig | None = None,
    before: Written | None = None,
    limits: Limits | None = None,
) -> tuple[list[Check], dict[str, bool]]:
    """Run all tests; also the locks of the process, empty where nothing is executed.

    Args:
        before: the program that is in use now.

    Raises ValueError for a golden buffer without successes and failures.
    """
    labels = {episode.label for episode in golden}
    if not {'success', 'failure'} <= labels <= set(LABELS):
        raise ValueError(
            f'a golden buffer holds success and failure, and may hold near_miss; this: {sorted(labels)}'
        )
    try:
        model = RewardProgram(program, limits)
    except (ProgramError, TermsError, RewardModelError) as error:
        return [Check('readable', False, str(error))], {}
    try:
        examiner = _Examiner(model, golden, config or AdmissionConfig(), limits)
        checks = examiner.run(before)
        return checks, dict(model.evaluator.locks)
    finally:
        model.close()


class _Examiner:
    def __init__(
        self,
        model: RewardProgram,
        golden: Sequence[GoldenEpisode],
        config: AdmissionConfig,
        limits: Limits | None,
    ):
        self.model, self.golden, self.config, self.limits = model, golden, config, limits
        self.sign = -1.0 if model.kind == RewardKind.COST else 1.0

    def run(self, before: Written | None) -> list[Check]:
        names = [
            'finite',
            'shape',
            'bounded',
            'deterministic',
            'time_shift',
            'frozen_scene',
            'units',
            'ordering',
            'latency',
        ]
        checks: list[Check] = []
        for name in [*names, *(['previous'] if before is not None else [])]:
            test: Callable[..., tuple[bool, str]] = getattr(self, f'_{name}')
            try:
                passed, found = test(before) if name == 'previous' else test()
            except (ProgramError, RewardModelError) as error:
                passed, found = False, str(error)
            checks.append(Check(name, passed, found))
            if name in ('finite', 'shape') and not passed:
                break  # the others would only repeat it
        return checks

    def _values(self, state: dict[str, np.ndarray], model: RewardProgram | None = None) -> np.ndarray:
        """Raw values [T] of the states of one episode, bounds and ranges not applied; larger is better."""
        model = model or self.model
        return self._rows(state, np.arange(len(next(iter(state.values())))), model)

    def _rows(self, state: dict[str, np.ndarray], rows: np.ndarray, model: RewardProgram) -> np.ndarray:
        """The same of some rows [N] of the episode, in one batch; each with the state before it."""
        wanted = {name: np.asarray(state[name], np.float64) for name in model.needs.state}
        now = {name: values[rows] for name, values in wanted.items()}
        before = {name: values[np.maximum(rows - 1, 0)] for name, values in wanted.items()}
        joints = model.program.task.sizes.get('joints', 1)
        action = np.zeros((len(rows), joints)) if model.needs.action else None
        value = model.evaluator.evaluate(now, before, action)[0]
        return (-1.0 if model.kind == RewardKind.COST else 1.0) * value

    def _request(self, state: dict[str, np.ndarray], start: float = 0.0) -> ScoreRequest:
        stacked = {name: np.asarray(values, np.float32)[None] for name, values in state.items()}
        t = len(next(iter(state.values())))
        action = np.zeros((1, 1, self.model.program.task.sizes.get('joints', 1)), np.float32)
        text = [self.model.program.task.instruction]
        return ScoreRequest(text, state=stacked, stamps=start + 0.1 * np.arange(t)[None], action=action)

    def _finite(self) -> tuple[bool, str]:
        bad = sum(int((~np.isfinite(self._values(e.state))).sum()) for e in self.golden)
        total = sum(len(next(iter(e.state.values()))) for e in self.golden)
        return bad == 0, f'{bad} of {total} values are not finite'

    def _shape(self) -> tuple[bool, str]:
        """One number a state, which does not depend on the others in the batch: the same for rows alone, for
        all in another order, and for some of them in another order.
        """
        for number, episode in enumerate(self.golden):
            whole = self._values(episode.state)
            count = len(next(iter(episode.state.values())))
            if whole.shape != (count,):
                return False, f'shape {whole.shape} for {count} states'
            mixed = np.random.default_rng(number).permutation(count)
            alone = np.unique(np.linspace(0, count - 1, _ALONE, dtype=int))
            for rows in (mixed, mixed[: (count + 1) // 2], *alone[:, None]):
                values = self._rows(episode.state, rows, self.model)
                if not np.allclose(values, whole[rows], rtol=1e-9, atol=1e-12):
                    return False, 'the value of a state depends on others in the batch'
        return True, 'one number a state'

    def _bounded(self) -> tuple[bool, str]:
        low, high = self.model.program.bounds
        values = self.sign * np.concatenate([self._values(e.state) for e in self.golden])
        inside = bool(np.all((values >= low) & (values <= high)))
        return inside, f'{values.min():.4g} to {values.max():.4g}, declared {low:g} to {high:g}'

    def _deterministic(self) -> tuple[bool, str]:
        """The same bits again, and from a process that is new."""
        first = self._values(self.golden[-1].state)
        fresh = RewardProgram(self.model.program, self.limits)
        try:
            others = [self._values(self.golden[-1].state), self._values(self.golden[-1].state, fresh)]
        finally:
            fresh.close()
        same = all(np.array_equal(first, other) for other in others)
        return same, 'equal to the bit' if same else 'two runs differ'

    def _time_shift(self) -> tuple[bool, str]:
        """The clock does not matter, nor how long the episode has lasted."""
        state = self.golden[0].state
        late = {name: values + 1000.0 if name == 'time' else values for name, values in state.items()}
        first = self.model.evaluator.evaluate(*self._pair(state))[0]
        shifted = self.model.evaluator.evaluate(*self._pair(late))[0]
        tail = self._values({name: values[3:] for name, values in late.items()})
        whole = self._values(late)[3:]
        same = np.allclose(first, shifted, rtol=1e-6) and np.allclose(tail[1:], whole[1:], rtol=1e-6)
        return bool(same), 'values do not depend on time' if same else 'values depend on time'

    def _pair(self, state: dict[str, np.ndarray]) -> tuple:
        wanted = {name: np.asarray(state[name], np.float64) for name in self.model.needs.state}
        t = len(next(iter(wanted.values())))
        action = (
            np.zeros((t, self.model.program.task.sizes.get('joints', 1))) if self.model.needs.action else None
        )
        return wanted, wanted, action

    def _frozen_scene(self) -> tuple[bool, str]:
        """Ten seconds in which nothing moves earn nothing: the value stays what it is."""
        most = 0.0
        for episode in self.golden:
            for row in (0, -1):
                still = {
                    name: np.repeat(values[[row]], 100, axis=0) for name, values in episode.state.items()
                }
                if 'time' in still:
                    still['time'] = still['time'] + 0.1 * np.arange(100)[:, None]
                values = self._values(still)
                most = max(most, float(np.ptp(values)))
        return most < 1e-9, f'largest change of the value in 10 s without motion: {most:.3g}'

    def _units(self) -> tuple[bool, str]:
        """States in millimetres are refused instead of scored. The share refused in kilometres is told, not
        judged: those lie so near the base that the ranges of a small workspace may hold them.
        """
        lengths = [
            each.name for each in self.model.program.task.state
            if each.name in self.model.needs.state and each.unit.startswith(LENGTHS)
        ]  # fmt: skip
        if not lengths:
            return True, 'the program reads no lengths'
        shares = []
        for factor in (1000.0, 0.001):
            refused = []
            for episode in self.golden:
                state = {name: values.copy() for name, values in episode.state.items()}
                for name in lengths:
                    state[name][:, :3] *= factor
                score = self.model.score(self._request(state))
                assert score.per_frame is not None
                refused.append(np.isnan(score.per_frame[0]))
            shares.append(float(np.mean(np.concatenate(refused))))
        text = (
            f'refused: {shares[0]:.0%} of states in mm read as m, {shares[1]:.0%} of those in km (not judged)'
        )
        metres, millimetres = self._contrast(lengths, 1.0), self._contrast(lengths, 1000.0)
        if millimetres > _SHARPER * max(metres, 1e-6):
            return False, f'{text}; the program itself seems to be written for millimetres'
        return shares[0] >= self.config.flagged, text

    def _contrast(self, lengths: Sequence[str], factor: float) -> float:
        """How much success stands out from the start, relative to the values, in another unit of length."""
        ends, starts = [], []
        for episode in self.golden:
            state = {name: values.copy() for name, values in episode.state.items()}
            for name in lengths:
                state[name][:, :3] *= factor
            values = self._values(state)
            starts.append(values[0])
            if episode.label == 'success':
                ends.append(values[-1])
        size = float(np.mean(np.abs([*ends, *starts])))
        found = (float(np.mean(ends)) - float(np.mean(starts))) / size if size > 0 else 0.0
        return found if np.isfinite(found) else 0.0

    def _ordering(self) -> tuple[bool, str]:
        """Success above near miss above start, and failures gain little."""
        ends: dict[str, list[float]] = {label: [] for label in LABELS}
        gains: dict[str, list[float]] = {label: [] for label in LABELS}
        starts = []
        for episode in self.golden:
            values = self._values(episode.state)
            starts.append(values[0])
            ends[episode.label].append(values[-1])
            gains[episode.label].append(values[-1] - values[0])
        config, found, passed = self.config, [], True
        for name, better, worse, limit in (
            ('success above near miss', ends['success'], ends['near_miss'], config.order),
            ('success above start', ends['success'], starts, config.order),
            ('near miss above start', ends['near_miss'], starts, config.near),
            ('success above failure', ends['success'], ends['failure'], config.order),
        ):
            if better and worse:
                share = float(np.mean(np.array(better)[:, None] > np.array(worse)))
                passed &= share >= limit
                found.append(f'{name} {share:.0%} (at least {limit:.0%})')
        gain = float(np.mean(gains['success']))
        share = float(np.mean(gains['failure'])) / gain if gain > 0 else float('inf')
        passed &= share <= config.failure_gain
        found.append(f'gain of failures {share:.0%} of that of successes (at most {config.failure_gain:.0%})')
        return passed, ', '.join(found)

    def _latency(self) -> tuple[bool, str]:
        state = {name: values[:2] for name, values in self.golden[0].state.items()}
        times = []
        for _ in range(self.config.calls):
            started = time.perf_counter()
            self._values(state)
            times.append(1e3 * (time.perf_counter() - started))
        slow = float(np.quantile(times, 0.99))
        return slow <= self.config.latency_ms, f'p99 {slow:.2f} ms, at most {self.config.latency_ms:g} ms'

    def _previous(self, before: Written) -> tuple[bool, str]:
        other = RewardProgram(before, self.limits)
        try:
            pairs = [(self._values(e.state), self._values(e.state, other)) for e in self.golden]
        finally:
            other.close()
        found = spearman(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
        enough = self.config.correlation
        return found >= enough, f'rank correlation with the program before: {found:.2f}, at least {enough:g}'


def with_ranges(program: Written, golden: Sequence[GoldenEpisode]) -> Written:
    """The program with the ranges of the golden buffer in its state: outside of them it is not valid."""
    state = []
    for each in program.task.state:
        seen = np.concatenate([np.reshape(e.state[each.name], (-1, each.size)) for e in golden])
        low, high = seen.min(axis=0).tolist(), seen.max(axis=0).tolist()
        state.append(replace(each, low=tuple(low), high=tuple(high)))
    return replace(program, task=replace(program.task, state=tuple(state)))
