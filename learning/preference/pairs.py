# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Preference pairs: a chunk that is better and a chunk that is worse, of one observation or of two."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from apprentice.episodes.lazy_frames import join_frames
from apprentice.robot.types import Episode


class PairError(ValueError):
    """Pairs are missing, damaged or do not fit; the message says what to do."""


@dataclass
class Pairs:
    """N pairs over O observations; chunks in raw units (rad, m).

    Attributes:
        images: camera -> uint8 [O, height, width, 3]; in memory, or looked up when indexed.
        state: float32 [O, A], measured.
        text: O instructions.
        episode: O ids of the episodes.
        step: int64 [O], row of the episode.
        observation: int64 [N], which observation a pair is of.
        winner, loser: float32 [N, H, A].
        valid: bool [N, H], leading rows that count, in both chunks.
        margin: float32 [N], by how much the winner is better, in the units of whoever judged.
        source: N names of whoever judged.
        winner_steps, loser_steps: float32 [N, H], how good each row is, in [-0.5, 0.5]; NaN: nobody knows.
        loser_observation: int64 [N], of the loser, where two stretches of different episodes were compared;
            by default that of the winner.
    """

    images: dict[str, Any]
    state: np.ndarray
    text: list[str]
    episode: list[str]
    step: np.ndarray
    observation: np.ndarray
    winner: np.ndarray
    loser: np.ndarray
    valid: np.ndarray
    margin: np.ndarray
    source: list[str]
    winner_steps: np.ndarray
    loser_steps: np.ndarray
    loser_observation: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.loser_observation is None:
            self.loser_observation = self.observation

    def __len__(self) -> int:
        return len(self.observation)

    @property
    def apart(self) -> np.ndarray:
        """bool [N]: winner and loser were planned from different observations."""
        return self.loser_observation != self.observation

    @classmethod
    def empty(cls, horizon: int, dim: int) -> Pairs:
        """No pairs of chunks [horizon, dim]."""
        chunk, row = np.zeros((0, horizon, dim), np.float32), np.zeros((0, horizon), np.float32)
        none = np.zeros(0, np.int64)
        return cls(
            {}, np.zeros((0, dim), np.float32), [], [], none, none, chunk, chunk, row.astype(bool),
            np.zeros(0, np.float32), [], row, row,
        )  # fmt: skip

    def check(self) -> Pairs:
        """Itself. Raises PairError naming what does not fit or is not finite."""
        n, o = len(self.observation), len(self.state)
        shape = self.winner.shape
        lengths = {
            'text': len(self.text) == o,
            'episode': len(self.episode) == o,
            'step': len(self.step) == o,
            'images': all(len(stack) == o for stack in self.images.values()),
            'loser': self.loser.shape == shape and len(shape) == 3 and shape[0] == n,
            'valid': self.valid.shape == shape[:2],
            'margin': self.margin.shape == (n,),
            'source': len(self.source) == n,
            'winner_steps': self.winner_steps.shape == shape[:2],
            'loser_steps': self.loser_steps.shape == shape[:2],
            'state': self.state.ndim == 2 and self.state.shape[1] == shape[2],
            'loser_observation': self.loser_observation.shape == (n,),
        }
        wrong = [name for name, fits in lengths.items() if not fits]
        if wrong:
            raise PairError(f'{n} pairs over {o} observations: {", ".join(wrong)} of another size')
        seen = np.concatenate([self.observation, self.loser_observation])
        if n and (seen.min() < 0 or seen.max() >= o):
            raise PairError('a pair names an observation that is not there')
        for name in ('state', 'winner', 'loser', 'margin'):
            if not np.isfinite(getattr(self, name)).all():
                raise PairError(f'{name} of a pair is not finite; leave that pair out')
        leading = np.logical_and.accumulate(self.valid, axis=1)
        if n and not (self.valid[:, 0].all() and np.array_equal(leading, self.valid)):
            raise PairError('valid must be true for leading rows, at least the first')
        return self

    def keys(self) -> list[str]:
        """A hash of each pair: moment and chunks. Two pairs of one key are the same, whoever judged."""
        found = []
        apart = self.apart
        for i, o in enumerate(self.observation):
            digest = hashlib.sha256(f'{self.episode[o]}\0{int(self.step[o])}\0'.encode())
            if apart[i]:
                other = self.loser_observation[i]
                digest.update(f'{self.episode[other]}\0{int(self.step[other])}\0'.encode())
            for array in (self.winner[i], self.loser[i], self.valid[i]):
                digest.update(np.ascontiguousarray(array).tobytes())
            found.append(digest.hexdigest())
        return found

    def digest(self) -> str:
        """Hash over all pairs with their margins: tells one set from another."""
        digest = hashlib.sha256()
        for key in self.keys():
            digest.update(key.encode())
        for array in (self.margin, self.winner_steps, self.loser_steps, self.state):
            digest.update(np.ascontiguousarray(array).tobytes())
        sizes = {name: stack.shape[1:] for name, stack in self.images.items()}
        digest.update(f'{sorted(sizes.items())} {self.text}'.encode())
        return digest.hexdigest()

    def select(self, index: np.ndarray | Sequence[int]) -> Pairs:
        """The pairs ``index`` as a copy, with the observations they need."""
        index = np.asarray(index, np.int64)
        both = np.stack([self.observation[index], self.loser_observation[index]])
        seen, places = np.unique(both, return_inverse=True)
        observation, loser_observation = places.reshape(both.shape).astype(np.int64)
        return Pairs(
            {name: stack[seen] for name, stack in self.images.items()},
            self.state[seen],
            [self.text[o] for o in seen],
            [self.episode[o] for o in seen],
            self.step[seen],
            observation,
            self.winner[index],
            self.loser[index],
            self.valid[index],
            self.margin[index],
            [self.source[i] for i in index],
            self.winner_steps[index],
            self.loser_steps[index],
            loser_observation,
        )

    def unique(self) -> Pairs:
        """Without pairs that are there twice; the first of them stays."""
        first: dict[str, int] = {}
        for i, key in enumerate(self.keys()):
            first.setdefault(key, i)
        return self if len(first) == len(self) else self.select(sorted(first.values()))

    def split(self, share: float, seed: int) -> tuple[Pairs, Pairs]:
        """Pairs to train on and pairs held out: ``share`` of the episodes, whole ones, at least one.

        Raises PairError where there are too few episodes.
        """
        if share == 0:
            return self, self.select([])
        names = sorted({self.episode[o] for o in self.observation})
        if len(names) < 2:
            raise PairError('pairs of one episode cannot be split; use more episodes, or validation=0')
        count = min(max(1, round(share * len(names))), len(names) - 1)
        chosen = np.random.default_rng(seed).permutation(len(names))[:count]
        kept_out = {names[i] for i in chosen}
        winners, losers = (
            np.array([self.episode[o] in kept_out for o in of], bool)
            for of in (self.observation, self.loser_observation)
        )
        held = winners | losers  # what is trained on has nothing of the episodes held out
        if held.all():
            raise PairError('every pair touches an episode held out; use more episodes, or validation=0')
        return self.select(np.flatnonzero(~held)), self.select(np.flatnonzero(held))

    @classmethod
    def concatenate(cls, parts: Sequence[Pairs]) -> Pairs:
        """All pairs, in order. Raises PairError for none, and for chunks or cameras that differ."""
        filled = [part for part in parts if len(part)]
        if not filled:
            if not parts:
                raise PairError('no pairs to put together; build some first')
            return parts[0]
        shapes = {(part.winner.shape[1:], tuple(sorted(part.images))) for part in filled}
        if len(shapes) > 1:
            raise PairError(f'pairs of different chunks or cameras cannot be mixed: {sorted(shapes)}')
        offsets = np.cumsum([0, *(len(part.state) for part in filled)])
        observation = [part.observation + o for part, o in zip(filled, offsets)]
        losers = [part.loser_observation + o for part, o in zip(filled, offsets)]
        joined = {
            name: np.concatenate([getattr(part, name) for part in filled])
            for name in ('state', 'step', 'winner', 'loser', 'valid', 'margin', 'winner_steps', 'loser_steps')
        }
        return cls(
            images={name: join_frames([p.images[name] for p in filled]) for name in filled[0].images},
            text=[text for part in filled for text in part.text],
            episode=[name for part in filled for name in part.episode],
            observation=np.concatenate(observation),
            loser_observation=np.concatenate(losers),
            source=[name for part in filled for name in part.source],
            **joined,
        )


@dataclass
class PairDraft:
    """Collects the pairs of one episode, then makes :class:`Pairs` of them."""

    episode: Episode
    horizon: int

    def __post_init__(self) -> None:
        self._rows: list[tuple[int, np.ndarray, np.ndarray, np.ndarray, float, str]] = []
        self._steps: list[tuple[np.ndarray, np.ndarray]] = []

    def add(
        self,
        step: int,
        winner: np.ndarray,
        loser: np.ndarray,
        valid: np.ndarray,
        margin: float,
        source: str,
        steps: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """One pair at row ``step`` of the episode; shapes as in :class:`Pairs`, without N."""
        unknown = np.full(self.horizon, np.nan, np.float32)
        self._rows.append((step, winner, loser, valid, margin, source))
        self._steps.append(steps or (unknown, unknown))

    def pairs(self) -> Pairs:
        """What was added, checked."""
        episode, dim = self.episode, self.episode.state.shape[1]
        if not self._rows:
            return Pairs.empty(self.horizon, dim)
        seen, observation = np.unique([row[0] for row in self._rows], return_inverse=True)
        return Pairs(
            images={name: np.asarray(stack[seen]) for name, stack in episode.images.items()},
            state=episode.state[seen].astype(np.float32),
            text=[episode.task] * len(seen),
            episode=[episode.episode_id] * len(seen),
            step=seen.astype(np.int64),
            observation=observation.astype(np.int64),
            winner=np.stack([row[1] for row in self._rows]).astype(np.float32),
            loser=np.stack([row[2] for row in self._rows]).astype(np.float32),
            valid=np.stack([row[3] for row in self._rows]).astype(bool),
            margin=np.array([row[4] for row in self._rows], np.float32),
            source=[row[5] for row in self._rows],
            winner_steps=np.stack([steps[0] for steps in self._steps]).astype(np.float32),
            loser_steps=np.stack([steps[1] for steps in self._steps]).astype(np.float32),
        ).check()


class PairBuilder(Protocol):
    """Makes pairs of episodes. One builder a file; a builder of your own is a class with these two."""

    def settings(self) -> dict[str, object]:
        """Everything that changes its pairs, as plain data: pairs made otherwise are not mixed with these."""
        ...

    def build(self, episodes: Iterable[Episode]) -> Pairs:
        """The pairs of these episodes. The same episode gives the same pairs, whatever comes before it."""
        ...


def build_each(episodes: Iterable[Episode], one: Callable[[Episode], Pairs], horizon: int, dim: int) -> Pairs:
    """The pairs that ``one`` makes of each episode, put together."""
    return Pairs.concatenate([Pairs.empty(horizon, dim), *(one(episode) for episode in episodes)])
