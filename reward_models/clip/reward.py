# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Goal-baseline regularised CLIP reward (VLM-RM, Rocamonde et al., ICLR 2024, arXiv 2310.12921).

With unit embeddings g (goal), b (baseline) and s (image), L the affine line through b and g and
d = (g - b) / |g - b|, the paper's reward is R = 1 - |alpha proj_L(s) + (1 - alpha) s - g|^2 / 2, which
equals ::

    R = 1 - [(1 - alpha)^2 (2 - 2 s.g) + (1 - (1 - alpha)^2) (s.d - g.d)^2] / 2

so that a stored embedding is scored again for another prompt or alpha without the encoder.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.reward_models.base import Needs, RewardModelError, Score, ScoreRequest
from apprentice.reward_models.clip.encoder import ClipEncoder
from apprentice.reward_models.clip.onnx_tower import default_folder, use_runtime
from apprentice.reward_models.clip.prompts import Prompts
from apprentice.reward_models.files import read_json
from apprentice.robot.types import RewardKind

REWARD = 'reward.json'


def goal_baseline_reward(s: np.ndarray, g: np.ndarray, b: np.ndarray, alpha: float) -> np.ndarray:
    """R of unit image embeddings ``s`` [..., D] for unit ``g`` and ``b`` [D]; alpha in [0, 1].

    alpha 0 is the cosine with the goal, alpha 1 keeps only the direction from baseline to goal. Raises
    RewardModelError if goal and baseline coincide.
    """
    line = g - b
    length = float(np.linalg.norm(line))
    if length < 1e-6:
        raise RewardModelError(
            'goal and baseline descriptions have the same embedding; word them differently'
        )
    d = line / length
    keep = (1.0 - alpha) ** 2
    return 1.0 - 0.5 * (keep * (2.0 - 2.0 * (s @ g)) + (1.0 - keep) * (s @ d - g @ d) ** 2)


class ClipReward:
    """Similarity of what the cameras see to a description of success.

    ``value`` is the goal-baseline reward, averaged over views; ``done_prob`` the softmax over the goal, the
    same goal for wrong objects, the baselines and the prompts' contrasts; ``margin`` the value minus the best
    value under a wrong instruction.

    Args:
        encoder: any open_clip model.
        prompts: how instructions become descriptions.
        alpha: regularisation strength in [0, 1].
        cameras: views to look at; empty: all that are given.
        temperature: of the softmax; None: the encoder's own.
    """

    kind = RewardKind.CLIP_SIM
    model = 'clip'

    def __init__(
        self,
        encoder: ClipEncoder,
        prompts: Prompts | None = None,
        alpha: float = 0.5,
        cameras: Sequence[str] = (),
        temperature: float | None = None,
    ):
        if not 0.0 <= alpha <= 1.0:
            raise RewardModelError(f'alpha must lie in [0, 1], got {alpha}')
        self.encoder, self.alpha = encoder, alpha
        self.prompts = prompts or Prompts()
        self.needs = Needs(cameras=tuple(cameras), each_view=True)
        self.version, self.runtime = encoder.version, encoder.runtime
        self.encoder_identity = encoder.identity
        self._scale = 1.0 / temperature if temperature else encoder.logit_scale

    @classmethod
    def load(
        cls,
        weights: str | Path,
        device: str = 'cpu',
        allow_download: bool = False,
        alpha: float | None = None,
        prompts: dict[str, Any] | None = None,
        runtime: str = 'torch',
        onnx: str | Path = '',
        **_: Any,
    ) -> ClipReward:
        """Load any open_clip model (see :meth:`ClipEncoder.load`).

        A ``reward.json`` beside the weights gives prompts, alpha, cameras and temperature; the arguments
        override it. Other models use ``prompts``, or the instruction itself as the goal.

        Args:
            runtime: of the image tower: torch, torch-bf16, onnx or onnx-int8 (CPU). The text tower, which
                reads each text once, stays with torch.
            onnx: folder made by ``apprentice export clip-onnx``; empty: ``onnx`` beside the weights.
        """
        encoder = ClipEncoder.load(weights, device, allow_download)
        if runtime != 'torch':
            use_runtime(encoder, runtime, onnx or default_folder(weights))
        path = Path(str(weights)).expanduser()
        file = (path if path.is_dir() else path.parent) / REWARD
        config = read_json(file) if path.exists() and file.is_file() else {}
        worded = {**config.get('prompts', {}), **(prompts or {})}
        return cls(
            encoder,
            Prompts.from_dict(worded),
            float(config.get('alpha', 0.5) if alpha is None else alpha),
            config.get('cameras', ()),
            config.get('temperature'),
        )

    def encode(self, frames: np.ndarray) -> np.ndarray:
        return self.encoder.images(frames)

    def negatives(self, text: str) -> list[str]:
        return self.prompts.wrong_instructions(text)

    def score(self, request: ScoreRequest) -> Score:
        """Score every frame; ``value``, ``done_prob`` and ``margin`` are those of the last one."""
        began = time.perf_counter()
        b, t, v = request.check()
        s = request.emb if request.emb is not None else self.encode(request.frames)  # type: ignore[arg-type]
        mask = np.ones((b, t, v), bool) if request.mask is None else request.mask
        per_frame = np.full((b, t), np.nan, np.float32)
        done, margin = np.full(b, np.nan, np.float32), np.full(b, np.nan, np.float32)
        for i, text in enumerate(request.text):
            reward = self._mean(self.reward(s[i], text), mask[i])
            per_frame[i] = reward
            wrong = list(request.neg_text[i]) if request.neg_text else []
            done[i] = self._mean(self._goal_probability(s[i, -1:], text, wrong), mask[i, -1:])[0]
            if wrong:
                others = [self._mean(self.reward(s[i, -1:], other), mask[i, -1:])[0] for other in wrong]
                margin[i] = reward[-1] - max(others)
        value = per_frame[:, -1].copy()
        return Score(
            kind=self.kind,
            value=value,
            std=np.full(b, np.nan, np.float32),
            done_prob=done,
            margin=margin,
            valid=np.isfinite(value) & np.isfinite(done),
            model=self.model,
            version=self.version,
            per_frame=per_frame,
            latency_ms=(time.perf_counter() - began) * 1e3,
        )

    def reward(self, s: np.ndarray, text: str) -> np.ndarray:
        """R [...] of unit image embeddings [..., D] under an instruction."""
        goal = self.encoder.mean_text(self.prompts.goals(text))
        baseline = self.encoder.mean_text(self.prompts.baselines(text))
        return goal_baseline_reward(s, goal, baseline, self.alpha)

    def _goal_probability(self, s: np.ndarray, text: str, wrong: Sequence[str]) -> np.ndarray:
        goals = [self.encoder.mean_text(self.prompts.goals(item)) for item in (text, *wrong)]
        contrasts = self.encoder.text(self.prompts.contrasts(text))
        logits = self._scale * (s @ np.stack([*goals, *contrasts]).T)
        logits = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return logits[..., 0] / logits.sum(axis=-1)

    @staticmethod
    def _mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Mean over views [..., V] of those present; NaN where none is."""
        count = mask.sum(axis=-1)
        total = np.where(mask, values, 0.0).sum(axis=-1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)
