# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Step-level guidance of DPO: which rows of a chunk made it better or worse.

Log-ratios l_t = log pi(y_t) / pi_ref(y_t) of a flow are ``E_ref - E`` of its rows, up to a factor that beta
absorbs. Step rewards r_t lie in [-0.5, 0.5]; rows for which they are not known (NaN) count as 0, which leaves
plain DPO there. Rows are averaged, not summed, so chunks of different length weigh alike.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs, Prefix


def row_mean(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean [B] over the valid rows of [B, H]."""
    weight = valid.to(values.dtype)
    return (values * weight).sum(-1) / weight.sum(-1).clamp(min=1)


def tgdpo_scores(
    winner: torch.Tensor,
    loser: torch.Tensor,
    valid: torch.Tensor,
    winner_steps: torch.Tensor,
    loser_steps: torch.Tensor,
    weight: float,
) -> torch.Tensor:
    """What the sigmoid of DPO takes, over beta, [B]: rows scaled by their reward (TGDPO, arXiv 2506.14574).

        mean_t (1 + weight r^w_t) l^w_t - mean_t (1 - weight r^l_t) l^l_t

    ``weight`` is alpha * beta of the paper; 0 is DPO. It scales by the rewards, so it needs good ones: with a
    fifth of their signs wrong it is worse than DPO, and :func:`treg_loss` is the one to take.

    Args:
        winner, loser: log-ratios [B, H].
    """
    up = 1 + weight * torch.nan_to_num(winner_steps)
    down = 1 - weight * torch.nan_to_num(loser_steps)
    return row_mean(up * winner, valid) - row_mean(down * loser, valid)


def treg_loss(
    winner: torch.Tensor,
    loser: torch.Tensor,
    valid: torch.Tensor,
    winner_steps: torch.Tensor,
    loser_steps: torch.Tensor,
    scores: torch.Tensor,
    beta: float,
) -> torch.Tensor:
    """The regulariser [B] of T-REG (arXiv 2412.02685): rows that are good become likelier in both chunks.

        sigma(-beta scores) * (mean_t -beta r^w_t l^w_t + mean_t -beta r^l_t l^l_t)

    It is weighed by how wrong the pair still is; that weight has no gradient.

    Args:
        winner, loser: log-ratios [B, H]; the reference in them is constant and does not matter here.
        scores: what the sigmoid of DPO takes, over beta, [B].
    """
    weight = torch.sigmoid(-beta * scores).detach()
    rows = torch.nan_to_num(winner_steps) * winner + torch.nan_to_num(loser_steps) * loser
    return -beta * weight * row_mean(rows, valid)


@torch.no_grad()
def contrastive_steps(
    policy: FlowPolicy,
    inputs: Inputs,
    chunks: torch.Tensor,
    noise: torch.Tensor,
    time: torch.Tensor,
    better: str = ', carefully and correctly',
    worse: str = ', clumsily and wrongly',
    sharpness: float = 1.0,
) -> torch.Tensor:
    """Step rewards [B, H] that a policy gives itself from two opposite instructions (T-REG):

        sigma(sharpness * (E_worse - E_better)) - 1/2     of each row

    They mean something only for a policy that understands such words.

    Args:
        chunks: [B, H, A], raw units.
        noise: [B, draws, H, A]; time: [B, draws, 1].
    """
    inputs = inputs.to(policy.device)
    actions = policy.normalize_actions(chunks.to(policy.device), inputs.state)
    errors = []
    for ending in (better, worse):
        told = Inputs(inputs.images, inputs.state, [text + ending for text in inputs.text])
        errors.append(row_errors(policy, policy.encode(told), actions, noise, time)[0].mean(1))
    return torch.sigmoid(sharpness * (errors[1] - errors[0])) - 0.5


def row_errors(
    policy: FlowPolicy, prefix: Prefix, actions: torch.Tensor, noise: torch.Tensor, time: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared velocity error of each row [B, draws, H], mean over joints, and velocities [B * draws, H, A].

    Args:
        actions: [B, H, A], normalised.
        noise: [B, draws, H, A]; time: [B, draws, 1] or [B, draws, H].
    """
    draws = noise.shape[1]
    prefix = prefix.detach() if policy.config.insulate else prefix
    x0, epsilon = actions.repeat_interleave(draws, 0), noise.flatten(0, 1)
    t = time.flatten(0, 1).expand(x0.shape[:2])
    x = torch.lerp(x0, epsilon, t[..., None])
    velocity = policy.expert(x, t, prefix.repeat(draws))
    error = functional.mse_loss(velocity, epsilon - x0, reduction='none').mean(-1)
    return error.unflatten(0, (-1, draws)), velocity
