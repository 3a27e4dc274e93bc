# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""World-model and action reward (NORA-1.5, arXiv 2511.14659): which of some proposed chunks is best.

Energies and their sum are defined in :mod:`.energy`. The goals are frames of a demonstration, so this labels
chunks at moments of demonstrations (preference pairs, best of n); it is no online reward without one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from apprentice.reward_models.base import Needs, RewardModelError, Score, ScoreRequest
from apprentice.reward_models.world_model.energy import EnergySettings
from apprentice.reward_models.world_model.features import Features
from apprentice.robot.types import RewardKind

DEMONSTRATED = 'demonstrated_action'  # in ScoreRequest.state: the demonstrated chunk, float32 [B, H, d]
JOINTS = 'joints'  # in ScoreRequest.state: measured positions, float32 [B, T, d]


class Dynamics(Protocol):
    """What predicts features; :class:`.predictor.Predictor` or :class:`.vjepa2_ac.VJepa2Dynamics`."""

    def predict(self, z: torch.Tensor, state: np.ndarray, chunks: np.ndarray) -> torch.Tensor:
        """Tokens [M, N, K, D] after chunks [N, H, d], by M members, from tokens [N, K, D]."""
        ...

    def deviation(self, chunks: np.ndarray, demonstrated: np.ndarray) -> np.ndarray:
        """Mean distance [N] of chunks [N, H, d] from the demonstrated one."""
        ...

    def ood(self, z: torch.Tensor, state: np.ndarray, chunks: np.ndarray) -> np.ndarray:
        """Distance [N] from what it was trained on; NaN where it is not known."""
        ...


@dataclass(frozen=True)
class Ranking:
    """n proposed chunks at one moment.

    Attributes:
        cost: float32 [n], lower is better.
        std: float32 [n], of the cost over the ensemble.
        energies: term -> float32 [n], raw.
        ood: float32 [n], see Score.ood.
    """

    cost: np.ndarray
    std: np.ndarray
    energies: Mapping[str, np.ndarray]
    ood: np.ndarray

    @property
    def reward(self) -> np.ndarray:
        """float32 [n], higher is better."""
        return -self.cost

    @property
    def order(self) -> np.ndarray:
        """Indices, best first."""
        return np.argsort(self.cost, kind='stable')


class WorldModelReward:
    """Distance of what a chunk leads to from what a demonstration led to, and of the chunk from its chunk.

    Args:
        features: the frozen feature space.
        dynamics: predicts in it.
        settings: weights and scales of the energies.
        cameras: views, in this order.
    """

    kind = RewardKind.COST
    model = 'world_model'

    def __init__(
        self,
        features: Features,
        dynamics: Dynamics,
        settings: EnergySettings,
        cameras: tuple[str, ...],
        version: str = '',
        device: str = 'cpu',
    ):
        self.features, self.dynamics, self.settings, self.version = features, dynamics, settings, version
        self.device = torch.device(device)
        self.needs = Needs(text=False, cameras=cameras, state=(JOINTS,), action=True, goal=True)

    @classmethod
    def load(
        cls, weights: str | Path, device: str = 'cpu', allow_download: bool = False, **options: Any
    ) -> WorldModelReward:
        """Load a folder made by ``apprentice train world-model``; see :func:`.files.load`.

        ``options``: ``ahead``, ``energy_weights``. Raises RewardModelError with the remedy.
        """
        from apprentice.reward_models.world_model.files import load

        return load(weights, device, allow_download, **options)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """uint8 [..., H, W, 3] to layer-normed tokens in one vector, float32 [..., P * D]."""
        tokens = self.features.encode(frames)
        return tokens.reshape(*tokens.shape[:-2], -1)

    def negatives(self, text: str) -> list[str]:
        """None: goals are pictures."""
        return []

    def candidates(
        self,
        views: np.ndarray,
        state: np.ndarray,
        chunks: np.ndarray,
        end: np.ndarray | None = None,
        sub: np.ndarray | None = None,
        demonstrated: np.ndarray | None = None,
    ) -> Ranking:
        """Rank n chunks proposed at one observation; it is encoded once, the chunks are one batch.

        Args:
            views: uint8 [V, H, W, 3], or embeddings float32 [V, P * D] of :meth:`encode`.
            state: joint positions [d] (rad, m).
            chunks: joint targets [n, H, d] (rad, m).
            end: embeddings [V, P * D] of the goal.
            sub: embeddings [V, P * D] of the subgoal, the demonstrated frame after as many rows.
            demonstrated: the demonstrated chunk [H, d].

        Raises RewardModelError where shapes do not fit and where nothing is given to compare with.
        """
        chunks = np.asarray(chunks, np.float32)
        emb = self.encode(views) if views.dtype == np.uint8 else views
        n = len(chunks)
        goals = {name: goal for name, goal in (('end', end), ('sub', sub)) if goal is not None}
        energies, cost, std, ood = self._rank(
            np.repeat(emb[None], n, axis=0),
            np.repeat(np.asarray(state, np.float32)[None], n, axis=0),
            chunks,
            {name: np.repeat(goal[None], n, axis=0) for name, goal in goals.items()},
            None if demonstrated is None else np.asarray(demonstrated, np.float32)[None],
        )
        return Ranking(cost, std, energies, ood)

    def score(self, request: ScoreRequest) -> Score:
        """Cost of each item's chunk from its last frame on; ``std`` is that of the ensemble.

        Uses what is given: ``goal`` is the end goal; in ``reference`` the frame nearest to the last one is
        looked up and the subgoal is ``ahead`` frames later; ``state['demonstrated_action']`` [B, H, d] is the
        demonstrated chunk. ``done_prob`` and ``margin`` are not measured.
        """
        began = time.perf_counter()
        b, _, v = request.check()
        self._check_views(v)
        if request.action is None or JOINTS not in request.state:
            raise RewardModelError(
                f'a world model needs action [B, H, d] and state[{JOINTS!r}] [B, T, d]; pass both'
            )
        if request.emb is not None:
            emb = request.emb[:, -1]
        else:
            emb = self.encode(request.frames[:, -1])  # type: ignore[index]
        goals = {} if request.goal is None else {'end': request.goal}
        ahead = self.settings.ahead or request.action.shape[1]
        if request.reference is not None:
            goals['sub'] = np.stack(
                [subgoal(now, demo, ahead) for now, demo in zip(emb, request.reference, strict=True)]
            )
        _, cost, std, ood = self._rank(
            emb,
            request.state[JOINTS][:, -1],
            request.action,
            goals,
            request.state.get(DEMONSTRATED),
        )
        seen = np.ones(b, bool) if request.mask is None else request.mask[:, -1].all(axis=1)
        nothing = np.full(b, np.nan, np.float32)
        return Score(
            kind=self.kind,
            value=cost,
            std=std,
            done_prob=nothing,
            margin=nothing.copy(),
            valid=np.isfinite(cost) & seen,
            model=self.model,
            version=self.version,
            latency_ms=(time.perf_counter() - began) * 1e3,
            ood=ood,
        )

    def _rank(
        self,
        emb: np.ndarray,
        state: np.ndarray,
        chunks: np.ndarray,
        goals: Mapping[str, np.ndarray],
        demonstrated: np.ndarray | None,
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
        """Energies, cost, its std and ood, each [N]; ``emb`` and goals [N, V, P * D]."""
        self._check_views(emb.shape[1])
        z = self._tokens(emb)
        predicted = self.dynamics.predict(z, state, chunks)
        each: dict[str, np.ndarray] = {}  # [M, N]
        for name, goal in goals.items():
            if goal.shape != emb.shape:
                raise RewardModelError(
                    f'goal {name} must be {emb.shape[1:]} embeddings, got {goal.shape[1:]}'
                )
            apart = (predicted - self._tokens(goal)).abs().mean(dim=(-1, -2))
            each[name] = apart.cpu().numpy().astype(np.float32)
        if demonstrated is not None:
            if demonstrated.shape[1:] != chunks.shape[1:]:
                raise RewardModelError(
                    f'the demonstrated chunk must be {chunks.shape[1:]}, got {demonstrated.shape[1:]}'
                )
            deviation = self.dynamics.deviation(chunks, demonstrated)
            each['deviation'] = np.repeat(deviation[None], len(predicted), axis=0)
        cost = self.settings.cost(each)
        std = cost.std(axis=0) if len(cost) > 1 else np.full(len(z), np.nan, np.float32)
        energies = {name: values.mean(axis=0) for name, values in each.items()}
        return energies, cost.mean(axis=0), std, self.dynamics.ood(z, state, chunks)

    def _tokens(self, emb: np.ndarray) -> torch.Tensor:
        """[N, V, P * D] to [N, V * P, D]."""
        tokens = torch.as_tensor(np.ascontiguousarray(emb, np.float32), device=self.device)
        return tokens.reshape(len(emb), -1, self.features.dim)

    def _check_views(self, views: int) -> None:
        if views != len(self.needs.cameras):
            raise RewardModelError(f'this world model needs the views {self.needs.cameras}, got {views}')


def subgoal(now: np.ndarray, demonstration: np.ndarray, ahead: int) -> np.ndarray:
    """The frame [V, E] ``ahead`` frames after that of ``demonstration`` [R, V, E] nearest to now."""
    apart = np.abs(demonstration - now).mean(axis=(1, 2))
    return demonstration[min(int(np.argmin(apart)) + ahead, len(demonstration) - 1)]
