# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What algorithms share that learn from rollouts of the present weights: epochs over macro actions, on one
device or several.

The backbone is frozen and its prefixes are kept, as piRL does (arXiv 2510.25889): only the flow expert, and a
value function where there is one, is trained. Losses are sums; the step divides by the number of macro
actions of all processes, so two processes with half of the episodes each make the gradient of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

# before any GL context, see learning/weighted_flow.py
import torch._dynamo
from torch import nn

from apprentice.learning.distributed import Ranks, spread
from apprentice.learning.rl.episodes import MacroEpisode, Macros
from apprentice.learning.rl.flow_sde import Chain, Velocity, sample_chain
from apprentice.policies.noise import Noise
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Prefix


class Actor(Protocol):
    """What acts in rollouts; its ``state_dict`` is sent to those who roll out."""

    def sample(self, prefix: Prefix, generator: Noise = None) -> tuple[torch.Tensor, Chain]:
        """Chunks [B, H, A], normalised, and their stochastic steps."""
        ...

    def state_dict(self) -> dict[str, torch.Tensor]: ...
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> Any: ...


class OnPolicyAlgorithm(Protocol):
    """Learns from episodes of its own actor.

    A class made as ``Class(policy, config, rows, seed, ranks)`` with a frozen dataclass ``Config`` of
    settings, one file an algorithm; named in settings as ``package.module:Class``, ours by the name of their
    file. ``make_actor`` makes the actor for those who roll out elsewhere, too.

    Attributes:
        actor: what is to be rolled out next.
        policy: what is being trained; :meth:`result` is what is to be saved.
        steps: gradient steps done.
        group: episodes that each start needs; 1: any.
    """

    actor: Actor
    policy: FlowPolicy
    steps: int
    group: int

    @classmethod
    def make_actor(cls, policy: FlowPolicy, config: Any, rows: int) -> Actor: ...
    def update(self, episodes: Sequence[MacroEpisode]) -> dict[str, float]: ...
    def result(self) -> FlowPolicy: ...
    def state_dict(self) -> dict[str, torch.Tensor]: ...
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None: ...


@dataclass(frozen=True)
class OnPolicyConfig:
    """Settings of a clipped policy gradient.

    Attributes:
        learning_rate: of the flow expert.
        epochs: over the macro actions of one update; ``minibatches`` gradient steps each.
        clip: how far the likelihood ratio may move before its gradient is cut (PPO, arXiv 1707.06347).
        gradient_clip: largest norm of the gradient.
        divergence_limit: an update ends once the mean divergence from the old weights is above it.
        noise: a of the stochastic step in rollouts, see :mod:`.flow_sde`.
    """

    learning_rate: float = 3e-5
    epochs: int = 3
    minibatches: int = 8
    clip: float = 0.2
    gradient_clip: float = 1.0
    divergence_limit: float = 0.05
    noise: float = 0.5

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.minibatches < 1:
            raise ValueError('algorithm.epochs and algorithm.minibatches must be 1 or more')
        if self.learning_rate < 0 or self.clip <= 0 or self.noise < 0:
            raise ValueError('algorithm.learning_rate and .noise: 0 or more; .clip: more than 0')


class FlowActor(nn.Module):
    """A flow expert with one stochastic step; without noise as it is deployed."""

    def __init__(self, policy: FlowPolicy, noise: float, rows: int):
        super().__init__()
        self.expert = policy.expert
        self._size = policy.spec.horizon, policy.spec.dim
        self.steps, self.noise, self.rows = policy.config.denoise_steps, noise, rows

    @property
    def velocity(self) -> Velocity:
        return self.expert

    @torch.no_grad()
    def sample(self, prefix: Prefix, generator: Noise = None) -> tuple[torch.Tensor, Chain]:
        size = (len(prefix.mask), *self._size)
        return sample_chain(self.velocity, prefix, size, self.steps, self.noise, self.rows, generator)


class OnPolicy:
    """The update. A subclass says what the loss is (:meth:`objective`) and prepares the macro actions."""

    Config: type = OnPolicyConfig

    def __init__(
        self,
        policy: FlowPolicy,
        config: Any = None,
        rows: int = 0,
        seed: int = 0,
        ranks: Ranks | None = None,
    ):
        self.policy, self.config = policy, config or type(self).Config()
        self.rows, self.ranks = rows or policy.spec.horizon, ranks or Ranks()
        policy.to(self.ranks.device).requires_grad_(False)
        policy.expert.requires_grad_(True)
        self.actor = self.make_actor(policy, self.config, self.rows)
        torch.manual_seed(seed)
        self.module = self.objective().to(self.ranks.device)
        self._spread = spread(self.module, self.ranks)
        self.optimizer = torch.optim.AdamW(self.parameter_groups(), weight_decay=0.0)
        self.generator = torch.Generator().manual_seed(seed + 1_000_003 * self.ranks.rank)
        self.steps = self.updates = 0

    group = 1

    @classmethod
    def make_actor(cls, policy: FlowPolicy, config: Any, rows: int) -> FlowActor:
        """The actor for a policy; in rollouts far away too."""
        return FlowActor(policy, config.noise, rows)

    def objective(self) -> nn.Module:
        """A module: macro actions to sums, ``loss`` and what is reported; it holds all that is trained."""
        raise NotImplementedError

    def prepare(self, episodes: Sequence[MacroEpisode]) -> tuple[Macros, dict[str, float]]:
        """Macro actions with advantages and what is old, and metrics about them."""
        raise NotImplementedError

    def teaches(self, macros: Macros) -> bool:
        """Whether a step is to be made on a minibatch; every process must say the same."""
        return True

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{'params': list(self.policy.expert.parameters()), 'lr': self.config.learning_rate}]

    def update(self, episodes: Sequence[MacroEpisode]) -> dict[str, float]:
        """Several epochs on episodes of the present weights; returns metrics.

        With several processes each gives episodes of its own, and all must call. A step whose loss or
        gradient is not finite is not applied, and counted as ``skipped``; where nothing could be learned
        there are no other metrics of steps.
        """
        macros, metrics = self.prepare(episodes)
        done: dict[str, list[float]] = {}
        for _ in range(self.config.epochs):
            order, values = torch.randperm(len(macros), generator=self.generator), dict[str, float]()
            for rows in order.tensor_split(self.config.minibatches):
                part = macros.take(rows)
                if not self.teaches(part):
                    continue
                values = self._step(part)
                for name, value in values.items():
                    done.setdefault(name, []).append(value)
            if values.get('divergence', 0.0) > self.config.divergence_limit:
                break
        self.updates += 1
        means = {name: sum(found) / len(found) for name, found in done.items()}
        return {'skipped': 0.0, **metrics, **means, 'gradient_steps': float(self.steps)}

    def _step(self, macros: Macros) -> dict[str, float]:
        ranks = self.ranks
        total = ranks.total(torch.tensor(float(len(macros)), device=ranks.device)).clamp(min=1)
        self.optimizer.zero_grad(set_to_none=True)
        sums = self._spread(macros)
        # the exchange takes the mean over processes, the loss is their sum
        (sums['loss'] * ranks.world / total).backward()
        found = ranks.total(torch.stack([value.detach().float() for value in sums.values()])) / total
        values = dict(zip(sums, found.tolist()))
        trained = [p for each in self.optimizer.param_groups for p in each['params']]
        norm = float(nn.utils.clip_grad_norm_(trained, self.config.gradient_clip))
        skipped = not (math.isfinite(values['loss']) and math.isfinite(norm))
        if not skipped:
            self.optimizer.step()
            self.steps += 1
        return {**values, 'gradient_norm': norm, 'skipped': float(skipped)}

    def normalized(self, advantage: torch.Tensor) -> torch.Tensor:
        """Mean 0 and deviation 1 over the macro actions of all processes."""
        sums = torch.stack(
            [advantage.new_tensor(float(len(advantage))), advantage.sum(), advantage.square().sum()]
        )
        count, first, second = self.ranks.total(sums)
        mean = first / count
        deviation = (second / count - mean.square()).clamp(min=0).sqrt()
        return (advantage - mean) / (deviation + 1e-6)

    def result(self) -> FlowPolicy:
        """What is to be saved."""
        return self.policy

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Everything that continues the training, as named tensors; the frozen backbone is not among it."""
        named = {f'module.{k}': v for k, v in self.module.state_dict().items()}
        for index, state in self.optimizer.state_dict()['state'].items():
            named |= {f'optimizer.{index}.{k}': torch.as_tensor(v) for k, v in state.items()}
        named['generator'] = self.generator.get_state()
        named['counts'] = torch.tensor([self.steps, self.updates])
        return {name: tensor.detach().to('cpu', copy=True).contiguous() for name, tensor in named.items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Put :meth:`state_dict` back. Raises ValueError for one of another policy or algorithm."""
        try:
            self.module.load_state_dict({k[7:]: v for k, v in state.items() if k.startswith('module.')})
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in state.items():
                if key.startswith('optimizer.'):
                    _, index, name = key.split('.', 2)
                    moments.setdefault(int(index), {})[name] = value
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), 'state': moments})
            self.generator.set_state(state['generator'])
            self.steps, self.updates = (int(n) for n in state['counts'])
        except (RuntimeError, KeyError, ValueError) as error:
            raise ValueError(f'the snapshot is of another policy or algorithm: {error}') from error
