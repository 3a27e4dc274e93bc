# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Advantages of on-policy learning: from a value function (GAE), or from other tries of the same start."""

from __future__ import annotations

import torch


def generalized_advantage(
    reward: torch.Tensor,
    value: torch.Tensor,
    discount: torch.Tensor,
    decay: float,
    last_value: float = 0.0,
) -> torch.Tensor:
    """Generalised advantage estimation of one episode, [T] (arXiv 1506.02438); a chunk is one action.

    A_k = d_k + g_k * decay * A_(k+1),  d_k = r_k + g_k * V_(k+1) - V_k

    Args:
        reward: [T], discounted sum over the rows of each chunk.
        value: [T], at the beginning of each chunk.
        discount: [T], g: gamma to the number of rows; 0 after a terminal.
        decay: lambda, per chunk.
        last_value: after the last chunk, for an episode that was cut off.
    """
    following = torch.cat([value[1:], value.new_tensor([last_value])])
    difference = reward + discount * following - value
    advantage, ahead = torch.empty_like(difference), 0.0
    for k in range(len(reward) - 1, -1, -1):
        ahead = float(difference[k]) + float(discount[k]) * decay * ahead
        advantage[k] = ahead
    return advantage


def group_relative(score: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Score less the mean of its group, over the group's deviation, [N] (GRPO, arXiv 2402.03300).

    Args:
        score: [N], one for each episode.
        group: int64 [N], equal for episodes from the same start.

    0 where all scores of a group are equal.
    """
    advantage = torch.zeros_like(score)
    for number in group.unique():
        mine = group == number
        values = score[mine]
        spread = values.std(unbiased=False)
        if spread > 1e-6:
            advantage[mine] = (values - values.mean()) / spread
    return advantage


def leave_one_out(score: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Score less the mean of the others of its group, [N] (RLOO, arXiv 2402.14740).

    The baseline does not depend on the episode it is for, so the gradient stays unbiased. An episode that is
    alone in its group has none to be compared with: 0. So it is where all scores of a group are equal.
    """
    advantage = torch.zeros_like(score)
    for number in group.unique():
        mine = group == number
        size = int(mine.sum())
        values = score[mine]
        # of equal numbers the mean may differ by rounding
        if size > 1 and float(values.max() - values.min()) > 1e-6:
            advantage[mine] = (values - values.mean()) * size / (size - 1)
    return advantage
