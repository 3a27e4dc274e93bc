# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A pairwise progress critic on frozen embeddings, after VLAC (arXiv 2509.15937).

Each image of a pair gets a progress p in [0, 1] that may depend on the other image; the same network
serves both places, so that p(after) - p(before) changes sign exactly when the pair is turned round and
is exactly 0 for two equal images. The signed score is what :func:`accumulate.step` expects ::

    c = (p_after - p_before) / (1 - p_before)   forward: the share of the remaining task
    c = (p_after - p_before) / p_before         backward: the share of what was reached

A demonstration of the task, ``ScoreRequest.reference``, may be in context; the weights work with and without.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from apprentice.reward_models.base import Needs, RewardModelError, Score, ScoreRequest
from apprentice.reward_models.critic.eyes import Eye, load_eye
from apprentice.reward_models.critic.looking import Looking
from apprentice.reward_models.critic.network import Member
from apprentice.reward_models.files import open_sealed
from apprentice.robot.types import RewardKind

CONFIG = 'critic_config.json'
WEIGHTS = 'critic.safetensors'
FLOOR = 0.1  # a smaller denominator would turn noise near the ends into large scores
REFERENCE = 8  # frames of a demonstration that are looked at, evenly spread


def signed_score(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """c in [-1, 1] from two progress values."""
    gain = after - before
    room = np.where(gain >= 0, 1.0 - before, before)
    return np.clip(gain / np.maximum(room, FLOOR), -1.0, 1.0)


class ProgressCritic:
    """Signed progress between two moments, and whether the task is done; an ensemble gives ``std``.

    Args:
        eye: makes embeddings of images and texts; nothing in it is trained.
        members: of the ensemble.
        version: of weights and configuration.
        calibration: (a, b): ``done_prob`` is sigmoid(a * logit + b), Platt's, fitted on attempts that the
            weights were not trained on.
    """

    kind = RewardKind.PROGRESS_DELTA
    model = 'critic'

    def __init__(
        self,
        eye: Eye,
        members: nn.ModuleList,
        cameras: tuple[str, ...],
        version: str = '',
        calibration: tuple[float, float] = (1.0, 0.0),
    ):
        self.eye, self.members, self.version = eye, members.eval().requires_grad_(False), version
        self.members.to(eye.device)
        self._looking = Looking(eye, self.members)
        self.calibration = calibration
        self.needs = Needs(pair=True, cameras=cameras)

    @classmethod
    def load(
        cls, weights: str | Path, device: str = 'cpu', allow_download: bool = False, **_: Any
    ) -> ProgressCritic:
        """Load a critic's folder.

        Raises RewardModelError if files are missing or do not belong together, or if it looks through CLIP
        weights that are not those it was trained on.
        """
        from safetensors.torch import load_file

        folder, config, version = open_sealed(
            weights, CONFIG, WEIGHTS, 'progress critic', 'apprentice train critic'
        )
        try:
            cameras, width = tuple(config['cameras']), int(config['width'])
            slope, offset = config['calibration']
            eye = load_eye(config, folder, device, allow_download)
            members = nn.ModuleList(
                Member(eye.trunk(len(cameras), width), width) for _ in range(config['members'])
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, RewardModelError):
                raise
            raise RewardModelError(
                f'{folder / CONFIG}: missing or wrong {error}; made by an older version? Train it again with '
                '`apprentice train critic`'
            ) from None
        try:
            state = load_file(folder / WEIGHTS)
            members.load_state_dict({name: value.float() for name, value in state.items()})
        except Exception as error:  # safetensors and torch raise their own kinds
            raise RewardModelError(f'{folder / WEIGHTS} does not fit {CONFIG}: {error}') from error
        return cls(eye, members, cameras, version, (float(slope), float(offset)))

    def encode(self, frames: np.ndarray) -> np.ndarray:
        return self.eye.encode(frames)

    def negatives(self, text: str) -> list[str]:
        return self.eye.negatives(text)

    def delta(self, request: ScoreRequest) -> Score:
        """Signed progress [-1, 1] from frame 0 to frame 1; ``done_prob`` and ``margin`` of frame 1.

        ``per_frame`` [B, 2] is the absolute progress of both, each seen beside the other.
        """
        began = time.perf_counter()
        b, _, v = request.check(frames_at_least=2)
        emb = self._embeddings(request, v)[:, :2]
        rows, wrong = _flat(request.neg_text)
        of = np.concatenate([np.arange(b), rows])  # own instructions, then wrong ones, in one go
        reference = None if request.reference is None else request.reference[of]
        found = self._compare(emb[of, 0], emb[of, 1], [*request.text, *wrong], reference)
        value, std, pair, done = (each[:b] for each in found)
        margin = np.full(b, np.nan, np.float32)
        for row in np.unique(rows):
            margin[row] = value[row] - found[0][b:][rows == row].max()
        return self._score(RewardKind.PROGRESS_DELTA, value, std, done, margin, pair, began, request)

    def score(self, request: ScoreRequest) -> Score:
        """Absolute progress [0, 1] of every frame, each seen beside the first one."""
        began = time.perf_counter()
        b, t, v = request.check()
        emb = self._embeddings(request, v)
        first, last = np.repeat(emb[:, 0], t, axis=0), emb.reshape(b * t, *emb.shape[2:])
        reference = None if request.reference is None else np.repeat(request.reference, t, axis=0)
        texts = [text for text in request.text for _ in range(t)]
        _, std, pair, done = self._compare(first, last, texts, reference)
        per_frame = np.ascontiguousarray(pair[:, 1].reshape(b, t))
        margin = np.full(b, np.nan, np.float32)
        rows, wrong = _flat(request.neg_text)
        if len(rows):
            reference = None if request.reference is None else request.reference[rows]
            others = self._compare(emb[rows, 0], emb[rows, -1], wrong, reference)[2][:, 1]
            for row in np.unique(rows):
                margin[row] = per_frame[row, -1] - others[rows == row].max()
        return self._score(
            RewardKind.ABS_PROGRESS,
            per_frame[:, -1].copy(),
            np.ascontiguousarray(std.reshape(b, t)[:, -1]),
            np.ascontiguousarray(done.reshape(b, t)[:, -1]),
            margin,
            per_frame,
            began,
            request,
        )

    def _embeddings(self, request: ScoreRequest, views: int) -> np.ndarray:
        if views != len(self.needs.cameras):
            raise RewardModelError(f'this critic needs the views {self.needs.cameras}, got {views}')
        return request.emb if request.emb is not None else self.encode(request.frames)  # type: ignore[arg-type]

    @torch.inference_mode()
    def _compare(
        self, before: np.ndarray, after: np.ndarray, text: Sequence[str], reference: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Signed score [N], its spread [N], progress of both [N, 2], done probability of ``after`` [N].

        Args:
            before, after: embeddings [N, V, D].
            reference: [N, R, V, D].
        """
        features = self._looking.features(np.concatenate([before, after]), [*text, *text])
        old, new = features.split(len(before))
        shown = None if reference is None else self._shown(reference, text)
        scores, pairs, done = [], [], []
        for i, member in enumerate(cast('list[Member]', self.members)):
            a, b = (member.in_context(x[:, i], None if shown is None else shown[:, :, i]) for x in (old, new))
            p = torch.stack([member.progress(a, b), member.progress(b, a)], dim=1).sigmoid().cpu().numpy()
            pairs.append(p)
            scores.append(signed_score(p[:, 0], p[:, 1]))
            done.append(member.done(b).squeeze(1).cpu().numpy())
        stacked, slope_offset = np.stack(scores), self.calibration
        logit = slope_offset[0] * np.stack(done).mean(axis=0) + slope_offset[1]
        probability = 1.0 / (1.0 + np.exp(-np.clip(logit, -30, 30)))
        pair = np.stack(pairs).mean(axis=0)
        return (
            stacked.mean(axis=0).astype(np.float32),
            stacked.std(axis=0).astype(np.float32),
            pair.astype(np.float32),
            probability.astype(np.float32),
        )

    def _shown(self, reference: np.ndarray, text: Sequence[str]) -> torch.Tensor:
        """Features [N, REFERENCE, members, width] of demonstrations [N, R, V, D]."""
        rows = np.linspace(0, reference.shape[1] - 1, REFERENCE).round().astype(int)
        frames = reference[:, rows].reshape(-1, *reference.shape[2:])
        said = [each for each in text for _ in rows]
        return self._looking.features(frames, said).unflatten(0, (len(text), REFERENCE))

    def _score(self, kind, value, std, done, margin, per_frame, began, request) -> Score:
        present = np.ones(len(value), bool) if request.mask is None else request.mask.all(axis=(1, 2))
        return Score(
            kind=kind,
            value=value,
            std=std,
            done_prob=done,
            margin=margin,
            valid=np.isfinite(value) & np.isfinite(done) & present,
            model=self.model,
            version=self.version,
            per_frame=per_frame,
            latency_ms=(time.perf_counter() - began) * 1e3,
        )


def _flat(wrong: Sequence[Sequence[str]]) -> tuple[np.ndarray, list[str]]:
    """Item number and text of all wrong instructions."""
    pairs = [(row, text) for row, texts in enumerate(wrong) for text in texts]
    return np.array([row for row, _ in pairs], int), [text for _, text in pairs]
