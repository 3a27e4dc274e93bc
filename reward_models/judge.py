# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What stands between a score and a sample on the graph: a calibrated potential, and whether it is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from apprentice.reward_models.base import Calibrator, DoneDetector, RewardModel, RewardModelError, Score
from apprentice.reward_models.calibration.calibrate import ScoreCalibrator
from apprentice.reward_models.calibration.done import DoneConfig, KOfN
from apprentice.reward_models.pipeline import RewardPipeline

Veto = Callable[[float], bool]  # stamp [s] -> whether a predicate objects to being done


def threshold_only(threshold: float) -> KOfN:
    """Done is one sample whose probability, all views together, reaches the threshold."""
    return KOfN(DoneConfig(k=1, n=1, threshold=threshold, views=1))


@dataclass
class Judge:
    """One episode's judgement; made by :class:`Judging`.

    Attributes:
        detector: whether it is done.
        calibrator: of scores of single moments; None: the potential is left to the learner.
        each_view: ask the model about every view by itself, because the detector wants several to agree.
        veto: a predicate's objection.
    """

    detector: DoneDetector = field(default_factory=lambda: threshold_only(0.9))
    calibrator: Calibrator | None = None
    each_view: bool = False
    veto: Veto = lambda stamp: False

    def probability(self, score: Score, potential: float) -> float:
        """Of being done, at the moment of a score [1]: what the model says, else what its calibration says.

        A model without a done probability (a reward program) has a potential that was fitted on being done.
        NaN where there is no calibration either: the meaning of a unit is no probability.
        """
        known, valid = float(score.done_prob[0]), bool(score.valid[0])
        if valid and math.isnan(known) and getattr(self.calibrator, 'calibrated', False):
            return potential
        return known if valid else math.nan

    def done(self, stamp: float, views: Mapping[str, float]) -> bool:
        """Take view -> done probability at a moment; true: done."""
        return self.detector.add(stamp, views, self.veto(stamp))


class Judging:
    """Makes a fresh judge for every episode.

    Args:
        model: whose scores are judged.
        pipeline: None: a bare threshold, and no calibration.
        threshold: used without a pipeline.
        veto: a predicate's objection; none without.

    Raises RewardModelError if the pipeline lacks this model, its calibration is for another version, or it
    asks for more agreeing views than the model can be asked about.
    """

    def __init__(
        self,
        model: RewardModel,
        pipeline: RewardPipeline | None = None,
        threshold: float = 0.9,
        veto: Veto | None = None,
        views: int = 1,
    ):
        self._pipeline, self._threshold = pipeline, threshold
        self._veto: Veto = veto or (lambda stamp: False)
        self.calibrator: ScoreCalibrator | None = None
        self._each_view, self._done = False, DoneConfig()
        if pipeline is None:
            return
        self._done = pipeline.done(model.model)
        wanted = self._done.views
        possible = views if model.needs.each_view else 1
        if wanted > possible:
            raise RewardModelError(
                f'done.views is {wanted}, but {model.model} '
                + (f'sees {views} camera(s)' if model.needs.each_view else 'sees all cameras as one view')
                + f'; give its model done: {{views: {possible}}}, or let another one detect the end'
            )
        self._each_view = wanted > 1
        self.calibrator = pipeline.calibrator(model.model, model.version, model.kind)

    def new(self) -> Judge:
        """For the next episode."""
        if self._pipeline is None:
            return Judge(threshold_only(self._threshold), veto=self._veto)
        return Judge(KOfN(self._done), self.calibrator, self._each_view, self._veto)
