# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The networks of the progress critic: what it makes of a frame, of a reference, and of a pair.

A trunk turns the frozen embeddings of all views and an instruction into features. A member of the ensemble
compares features with those of a demonstration (one-shot reference, VLAC, arXiv 2509.15937), with each other,
and with what done looks like.
"""

from __future__ import annotations

import torch
from torch import nn

from apprentice.reward_models.critic import thumbnails
from apprentice.reward_models.critic.instructions import SLOTS

CONTEXT = (
    4  # numbers that a reference adds: expected progress, likeness, likeness to its end, whether it is there
)


class GridTrunk(nn.Module):
    """Convolutions over maps of named colours, for thumbnail embeddings.

    Args:
        views: cameras.
        words: size of the vocabulary.
    """

    def __init__(self, views: int, words: int, width: int):
        super().__init__()
        self.views = views
        self.words = nn.Linear(words, 32, bias=False)
        self.early = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(thumbnails.MAPS, 16, 5, 2, 2),
                nn.GELU(),
                nn.Conv2d(16, 32, 3, 2, 1),
                nn.GroupNorm(4, 32),
            )
            for _ in range(views)
        )
        self.modulate = nn.Linear(32, 2 * 32 * views)
        self.late = nn.ModuleList(
            nn.Sequential(nn.GELU(), nn.Conv2d(32, 48, 3, 2, 1), nn.GELU(), nn.Flatten())
            for _ in range(views)
        )
        self.out = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(views * 48 * 16 + 32, width), nn.LayerNorm(width), nn.GELU()
        )

    def look(self, views: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """What :meth:`of_look` needs of embeddings [N, views * D], the same for all members: nothing in it is
        trained. Maps [N, views, MAPS, SIZE, SIZE].
        """
        each = views.reshape(len(views), self.views, -1).unbind(dim=1)
        return torch.stack([thumbnails.maps(view, text[:, -SLOTS:]) for view in each], dim=1)

    def of_look(self, looked: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Features [N, width] of what was looked at, and text [N, words + SLOTS]."""
        said = text[:, :-SLOTS]
        said = self.words(said / said.sum(dim=1, keepdim=True).clamp_min(1.0))
        scale, shift = self.modulate(said).reshape(len(text), 2, self.views, 32, 1, 1).unbind(dim=1)
        parts = []
        for i, maps in enumerate(looked.unbind(dim=1)):
            early = self.early[i](maps)
            parts.append(self.late[i](early * (1 + scale[:, i]) + shift[:, i]))
        return self.out(torch.cat([*parts, said], dim=1))

    def forward(self, views: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Features [N, width] of embeddings [N, views * D] and text [N, words + SLOTS]."""
        return self.of_look(self.look(views, text), text)


class EmbeddingTrunk(nn.Module):
    """A perceptron on pooled embeddings of images and text in one space, as CLIP's."""

    def __init__(self, views: int, dim: int, width: int):
        super().__init__()
        self.views = views
        # the products let text select what it names
        self.align = nn.Linear(dim, dim, bias=False)
        self.out = nn.Sequential(
            nn.Linear(views * dim * 2 + dim, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
        )

    def look(self, views: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return views

    def of_look(self, looked: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return self(looked, text)

    def forward(self, views: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Features [N, width] of unit embeddings [N, views * D] and [N, D]."""
        selected = views * self.align(text).repeat(1, self.views)
        scale = float(text.shape[1]) ** 0.5  # unit vectors have entries of 1 / sqrt(D)
        return self.out(torch.cat([views * scale, selected * scale, text * scale], dim=1))


Trunk = GridTrunk | EmbeddingTrunk


class Member(nn.Module):
    """One member of the ensemble.

    Args:
        trunk: embeddings and text to features [N, width].
    """

    def __init__(self, trunk: nn.Module, width: int):
        super().__init__()
        self.trunk = trunk
        self.key = nn.Linear(width, 32)
        self.join = nn.Sequential(nn.Linear(width + CONTEXT, width), nn.GELU())
        self.pair = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))
        self.done = nn.Sequential(nn.Linear(width, 48), nn.GELU(), nn.Linear(48, 1))

    def in_context(self, features: torch.Tensor, reference: torch.Tensor | None) -> torch.Tensor:
        """Features [N, width] joined with where in a demonstration they belong.

        Args:
            reference: features [N, R, width] of a demonstration, oldest first; None: there is none.
        """
        if reference is None:
            context = features.new_zeros(len(features), CONTEXT)
        else:
            key = nn.functional.normalize(self.key(features), dim=-1)
            keys = nn.functional.normalize(self.key(reference), dim=-1)
            like = torch.einsum('nk,nrk->nr', key, keys)
            when = torch.linspace(0, 1, reference.shape[1], device=like.device)
            place = ((10.0 * like).softmax(dim=1) * when).sum(dim=1)
            there = torch.ones_like(place)
            context = torch.stack([place, like.amax(dim=1), like[:, -1], there], dim=1)
        return self.join(torch.cat([features, context], dim=1))

    def progress(self, of: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        """Logit [N] of the progress of ``of`` when it is compared with ``given``, features in context."""
        return self.pair(torch.cat([of, given], dim=-1)).squeeze(-1)
