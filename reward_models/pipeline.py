# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""From logged scores to rewards, as one YAML file says it for the reward nodes and the learner::

    models:                                   # whose scores count
      - {model: clip, calibration: calibration/clip}
      - {model: critic, calibration: calibration/critic, done: {views: 1}}
    ensemble: {rule: mean, penalty: 1.0}
    trust: {sigma: null, margin: 0.0, ood: null}    # null: not every model of these measures it
    done: {k: 3, n: 4, threshold: 0.9, views: 2}
    shaping:
      discount: 0.99
      transforms:
        - {part: 'apprentice.reward_models.shaping.potential:PotentialShaping', settings: {scale: 0.5}}

Score -> calibration -> ensemble -> trust -> shaping. Paths are relative to the file,
or names of shipped weights.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.calibration.calibrate import ScoreCalibrator
from apprentice.reward_models.calibration.done import DoneConfig
from apprentice.reward_models.calibration.ensemble import Ensemble
from apprentice.reward_models.calibration.trust import Trust
from apprentice.reward_models.calibration.units import Units
from apprentice.reward_models.revisions import effective
from apprentice.reward_models.shaping.pipeline import Shaping, ShapingConfig
from apprentice.robot.parts import find_weights
from apprentice.robot.settings import SettingsError, from_dict
from apprentice.robot.types import Reward, RewardKind

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelConfig:
    """One reward model of the pipeline.

    Attributes:
        model: its name in the log.
        calibration: file, or folder of the weights.
        uncalibrated: go by the meaning of the unit alone; an explicit wish, because it is less than it seems.
        units: of an uncalibrated SECONDS_TO_GO, COST or REWARD.
        done: when this model's node says done; None: as the pipeline says.
    """

    model: str = ''
    calibration: str = ''
    uncalibrated: bool = False
    units: Units = field(default_factory=Units)
    done: DoneConfig | None = None


@dataclass(frozen=True)
class RewardPipelineConfig:
    """See the module's text; what is left out has the defaults of its part."""

    models: tuple[ModelConfig, ...] = ()
    ensemble: Ensemble = field(default_factory=Ensemble)
    trust: Trust = field(default_factory=Trust)
    done: DoneConfig = field(default_factory=DoneConfig)
    shaping: ShapingConfig = field(default_factory=ShapingConfig)


@dataclass(frozen=True)
class Potential:
    """What the models together say about one episode, at given moments.

    Attributes:
        phi: float64 [T] in [0, 1].
        std: float64 [T], NaN unknown.
        trust: one weight for the episode.
        reason: why trust is 0, in words.
        models: the models that measured.
    """

    phi: np.ndarray
    std: np.ndarray
    trust: float
    reason: str = ''
    models: tuple[str, ...] = ()


class RewardPipeline:
    """Calibration, ensemble, trust and shaping of one learner or node.

    Args:
        config: the settings.
        folder: relative paths begin here.

    Raises RewardModelError for a model without a calibration that was not declared uncalibrated, and for
    settings that do not fit.
    """

    def __init__(self, config: RewardPipelineConfig, folder: str | Path = '.'):
        if not config.models:
            raise RewardModelError('a reward pipeline needs models; name at least one')
        self.config = config
        self._folder = Path(folder)
        self._models = {model.model: model for model in config.models}
        self._calibrators = {
            name: ScoreCalibrator.load(self._find(model.calibration))
            for name, model in self._models.items()
            if not model.uncalibrated
        }
        for name, calibrator in self._calibrators.items():
            if calibrator.model != name:
                raise RewardModelError(
                    f'the calibration of {name} was made for model {calibrator.model}; name the right file'
                )
        self.shaping = Shaping(config.shaping)
        self._warned: set[str] = set()

    @classmethod
    def load(cls, path: str | Path) -> RewardPipeline:
        """From a YAML file. Raises RewardModelError naming the file and what is wrong."""
        import yaml

        path = Path(path).expanduser()
        try:
            data = yaml.safe_load(path.read_text())
        except FileNotFoundError:
            raise RewardModelError(f'reward pipeline {path} does not exist; give a YAML file') from None
        except (OSError, yaml.YAMLError) as error:
            raise RewardModelError(f'reward pipeline {path} is not readable YAML: {error}') from None
        try:
            return cls(from_dict(RewardPipelineConfig, data or {}, path.name), path.parent)
        except (SettingsError, RewardModelError) as error:
            raise RewardModelError(f'{path}: {error}') from None

    def _find(self, name: str) -> Path:
        path = self._folder / Path(name).expanduser()
        if path.exists():
            return path
        try:
            return find_weights(name) if name else path
        except FileNotFoundError:
            return path  # loading says what is missing

    def uses(self, model: str) -> bool:
        """Whether this model is part of the pipeline."""
        return model in self._models

    def done(self, model: str) -> DoneConfig:
        """When a model's node says done."""
        return self._model(model).done or self.config.done

    def _model(self, model: str) -> ModelConfig:
        if model not in self._models:
            raise RewardModelError(
                f'the reward pipeline has no model {model!r}; it has: {sorted(self._models)}'
            )
        return self._models[model]

    def calibrator(self, model: str, version: str, kind: RewardKind) -> ScoreCalibrator:
        """The calibration of a model. Raises RewardModelError if it is not for this version and kind."""
        if self._model(model).uncalibrated:
            return ScoreCalibrator.plain(model, kind, self._models[model].units)
        calibrator = self._calibrators[model]
        calibrator.check(model, version, kind)
        return calibrator

    def potential(self, rewards: Sequence[Reward], text: str, stamps: np.ndarray) -> Potential | None:
        """Phi at ``stamps`` [T] [s] from an episode's measurements; None if no model of ours measured enough.

        Every model is read linearly between its own samples, then the ensemble joins them; labels and the
        simulator's truth are never used. A reason for trust 0 is logged, each once.
        """
        stamps = np.asarray(stamps, np.float64)
        chosen = [r for r in effective(rewards) if self.uses(r.model) and r.valid]
        names = [name for name in self._models if any(r.model == name for r in chosen)]
        phis, stds, margins, oods = [], [], [], []
        for name in names:
            samples = [r for r in chosen if r.model == name]
            calibrators = {
                (r.version, r.kind): self.calibrator(name, r.version, r.kind)
                for r in {(r.version, r.kind): r for r in samples}.values()
            }
            values = [calibrators[r.version, r.kind].of_reward(r, text) for r in samples]
            table = np.array([(r.t1, *v, r.margin, r.ood) for r, v in zip(samples, values)], np.float64)
            table = table[np.isfinite(table[:, 1])]
            if not len(table):
                continue
            times, *columns = table.T
            phi, std, margin, ood = (np.interp(stamps, times, column) for column in columns)
            phis.append(phi)
            stds.append(std)
            margins.append(margin)
            oods.append(ood)
        if len(phis) < self.config.ensemble.at_least:
            return None
        phi, std = self.config.ensemble(np.stack(phis), np.stack(stds))
        # the worst model decides: the smallest lead, the largest distance
        trust, reason = self.config.trust.of_episode(phi, std, np.min(margins, axis=0), np.max(oods, axis=0))
        if trust <= 0 and reason not in self._warned:
            self._warned.add(reason)
            log.warning(
                '%s (%s) is not trusted, the outcome alone counts: %s',
                ', '.join(names),
                text,
                reason or 'its deviation is far above sigma',
            )
        return Potential(phi, std, trust, reason, tuple(names))
