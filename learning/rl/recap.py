# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""RECAP-style advantage conditioning: a slow outer loop over episodes (pi*0.6, arXiv 2511.14759).

1. A value distribution of 201 bins over normalised time to go, by cross-entropy on Monte-Carlo returns: -1 a
   row over the longest episode, so 0 at a success, -1 for a failure.
2. A = (return of the next chunks) + V(then) - V(now); the best share of the chunks is positive, and
   everything a person did is.
3. From the policy that training began with: flow matching on all chunks, told whether each was positive;
   30 % are not told, which keeps the policy without condition.
4. Acting: v_u + b (v_positive - v_u), classifier-free guidance; b = 1 is the policy told "positive".

RECAP tells by text. Here it is an embedding added to the positions of the expert's action tokens, so that
with b = 1 the result is a plain policy with other positions: it is saved, exported and served as any other.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from apprentice.learning.distributed import Ranks
from apprentice.learning.rl.episodes import MacroEpisode, Macros
from apprentice.learning.rl.flow_sde import Chain, sample_chain
from apprentice.policies import flow
from apprentice.policies.expert import FlowExpert
from apprentice.policies.noise import Noise
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Prefix

POSITIVE, NEGATIVE, UNTOLD = 1, 0, 2


@dataclass(frozen=True)
class RecapConfig:
    """Settings.

    Attributes:
        bins: of the value distribution, over [-1, 0].
        longest_rows: rows of action that count as -1; 0: the longest episode there is.
        ahead: chunks over which an advantage looks.
        positive: share of the policy's chunks that are called positive.
        untold: share of training samples without condition.
        guidance: b.
        value_steps, steps: gradient steps of a round, of value and policy.
        noise: of a stochastic step while rolling out; the flow explores by itself.
    """

    bins: int = 201
    longest_rows: int = 0
    ahead: int = 1
    positive: float = 0.3
    untold: float = 0.3
    guidance: float = 1.0
    value_steps: int = 300
    steps: int = 500
    batch: int = 64
    learning_rate: float = 3e-4
    value_learning_rate: float = 1e-3
    value_width: int = 128
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.positive < 1 and 0 <= self.untold < 1 and self.bins > 1 and self.ahead > 0):
            raise ValueError('algorithm.positive and .untold are shares; .bins is 2 or more, .ahead 1')


class ValueDistribution(nn.Module):
    """Logits [B, bins] of the return of features [B, F]."""

    def __init__(self, features: int, bins: int, width: int):
        super().__init__()
        self.register_buffer('centres', torch.linspace(-1, 0, bins))
        self.layers = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, width), nn.LayerNorm(width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, bins),
        )  # fmt: skip

    def loss(self, feature: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
        """Cross-entropy with the nearest bins of ``returns`` [B]."""
        bins = len(self.centres)  # type: ignore[arg-type]
        nearest = ((returns.clamp(-1, 0) + 1) * (bins - 1)).round().long()
        return functional.cross_entropy(self.layers(feature), nearest)

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Expected return [B]."""
        return self.layers(feature).softmax(-1) @ self.centres  # type: ignore[operator]


class ConditionedExpert(nn.Module):
    """A flow expert that can be told how good a chunk is; as it acts it is told "positive", and guided."""

    def __init__(self, expert: FlowExpert, guidance: float = 1.0):
        super().__init__()
        self.expert, self.guidance = expert, guidance
        self.advantage = nn.Parameter(
            torch.zeros(2, expert.config.width)
        )  # of NEGATIVE and POSITIVE; untold is nothing

    def told(self, x: torch.Tensor, t: torch.Tensor, prefix: Prefix, told: torch.Tensor) -> torch.Tensor:
        """Velocity where each item is told POSITIVE, NEGATIVE or UNTOLD, int64 [B]."""
        known = torch.cat([self.advantage, self.advantage.new_zeros(1, self.advantage.shape[1])])
        position = self.expert.position + known[told][:, None]
        return functional_call(self.expert, {'position': position}, (x, t, prefix))

    def forward(self, x: torch.Tensor, t: torch.Tensor, prefix: Prefix) -> torch.Tensor:
        told = torch.full((len(x),), POSITIVE, device=x.device)
        positive = self.told(x, t, prefix, told)
        if self.guidance == 1:
            return positive
        plain = self.expert(x, t, prefix)
        return plain + self.guidance * (positive - plain)


class GuidedActor(nn.Module):
    """Acts with guidance."""

    def __init__(self, policy: FlowPolicy, config: RecapConfig, rows: int):
        super().__init__()
        self.expert = ConditionedExpert(policy.expert, config.guidance)
        self._size, self.noise, self.rows = (policy.spec.horizon, policy.spec.dim), config.noise, rows
        self.steps = policy.config.denoise_steps

    @torch.no_grad()
    def sample(self, prefix: Prefix, generator: Noise = None) -> tuple[torch.Tensor, Chain]:
        size = (len(prefix.mask), *self._size)
        return sample_chain(self.expert, prefix, size, self.steps, self.noise, self.rows, generator)


def time_to_go(episode: MacroEpisode, longest: int) -> torch.Tensor:
    """Normalised returns [T] at the beginning of each chunk: minus the share of the time to the success."""
    if not episode.success:
        return torch.full((len(episode),), -1.0)
    rows = episode.rows.float()
    return -(rows.flip(0).cumsum(0).flip(0) / longest).clamp(max=1)


def advantages(returns: torch.Tensor, value: torch.Tensor, ahead: int) -> torch.Tensor:
    """Return of the next ``ahead`` chunks + V(then) - V(now), [T], of one episode.

    What comes after the episode's end is known, so there the return stands for both terms.
    """
    beyond = torch.zeros(ahead)
    later_return, later_value = torch.cat([returns[ahead:], beyond]), torch.cat([value[ahead:], beyond])
    later_return, later_value = later_return[: len(returns)], later_value[: len(returns)]
    return returns - later_return + later_value - value


class Recap:
    """See the text of this module. ``update`` takes the episodes of one round; those before are kept."""

    Config: type = RecapConfig
    group = 1

    def __init__(
        self,
        policy: FlowPolicy,
        config: RecapConfig | None = None,
        rows: int = 0,
        seed: int = 0,
        ranks: Ranks | None = None,
    ):
        if ranks is not None and ranks.world > 1:
            raise ValueError('recap trains in one process; leave torchrun out')
        self.policy, self.config = policy, config or RecapConfig()
        self.device = ranks.device if ranks else policy.device
        policy.to(self.device).requires_grad_(False)
        self.actor = self.make_actor(policy, self.config, rows or policy.spec.horizon).to(self.device)
        self._begin = copy.deepcopy(self.actor.state_dict())
        self.generator = torch.Generator().manual_seed(seed)
        self._seed, self.steps, self.updates = seed, 0, 0
        self.episodes: list[MacroEpisode] = []
        self.value: ValueDistribution | None = None

    @classmethod
    def make_actor(cls, policy: FlowPolicy, config: RecapConfig, rows: int) -> GuidedActor:
        return GuidedActor(policy, config, rows)

    def update(self, episodes: Sequence[MacroEpisode]) -> dict[str, float]:
        """One round: values, labels, and the policy from its beginning on all episodes so far."""
        self.episodes += episodes
        macros = Macros.of(self.episodes, self.device)
        config = self.config
        longest = config.longest_rows or max(int(episode.rows.sum()) for episode in self.episodes)
        returns = [time_to_go(episode, longest) for episode in self.episodes]
        macros.target = torch.cat(returns).to(self.device)
        metrics = self._fit_value(macros)
        positive = self.label(macros, returns)
        metrics |= {'positive': float(positive.float().mean()), **self._fit_policy(macros, positive)}
        self.updates += 1
        return metrics

    def _fit_value(self, macros: Macros) -> dict[str, float]:
        config = self.config
        torch.manual_seed(self._seed + self.updates)
        self.value = ValueDistribution(macros.feature.shape[1], config.bins, config.value_width).to(
            self.device
        )
        optimizer = torch.optim.AdamW(self.value.parameters(), config.value_learning_rate, weight_decay=1e-3)
        losses = []
        for _ in range(config.value_steps):
            rows = torch.randint(len(macros), (config.batch,), generator=self.generator)
            loss = self.value.loss(macros.feature[rows], macros.target[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return {'value_loss': sum(losses[-50:]) / len(losses[-50:])}

    @torch.no_grad()
    def label(self, macros: Macros, returns: Sequence[torch.Tensor]) -> torch.Tensor:
        """Which chunks are positive, bool [B]."""
        assert self.value is not None
        value, first, found = self.value(macros.feature).cpu(), 0, []
        for episode, mine in zip(self.episodes, returns, strict=True):
            found.append(advantages(mine, value[first : first + len(episode)], self.config.ahead))
            first += len(episode)
        advantage = torch.cat(found)
        human = torch.cat([episode.human for episode in self.episodes])
        compared = advantage if bool(human.all()) else advantage[~human]
        return ((advantage > compared.quantile(1 - self.config.positive)) | human).to(self.device)

    def _fit_policy(self, macros: Macros, positive: torch.Tensor) -> dict[str, float]:
        config, g = self.config, self.generator
        self.actor.load_state_dict(self._begin)
        expert = self.actor.expert.requires_grad_(True)
        optimizer = torch.optim.AdamW(expert.parameters(), config.learning_rate, weight_decay=0.0)
        horizon, losses, skipped = macros.action.shape[1], [], 0
        for number in range(config.steps):
            rows = torch.randint(len(macros), (config.batch,), generator=g)
            told = positive[rows].long()
            untold = torch.rand(config.batch, generator=g) < config.untold
            told = told.masked_fill(untold.to(self.device), UNTOLD)
            batch = macros.take(rows.to(self.device))
            noise = torch.randn(batch.action.shape, generator=g).to(batch.action)
            time = flow.sample_time((config.batch, 1), g, self.policy.config.time_alpha).to(noise)
            valid = torch.arange(horizon, device=noise.device) < batch.rows[:, None]

            def velocity(x: Any, t: Any, prefix: Any, told: torch.Tensor = told) -> torch.Tensor:
                return expert.told(x, t, prefix, told)

            loss = flow.flow_loss(
                velocity,
                batch.prefix,
                batch.action,
                noise,
                time.expand(-1, horizon),
                valid,  # type: ignore[arg-type]
            ).mean()
            optimizer.param_groups[0]['lr'] = config.learning_rate * (1 - number / config.steps)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(expert.parameters(), 1.0)
            if bool(torch.isfinite(norm)):
                optimizer.step()
                self.steps += 1
            skipped += not bool(torch.isfinite(norm))
            losses.append(float(loss.detach()))
        expert.requires_grad_(False)
        return {'flow_loss': sum(losses[-50:]) / len(losses[-50:]), 'skipped': float(skipped)}

    def result(self) -> FlowPolicy:
        """The policy told "positive", b = 1, as a plain one."""
        policy = copy.deepcopy(self.policy)
        with torch.no_grad():
            policy.expert.position += self.actor.expert.advantage[POSITIVE]
        return policy

    def guided(self, guidance: float) -> FlowPolicy:
        """The policy with another b, in this process: a plain one cannot hold it."""
        policy = copy.deepcopy(self.policy)
        expert = ConditionedExpert(policy.expert, guidance)
        expert.advantage.data.copy_(self.actor.expert.advantage)
        policy.expert = expert.requires_grad_(False)  # type: ignore[assignment]
        return policy

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What continues the rounds, episodes included."""
        named = {f'actor.{k}': v for k, v in self.actor.state_dict().items()}
        named |= {f'begin.{k}': v for k, v in self._begin.items()}
        named['generator'] = self.generator.get_state()
        named['counts'] = torch.tensor([self.steps, self.updates])
        for number, e in enumerate(self.episodes):
            parts = {
                'keys': e.prefix.keys, 'values': e.prefix.values, 'mask': e.prefix.mask,
                'pooled': e.prefix.pooled,
                'before': e.chain.before, 'after': e.chain.after, 'step': e.chain.step,
                'feature': e.feature, 'action': e.action, 'rows': e.rows, 'reward': e.reward,
                'discount': e.discount, 'human': e.human,
                'about': torch.tensor([e.seed, e.repeat, e.success, e.progress], dtype=torch.float64),
            }  # fmt: skip
            named |= {f'episode.{number}.{name}': value for name, value in parts.items()}
        return {name: tensor.detach().to('cpu', copy=True).contiguous() for name, tensor in named.items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Put :meth:`state_dict` back. Raises ValueError for one of another policy or algorithm."""

        def part(name: str) -> dict[str, torch.Tensor]:
            return {k[len(name) :]: v for k, v in state.items() if k.startswith(name)}

        try:
            self.actor.load_state_dict(part('actor.'))
            self._begin = part('begin.')
            self.generator.set_state(state['generator'])
            self.steps, self.updates = (int(n) for n in state['counts'])
            numbers = sorted({int(k.split('.')[1]) for k in state if k.startswith('episode.')})
            self.episodes = [_episode(part(f'episode.{number}.')) for number in numbers]
        except (RuntimeError, KeyError, ValueError) as error:
            raise ValueError(f'the snapshot is of another policy or algorithm: {error}') from error


def _episode(t: dict[str, torch.Tensor]) -> MacroEpisode:
    seed, repeat, success, progress = t['about'].tolist()
    prefix = Prefix(t['keys'], t['values'], t['mask'], t['pooled'])
    chain = Chain(t['before'], t['after'], t['step'])
    rest = (t['feature'], t['action'], chain, t['rows'], t['reward'], t['discount'], t['human'])
    return MacroEpisode(int(seed), int(repeat), bool(success), progress, prefix, *rest)


ALGORITHM = Recap
