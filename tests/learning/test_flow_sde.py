# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Flow-SDE against numerical integration and a flow whose answer is known; advantages against computation by
hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate
from small_policy import small_observation, small_policy

from apprentice.learning.rl.advantages import generalized_advantage, group_relative, leave_one_out
from apprentice.learning.rl.flow_sde import (
    Chain,
    divergence,
    log_likelihood,
    moments,
    sample_chain,
    step_of_chain,
)
from apprentice.policies import flow
from apprentice.policies.policy import inputs_of
from apprentice.policies.prefix import Prefix

MEAN, DEVIATION = 0.7, 0.4  # of the actions of the known flow


def known_velocity(x: torch.Tensor, t: torch.Tensor, prefix: Prefix) -> torch.Tensor:
    """The exact flow to N(MEAN, DEVIATION^2): E[noise - action | x]."""
    t = t[..., None]
    variance = t**2 + (1 - t) ** 2 * DEVIATION**2
    off = x - (1 - t) * MEAN
    return t / variance * off - (MEAN + (1 - t) * DEVIATION**2 / variance * off)


def no_prefix(batch: int) -> Prefix:
    empty = torch.zeros(1, batch, 1, 1, 1)
    return Prefix(empty, empty, torch.ones(batch, 1, dtype=torch.bool), torch.zeros(batch, 1))


@pytest.mark.parametrize('noise', [0.0, 0.5, 1.0])
def test_a_stochastic_step_does_not_change_what_is_sampled(noise):
    """The equation keeps the marginals. With the sign of its drift turned, the deviation would be off."""
    generator = torch.Generator().manual_seed(0)
    sampled, _ = sample_chain(known_velocity, no_prefix(40_000), (40_000, 1, 1), 100, noise, 0, generator)
    assert float(sampled.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(sampled.std()) == pytest.approx(DEVIATION, abs=0.02)


def test_stochastic_in_every_step_it_is_the_same_distribution():
    """100 steps of the equation from t = 1 on, without the flow."""
    g, steps, noise = torch.Generator().manual_seed(1), 200, 0.7
    x = torch.randn(20_000, 1, 1, generator=g)
    for number in range(steps):
        t = torch.full((1, 1, 1), 1 - number / steps)
        mean, deviation = moments(known_velocity(x, t[..., 0], no_prefix(1)), x, t, 1 / steps, noise)
        x = mean + deviation * torch.randn(x.shape, generator=g)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(x.std()) == pytest.approx(DEVIATION, abs=0.03)


@pytest.mark.parametrize('step', [0, 2, 4])
def test_the_likelihood_is_a_density_and_that_of_the_samples(step):
    """Integrates to one, and its integral up to a point is the share of samples below it."""
    count, steps, noise = 20_000, 5, 0.6
    x = torch.full((count, 1, 1), 0.3)
    t = torch.full((1, 1, 1), 1 - step / steps)
    mean, deviation = moments(known_velocity(x, t[..., 0], no_prefix(1)), x, t, 1 / steps, noise)
    samples = mean + deviation * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))

    def density(after: float) -> float:
        chain = Chain(x[:1], torch.full((1, 1, 1), after), torch.tensor([step]))
        moments_again = step_of_chain(known_velocity, no_prefix(1), chain, steps, noise)
        return math.exp(float(log_likelihood(*moments_again, chain.after)))

    centre, spread = float(mean[0]), float(deviation)
    whole, _ = integrate.quad(density, centre - 8 * spread, centre + 8 * spread)
    assert whole == pytest.approx(1, abs=1e-4)
    for point in (centre - spread, centre + 0.5 * spread):
        below, _ = integrate.quad(density, centre - 8 * spread, point)
        assert float((samples < point).float().mean()) == pytest.approx(below, abs=0.02)


def test_the_divergence_is_the_integral_of_its_definition():
    mean, other, deviation = torch.tensor([[[0.2]]]), torch.tensor([[[-0.1]]]), torch.tensor([[[0.3]]])

    def integrand(value: float) -> float:
        after = torch.full((1, 1, 1), value)
        p, q = (float(log_likelihood(m, deviation, after)) for m in (mean, other))
        return math.exp(p) * (p - q)

    found, _ = integrate.quad(integrand, -4, 4)
    assert float(divergence(mean, other, deviation)) == pytest.approx(found, rel=1e-4)


def test_the_trainer_finds_the_density_that_was_sampled_from():
    """With a real expert: residuals of its own samples are standard normal, in the noisy rows alone."""
    policy, rows, noise = small_policy(), 2, 0.5
    steps, n = policy.config.denoise_steps, 64
    prefix = policy.encode(inputs_of([small_observation()], policy.spec)).repeat(n)
    generators = [torch.Generator().manual_seed(i) for i in range(n)]
    with torch.no_grad():
        action, chain = sample_chain(policy.expert, prefix, (n, 6, 3), steps, noise, rows, generators)
        mean, deviation = step_of_chain(policy.expert, prefix, chain, steps, noise)
    z = ((chain.after - mean) / deviation)[:, :rows]
    assert 0.85 < float(z.std()) < 1.15
    assert abs(float(z.mean())) < 0.15
    assert set(chain.step.tolist()) == set(range(steps))
    expected = -0.5 * z.square().sum((1, 2)) - rows * 3 * (
        deviation[:, 0, 0].log() + 0.5 * math.log(2 * math.pi)
    )
    torch.testing.assert_close(log_likelihood(mean, deviation, chain.after, rows), expected)
    # what one chunk draws does not depend on the others
    one = sample_chain(
        policy.expert, policy.encode(inputs_of([small_observation()], policy.spec)), (1, 6, 3), steps, noise,
        rows, [torch.Generator().manual_seed(7)],
    )  # fmt: skip
    torch.testing.assert_close(one[0][0], action[7], atol=1e-5, rtol=1e-5)


def test_without_noise_it_is_the_policy_as_deployed():
    policy = small_policy()
    prefix = policy.encode(inputs_of([small_observation()], policy.spec))
    with torch.no_grad():
        sampled, _ = sample_chain(
            policy.expert,
            prefix,
            (1, 6, 3),
            policy.config.denoise_steps,
            0.0,
            0,
            torch.Generator().manual_seed(3),
        )
        noise = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(3))
        expected = flow.integrate(policy.expert, prefix, noise, policy.config.denoise_steps)
    torch.testing.assert_close(sampled, expected)


def test_gae_by_hand():
    """Three chunks of 4, 4 and 2 rows, gamma 0.9 a row, lambda 0.5; the second value is known to be wrong."""
    g4, g2 = 0.9**4, 0.9**2
    value = torch.tensor([0.5, 0.8, 0.1])
    reward, discount = torch.tensor([0.0, 0.2, 1.0]), torch.tensor([g4, g4, 0.0])
    third = 1.0 - 0.1
    second = 0.2 + g4 * 0.1 - 0.8 + g4 * 0.5 * third
    first = g4 * 0.8 - 0.5 + g4 * 0.5 * second
    found = generalized_advantage(reward, value, discount, 0.5)
    np.testing.assert_allclose(found, [first, second, third], rtol=1e-6)
    # cut off after the last chunk: its successor counts
    cut = generalized_advantage(reward[:1], value[:1], torch.tensor([g2]), 0.5, last_value=2.0)
    np.testing.assert_allclose(cut, [g2 * 2.0 - 0.5], rtol=1e-6)


def test_gae_with_decay_1_is_the_return_less_the_value():
    rng = np.random.default_rng(0)
    reward, value = (torch.tensor(rng.normal(size=6), dtype=torch.float32) for _ in range(2))
    discount = torch.tensor([0.9, 0.8, 0.9, 0.7, 0.9, 0.0])
    ahead, returns = 0.0, []
    for k in range(5, -1, -1):
        ahead = float(reward[k] + discount[k] * ahead)
        returns.append(ahead)
    found = generalized_advantage(reward, value, discount, 1.0)
    np.testing.assert_allclose(found, np.array(returns[::-1]) - value.numpy(), rtol=1e-4, atol=1e-6)


def test_groups_by_hand():
    score = torch.tensor([1.0, 0.0, 0.0, 0.0, 5.0, 5.0, 3.0])
    group = torch.tensor([7, 7, 7, 7, 9, 9, 4])
    alone = leave_one_out(score, group)
    np.testing.assert_allclose(alone, [1.0, -1 / 3, -1 / 3, -1 / 3, 0, 0, 0], atol=1e-6)
    relative = group_relative(score, group)
    np.testing.assert_allclose(relative, np.array([3, -1, -1, -1, 0, 0, 0]) / math.sqrt(3), atol=1e-6)


def test_leave_one_out_is_unbiased_and_the_mean_of_all_is_not():
    """A softmax bandit of three arms whose exact gradient is known, groups of four, 60 000 draws."""
    logits, payoff, size = torch.tensor([0.3, -0.2, 0.1]), torch.tensor([1.0, 0.0, 3.0]), 4
    chance = logits.softmax(0)
    exact = chance * (payoff - (chance * payoff).sum())  # d E[payoff] / d logits
    generator = torch.Generator().manual_seed(0)
    arms = torch.multinomial(chance, 60_000 * size, replacement=True, generator=generator)
    score = payoff[arms].view(-1, size)
    others = (score.sum(1, keepdim=True) - score) / (size - 1)
    one_group = leave_one_out(score[0], torch.zeros(size, dtype=torch.long))
    torch.testing.assert_close(one_group, (score - others)[0])
    direction = torch.nn.functional.one_hot(arms, 3).float() - chance
    unbiased = (direction * (score - others).reshape(-1, 1)).mean(0)
    shrunk = (direction * (score - score.mean(1, keepdim=True)).reshape(-1, 1)).mean(0)
    torch.testing.assert_close(unbiased, exact, atol=0.01, rtol=0)
    torch.testing.assert_close(shrunk, exact * (size - 1) / size, atol=0.01, rtol=0)
    assert float((shrunk - exact).abs().max()) > 0.05
