# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pairs that people chose: their answers about stretches (:mod:`apprentice.episodes.answers`), as chunks.

The chunks executed in the stretch that was preferred win over those of the other one, each at its own
observation: the first over the first, the second over the second, and so on. This is contrastive preference
learning (arXiv 2310.13639), which puts log-ratios of a policy where Bradley-Terry has rewards, with the sum
over a stretch taken chunk by chunk. "Equal" and "can't tell" make no pair.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from apprentice.episodes.answers import Answer, Stretch, read_answers
from apprentice.learning.dataset import Chunks
from apprentice.learning.preference.pairs import PairError, Pairs, build_each
from apprentice.policies.spec import PolicySpec
from apprentice.robot.types import Episode, Source

_DRIVERS = (int(Source.POLICY), int(Source.HUMAN))
_KEPT = 8  # episodes in memory to find the losers in


class LabelledPairs:
    """A pair builder that reads answers from ``paths``.

    A pair belongs to the episode of its winner. An answer about an episode that is not built is left out.

    Args:
        read: the episode of a name, for the losers; None where it is not among the data.
        action_dt: seconds between rows.

    Raises EpisodeFileError for files that are missing or hold no answers.
    """

    name = 'labelled'

    def __init__(
        self,
        spec: PolicySpec,
        paths: str | Path | Sequence[str | Path],
        read: Callable[[str], Episode | None],
        action_dt: float,
    ):
        self._spec, self._dt = spec, action_dt
        self._read = functools.lru_cache(_KEPT)(read)
        self._answers: dict[str, list[Answer]] = {}
        files = [paths] if isinstance(paths, (str, Path)) else list(paths)
        decided = [answer for answer in read_answers(files) if answer.better is not None]
        for answer in decided:
            assert answer.better is not None
            self._answers.setdefault(answer.better.episode, []).append(answer)
        said = sorted(f'{_key(answer.better)}\n{_key(answer.worse)}' for answer in decided)
        self._sha256 = hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def settings(self) -> dict[str, object]:
        return {'builder': self.name, 'labels': self._sha256}

    def build(self, episodes: Iterable[Episode]) -> Pairs:
        """Raises PairError for a stretch that an episode does not have, and for a loser that is missing."""
        return build_each(episodes, self._one, self._spec.horizon, self._spec.dim)

    def _one(self, episode: Episode) -> Pairs:
        horizon, dim = self._spec.horizon, self._spec.dim
        parts = [Pairs.empty(horizon, dim)]
        if episode.eval_only:
            return parts[0]
        for answer in self._answers.get(episode.episode_id, []):
            better, worse = answer.better, answer.worse
            assert better is not None
            assert worse is not None
            other = self._read(worse.episode)
            if other is None:
                raise PairError(
                    f'{episode.episode_id} was preferred to {worse.episode}, which is not there; give its '
                    'folder with --data, too'
                )
            if not other.eval_only:
                parts.append(self._pairs(episode, better, other, worse))
        return Pairs.concatenate(parts).unique()

    def _pairs(self, winner: Episode, better: Stretch, loser: Episode, worse: Stretch) -> Pairs:
        horizon, dim = self._spec.horizon, self._spec.dim
        won, lost = self._chunks(winner, better), self._chunks(loser, worse)
        rows = []
        for at in range(0, min(len(won[0]), len(lost[0])), horizon):
            valid = won[2][at] & lost[2][at]
            if valid[0]:
                rows.append((at, valid))
        if not rows:
            return Pairs.empty(horizon, dim)
        places = [at for at, _ in rows]
        count = len(rows)
        unknown = np.full((count, horizon), np.nan, np.float32)
        sides = [(winner, won[0][places]), (loser, lost[0][places])]
        return Pairs(
            images={
                name: np.concatenate([np.asarray(episode.images[name][steps]) for episode, steps in sides])
                for name in winner.images
            },
            state=np.concatenate([episode.state[steps] for episode, steps in sides]).astype(np.float32),
            text=[episode.task for episode, steps in sides for _ in steps],
            episode=[episode.episode_id for episode, steps in sides for _ in steps],
            step=np.concatenate([steps for _, steps in sides]),
            observation=np.arange(count),
            winner=won[1][places],
            loser=lost[1][places],
            valid=np.stack([valid for _, valid in rows]),
            margin=np.ones(count, np.float32),
            source=[self.name] * count,
            winner_steps=unknown,
            loser_steps=unknown.copy(),
            loser_observation=np.arange(count) + count,
        ).check()

    def _chunks(self, episode: Episode, stretch: Stretch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows int64 [T] of a stretch, the chunks [T, H, A] from there, and which of their rows count."""
        steps = rows_of(stretch, episode, self._dt)
        samples = Chunks.of(episode, self._spec.horizon)
        inside = steps[:, None] + np.arange(self._spec.horizon)[None] <= steps[-1]
        driven = np.isin(episode.source[steps], _DRIVERS)[:, None]
        return steps, samples.actions[steps], samples.valid[steps] & inside & driven


def rows_of(stretch: Stretch, episode: Episode, action_dt: float) -> np.ndarray:
    """Rows int64 [T] of an episode that a stretch covers. Raises PairError where it goes beyond the end."""
    first, last = (round((time - episode.lead_s) / action_dt) for time in (stretch.begin, stretch.end))
    if last > len(episode) + 1 or not 0 <= first < min(last, len(episode)):
        raise PairError(
            f'{episode.episode_id} has {len(episode) * action_dt:.1f} s, no stretch from {stretch.begin:.1f} '
            f'to {stretch.end:.1f} s; were the answers given on other recordings?'
        )
    return np.arange(first, min(last, len(episode)), dtype=np.int64)


def _key(stretch: Stretch | None) -> str:
    return stretch.key() if stretch is not None else ''
