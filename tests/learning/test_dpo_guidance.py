# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Step rewards that guide DPO: T-REG, TGDPO, and rewards from two opposite instructions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from preference_rig import gradients, make_pairs, make_policy, moved, quiet

from apprentice.learning.preference.flow_dpo import FlowDpo
from apprentice.learning.preference.guidance import contrastive_steps, row_mean, tgdpo_scores, treg_loss
from apprentice.policies.prefix import Inputs


def random_rows(seed=0):
    g = torch.Generator().manual_seed(seed)
    winner, loser = (torch.randn(5, 8, generator=g) for _ in range(2))
    valid = torch.arange(8)[None] < torch.tensor([8, 5, 3, 8, 1])[:, None]
    steps = [torch.rand(5, 8, generator=g) - 0.5 for _ in range(2)]
    return winner, loser, valid, *steps


def test_tgdpo_without_weight_is_dpo():
    winner, loser, valid, a, b = random_rows()
    plain = row_mean(winner, valid) - row_mean(loser, valid)
    torch.testing.assert_close(tgdpo_scores(winner, loser, valid, a, b, 0.0), plain, rtol=0, atol=1e-6)
    nobody = torch.full_like(a, torch.nan)
    torch.testing.assert_close(tgdpo_scores(winner, loser, valid, nobody, nobody, 2.0), plain)
    by_hand = sum((1 + 2 * a[1, t]) * winner[1, t] - (1 - 2 * b[1, t]) * loser[1, t] for t in range(5)) / 5
    torch.testing.assert_close(tgdpo_scores(winner, loser, valid, a, b, 2.0)[1], by_hand)


def test_treg_is_its_equation_and_its_weight_has_no_gradient():
    winner, loser, valid, a, b = random_rows()
    winner.requires_grad_()
    scores = row_mean(winner, valid) - row_mean(loser, valid)
    found = treg_loss(winner, loser, valid, a, b, scores, 3.0)
    weight = torch.sigmoid(-3 * scores).detach()
    rows = [-3 * weight[2] * (a[2, t] * winner[2, t] + b[2, t] * loser[2, t]) for t in range(3)]
    torch.testing.assert_close(found[2], sum(rows) / 3)
    (gradient,) = torch.autograd.grad(found[2], winner)
    torch.testing.assert_close(gradient[2, :3], -3 * weight[2] * a[2, :3] / 3)
    assert (gradient[2, 3:] == 0).all()


@pytest.mark.parametrize('guidance', ['treg', 'tgdpo'])
def test_guidance_moves_the_decisive_row_more(guidance):
    """A table of log-ratios; all rows differ alike, the step rewards say that row 2 decided."""
    valid = torch.ones(1, 8, dtype=torch.bool)
    steps = torch.zeros(1, 8)
    steps[0, 2] = 0.5
    importance = {}
    for name in ('none', guidance):
        rows = torch.zeros(1, 8, requires_grad=True)
        for _ in range(30):
            winner, loser = rows, -rows
            scores = row_mean(winner, valid) - row_mean(loser, valid)
            extra = torch.zeros(1)
            if name == 'tgdpo':
                scores = tgdpo_scores(winner, loser, valid, steps, -steps, 0.5)
            elif name == 'treg':
                extra = 0.5 * treg_loss(winner, loser, valid, steps, -steps, scores, 1.0)
            loss = (torch.nn.functional.softplus(-scores) + extra).sum()
            rows.data -= torch.autograd.grad(loss, rows)[0]
        importance[name] = float((rows[0, 2] / rows.mean()).detach())
    assert importance['none'] == pytest.approx(1.0, abs=1e-4)
    assert importance[guidance] > 1.1


@pytest.mark.parametrize('guidance', ['treg', 'tgdpo'])
def test_guidance_reaches_the_gradient_of_the_policy(guidance):
    pairs = make_pairs(2, 2)
    steps = np.zeros((len(pairs), 8), np.float32)
    steps[:, 2] = 0.5
    pairs = dataclasses.replace(pairs, winner_steps=steps, loser_steps=-steps)
    found = {}
    for name, weight in (('none', 0.0), (guidance, 0.0), (guidance + ' ', 1.0)):
        config = quiet(anchor=0.0, guidance=name.strip(), guidance_weight=weight, learning_rate=0.0, clip=1e9)
        dpo = FlowDpo(make_policy(), config)
        moved(dpo.policy)
        dpo.step(pairs)
        found[name] = gradients(dpo.policy)
    torch.testing.assert_close(found[guidance], found['none'], rtol=1e-4, atol=1e-4)
    assert (found[guidance + ' '] - found['none']).norm() > 0.01 * found['none'].norm()


def test_opposite_instructions_give_step_rewards():
    policy, pairs = make_policy(), make_pairs()
    inputs = Inputs(
        {n: torch.from_numpy(s) for n, s in pairs.images.items()}, torch.from_numpy(pairs.state), pairs.text
    )
    noise = torch.randn(12, 4, 8, 7, generator=torch.Generator().manual_seed(0))
    time = torch.rand(12, 4, 1, generator=torch.Generator().manual_seed(1))
    chunks = torch.from_numpy(pairs.winner)
    found = contrastive_steps(policy, inputs, chunks, noise, time)
    assert found.shape == (12, 8)
    assert found.abs().max() <= 0.5
    assert found.abs().max() > 0
    turned = contrastive_steps(
        policy, inputs, chunks, noise, time, ', clumsily and wrongly', ', carefully and correctly'
    )
    torch.testing.assert_close(turned, -found, atol=1e-5, rtol=1e-4)
    same = contrastive_steps(policy, inputs, chunks, noise, time, 'x', 'x')
    torch.testing.assert_close(same, torch.zeros_like(same))
