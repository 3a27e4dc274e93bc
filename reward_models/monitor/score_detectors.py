# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Detectors 2 to 6: what the model's own numbers give away. No second source is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apprentice.reward_models.evaluation.metrics import value_order_correlation
from apprentice.reward_models.monitor.detector import Detector, largest, mean_of
from apprentice.reward_models.monitor.evidence import Evidence

_STILL = 0.01  # of the usual way through the embedding space: less is no change
_LOOP = 0.03  # of it: the ends of a loop are so near each other
_AWAY = 0.1  # of it: between them the loop leads so far away


@dataclass(frozen=True)
class InstructionMargin(Detector):
    """2: what the right instruction scores above the best wrong one, mean of the later half of the episode.

    A model that has stopped reading the instruction has a margin near zero.
    """

    name = 'instruction_margin'
    about = 'score(instruction) - best score(wrong instruction)'
    high = False
    resolution = 0.01

    def measure(self, evidence: Evidence) -> float:
        margins = [reward.margin for reward in evidence.valid if np.isfinite(reward.margin)]
        return mean_of(np.array(margins[len(margins) // 2 :]))


@dataclass(frozen=True)
class ReversalAsymmetry(Detector):
    """3: mean |c(a, b) + c(b, a)| of pairs; with a reversed curve also the half of |VOC + VOC(reversed)|.

    What is progress one way is loss the other way. VLAC (arXiv 2509.15937) writes the latter as VOC - VROC
    with the reversed video's order turned round, which is the same.
    """

    name = 'reversal_asymmetry'
    about = 'mean |c(a, b) + c(b, a)|'
    resolution = 0.01

    def measure(self, evidence: Evidence) -> float:
        pairs = curves = float('nan')
        if evidence.forward is not None and evidence.backward is not None:
            pairs = mean_of(np.abs(np.asarray(evidence.forward) + np.asarray(evidence.backward)))
        _, phi = evidence.curve()
        if evidence.curve_reversed is not None and len(phi) > 2 and len(evidence.curve_reversed) > 2:
            both = value_order_correlation(phi) + value_order_correlation(np.asarray(evidence.curve_reversed))
            curves = abs(both) / 2
        return largest(pairs, curves)


@dataclass(frozen=True)
class _Credit(Detector):
    """``way``: how far an episode usually goes from its first embedding; the measure of near and far."""

    way: float = float('nan')

    @classmethod
    def fitted(cls, episodes: Sequence[Evidence]):
        ways = [
            np.linalg.norm(e.embeddings - e.embeddings[0], axis=-1).max()
            for e in episodes
            if e.embeddings is not None and len(e.embeddings) > 1
        ]
        return cls(way=float(np.median(ways)) if ways else float('nan'))

    def _gains(self, evidence: Evidence) -> tuple[np.ndarray, np.ndarray] | None:
        """Embeddings [T, D] as shares of the usual way, and credit [T - 1]; None where not known."""
        _, phi = evidence.curve()
        emb = evidence.embeddings
        if emb is None or len(emb) < 2 or not self.way > 0:
            return None
        credit = np.diff(phi) if evidence.credit is None else np.asarray(evidence.credit, float)
        if len(credit) != len(emb) - 1 or not np.all(np.isfinite(credit)):
            return None
        return np.asarray(emb, float) / self.way, credit


@dataclass(frozen=True)
class StaticCredit(_Credit):
    """4: reward earned where nothing changes (less than 1 % of the usual way in the embedding space)."""

    name = 'static_credit'
    about = 'reward earned while nothing moves'
    resolution = 0.01

    def measure(self, evidence: Evidence) -> float:
        known = self._gains(evidence)
        if known is None:
            return float('nan')
        emb, credit = known
        still = np.linalg.norm(np.diff(emb, axis=0), axis=-1) < _STILL
        return float(np.maximum(credit[still], 0.0).sum())


@dataclass(frozen=True)
class CycleCredit(_Credit):
    """5: the largest net reward over a way that comes back to where it was (potentials earn none)."""

    name = 'cycle_credit'
    about = 'net reward of the best closed loop'
    resolution = 0.02

    def measure(self, evidence: Evidence) -> float:
        known = self._gains(evidence)
        if known is None:
            return float('nan')
        emb, credit = known
        sums = np.concatenate([[0.0], np.cumsum(credit)])
        best = 0.0
        for first in range(len(emb) - 2):
            distance = np.linalg.norm(emb[first + 1 :] - emb[first], axis=-1)
            left = np.maximum.accumulate(distance) > _AWAY
            closed = left & (distance < _LOOP)
            if closed.any():
                best = max(best, float((sums[first + 1 :][closed] - sums[first]).max()))
        return best


@dataclass(frozen=True)
class Disagreement(Detector):
    """6: spread of ensemble members (and of single cameras) as a multiple of its calibration mean.

    Where neither is given, the uncertainty that the model itself reports.
    """

    name = 'disagreement'
    about = 'spread of members or cameras, as a multiple of the usual'
    resolution = 0.25
    members: float = float('nan')
    views: float = float('nan')
    reported: float = float('nan')

    @classmethod
    def fitted(cls, episodes: Sequence[Evidence]) -> Disagreement:
        spreads = [cls._spreads(evidence) for evidence in episodes]
        if not spreads:
            return cls()
        usual = [mean_of(np.array(column)) for column in zip(*spreads, strict=True)]
        return cls(*(value + 1e-6 for value in usual))

    def measure(self, evidence: Evidence) -> float:
        usual = (self.members, self.views, self.reported)
        return largest(*(spread / mean for spread, mean in zip(self._spreads(evidence), usual, strict=True)))

    @staticmethod
    def _spreads(evidence: Evidence) -> tuple[float, float, float]:
        members, views = (
            float('nan') if group is None or len(group) < 2 else mean_of(np.std(group, axis=0))
            for group in (evidence.members, evidence.views)
        )
        known = np.isfinite(members) or np.isfinite(views)
        reported = float('nan') if known else mean_of(np.array([reward.std for reward in evidence.valid]))
        return members, views, reported
