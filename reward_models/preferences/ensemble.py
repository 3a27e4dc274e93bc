# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""An ensemble of small reward heads, trained from comparisons by Bradley and Terry's likelihood.

The recipe of BaseReward's ablations (arXiv 2509.16127): a head of two layers with SiLU on frozen features, no
penalty on the size of rewards, plain averaging over members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.preferences.comparisons import Comparison, answer_log_probs, as_arrays


@dataclass(frozen=True)
class FitConfig:
    """How a head is trained.

    Attributes:
        members: of the ensemble.
        width: of the hidden layer; 0: a linear head.
        steps: gradient steps, each on at most ``batch`` comparisons.
        weight_decay: decoupled; strong, as a hundred answers with some wrong ones are soon learned by heart.
        noise: share of answers given at random (mislabelled), in [0, 1).
        ties: 'learn' Rao and Kupper's width of a tie, or 'half': a tie counts half for each side.
        bootstrap: members weight the comparisons differently (exponential weights), which is what makes them
            disagree where there are few.
    """

    members: int = 5
    width: int = 64
    steps: int = 150
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 5.0
    noise: float = 0.05
    ties: str = 'learn'
    bootstrap: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.ties not in ('learn', 'half'):
            raise RewardModelError(f"ties is {self.ties!r}; use 'learn' or 'half'")
        if not 0 <= self.noise < 1:
            raise RewardModelError(f'noise is {self.noise}; it must lie in [0, 1)')
        if self.members < 1 or self.width < 0 or self.steps < 1:
            raise RewardModelError('members and steps must be 1 or more, width 0 or more')


class RewardEnsemble(nn.Module):
    """M heads from features [..., F] to rewards [M, ...], nats; a clip's is the mean over its frames."""

    def __init__(self, members: int, dim: int, width: int):
        super().__init__()
        self.width = width
        inner = width or 1
        self.first = nn.Parameter(torch.randn(members, dim, inner) / dim**0.5)
        self.first_bias = nn.Parameter(torch.zeros(members, 1, inner))
        if width:
            self.second = nn.Parameter(torch.randn(members, width, 1) / width**0.5)
        self.tie = nn.Parameter(torch.tensor(0.0))  # softplus of it; used if there are ties
        self.centre: torch.Tensor
        self.scale: torch.Tensor
        self.offset: torch.Tensor
        self.register_buffer('centre', torch.zeros(dim))
        self.register_buffer('scale', torch.ones(dim))
        self.register_buffer('offset', torch.zeros(members))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[..., F] to [M, ...]."""
        flat = (features.reshape(1, -1, features.shape[-1]) - self.centre) / self.scale
        hidden = flat @ self.first + self.first_bias
        if self.width:
            hidden = functional.silu(hidden) @ self.second
        rewards = hidden[..., 0] - self.offset[:, None]
        return rewards.reshape(-1, *features.shape[:-1])

    def clips(self, clips: torch.Tensor) -> torch.Tensor:
        """Rewards [M, N] of clips [N, T, F]."""
        return self(clips).mean(dim=-1)

    def standardise(self, clips: torch.Tensor) -> None:
        """Take centre and scale of the features from clips, answered or not."""
        flat = clips.reshape(-1, clips.shape[-1])
        self.centre.copy_(flat.mean(dim=0))
        self.scale.copy_(flat.std(dim=0).clamp_min(1e-4))

    @torch.no_grad()
    def anchor(self, clips: torch.Tensor) -> None:
        """Shift each member so that its mean over clips is 0; comparisons leave the shift open."""
        self.offset += self.clips(clips).mean(dim=1)

    @torch.no_grad()
    def rewards(self, clips: np.ndarray) -> np.ndarray:
        """float32 [M, N] of clips [N, T, F]."""
        device = self.centre.device
        return self.clips(torch.from_numpy(np.asarray(clips, np.float32)).to(device)).cpu().numpy()


def comparison_loss(
    ensemble: RewardEnsemble,
    clips: torch.Tensor,
    pairs: torch.Tensor,
    answers: torch.Tensor,
    weights: torch.Tensor,
    config: FitConfig,
) -> torch.Tensor:
    """Negative log-likelihood, mean over comparisons, summed over members.

    Args:
        pairs: [P, 2] rows of clips; answers: [P]; weights: [M, P].
    """
    used, place = torch.unique(pairs, return_inverse=True)
    rewards = ensemble.clips(clips[used])[:, place]  # [M, P, 2]
    gap = rewards[..., 0] - rewards[..., 1]
    if config.ties == 'half':
        log_p = answer_log_probs(gap, 0.0, config.noise)
        likely = torch.where(
            answers == 2,
            0.5 * (log_p[..., 0] + log_p[..., 1]),
            log_p.gather(-1, _index(answers, gap))[..., 0],
        )
    else:
        tie = functional.softplus(ensemble.tie) if bool((answers == 2).any()) else 0.0
        likely = answer_log_probs(gap, tie, config.noise).gather(-1, _index(answers, gap))[..., 0]
    return -(weights * likely).mean(dim=1).sum()


def _index(answers: torch.Tensor, gap: torch.Tensor) -> torch.Tensor:
    # a tie's own column is there but not used when ties count half
    return answers.expand(gap.shape).unsqueeze(-1)


def fit(
    clips: np.ndarray,
    comparisons: Sequence[Comparison],
    config: FitConfig | None = None,
    start: RewardEnsemble | None = None,
) -> RewardEnsemble:
    """Train an ensemble.

    Args:
        clips: float [N, T, F], frozen features of clips; also those nobody compared.
        comparisons: of rows of clips.
        config: how.
        start: train this one further, in place, instead of a new one.

    Raises RewardModelError without a comparison or for one that names a clip that is not there.
    """
    config = config or FitConfig()
    pairs, answers, weights = as_arrays(comparisons)
    if not len(pairs):
        raise RewardModelError('no comparison to learn from; answer some pairs first')
    if pairs.max() >= len(clips):
        raise RewardModelError(f'a comparison names clip {pairs.max()}, there are {len(clips)}')
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    device = start.centre.device if start is not None else torch.device('cpu')
    x = torch.from_numpy(np.asarray(clips, np.float32)).to(device)
    ensemble = start
    if ensemble is None:
        ensemble = RewardEnsemble(config.members, x.shape[-1], config.width)
        ensemble.standardise(x)
    members = len(ensemble.offset)
    share = (
        rng.exponential(size=(members, len(pairs))) if config.bootstrap else np.ones((members, len(pairs)))
    )
    every = torch.from_numpy((share * weights).astype(np.float32)).to(device)
    rows, said = torch.from_numpy(pairs).to(device), torch.from_numpy(answers).to(device)
    optimizer = torch.optim.AdamW(
        ensemble.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    ensemble.train().requires_grad_(True)
    for _ in range(config.steps):
        some = torch.from_numpy(rng.permutation(len(pairs))[: config.batch]).to(device)
        loss = comparison_loss(ensemble, x, rows[some], said[some], every[:, some], config)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    ensemble.eval().requires_grad_(False)
    ensemble.first.copy_(ensemble.first.half().float())  # as `save` stores it
    ensemble.anchor(x)
    return ensemble


def win_probabilities(rewards: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """P(left is better) of each member, [M, P], from rewards [M, N]; ties aside."""
    gap = rewards[:, pairs[:, 0]] - rewards[:, pairs[:, 1]]
    return 1.0 / (1.0 + np.exp(-gap))


def judge(
    ensemble: RewardEnsemble, clips: np.ndarray, comparisons: Sequence[Comparison], bins: int = 10
) -> dict[str, float]:
    """How well held-out comparisons are foretold; ties are left out.

    Returns:
        accuracy: share of pairs whose winner has the larger mean reward.
        log_loss, brier: of the mean probability, smaller is better.
        ece: expected calibration error of the confidence in the likelier side, in equal bins of [0.5, 1].
        pairs: how many.
    """
    pairs, answers, _ = as_arrays([c for c in comparisons if c.answer != 'equal'])
    if not len(pairs):
        return dict.fromkeys(('accuracy', 'log_loss', 'brier', 'ece'), float('nan')) | {'pairs': 0.0}
    p = win_probabilities(ensemble.rewards(clips), pairs).mean(axis=0)
    won = answers == 0
    sure, right = np.maximum(p, 1 - p), (p > 0.5) == won
    place = np.minimum(((sure - 0.5) * 2 * bins).astype(int), bins - 1)
    ece = sum(
        np.mean(place == k) * abs(sure[place == k].mean() - right[place == k].mean())
        for k in np.unique(place)
    )
    said = np.clip(np.where(won, p, 1 - p), 1e-9, 1.0)
    return {
        'accuracy': float(np.where(p == 0.5, 0.5, right).mean()),
        'log_loss': float(-np.log(said).mean()),
        'brier': float(np.mean((p - won) ** 2)),
        'ece': float(ece),
        'pairs': float(len(pairs)),
    }
