# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A reward model calibrated on recorded episodes, from what a real robot also has: scores and outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np

from apprentice.reward_models.base import RewardModel, RewardModelError
from apprentice.reward_models.calibration.calibrate import ALL, ScoreCalibrator
from apprentice.reward_models.calibration.curve import Method
from apprentice.reward_models.calibration.units import Units
from apprentice.reward_models.online import score_episode
from apprentice.reward_models.revisions import effective
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind
from apprentice.sim.acting import ActedAttempt

Target = Literal['done', 'progress']
_NOT_YET, _DONE = 0.8, 0.95  # shares of a successful episode; between them nobody knows


@dataclass(frozen=True)
class Samples:
    """Scores of one model and what they should have been; N of each.

    Attributes:
        values: in the model's unit; of a pair critic its accumulated progress.
        targets: in [0, 1].
        texts: instructions.
        episodes: how many episodes they come from.
    """

    values: np.ndarray
    targets: np.ndarray
    texts: tuple[str, ...]
    episodes: int
    version: str
    kind: RewardKind


def samples(episodes: Iterable[Episode], model: str, target: Target = 'done') -> Samples:
    """What the log says of a model.

    Args:
        target: ``done``: 0 in failures and in the first 80 % of successes, 1 in their last 5 %, as VLAC
            labels it (arXiv 2509.15937). ``progress``: share of the time of successful episodes; failures say
            nothing.

    Raises RewardModelError if the model did not measure, or if several versions or kinds are in the log.
    """
    values: list[float] = []
    targets: list[float] = []
    texts: list[str] = []
    used = 0
    found: dict[tuple[str, RewardKind], int] = {}
    for episode in episodes:
        if episode.outcome not in (Outcome.SUCCESS, Outcome.FAILURE) or len(episode) < 2:
            continue
        begin, end = float(episode.stamps[0]), float(episode.stamps[-1])
        before = len(values)
        for reward in effective(episode.rewards):
            if reward.model != model or not reward.valid:
                continue
            value = _value(reward)
            aim = _target(episode.outcome, min(1.0, max(0.0, (reward.t1 - begin) / (end - begin))), target)
            if np.isnan(aim) or not np.isfinite(value):
                continue
            values.append(value)
            targets.append(aim)
            texts.append(episode.task)
            found[reward.version, reward.kind] = found.get((reward.version, reward.kind), 0) + 1
        used += len(values) > before
    if len(found) != 1:
        raise RewardModelError(
            f'{model} was measured by {len(found)} versions in these episodes ({sorted(found)}); give '
            'episodes of one version, or score them again with one'
            if found
            else f'{model} measured nothing in labelled episodes; record some with its reward node'
        )
    ((version, kind),) = found
    return Samples(np.array(values), np.array(targets), tuple(texts), used, version, kind)


def scored(model: RewardModel, attempt: ActedAttempt) -> Episode:
    """A simulated attempt as an episode that a reward model measured; without states and actions."""
    count = len(attempt.stamps)
    return Episode(
        episode_id=f'{attempt.task}-{attempt.seed}',
        task=attempt.text,
        seed=attempt.seed,
        outcome=Outcome.SUCCESS if attempt.success else Outcome.FAILURE,
        end_cause=0,
        eval_only=True,
        stamps=attempt.stamps,
        images={},
        state=np.zeros((count, 0), np.float32),
        action=np.zeros((count, 0), np.float32),
        source=np.zeros(count, np.uint8),
        takeover_id=np.zeros(count, np.int64),
        rewards=score_episode(model, attempt.frames, list(attempt.stamps), attempt.text),
    )


def calibrate(
    data: Samples,
    model: str,
    families: Sequence[str] = (ALL,),
    method: Method = 'isotonic',
    units: Units | None = None,
) -> ScoreCalibrator:
    """A calibration with a curve for each family (a pattern of instructions).

    The episodes must not be those the model was trained on: there every model looks right. Raises
    RewardModelError for a family that has too few samples or cannot be calibrated.
    """
    calibrator = ScoreCalibrator(model, data.version, data.kind, units=units)
    for family in families:
        rows = np.array([fnmatchcase(text, family) for text in data.texts])
        try:
            calibrator = calibrator.fit(data.values[rows], data.targets[rows], family, method)
        except RewardModelError as error:
            raise RewardModelError(f'family {family!r}: {error}') from None
    return calibrator


def _value(reward: Reward) -> float:
    return reward.progress if reward.kind == RewardKind.PROGRESS_DELTA else reward.value


def _target(outcome: Outcome, share: float, target: Target) -> float:
    if target == 'progress':
        return share if outcome == Outcome.SUCCESS else float('nan')
    if outcome == Outcome.FAILURE or share < _NOT_YET:
        return 0.0
    return 1.0 if share > _DONE else float('nan')
