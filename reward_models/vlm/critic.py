# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A vision-language model as a pairwise progress critic (VLAC, arXiv 2509.15937) that writes no text.

The signed percent is the mean of the number the model would write, its standard deviation the ``std``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.reward_models.base import Needs, Score, ScoreRequest
from apprentice.reward_models.vlm.base import VlmModel
from apprentice.reward_models.vlm.chat import Picture
from apprentice.reward_models.vlm.network import Network
from apprentice.reward_models.vlm.readings import ChoiceReading, NumberReading
from apprentice.reward_models.vlm.settings import VlmSettings
from apprentice.reward_models.vlm.wording import Reference, done_question, pair_question
from apprentice.robot.types import RewardKind


class VlmCritic(VlmModel):
    """Signed progress of an image pair and done probability, from any chat model that sees images.

    With a reference demonstration (``reference/000.png`` to ``100.png`` beside the settings, or in the
    request) the model is shown once how the task is done. The start of the attempt, which VLAC is then shown
    too, is the first frame of the request. Views are asked about one by one and averaged.
    """

    kind = RewardKind.PROGRESS_DELTA
    model = 'vlm-critic'

    def __init__(self, network: Network, settings: VlmSettings, reference: Reference = ()):
        super().__init__(network, settings, reference)
        self.needs = Needs(pair=True, cameras=settings.cameras, pictures=True)
        self._number = NumberReading(network.tokenizer, -100, 100, settings.least_branch)
        words = ('1', '0') if settings.wording == 'vlac' else (settings.yes, settings.no)
        self._choice = ChoiceReading(network.tokenizer, words)

    def delta(self, request: ScoreRequest) -> Score:
        """Signed progress [-1, 1] from frame 0 to frame 1; ``done_prob`` and ``margin`` of frame 1."""
        began = time.perf_counter()
        b, _, v = request.check(frames_at_least=2)
        pictures, mask = self._pictures(request), self._mask(request)
        both = mask[:, 0] & mask[:, 1]
        views = [(i, view) for i in range(b) for view in range(v) if both[i, view]]
        number = self._pairs(request, pictures, views, [(request.text[i], 1) for i, _ in views])
        value, std = self._mean(number[:, 0], views, b), self._mean(number[:, 1], views, b)
        done, sure = self._done(request, pictures, views, 1, b)
        ask = [(i, view, text) for i, view in views if request.neg_text for text in request.neg_text[i]]
        margin = np.full(b, np.nan, np.float32)
        if ask:
            wrong = self._pairs(request, pictures, [a[:2] for a in ask], [(a[2], 1) for a in ask])[:, 0]
            margin = self._margin(value, wrong, ask)
        accepted = self._mean(number[:, 2], views, b) >= self.settings.least_mass
        return self._result(RewardKind.PROGRESS_DELTA, value, std, done, margin, accepted & sure, began)

    def score(self, request: ScoreRequest) -> Score:
        """Absolute progress [0, 1] of every frame, from the pair (first frame, frame)."""
        began = time.perf_counter()
        b, t, v = request.check()
        pictures, mask = self._pictures(request), self._mask(request)
        per_frame, std = np.zeros((b, t), np.float32), np.zeros(b, np.float32)
        accepted = np.ones(b, bool)
        for j in range(1, t):  # the first frame is where progress is 0
            both = mask[:, 0] & mask[:, j]
            views = [(i, view) for i in range(b) for view in range(v) if both[i, view]]
            number = self._pairs(request, pictures, views, [(request.text[i], j) for i, _ in views])
            per_frame[:, j] = np.maximum(self._mean(number[:, 0], views, b), 0.0)
            if j == t - 1:
                std = self._mean(number[:, 1], views, b)
                accepted = self._mean(number[:, 2], views, b) >= self.settings.least_mass
        views = [(i, view) for i in range(b) for view in range(v) if mask[i, -1, view]]
        done, sure = self._done(request, pictures, views, t - 1, b)
        margin = np.full(b, np.nan, np.float32)
        kind = RewardKind.ABS_PROGRESS
        return self._result(
            kind, per_frame[:, -1].copy(), std, done, margin, accepted & sure, began, per_frame
        )

    def _pairs(
        self,
        request: ScoreRequest,
        pictures: list[list[list[Picture]]],
        views: Sequence[tuple[int, int]],
        asked: Sequence[tuple[str, int]],
    ) -> np.ndarray:
        """Mean and deviation of the progress to frame j (as a share of one), and the mass, [N, 3]."""
        questions = []
        for (i, view), (text, j) in zip(views, asked, strict=True):
            start = pictures[i][0][view]
            reference = self._reference(request, i, view)
            questions.append(
                pair_question(self.settings.wording, text, start, pictures[i][j][view], reference, start)
            )
        if not questions:
            return np.zeros((0, 3), np.float32)
        number = self.network.ask(questions, self._number)
        return number * np.array([0.01, 0.01, 1.0], np.float32)

    def _done(
        self, request: ScoreRequest, pictures: Any, views: list[tuple[int, int]], frame: int, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """P(yes) / (P(yes) + P(no)) [count], and whether the model answers with one of them."""
        questions = [
            done_question(
                self.settings.wording,
                request.text[i],
                pictures[i][frame][view],
                self._reference(request, i, view),
            )
            for i, view in views
        ]
        if not questions:
            return np.full(count, np.nan, np.float32), np.zeros(count, bool)
        p = self.network.ask(questions, self._choice)
        total = p.sum(axis=1)
        done = self._mean(p[:, 0] / np.maximum(total, 1e-30), views, count)
        return done, self._mean(total, views, count) >= self.settings.least_mass

    @classmethod
    def load(
        cls, weights: str | Path, device: str = 'cpu', allow_download: bool = False, **options: Any
    ) -> VlmCritic:
        """See :meth:`VlmModel.load`."""
        return cls(*cls._parts(weights, device, allow_download, options))
