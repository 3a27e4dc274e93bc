# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Any reward model with a cache in front of its encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from apprentice.reward_models.base import PairCritic, RewardModel, RewardModelError, Score, ScoreRequest
from apprentice.reward_models.cache.embeddings import EmbeddingCache, encoder_identity, short_identity


class CachedModel:
    """A reward model whose ``encode`` asks a cache first; scores are those of the model to float16 precision.

    Everything else is the model's own.

    Args:
        inner: the model.
        cache: of the model's encoder.
    """

    def __init__(self, inner: RewardModel, cache: EmbeddingCache):
        self.inner, self.cache = inner, cache
        self.needs, self.kind = inner.needs, inner.kind
        self.model, self.version = inner.model, inner.version
        self.encoder_identity = _identity(inner, kept=False)
        if cache.identity != short_identity(self.encoder_identity):
            raise RewardModelError(
                f'this cache belongs to another encoder than {self.encoder_identity!r}; one cache an encoder'
            )

    @classmethod
    def load(cls, weights: Any, device: str = 'cpu', **options: Any) -> RewardModel:
        """Not of use here: load the model, then :func:`cached`."""
        raise RewardModelError('load the reward model itself, then wrap it with cached()')

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == 'inner':
            raise AttributeError(name)
        return getattr(self.inner, name)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        return self.cache.encode(frames, self.inner.encode)

    def score(self, request: ScoreRequest) -> Score:
        return self.inner.score(self._encoded(request))

    def negatives(self, text: str) -> list[str]:
        return self.inner.negatives(text)

    def _encoded(self, request: ScoreRequest) -> ScoreRequest:
        if request.emb is not None or request.frames is None:
            return request
        request.check()
        return replace(request, emb=self.encode(request.frames))


class CachedPairCritic(CachedModel):
    """The same for a pair critic."""

    inner: PairCritic

    def delta(self, request: ScoreRequest) -> Score:
        return self.inner.delta(self._encoded(request))


def cached(model: RewardModel, cache: EmbeddingCache | None = None, **options: Any) -> RewardModel:
    """A model with a cache in front of its encoder; the model itself where pictures are all it keeps of a
    frame (``Needs.pictures``).

    Args:
        cache: shared with other models of the same encoder; None: one of its own.
        options: of :class:`EmbeddingCache`.

    Raises RewardModelError for a cache of another encoder, and for a folder and a model without a version.
    """
    if model.needs.pictures:
        return model
    if cache is None:
        cache = EmbeddingCache(_identity(model, kept=bool(options.get('folder'))), **options)
    return (CachedPairCritic if isinstance(model, PairCritic) else CachedModel)(model, cache)


def _identity(model: RewardModel, kept: bool) -> str:
    """Of the encoder; in memory a model without a version is known by being this very object."""
    if kept or model.version or getattr(model, 'encoder_identity', ''):
        return encoder_identity(model)
    return f'{model.model} {id(model)}'
