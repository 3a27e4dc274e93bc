# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A bounded Gaussian actor and the temperature of its entropy (SAC, arXiv 1812.05905)."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from apprentice.learning.rl.networks import perceptron, single

LOWEST, HIGHEST = -5.0, 2.0  # log of the standard deviation


class BoundedGaussian(nn.Module):
    """Feature [B, D] to K numbers, bound * tanh of a Gaussian.

    Args:
        bound: no number is larger.
    """

    def __init__(
        self,
        feature: int,
        numbers: int,
        hidden: tuple[int, ...],
        bound: float,
        layer_norm: bool = True,
        activation: str = 'relu',
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.numbers, self.bound = numbers, bound
        self.network = perceptron(feature, hidden, 2 * numbers, layer_norm, activation, generator)

    def forward(
        self, feature: torch.Tensor, noise: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A sample [B, K] and the logarithm of its density [B].

        Args:
            noise: normal, [B, K]; None: the middle of the distribution, without a density.
        """
        mean, log_std = single(self.network, feature).chunk(2, -1)
        if noise is None:
            return self.bound * torch.tanh(mean), None
        log_std = log_std.clamp(LOWEST, HIGHEST)
        raw = mean + log_std.exp() * noise
        # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)), exact also where tanh is 1
        squash = 2 * (math.log(2) - raw - functional.softplus(-2 * raw))
        density = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        log_prob = (density - squash - math.log(self.bound)).sum(-1)
        return self.bound * torch.tanh(raw), log_prob


class Temperature(nn.Module):
    """Weight of the entropy, learned so that it stays near a target.

    Args:
        first: its value before the first step.
        target: entropy wanted, nats.
    """

    def __init__(self, first: float, target: float):
        super().__init__()
        if first <= 0:
            raise ValueError(f'a temperature of {first}; give one above 0')
        self.log = nn.Parameter(torch.tensor(math.log(first)))
        self.target = target

    @property
    def value(self) -> torch.Tensor:
        """The weight; no gradient passes."""
        return self.log.detach().exp()

    def loss(self, log_prob: torch.Tensor) -> torch.Tensor:
        """Falls where the entropy comes nearer to its target."""
        return -self.log.exp() * (log_prob.detach().mean() + self.target)
