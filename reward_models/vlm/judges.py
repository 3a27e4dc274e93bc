# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Vision-language models as judges of single moments and of attempts, by one token's probability."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.reward_models.base import Needs, Score, ScoreRequest
from apprentice.reward_models.vlm.base import VlmModel
from apprentice.reward_models.vlm.chat import Picture, Question
from apprentice.reward_models.vlm.network import Network
from apprentice.reward_models.vlm.readings import ChoiceReading, WordReading
from apprentice.reward_models.vlm.reference import evenly
from apprentice.reward_models.vlm.settings import VlmSettings
from apprentice.reward_models.vlm.wording import Reference, better_question, rubric_question, true_question
from apprentice.robot.types import RewardKind

SPAN = 4  # moments of history for each frame that is shown


class _Judge(VlmModel):
    """Asks one question about each view of an item; ``value`` is the mean of the answers."""

    def __init__(self, network: Network, settings: VlmSettings, reference: Reference = ()):
        super().__init__(network, settings, reference)
        # more moments than are shown, evenly spaced ones of which are
        window = 1 if self.window == 1 else SPAN * self.window
        self.needs = Needs(cameras=settings.cameras, window=window, pictures=True)

    @property
    def window(self) -> int:
        return self.settings.frames

    @classmethod
    def load(cls, weights: str | Path, device: str = 'cpu', allow_download: bool = False, **options: Any):
        """See :meth:`VlmModel._parts`."""
        return cls(*cls._parts(weights, device, allow_download, options))

    def question(self, text: str, video: list[Picture], reference: Reference) -> Question:
        """About frames of one view, oldest first."""
        raise NotImplementedError

    def read(self, questions: list[Question]) -> np.ndarray:
        """value, std, done probability and mass of accepted answers, float32 [N, 4]."""
        raise NotImplementedError

    def score(self, request: ScoreRequest) -> Score:
        """Judge what each item shows up to its last frame."""
        began = time.perf_counter()
        b, _, v = request.check()
        pictures, mask = self._pictures(request), self._mask(request)
        views = [(i, view) for i in range(b) for view in range(v) if mask[i, -1, view]]
        asked = [(i, view, request.text[i]) for i, view in views]
        wrong = [(i, view, text) for i, view in views if request.neg_text for text in request.neg_text[i]]
        questions = []
        for i, view, text in asked + wrong:
            seen = [frame[view] for frame, there in zip(pictures[i], mask[i, :, view], strict=True) if there]
            video = [seen[j] for _, j in evenly(np.arange(len(seen)), self.window)]
            questions.append(self.question(text, video, self._reference(request, i, view)))
        read = self.read(questions) if questions else np.zeros((0, 4), np.float32)
        value, std, done, mass = (self._mean(column[: len(views)], views, b) for column in read.T)
        margin = np.full(b, np.nan, np.float32)
        if wrong:
            margin = self._margin(value, read[len(views) :, 0], wrong)
        return self._result(self.kind, value, std, done, margin, mass >= self.settings.least_mass, began)


class YesJudge(_Judge):
    """P(yes): that the task is done as well as in the reference (RewardDance, arXiv 2509.08826).

    The share of yes among yes and no; a model that would say neither gives a score that is not valid.
    """

    kind = RewardKind.SUCCESS_PROB
    model = 'vlm-yes'

    def __init__(self, network: Network, settings: VlmSettings, reference: Reference = ()):
        super().__init__(network, settings, reference)
        self._choice = ChoiceReading(network.tokenizer, (settings.yes, settings.no))

    @property
    def window(self) -> int:
        return 1

    def question(self, text: str, video: list[Picture], reference: Reference) -> Question:
        return better_question(text, video[-1], reference)

    def read(self, questions: list[Question]) -> np.ndarray:
        p = self.network.ask(questions, self._choice)
        mass = p.sum(axis=1)
        yes = p[:, 0] / np.maximum(mass, 1e-30)
        return np.stack([yes, np.sqrt(yes * (1 - yes)), yes, mass], axis=1)


class TrueJudge(_Judge):
    """log P("True") that the attempt so far completes the task (TOPReward, arXiv 2602.19313), in nats.

    Raw: the published code stretches each attempt to [0, 1], so that every failure ends at 1 too. Here the
    value of a frame does not depend on later ones.
    """

    kind = RewardKind.LOG_PROB
    model = 'vlm-true'

    def __init__(self, network: Network, settings: VlmSettings, reference: Reference = ()):
        super().__init__(network, settings, reference)
        self._word = WordReading(network.tokenizer, settings.true)

    def question(self, text: str, video: list[Picture], reference: Reference) -> Question:
        return true_question(text, video)

    def read(self, questions: list[Question]) -> np.ndarray:
        log_prob = self.network.ask(questions, self._word)[:, 0]
        unknown, mass = np.full_like(log_prob, np.nan), np.ones_like(log_prob)
        return np.stack([log_prob, unknown, np.exp(log_prob), mass], axis=1)


class RubricJudge(_Judge):
    """Mean grade from 1 to 5 of an attempt, as progress (grade - 1) / 4 (RoboReward, arXiv 2601.00675)."""

    kind = RewardKind.ABS_PROGRESS
    model = 'vlm-rubric'

    def __init__(self, network: Network, settings: VlmSettings, reference: Reference = ()):
        super().__init__(network, settings, reference)
        self._choice = ChoiceReading(network.tokenizer, ('1', '2', '3', '4', '5'))

    def question(self, text: str, video: list[Picture], reference: Reference) -> Question:
        return rubric_question(text, video)

    def read(self, questions: list[Question]) -> np.ndarray:
        p = self.network.ask(questions, self._choice)
        mass = p.sum(axis=1)
        p = p / np.maximum(mass[:, None], 1e-30)
        grades = np.arange(5) / 4
        mean = p @ grades
        std = np.sqrt(np.maximum(p @ grades**2 - mean**2, 0.0))
        return np.stack([mean, std, p[:, 4], mass], axis=1).astype(np.float32)
