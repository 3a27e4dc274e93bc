# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Detectors 7, 9, 10 and 11: is what the model is shown still of the kind it was right about?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apprentice.reward_models.monitor.detector import Detector, Level, largest, mean_of
from apprentice.reward_models.monitor.evidence import Evidence

_DIRECTIONS = 8  # of the embedding space that are told apart; the rest counts together
GROUP = 8  # attempts whose scores are compared
_DRAWS = 2000


@dataclass(frozen=True)
class EmbeddingOOD(Detector):
    """7: Mahalanobis distance of the embeddings from the calibration set's, per dimension, worst tenth.

    Gaussian with ``_DIRECTIONS`` principal directions and equal variance in all others (probabilistic PCA,
    Tipping and Bishop 1999). Without embeddings the distance that the model itself reports.
    """

    name = 'embedding_ood'
    about = 'distance of what is seen from the calibration set'
    resolution = 0.1
    mean: tuple[float, ...] = ()
    directions: tuple[tuple[float, ...], ...] = ()
    deviations: tuple[float, ...] = ()
    rest: float = 1.0

    @classmethod
    def fitted(cls, episodes: Sequence[Evidence]) -> EmbeddingOOD:
        rows = [np.asarray(e.embeddings, float) for e in episodes if e.embeddings is not None]
        if not rows or sum(map(len, rows)) < 4:
            return cls()
        stacked = np.concatenate(rows)
        mean = stacked.mean(0)
        _, singular, directions = np.linalg.svd(stacked - mean, full_matrices=False)
        variance = singular**2 / (len(stacked) - 1)
        kept = min(_DIRECTIONS, len(variance))
        others = stacked.shape[1] - kept
        rest = variance[kept:].sum() / others if others else variance[-1]
        floor = 1e-6 * float(variance[0]) + 1e-12
        return cls(
            mean=_numbers(mean),
            directions=tuple(_numbers(row) for row in directions[:kept]),
            deviations=_numbers(np.sqrt(np.maximum(variance[:kept], floor))),
            rest=float(np.sqrt(max(rest, floor))),
        )

    def measure(self, evidence: Evidence) -> float:
        if not self.mean:
            return mean_of(np.array([reward.ood for reward in evidence.valid]))
        emb = evidence.embeddings
        if emb is None or not len(emb) or emb.shape[1] != len(self.mean):
            return float('nan')
        centred = np.asarray(emb, float) - np.array(self.mean)
        along = centred @ np.array(self.directions).T
        left = np.maximum((centred**2).sum(1) - (along**2).sum(1), 0.0)
        squared = ((along / np.array(self.deviations)) ** 2).sum(1) + left / self.rest**2
        distance = np.sqrt(squared / emb.shape[1])
        return mean_of(np.sort(distance)[-max(1, len(distance) // 10) :])


@dataclass(frozen=True)
class VarianceCollapse(Detector):
    """9: spread of the scores of attempts at the same thing, as a share of the calibration set's.

    Scores that no longer differ carry no signal: the policy found one thing that always pays
    (arXiv 2509.08826 reports it of hacked models). A policy that always succeeds looks the same, so this
    alone asks for little. ``lowest``: the 1 % quantile of the share in groups drawn from the calibration set.
    """

    name = 'variance_collapse'
    about = 'spread of scores within a group, as a share of the usual'
    high = False
    response, strongest = Level.FLAG, Level.DOWN_WEIGHT
    spread: float = float('nan')
    lowest: float = float('nan')

    @classmethod
    def fitted(cls, episodes: Sequence[Evidence]) -> VarianceCollapse:
        by_text: dict[str, list[float]] = {}
        for evidence in episodes:
            if np.isfinite(evidence.score()):
                by_text.setdefault(evidence.text, []).append(evidence.score())
        groups = [np.array(scores) for scores in by_text.values() if len(scores) >= GROUP]
        if not groups:
            return cls()
        spread = float(np.sqrt(np.mean([group.var() for group in groups])))
        rng = np.random.default_rng(0)
        drawn = [rng.choice(groups[i % len(groups)], GROUP).std() for i in range(_DRAWS)]
        return cls(spread, float(np.quantile(drawn, 0.01)) / spread if spread > 0 else float('nan'))

    def measure(self, evidence: Evidence) -> float:
        group = [score for score in evidence.group if np.isfinite(score)]
        if len(group) < GROUP or not self.spread > 1e-6:
            return float('nan')
        return float(np.std(group)) / self.spread


@dataclass(frozen=True)
class PolicyShift(Detector):
    """10: KL divergence from the base policy, nats per action dimension, or the share of saturated actions.

    Each as a multiple of its calibration mean, the larger one. Both policies are taken as Gaussians with the
    base policy's spread, so KL = (a - a_base)^2 / (2 std^2). Saturated: within 1 % of the range of a limit.
    """

    name = 'policy_shift'
    about = 'divergence from the base policy, or saturated actions, as a multiple of the usual'
    response, strongest = Level.FLAG, Level.DOWN_WEIGHT
    resolution = 1.0
    divergence: float = float('nan')
    saturation: float = float('nan')

    @classmethod
    def fitted(cls, episodes: Sequence[Evidence]) -> PolicyShift:
        parts = [cls._parts(evidence) for evidence in episodes]
        if not parts:
            return cls()
        divergence, saturation = (mean_of(np.array(column)) for column in zip(*parts, strict=True))
        return cls(max(divergence, 1e-2), max(saturation, 1e-2))  # max keeps a NaN that comes first

    def measure(self, evidence: Evidence) -> float:
        divergence, saturation = self._parts(evidence)
        return largest(divergence / self.divergence, saturation / self.saturation)

    @staticmethod
    def _parts(evidence: Evidence) -> tuple[float, float]:
        divergence = saturation = float('nan')
        if evidence.actions is None or not len(evidence.actions):
            return divergence, saturation
        actions = np.asarray(evidence.actions, float)
        if evidence.base_actions is not None and evidence.base_std is not None:
            apart = (actions - np.asarray(evidence.base_actions, float)) / np.asarray(
                evidence.base_std, float
            )
            divergence = mean_of(apart**2) / 2
        if evidence.lower is not None and evidence.upper is not None:
            margin = 0.01 * (np.asarray(evidence.upper, float) - np.asarray(evidence.lower, float))
            at_limit = (actions <= evidence.lower + margin) | (actions >= evidence.upper - margin)
            saturation = float(at_limit.mean())
        return divergence, saturation


@dataclass(frozen=True)
class CameraHealth(Detector):
    """11: the worst camera: how much more of its picture is clipped or covered, or how far it has moved.

    Each between 0 and 1; see :mod:`.cameras`. ``usual``: camera name, then what is normal of it: dark,
    bright, blank, and the mean view.
    """

    name = 'camera_health'
    about = 'cover, exposure or movement of the worst camera'
    resolution = 0.05
    usual: tuple[tuple[str, float, float, float, tuple[float, ...]], ...] = ()

    @classmethod
    def fitted(cls, episodes: Sequence[Evidence]) -> CameraHealth:
        usual = []
        for name in sorted({name for evidence in episodes for name in evidence.cameras}):
            seen = [evidence.cameras[name] for evidence in episodes if name in evidence.cameras]
            view = np.mean([statistics.view for statistics in seen], axis=0)
            view = view / max(float(np.linalg.norm(view)), 1e-9)
            numbers = (
                mean_of(np.array([getattr(s, what) for s in seen])) for what in ('dark', 'bright', 'blank')
            )
            usual.append((name, *numbers, _numbers(view)))
        return cls(tuple(usual))

    def measure(self, evidence: Evidence) -> float:
        worst = float('nan')
        for name, dark, bright, blank, view in self.usual:
            if name in evidence.cameras:
                seen = evidence.cameras[name]
                moved = 1.0 - float(seen.view @ np.array(view))
                worst = largest(worst, seen.dark - dark, seen.bright - bright, seen.blank - blank, moved)
        return worst


def _numbers(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 7) for value in values)
