# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Small networks of reinforcement learning: an ensemble whose members are computed together, and a plain one.

LayerNorm after every hidden layer bounds what a critic says of actions it has never seen (RLPD, arXiv
2302.02948).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    'relu': functional.relu,
    'silu': functional.silu,
    'tanh': torch.tanh,
}
# numbers of a layer's output, all members together, that stay in the cache of a processor
_CACHED = 1 << 18


def activation(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function of that name. Raises ValueError naming those there are."""
    if name not in ACTIVATIONS:
        raise ValueError(f'no activation {name!r}; use one of {sorted(ACTIVATIONS)}')
    return ACTIVATIONS[name]


class Ensemble(nn.Module):
    """E perceptrons on (feature, action), as stacked weights.

    One batched product a layer computes all members. Large batches on a CPU are computed a member at a time,
    because what passes between the layers then stays in the cache (measured by ``apprentice bench learner``).
    The first layer is split by its inputs, so that a feature is multiplied once for all its actions.

    Args:
        feature, action: numbers of the inputs; an action of 0 numbers is left out.
        hidden: widths of the hidden layers, at least one.
        outputs: numbers a member answers with.
        generator: of the initial weights, on the CPU.

    Attributes:
        together: compute all members in one product; None: by device and size.
        precision: of the products between hidden layers. What comes in and what is answered stays float32.
    """

    def __init__(
        self,
        members: int,
        feature: int,
        action: int,
        hidden: tuple[int, ...],
        outputs: int = 1,
        layer_norm: bool = True,
        act: str = 'relu',
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if not hidden or min(members, feature, outputs, *hidden) < 1:
            raise ValueError(f'{members} members of hidden layers {hidden}; give at least one of each')
        self.members, self.outputs, self.layer_norm = members, outputs, layer_norm
        self.together: bool | None = None
        self.precision = torch.float32
        self._act, self._width = activation(act), max(hidden)

        def uniform(*shape: int, inputs: int) -> nn.Parameter:
            bound = 1 / math.sqrt(inputs)  # as torch.nn.Linear
            return nn.Parameter((torch.rand(*shape, generator=generator) * 2 - 1) * bound)

        inputs, sizes = feature + action, [*hidden, outputs]
        # inputs of the first layer are features, then actions
        self.action = action
        self.first = uniform(members, inputs, hidden[0], inputs=inputs)
        self.first_bias = uniform(members, 1, hidden[0], inputs=inputs)
        pairs = list(itertools.pairwise(sizes))
        self.weights = nn.ParameterList(uniform(members, a, b, inputs=a) for a, b in pairs)
        self.biases = nn.ParameterList(uniform(members, 1, b, inputs=a) for a, b in pairs)
        norms = hidden if layer_norm else ()
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(members, 1, width)) for width in norms)
        self.shifts = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, width)) for width in norms)

    def forward(
        self,
        feature: torch.Tensor,
        action: torch.Tensor | None = None,
        members: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Values [E, B, N] (one output) or [E, B, N, outputs].

        Args:
            feature: [B, D].
            action: [B, N, K]; None only where the ensemble takes none, then N is 1.
            members: int [E], which ones are computed; None: all.
        """
        if (action is None) != (self.action == 0):
            raise ValueError('the ensemble was made with actions or without; call it in the same way')
        rows, count = len(feature), 1 if action is None else action.shape[1]
        if action is not None and count == 1:  # nothing to share
            feature, action = torch.cat([feature, action[:, 0]], -1), None
        stacks = [self.first, self.first_bias, *self.weights, *self.biases, *self.scales, *self.shifts]
        if members is not None:
            stacks = [stack.index_select(0, members) for stack in stacks]
        size = len(stacks[0]) * rows * count * self._width
        together = self.together if self.together is not None else feature.is_cuda or size <= _CACHED
        if together:
            x = self._run(stacks, feature, action)
        else:
            each = zip(*(stack.unbind(0) for stack in stacks), strict=True)
            x = torch.stack([self._run(parts, feature, action) for parts in each])
        x = x.view(-1, rows, count, self.outputs)
        return x[..., 0] if self.outputs == 1 else x

    def _run(
        self, parts: Sequence[torch.Tensor], feature: torch.Tensor, action: torch.Tensor | None
    ) -> torch.Tensor:
        """Of one member, parts without E, or of all."""
        layers = len(self.weights)
        norms = layers if self.layer_norm else 0
        weights, biases = parts[2 : 2 + layers], parts[2 + layers : 2 + 2 * layers]
        scales, shifts = parts[2 + 2 * layers :][:norms], parts[2 + 2 * layers + norms :]
        if action is None:
            x = _linear(feature, parts[0], parts[1])
        else:
            seen, done = parts[0].split([feature.shape[1], self.action], -2)
            planned = (action.flatten(0, 1) @ done).unflatten(-2, action.shape[:2])
            x = (planned + _linear(feature, seen, parts[1]).unsqueeze(-2)).flatten(-3, -2)
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            if self.layer_norm:
                x = _norm(x, scales[i], shifts[i])
            last = i == layers - 1
            x = _linear(self._act(x), weight, bias, torch.float32 if last else self.precision)
        return x


def _linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, precision: torch.dtype = torch.float32
) -> torch.Tensor:
    x, weight, bias = x.to(precision), weight.to(precision), bias.to(precision)
    if weight.ndim == 2:
        return torch.addmm(bias, x, weight)
    return torch.baddbmm(bias, x if x.ndim == 3 else x.expand(len(weight), -1, -1), weight)


def _norm(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    width = x.shape[-1:]
    if scale.ndim == 2:  # of one member
        return functional.layer_norm(x, width, scale[0], shift[0])
    return torch.addcmul(shift, functional.layer_norm(x, width), scale)


def perceptron(
    inputs: int,
    hidden: tuple[int, ...],
    outputs: int,
    layer_norm: bool = True,
    act: str = 'relu',
    generator: torch.Generator | None = None,
) -> Ensemble:
    """One network of the same kind; call it through :func:`single`."""
    return Ensemble(1, inputs, 0, hidden, outputs, layer_norm, act, generator)


def single(network: Ensemble, inputs: torch.Tensor) -> torch.Tensor:
    """Outputs [B, outputs] of :func:`perceptron`'s network."""
    out = network(inputs)[0, :, 0]
    return out[:, None] if network.outputs == 1 else out
