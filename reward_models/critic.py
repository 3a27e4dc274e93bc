# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A pairwise progress critic on frozen CLIP embeddings, after VLAC (arXiv 2509.15937).

Each image of a pair gets a progress p in [0, 1] that may depend on the other image; the same network
serves both places, so that p(after) - p(before) changes sign exactly when the pair is turned round and
is exactly 0 for two equal images. The signed score is what :func:`accumulate.step` expects ::

    c = (p_after - p_before) / (1 - p_before)   forward: the share of the remaining task
    c = (p_after - p_before) / p_before         backward: the share of what was reached
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from apprentice.reward_models.base import Needs, RewardModelError, Score, ScoreRequest
from apprentice.reward_models.clip import ClipReward
from apprentice.reward_models.files import read_json
from apprentice.robot.types import RewardKind

CONFIG = 'critic_config.json'
WEIGHTS = 'critic.safetensors'
FLOOR = 0.1  # a smaller denominator would turn noise near the ends into large scores


class Member(nn.Module):
    """One member of the ensemble. Inputs: views [N, V * D] and text [N, D], unit embeddings."""

    def __init__(self, views: int, dim: int, width: int = 96):
        super().__init__()
        # the products let text select what it names
        self.align = nn.Linear(dim, dim, bias=False)
        self.trunk = nn.Sequential(
            nn.Linear(views * dim * 2 + dim, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
        )
        self.pair = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))
        self.done = nn.Linear(width, 1)
        self._views = views

    def features(self, views: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        selected = views * self.align(text).repeat(1, self._views)
        scale = float(text.shape[1]) ** 0.5  # unit vectors have entries of 1 / sqrt(D)
        return self.trunk(torch.cat([views * scale, selected * scale, text * scale], dim=1))

    def progress(self, of: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        """Logit of the progress of ``of`` when it is compared with ``given``; [N]."""
        return self.pair(torch.cat([of, given], dim=1)).squeeze(1)


def signed_score(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """c in [-1, 1] from two progress values."""
    gain = after - before
    room = np.where(gain >= 0, 1.0 - before, before)
    return np.clip(gain / np.maximum(room, FLOOR), -1.0, 1.0)


class ProgressCritic:
    """Signed progress between two moments, and whether the task is done; an ensemble gives ``std``.

    Args:
        clip: encoder, prompts and cameras; its weights stay frozen.
        members: of the ensemble.
        version: of the critic's weights.
    """

    kind = RewardKind.PROGRESS_DELTA
    model = 'critic'

    def __init__(self, clip: ClipReward, members: nn.ModuleList, cameras: tuple[str, ...], version: str = ''):
        self.clip, self.members, self.version = clip, members.eval().requires_grad_(False), version
        self.members.to(clip.encoder.device)
        self.needs = Needs(pair=True, cameras=cameras)

    @classmethod
    def load(
        cls, weights: str | Path, device: str = 'cpu', allow_download: bool = False, **_: Any
    ) -> ProgressCritic:
        """Load a critic's folder; its configuration names the CLIP model it was trained on.

        Raises RewardModelError if files are missing, or if the CLIP weights are not those it was trained on.
        """
        from safetensors.torch import load_file

        folder = Path(str(weights)).expanduser()
        if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
            raise RewardModelError(
                f'critic weights {folder} do not exist or lack {CONFIG} or {WEIGHTS}; give the folder of a '
                'trained critic, or make one with `apprentice train critic`'
            )
        config = read_json(folder / CONFIG)
        try:
            source, version = config['encoder'], config['encoder_version']
            cameras, dim = tuple(config['cameras']), int(config['dim'])
            members = nn.ModuleList(
                Member(len(cameras), dim, int(config['width'])) for _ in range(config['members'])
            )
        except (KeyError, TypeError) as error:
            raise RewardModelError(f'{folder / CONFIG}: missing or wrong {error}') from None
        local = folder / source
        clip = ClipReward.load(local if local.exists() else source, device, allow_download)
        if clip.version != version:
            raise RewardModelError(
                f'critic {folder} was trained on CLIP weights {version}, but {source} is {clip.version}; '
                'train it again with `apprentice train critic`'
            )
        try:
            state = load_file(folder / WEIGHTS)
            members.load_state_dict({name: value.float() for name, value in state.items()})
        except Exception as error:  # safetensors and torch raise their own kinds
            raise RewardModelError(f'{folder / WEIGHTS} does not fit {CONFIG}: {error}') from error
        return cls(clip, members, cameras, str(config.get('version', '')))

    def encode(self, frames: np.ndarray) -> np.ndarray:
        return self.clip.encode(frames)

    def negatives(self, text: str) -> list[str]:
        return self.clip.negatives(text)

    def delta(self, request: ScoreRequest) -> Score:
        """Signed progress [-1, 1] from frame 0 to frame 1; ``done_prob`` and ``margin`` of frame 1."""
        began = time.perf_counter()
        b, _, v = request.check(frames_at_least=2)
        emb = self._embeddings(request, v)
        value, std = self._delta(emb[:, 0], emb[:, 1], request.text)
        done = self._done(emb[:, 1], request.text)
        margin = np.full(b, np.nan, np.float32)
        for i in range(b if request.neg_text else 0):
            wrong = list(request.neg_text[i])
            if wrong:
                pair = np.repeat(emb[i : i + 1], len(wrong), axis=0)
                margin[i] = value[i] - self._delta(pair[:, 0], pair[:, 1], wrong)[0].max()
        return self._score(RewardKind.PROGRESS_DELTA, value, std, done, margin, None, began, request)

    def score(self, request: ScoreRequest) -> Score:
        """Absolute progress [0, 1] of every frame, from the pair (first frame, frame)."""
        began = time.perf_counter()
        b, t, v = request.check()
        emb = self._embeddings(request, v)
        per_frame, std = np.zeros((b, t), np.float32), np.zeros(b, np.float32)
        for j in range(t):
            value, std = self._delta(emb[:, 0], emb[:, j], request.text)
            per_frame[:, j] = np.maximum(value, 0.0)
        done = self._done(emb[:, -1], request.text)
        margin = np.full(b, np.nan, np.float32)
        return self._score(
            RewardKind.ABS_PROGRESS, per_frame[:, -1].copy(), std, done, margin, per_frame, began, request
        )

    def _embeddings(self, request: ScoreRequest, views: int) -> np.ndarray:
        if views != len(self.needs.cameras):
            raise RewardModelError(f'this critic needs the views {self.needs.cameras}, got {views}')
        return request.emb if request.emb is not None else self.encode(request.frames)  # type: ignore[arg-type]

    def _tensors(self, emb: np.ndarray, text: Any) -> tuple[torch.Tensor, torch.Tensor]:
        device = self.clip.encoder.device
        views = torch.from_numpy(np.ascontiguousarray(emb, np.float32)).reshape(len(emb), -1).to(device)
        return views, torch.from_numpy(self.clip.encoder.text(list(text))).to(device)

    @torch.inference_mode()
    def _delta(self, before: np.ndarray, after: np.ndarray, text: Any) -> tuple[np.ndarray, np.ndarray]:
        old, words = self._tensors(before, text)
        new, _ = self._tensors(after, text)
        scores = []
        for member in cast('list[Member]', self.members):
            a, b = member.features(old, words), member.features(new, words)
            scores.append(
                signed_score(
                    member.progress(a, b).sigmoid().cpu().numpy(),
                    member.progress(b, a).sigmoid().cpu().numpy(),
                )
            )
        stacked = np.stack(scores)
        return stacked.mean(axis=0), stacked.std(axis=0)

    @torch.inference_mode()
    def _done(self, emb: np.ndarray, text: Any) -> np.ndarray:
        views, words = self._tensors(emb, text)
        done = [
            member.done(member.features(views, words)).squeeze(1).sigmoid().cpu().numpy()
            for member in cast('list[Member]', self.members)
        ]
        return np.stack(done).mean(axis=0)

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
