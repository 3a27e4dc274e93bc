# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The attention pool of CLIP ResNets (arXiv 2103.00020) for export: one query, sizes known beforehand.

As it comes, it attends from every token and keeps the first, and asks for its own sizes in about a hundred
nodes, which together take a tenth of the time of a small tower.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


class OneQueryPool(nn.Module):
    """The same numbers as the pool it is made from: maps [N, C, h, w] to embeddings [N, D]."""

    def __init__(self, pool: Any):
        super().__init__()
        self.pool, self.heads = pool, int(pool.num_heads)
        self.tokens, self.width = pool.positional_embedding.shape

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        places = maps.reshape(-1, self.width, self.tokens - 1).transpose(1, 2)
        tokens = torch.cat([places.mean(dim=1, keepdim=True), places], dim=1) + self.pool.positional_embedding
        each = self.width // self.heads
        query = self.pool.q_proj(tokens[:, :1]).reshape(-1, self.heads, 1, each)
        keys = self.pool.k_proj(tokens).reshape(-1, self.tokens, self.heads, each).permute(0, 2, 3, 1)
        values = self.pool.v_proj(tokens).reshape(-1, self.tokens, self.heads, each).transpose(1, 2)
        weights = ((query * each**-0.5) @ keys).softmax(dim=-1)
        return self.pool.c_proj((weights @ values).reshape(-1, self.width))


@contextlib.contextmanager
def one_query(network: Any) -> Iterator[None]:
    """Let the image tower of an open_clip model pool so in here, if it has such a pool."""
    from open_clip.modified_resnet import AttentionPool2d

    pool = getattr(network.visual, 'attnpool', None)
    if not isinstance(pool, AttentionPool2d):
        yield
        return
    network.visual.attnpool = OneQueryPool(pool)
    try:
        yield
    finally:
        network.visual.attnpool = pool
