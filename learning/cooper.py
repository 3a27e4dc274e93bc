# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Keep a reward ahead of the policy that optimises it (Cooper, arXiv 2508.05613).

Between policy updates the reward is trained on pairs: a positive that a rule of high precision has verified
(a predicate, a person) against a negative the policy made (an attempt known to have failed, or a positive
spoiled on purpose). A rule with low recall is enough: what it does not verify is not called a failure.
Comparisons that are never trained on judge every update; one that makes the reward worse there is taken back
and says so.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.preferences.comparisons import Comparison
from apprentice.reward_models.preferences.ensemble import FitConfig, RewardEnsemble, fit, judge

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CooperConfig:
    """How the reward is updated.

    Attributes:
        fit: of one update; ``bootstrap`` is off in updates, where few pairs must not be lost.
        capacity: positives and negatives that are kept, the newest of each.
        pairs: drawn for an update, half of them with a negative of the newest batch.
        tolerance: by which accuracy on the frozen comparisons may fall below that of the first reward.
        loss_tolerance: by which the log-loss there may rise above that of the first reward, nats.
    """

    fit: FitConfig = field(default_factory=lambda: FitConfig(steps=40, noise=0.02, bootstrap=False))
    capacity: int = 500
    pairs: int = 128
    tolerance: float = 0.02
    loss_tolerance: float = 0.1


@dataclass(frozen=True)
class CooperReport:
    """What one update did.

    Attributes:
        accepted: the reward changed; false: ``reason`` says why not.
        version: counts accepted updates.
        accuracy, log_loss: on the frozen comparisons, of the reward in use after the update.
        tried_accuracy, tried_log_loss: of the update, whether it was kept or not; NaN if none was made.
        pairs: trained on.
    """

    accepted: bool
    reason: str
    version: int
    accuracy: float
    log_loss: float
    tried_accuracy: float
    tried_log_loss: float
    pairs: int


class Cooper:
    """A reward that learns beside its policy.

    Args:
        ensemble: the reward; ``rewards`` is what the policy is trained with until the next update.
        clips: features [N, T, F] of the frozen comparisons, e.g. answered by people before.
        frozen: comparisons of rows of ``clips``; never trained on.
        config: how.

    Raises RewardModelError without frozen comparisons: nothing would notice a reward that gets worse.
    """

    def __init__(
        self,
        ensemble: RewardEnsemble,
        clips: np.ndarray,
        frozen: Sequence[Comparison],
        config: CooperConfig | None = None,
    ):
        if not any(c.answer != 'equal' for c in frozen):
            raise RewardModelError(
                'co-training needs comparisons that stay frozen, to notice a reward that gets worse; answer '
                'some pairs first'
            )
        self.config, self.ensemble = config or CooperConfig(), ensemble
        self._clips, self._frozen = np.asarray(clips, np.float32), list(frozen)
        self._first = judge(ensemble, self._clips, self._frozen)
        self._good: dict[str, np.ndarray] = {}
        self._bad: dict[str, np.ndarray] = {}
        self.version = 0
        self._rng = np.random.default_rng(self.config.fit.seed)

    def rewards(self, clips: np.ndarray) -> np.ndarray:
        """float32 [M, N] of clips [N, T, F]."""
        return self.ensemble.rewards(clips)

    def demonstrations(self, text: str, clips: np.ndarray) -> None:
        """Verified successes from elsewhere, so that a policy that never succeeds still has positives."""
        self._good[text] = self._kept(self._good.get(text), clips)

    def update(self, text: str, verified: np.ndarray, failed: np.ndarray) -> CooperReport:
        """Learn from one batch of attempts at one instruction.

        Args:
            text: the instruction; positives and negatives of different ones are not compared.
            verified: features [P, T, F] of attempts the rule verified; may be empty.
            failed: [N, T, F] of attempts known to have failed, or of spoiled positives; may be empty.
        """
        self._good[text] = self._kept(self._good.get(text), verified)
        self._bad[text] = self._kept(self._bad.get(text), failed)
        good, bad = self._good[text], self._bad[text]
        if not len(good) or not len(bad):
            missing = 'positive' if not len(good) else 'negative'
            return self._report(False, f'no {missing} for {text!r} yet', None, 0)
        config = self.config
        left = self._rng.integers(0, len(good), config.pairs)
        right = self._rng.integers(0, len(bad), config.pairs)
        fresh = min(len(failed), len(bad))
        if fresh:  # what the policy does now is what the reward must not fall for
            half = config.pairs // 2
            right[:half] = len(bad) - 1 - self._rng.integers(0, fresh, half)
        pairs = [Comparison(int(a), len(good) + int(b), 'left') for a, b in zip(left, right, strict=True)]
        tried = copy.deepcopy(self.ensemble)
        fit(np.concatenate([good, bad]), pairs, replace(config.fit, seed=self.version), start=tried)
        after = judge(tried, self._clips, self._frozen)
        reason = self._worse(after)
        if reason:
            log.warning('the reward was not updated: %s', reason)
            return self._report(False, reason, after, len(pairs))
        self.ensemble = tried
        self.version += 1
        return self._report(True, '', after, len(pairs))

    def _worse(self, after: dict[str, float]) -> str:
        accuracy, loss = self._first['accuracy'], self._first['log_loss']
        if after['accuracy'] < accuracy - self.config.tolerance:
            return (
                f'accuracy on {after["pairs"]:.0f} frozen comparisons would fall from {accuracy:.3f} to '
                f'{after["accuracy"]:.3f}'
            )
        if after['log_loss'] > loss + self.config.loss_tolerance:
            return (
                f'log-loss on {after["pairs"]:.0f} frozen comparisons would rise from {loss:.3f} to '
                f'{after["log_loss"]:.3f}'
            )
        return ''

    def _kept(self, old: np.ndarray | None, new: np.ndarray) -> np.ndarray:
        new = np.asarray(new, np.float32).reshape(-1, *self._clips.shape[1:])
        return (new if old is None else np.concatenate([old, new]))[-self.config.capacity :]

    def _report(
        self, accepted: bool, reason: str, tried: dict[str, float] | None, pairs: int
    ) -> CooperReport:
        now = judge(self.ensemble, self._clips, self._frozen)
        unknown = {'accuracy': float('nan'), 'log_loss': float('nan')}
        made = tried or unknown
        return CooperReport(
            accepted,
            reason,
            self.version,
            now['accuracy'],
            now['log_loss'],
            made['accuracy'],
            made['log_loss'],
            pairs,
        )


def spoiled(clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Successful clips [N, T, F] turned into negatives: played backwards, stopped halfway, or never begun.

    The counterpart of Cooper's wrong answers by an assistant model.
    """
    length = clips.shape[1]
    made = []
    for clip in clips:
        kind = rng.integers(3)
        stop = int(rng.integers(length // 4, max(length // 2, length // 4 + 1)))
        order = (
            np.arange(length)[::-1] if kind == 0 else np.minimum(np.arange(length), stop if kind == 1 else 0)
        )
        made.append(clip[order])
    return np.stack(made)
