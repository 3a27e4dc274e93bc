# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Asking for preferences: looks at recorded episodes, keeps the next pairs ready, and learns from answers.

Two threads may use a :class:`Desk`: one that works (:meth:`Desk.look`, :meth:`Desk.prepare`, slow) and one
that serves people (:meth:`Desk.next`, :meth:`Desk.answer`, quick).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from apprentice.episodes.answers import Answer, AnswerFile, StretchPair, effective, told
from apprentice.episodes.files import EpisodeFileError
from apprentice.learning.preference.answered import (
    StretchFeatures,
    collect_features,
    fit_answers,
    recorded_of,
    tie_of,
)
from apprentice.learning.preference.pairs import PairError
from apprentice.learning.preference.selection import (
    Candidate,
    Recorded,
    SelectionConfig,
    choose,
    cut,
    to_repeat,
)
from apprentice.reward_models.preferences.ensemble import FitConfig, RewardEnsemble
from apprentice.robot.types import Episode

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeskConfig:
    """How people are asked.

    Attributes:
        ahead: pairs kept ready.
        first_fit: decided answers before there is an ensemble; pairs are drawn over strata until then.
        refit_every: answers between fits.
        repeat_every: every so many answers one pair of the past is asked again; 0: never.
        lately: pairs back to which episodes and outcomes count as just asked about.
    """

    ahead: int = 4
    first_fit: int = 6
    refit_every: int = 5
    repeat_every: int = 10
    lately: int = 12


class Desk:
    """Which pair next, and what was said.

    Args:
        file: where answers go.
        action_dt: seconds between rows of an episode.
        features: what the ensemble looks at; None: pairs are drawn over strata, always.
    """

    def __init__(
        self,
        file: AnswerFile,
        action_dt: float,
        features: StretchFeatures | None = None,
        selection: SelectionConfig | None = None,
        config: DeskConfig | None = None,
        fit: FitConfig | None = None,
    ):
        self.file, self._dt, self._features = file, action_dt, features
        self.selection, self.config = selection or SelectionConfig(), config or DeskConfig()
        self._fit = fit or FitConfig(seed=self.selection.seed)
        self._lock = threading.Lock()
        self._history = file.history()
        self._readers: dict[str, Callable[[], Episode]] = {}
        self._refused: set[str] = set()
        self._recorded: list[Recorded] = []
        self._candidates: list[Candidate] = []
        self._queue: list[StretchPair] = []
        self._shown: list[StretchPair] = []  # asked in this process, newest last
        self._ensemble: RewardEnsemble | None = None
        self._fitted_on = 0
        self.report: dict[str, float] = {}  # of the newest fit, on answers held out

    # What works.

    def look(self, readers: Mapping[str, Callable[[], Episode]], most: int = 1_000_000) -> int:
        """Take in at most ``most`` new episodes; returns how many. Bad files are left out, with a warning.

        Args:
            readers: name of an episode -> what reads it.
        """
        done, known = 0, {recorded.episode for recorded in self._recorded}
        self._readers.update(readers)
        for name, read in readers.items():
            if done >= most:
                break
            if name in self._refused or name in known:
                continue
            done += 1
            try:
                episode = read()
                stretches = [] if episode.eval_only else cut([recorded_of(episode, self._dt)], self.selection)
                if self._features is not None:
                    self._features.add(episode, [item.stretch for item in stretches])
            except (EpisodeFileError, PairError) as error:
                log.warning('not asked about: %s', error)
                stretches = []
            if not stretches:  # an evaluation, an abort, too short, or damaged
                self._refused.add(name)
                continue
            with self._lock:
                self._recorded.append(stretches[0].recorded)
                self._candidates += stretches
        return done

    def prepare(self) -> int:
        """Fit again if enough was answered, and have pairs ready; returns how many are."""
        with self._lock:
            history = list(self._history)
            candidates = list(self._candidates)
        answers = effective(history)
        decided = sum(answer.better is not None for answer in answers)
        new = self._ensemble is None or len(history) - self._fitted_on >= self.config.refit_every
        due = self._features is not None and decided >= self.config.first_fit and new
        if due:
            self._learn(answers, len(history))
        with self._lock:
            waiting = list(self._queue)
            shown = list(self._shown)
        if len(waiting) >= self.config.ahead and not due:
            return len(waiting)
        known = {answer.pair.pair_id for answer in history} | {pair.pair_id for pair in shown}
        rewards, tie = None, 0.0
        if self._ensemble is not None and self._features is not None and candidates:
            clips = self._features.of([item.stretch for item in candidates])
            rewards, tie = self._ensemble.rewards(clips), tie_of(self._ensemble, answers)
        asked = [answer.pair for answer in history][-self.config.lately :]
        chosen = choose(candidates, self.config.ahead, self.selection, rewards, tie, known, asked)
        with self._lock:
            ids = {answer.pair.pair_id for answer in self._history} | {p.pair_id for p in self._shown}
            self._queue = [pair for pair in chosen if pair.pair_id not in ids]
            return len(self._queue)

    def _learn(self, answers: Sequence[Answer], count: int) -> None:
        assert self._features is not None
        kept = collect_features(self._features, answers, self._read)
        try:
            self._ensemble, self.report = fit_answers(self._features, kept, self._fit)
        except PairError as error:
            log.info('no ensemble yet: %s', error)
        self._fitted_on = count

    def _read(self, name: str) -> Episode | None:
        read = self._readers.get(name)
        return read() if read is not None else None

    # What serves people.

    def next(self, person: str = '') -> tuple[StretchPair, bool] | None:
        """The pair to ask now, and whether it repeats an earlier one; None: none is ready."""
        with self._lock:
            again = to_repeat(self._history, self.config.repeat_every, person)
            if again is not None and again.pair_id not in {pair.pair_id for pair in self._shown[-1:]}:
                self._shown.append(again)
                return again, True
            if not self._queue:
                return None
            pair = self._queue.pop(0)
            self._shown.append(pair)
            return pair, False

    def answer(self, answer: Answer) -> Answer:
        """Keep an answer; on the disk when this returns. Raises OSError where the disk takes no more."""
        answer = self.file.add(answer)
        with self._lock:
            self._history.append(answer)
        return answer

    def undo(self, person: str) -> StretchPair | None:
        """Take the person's newest answer back; its pair may be asked again. None: there is none."""
        with self._lock:
            gone = self.file.undo(person)
            if gone is None:
                return None
            self._history = self.file.history()
            return gone.pair

    def progress(self, person: str | None = None) -> dict[str, Any]:
        """For people to see: answered, undecided, repeats, agreed, episodes, ready, held-out accuracy."""
        with self._lock:
            history = [a for a in self._history if person is None or a.person == person]
            episodes, ready = len(self._recorded), len(self._queue)
        return {**told(history), 'episodes': episodes, 'ready': ready, 'accuracy': self.accuracy}

    @property
    def accuracy(self) -> float | None:
        """Share of held-out answers that the ensemble foretells; None: not known."""
        value = self.report.get('accuracy', np.nan)
        return float(value) if np.isfinite(value) else None
