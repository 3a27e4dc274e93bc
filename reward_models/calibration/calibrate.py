# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The calibration of one reward model: a curve for each family of instructions, beside its weights.

A family is a pattern such as ``pick up *`` (fnmatch); the longest that fits an instruction counts, ``*`` is
all. ``calibration.json`` holds the curves with date, number of samples and a hash over its content.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.reward_models.base import RewardModelError, Score
from apprentice.reward_models.calibration.curve import Curve, Method, fit
from apprentice.reward_models.calibration.units import (
    Units,
    slope_to_feature,
    to_feature,
    uncalibrated,
    uncalibrated_slope,
)
from apprentice.reward_models.files import read_json, write_json
from apprentice.robot.settings import SettingsError, from_dict
from apprentice.robot.types import Reward, RewardKind

FILE = 'calibration.json'
FORMAT = 1
ALL = '*'


class ScoreCalibrator:
    """See :class:`~apprentice.reward_models.base.Calibrator`. For one model, version and kind.

    The standard deviation of Phi holds the model's own (through the slope of the curve) and the error of the
    curve; NaN where the model measured none.

    Args:
        model, version, kind: of the scores it is for; an empty version fits any.
        curves: family -> curve; none: the meaning of the unit alone, to be asked for (:meth:`plain`).
        units: what a value of this kind does not say itself.
        date: when it was fitted, ISO 8601.
    """

    def __init__(
        self,
        model: str,
        version: str,
        kind: RewardKind,
        curves: Mapping[str, Curve] | None = None,
        units: Units | None = None,
        date: str = '',
    ):
        self.model, self.version, self.kind = model, version, RewardKind(kind)
        self.curves = dict(curves or {})
        self.units, self.date = units or Units(), date
        if self.kind == RewardKind.PROGRESS_DELTA:
            self.kind = RewardKind.ABS_PROGRESS  # what a pair critic accumulates

    @classmethod
    def plain(cls, model: str, kind: RewardKind, units: Units | None = None) -> ScoreCalibrator:
        """Without a calibration, by the meaning of the unit. Raises RewardModelError where there is none."""
        calibrator = cls(model, '', kind, units=units)
        uncalibrated(calibrator.kind, np.zeros(1), calibrator.units)
        return calibrator

    @property
    def calibrated(self) -> bool:
        return bool(self.curves)

    @property
    def sha256(self) -> str:
        """Hash of the content; empty when it is not calibrated."""
        return _hash(self._content()) if self.calibrated else ''

    def fit(
        self, values: np.ndarray, targets: np.ndarray, family: str = ALL, method: Method = 'isotonic'
    ) -> ScoreCalibrator:
        """This calibration with a curve for ``family``, fitted on scores [N] and targets [N] in [0, 1].

        For a pair critic the values are its accumulated progress. Raises RewardModelError (see curve.fit).
        """
        curve = fit(to_feature(self.kind, values, self.units), targets, method)
        date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds')
        curves = {**self.curves, family: curve}
        return ScoreCalibrator(self.model, self.version, self.kind, curves, self.units, date)

    def family(self, text: str) -> str:
        """The family of an instruction. Raises RewardModelError if none fits."""
        fitting = [pattern for pattern in self.curves if fnmatchcase(text, pattern)]
        if not fitting:
            raise RewardModelError(
                f'{self.model} was calibrated for {sorted(self.curves)}, not for {text!r}; calibrate it on '
                'episodes of this instruction, or add a family *'
            )
        return max(fitting, key=len)

    def to_potential(self, score: Score, text: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Phi float64 [B] in [0, 1] and its standard deviation [B]; NaN where the score is not valid.

        Raises RewardModelError for scores of another model, version or kind, and for an instruction of no
        family.
        """
        self.check(score.model, score.version, score.kind)
        return self.of_values(score.value, score.std, text, score.valid)

    def of_values(
        self, value: np.ndarray, std: np.ndarray, text: Sequence[str], valid: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """:meth:`to_potential` of plain arrays [B]."""
        value, std = np.asarray(value, np.float64), np.asarray(std, np.float64)
        usable = np.isfinite(value) if valid is None else np.isfinite(value) & np.asarray(valid, bool)
        safe = np.where(usable, value, 0.0)
        phi, sigma = np.full(len(value), np.nan), np.full(len(value), np.nan)
        if not self.calibrated:
            phi[usable] = uncalibrated(self.kind, safe, self.units)[usable]
            sigma[usable] = (std * uncalibrated_slope(self.kind, safe, self.units))[usable]
            return phi, sigma
        feature = to_feature(self.kind, safe, self.units)
        spread = std * slope_to_feature(self.kind, safe, self.units)
        families = np.array([self.family(item) for item in text])
        for name in set(families.tolist()):
            curve, rows = self.curves[name], usable & (families == name)
            phi[rows] = curve(feature[rows])
            own = 0.5 * (curve(feature[rows] + spread[rows]) - curve(feature[rows] - spread[rows]))
            sigma[rows] = np.hypot(own, curve.standard_error(feature[rows]))
        return phi, sigma

    def of_reward(self, reward: Reward, text: str) -> tuple[float, float]:
        """Phi and its standard deviation of one logged measurement; NaN if it is not valid.

        Of a pair score the accumulated progress counts; its standard deviation is at most that of the pair,
        because one step of accumulation never enlarges an error.
        """
        self.check(reward.model, reward.version, reward.kind)
        value = reward.progress if reward.kind == RewardKind.PROGRESS_DELTA else reward.value
        phi, std = self.of_values(np.array([value]), np.array([reward.std]), [text], np.array([reward.valid]))
        return float(phi[0]), float(std[0])

    def check(self, model: str, version: str, kind: RewardKind) -> None:
        """Raise RewardModelError unless the calibration is for this model, version and kind."""
        if kind == RewardKind.PROGRESS_DELTA:
            kind = RewardKind.ABS_PROGRESS
        for name, own, other in (
            ('model', self.model, model),
            ('version', self.version, version),
            ('kind', self.kind, RewardKind(kind)),
        ):
            if own != other and (own or name == 'kind'):
                raise RewardModelError(
                    f'the calibration is for {name} {getattr(own, "name", own)}, the scores are of '
                    f'{getattr(other, "name", other)}; calibrate this model again'
                )

    def _content(self) -> dict[str, Any]:
        units = {'seconds': self.units.seconds, 'low': self.units.low, 'high': self.units.high}
        return {
            'format': FORMAT,
            'model': self.model,
            'version': self.version,
            'kind': self.kind.name,
            'units': units,
            'date': self.date,
            'count': sum(curve.count for curve in self.curves.values()),
            'families': {name: curve.to_dict() for name, curve in sorted(self.curves.items())},
        }

    def save(self, folder: str | Path) -> Path:
        """Write ``calibration.json`` into the folder of the weights; returns its path."""
        if not self.calibrated:
            raise RewardModelError('there is no curve to save; fit one first')
        path = Path(folder) / FILE
        write_json(path, {**self._content(), 'sha256': self.sha256})
        return path

    @classmethod
    def load(cls, path: str | Path) -> ScoreCalibrator:
        """From ``calibration.json`` or the folder that holds it.

        Raises RewardModelError if it is missing, damaged (the hash differs) or of another format.
        """
        path = Path(path).expanduser()
        path = path / FILE if path.is_dir() else path
        if not path.is_file():
            raise RewardModelError(
                f'{path} does not exist: the model is not calibrated, and its scores are neither mixed nor '
                'learned from as they are; calibrate it, or ask for that with uncalibrated: true'
            )
        data = read_json(path)
        digest = data.pop('sha256', '')
        if data.get('format') != FORMAT:
            raise RewardModelError(f'{path} is of format {data.get("format")}, not {FORMAT}; calibrate again')
        if digest != _hash(data):
            raise RewardModelError(f'{path} was changed or damaged (its hash differs); calibrate again')
        try:
            kind, families = RewardKind[data['kind']], data['families']
            units = from_dict(Units, data['units'], 'units')
            curves = {name: Curve.from_dict(curve) for name, curve in families.items()}
            return cls(data['model'], data['version'], kind, curves, units, data['date'])
        except (KeyError, AttributeError, SettingsError) as error:
            raise RewardModelError(f'{path}: missing or wrong {error}; calibrate again') from None


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
