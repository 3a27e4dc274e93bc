# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pairs from what the policy itself proposes: several chunks at one observation, ranked by anybody."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import torch

from apprentice.learning.dataset import Chunks
from apprentice.learning.preference.pairs import PairDraft, PairError, Pairs, build_each
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs
from apprentice.robot.settings import SettingsError
from apprentice.robot.types import Episode, Outcome


@dataclass(frozen=True)
class CandidateConfig:
    """How candidates become pairs.

    Attributes:
        candidates: of each observation; NORA-1.5 draws 5 (arXiv 2511.14659).
        sigmas: a pair counts if its rewards differ by more than so many standard deviations of their
            difference, ``|R_a - R_b| > sigmas * sqrt(s_a^2 + s_b^2)``.
        margin: and by more than this, in units of the reward.
        pairs: of each observation at most: best against worst, second against second to last, ...
        every: rows between observations.
        demonstrated: the demonstrated chunk is a candidate, too; it wins nearly always, which makes the pairs
            those of self-play fine-tuning (arXiv 2401.01335).
        successes: only episodes that succeeded.
        head: of the policy, ``flow`` or ``fast``; empty: as configured.
        temperature: of the fast head.
        seed: of the noise.
    """

    candidates: int = 8
    sigmas: float = 2.0
    margin: float = 0.0
    pairs: int = 1
    every: int = 1
    demonstrated: bool = False
    successes: bool = True
    head: str = ''
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.candidates < 2 or self.every < 1 or not 1 <= self.pairs <= self.candidates // 2:
            raise SettingsError(
                f'candidates {self.candidates}, every {self.every}, pairs {self.pairs}; give 2 candidates or '
                'more, 1 row or more, and at most half as many pairs as candidates'
            )
        if not (self.sigmas >= 0 and self.margin >= 0 and self.seed >= 0):
            raise SettingsError('sigmas, margin and seed must be 0 or more')


@dataclass(frozen=True)
class Ranked:
    """n chunks of one moment.

    Attributes:
        reward: [n], higher is better.
        std: [n], of the reward; zeros where it is exact.
        steps: [n, H], how good each row is, in [-0.5, 0.5]; None: not known.
        rows: leading rows that the reward is of; 0: all.
    """

    reward: np.ndarray
    std: np.ndarray
    steps: np.ndarray | None = None
    rows: int = 0


class Ranker(Protocol):
    """Ranks chunks at a moment of an episode."""

    def settings(self) -> dict[str, object]:
        """Everything that changes the ranking, as plain data."""
        ...

    def rank(self, episode: Episode, step: int, chunks: np.ndarray, valid: np.ndarray) -> Ranked:
        """Rank ``chunks`` [n, H, A] (rad, m) planned at row ``step``.

        Args:
            valid: bool [H], rows for which the episode says what was done.
        """
        ...


class CandidatePairs:
    """A pair builder: candidates of ``policy`` ranked by ``ranker``.

    Args:
        identity: what tells this policy from another, e.g. the hash of its checkpoint.
        batch: observations that are encoded together; no setting, it does not change what is drawn.
    """

    def __init__(
        self,
        policy: FlowPolicy,
        ranker: Ranker,
        config: CandidateConfig | None = None,
        identity: str = '',
        name: str = 'candidates',
        batch: int = 32,
    ):
        self.policy, self.ranker, self.config = policy, ranker, config or CandidateConfig()
        self.identity, self.name, self.batch = identity, name, batch

    def settings(self) -> dict[str, object]:
        return {
            'builder': self.name,
            'policy': self.identity,
            **asdict(self.config),
            'ranker': self.ranker.settings(),
        }

    def build(self, episodes: Iterable[Episode]) -> Pairs:
        """Raises PairError for a ranking that is not finite, ValueError for episodes of another robot."""
        spec = self.policy.spec
        return build_each(episodes, self._one, spec.horizon, spec.dim)

    def _one(self, episode: Episode) -> Pairs:
        config, horizon = self.config, self.policy.spec.horizon
        draft = PairDraft(episode, horizon)
        if episode.eval_only or (config.successes and episode.outcome != Outcome.SUCCESS):
            return draft.pairs()
        samples = Chunks.of(episode, horizon)
        steps = np.arange(0, len(episode), config.every)
        for first in range(0, len(steps), self.batch):
            rows = steps[first : first + self.batch]
            for step, chunks in zip(rows, self._propose(episode, rows), strict=True):
                if config.demonstrated:
                    chunks = np.concatenate([chunks[:-1], samples.actions[step][None]])
                self._add(draft, int(step), chunks, samples.valid[step])
        return draft.pairs()

    def _propose(self, episode: Episode, rows: np.ndarray) -> np.ndarray:
        """Chunks float32 [len(rows), n, H, A]; those of a row depend on nothing but episode, row and seed."""
        images = {
            name: torch.from_numpy(np.asarray(episode.images[name][rows]))
            for name in self.policy.spec.cameras
        }
        state = torch.from_numpy(episode.state[rows].astype(np.float32))
        noise = [moment_generator(self.config.seed, episode.episode_id, int(row)) for row in rows]
        head = self.config.head or self.policy.config.head
        drawn = self.policy.candidates(
            Inputs(images, state, [episode.task] * len(rows)), self.config.candidates, noise,
            head=head, temperature=self.config.temperature if head == 'fast' else None,
        )  # fmt: skip
        return drawn.cpu().numpy().astype(np.float32)

    def _add(self, draft: PairDraft, step: int, chunks: np.ndarray, valid: np.ndarray) -> None:
        ranked = self.ranker.rank(draft.episode, step, chunks, valid)
        reward, std = np.asarray(ranked.reward, float), np.asarray(ranked.std, float)
        if reward.shape != (len(chunks),) or not (np.isfinite(reward).all() and np.isfinite(std).all()):
            raise PairError(
                f'{draft.episode.episode_id} row {step}: the ranking gave {reward} with {std} for '
                f'{len(chunks)} chunks; it must give a finite number for each'
            )
        if ranked.rows:
            valid = valid & (np.arange(len(valid)) < ranked.rows)
        order = np.argsort(-reward, kind='stable')
        for better, worse in zip(order[: self.config.pairs], order[::-1]):
            margin = reward[better] - reward[worse]
            if margin <= self.config.margin or margin <= self.config.sigmas * np.hypot(
                std[better], std[worse]
            ):
                continue
            steps = None if ranked.steps is None else (ranked.steps[better], ranked.steps[worse])
            draft.add(step, chunks[better], chunks[worse], valid, float(margin), self.name, steps)


def relative_steps(distance: np.ndarray) -> np.ndarray:
    """Step rewards [n, H] in [-0.5, 0.5] from distances [n, H] of rows: 0 is the mean of the candidates."""
    apart = distance.mean(0) - distance
    scale = np.maximum(distance.std(0), 1e-9)
    return (1 / (1 + np.exp(-np.clip(apart / scale, -50, 50))) - 0.5).astype(np.float32)


def moment_generator(seed: int, episode: str, row: int) -> torch.Generator:
    """Random numbers of one moment, whatever was drawn for others."""
    words = np.frombuffer(hashlib.sha256(f'{seed}\0{episode}\0{row}'.encode()).digest()[:8], np.uint64)
    return torch.Generator().manual_seed(int(words[0]))
