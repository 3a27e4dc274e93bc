# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Direct preference optimisation (arXiv 2305.18290) of a policy: what both heads share.

    L = -log sigmoid(beta * scores) + anchor * L_SFT(winner)

``scores`` is by how much more the policy prefers the winner over the loser than the reference does. The
reference is a complete frozen copy (backbone, expert, heads), and :meth:`Dpo.reference_sha256` proves it.
"""

from __future__ import annotations

import copy
import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from apprentice.learning.augment import light, shift
from apprentice.learning.preference.pairs import Pairs
from apprentice.learning.weighted_flow import Draws, Losses, WeightedFlow, WeightedFlowConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs, Prefix
from apprentice.robot.settings import SettingsError

Guidance = Literal['none', 'treg', 'tgdpo']


@dataclass(frozen=True)
class DpoConfig(WeightedFlowConfig):
    """Hyper-parameters; those not named here are as in cloning.

    Attributes:
        beta: strength of the preference. The flow's is that of ``-beta * mean squared error``: 250 is
            NORA-1.5's 0.5 * 500. That of tokens is 0.1, as in the paper of DPO.
        anchor: weight of the supervised loss on winners, which keeps them from getting unlikely, too.
        draws: (noise, time) of each pair, shared by winner and loser and by policy and reference.
        share_noise: false draws the loser's apart, as NORA-1.5's released code does; only to compare.
        label_noise: share of the pairs believed to be the wrong way round (conservative DPO).
        guidance: of the rows of a chunk, see :mod:`.guidance`; for the flow only.
        guidance_weight: 0.25 for treg, 0.05 for tgdpo are the papers' middle values.
        length: of token sequences: ``sum`` as in DPO, or ``mean``, by which a long one is no worse than a
            short one.
    """

    learning_rate: float = 1e-5
    weight_decay: float = 0.0
    batch: int = 32
    draws: int = 4
    ema: float = 0.99
    beta: float = 250.0
    anchor: float = 0.1
    share_noise: bool = True
    label_noise: float = 0.0
    guidance: Guidance = 'none'
    guidance_weight: float = 0.25
    length: Literal['sum', 'mean'] = 'sum'

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.beta > 0 and self.anchor >= 0 and self.draws >= 1 and self.batch >= 1):
            raise SettingsError(
                f'beta {self.beta}, anchor {self.anchor}, draws {self.draws}, batch {self.batch}: beta must '
                'be positive, anchor 0 or more, the others 1 or more'
            )
        if not (0 <= self.label_noise < 0.5):
            raise SettingsError(f'label_noise is {self.label_noise}; give a share below 0.5')


@dataclass
class Compared:
    """One head's comparison of B pairs.

    Attributes:
        scores: [B], the log-ratio of the winner less that of the loser.
        supervised: [B], the head's supervised loss on the winner.
        winner, loser: [B], log-ratios; below 0: less likely than for the reference.
        drift: how far the policy is from the reference on these chunks, not trained.
        regulariser: [B], of the guidance.
    """

    scores: torch.Tensor
    supervised: torch.Tensor
    winner: torch.Tensor
    loser: torch.Tensor
    drift: torch.Tensor
    regulariser: torch.Tensor | None = None


@dataclass
class PairBatch:
    """B pairs as tensors on the device of the policy; chunks normalised.

    ``inputs`` has one observation for each pair, or 2 * B where losers have their own (those after winners').
    """

    inputs: Inputs
    winner: torch.Tensor
    loser: torch.Tensor
    valid: torch.Tensor
    winner_steps: torch.Tensor
    loser_steps: torch.Tensor


class Dpo(WeightedFlow):
    """Trains ``policy`` on pairs; ``averaged``, its exponential moving average, should act.

    Backbone weights that are frozen by themselves are in memory once for policy and reference.
    """

    config: DpoConfig

    def __init__(self, policy: FlowPolicy, config: DpoConfig | None = None, seed: int = 0):
        config = config or DpoConfig()
        frozen = {id(p): p for p in policy.parameters() if not p.requires_grad}
        self.reference = copy.deepcopy(policy, dict(frozen)).eval().requires_grad_(False)
        super().__init__(policy, config, seed)

    def reference_sha256(self) -> str:
        """Hash over all weights of the reference."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.reference.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
        return digest.hexdigest()

    def step(self, pairs: Pairs, rate: float = 1.0) -> dict[str, float]:
        """One gradient step on ``pairs`` at ``rate`` times the learning rate; returns metrics.

        A step whose loss or gradient is not finite is skipped and reported (``skipped``), never applied.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss, metrics = self._loss(pairs, self.policy, self.generator, augment=True)
        loss.backward()
        return {**metrics, **self.apply(metrics['loss'], rate)}

    def loss(self, pairs: Pairs, policy: FlowPolicy) -> Losses:
        """Loss of ``policy`` on ``pairs``, augmented, and its metrics; for steps that others make."""
        loss, metrics = self._loss(pairs, policy, self.generator, augment=True)
        return loss, metrics

    @torch.no_grad()
    def measure(self, pairs: Pairs, seed: int = 0, batch: int = 64) -> dict[str, float]:
        """Metrics of the averaged policy on ``pairs``, without augmentation, always with the same noise."""
        generator, found, sizes = torch.Generator().manual_seed(seed), [], []
        for first in range(0, len(pairs), batch):
            part = pairs.select(np.arange(first, min(first + batch, len(pairs))))
            found.append(self._loss(part, self.averaged, generator, augment=False)[1])
            sizes.append(len(part))
        return {name: float(np.average([each[name] for each in found], weights=sizes)) for name in found[0]}

    def _loss(
        self, pairs: Pairs, policy: FlowPolicy, generator: torch.Generator, augment: bool
    ) -> tuple[torch.Tensor, dict[str, float]]:
        config = self.config
        draws = self.draw(len(pairs), pairs.images if augment else (), generator)
        draws = draws.each(lambda tensor: tensor.to(policy.device))
        batch = self._tensors(pairs, draws)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not config.freeze_backbone):
            prefix = policy.encode(batch.inputs)
        with torch.no_grad():
            expected = self.reference.encode(batch.inputs)
        if len(batch.inputs.text) == len(pairs):  # one prefix serves winner and loser
            prefix, expected = prefix_twice(prefix), prefix_twice(expected)
        found = self.compare(policy, prefix, expected, batch, draws, generator)
        z = config.beta * found.scores
        right, wrong = functional.softplus(-z), functional.softplus(z)
        preference = ((1 - config.label_noise) * right + config.label_noise * wrong).mean()
        supervised = found.supervised.mean()
        loss = preference + config.anchor * supervised
        metrics = {'dpo_loss': preference, 'anchor_loss': supervised}
        if found.regulariser is not None:
            guided = found.regulariser.mean()
            loss, metrics['guidance_loss'] = loss + config.guidance_weight * guided, guided
        metrics |= {
            'loss': loss,
            'accuracy': (found.scores > 0).float().mean(),
            'margin': z.mean(),
            'winner_gain': found.winner.mean(),
            'loser_gain': found.loser.mean(),
            'drift': found.drift,
        }
        return loss, {name: float(value.detach()) for name, value in metrics.items()}

    def _tensors(self, pairs: Pairs, draws: Draws) -> PairBatch:
        policy, device = self.reference, self.reference.device
        each = [pairs.observation]
        if pairs.apart.any():
            each.append(pairs.loser_observation)
        seen = np.concatenate(each)
        images = {n: torch.from_numpy(stack[seen]).to(device) for n, stack in pairs.images.items()}
        for name, offset in draws.shift.items():
            images[name] = shift(images[name], self.config.shift, torch.cat([offset] * len(each)))
        for name, factor in draws.light.items():
            images[name] = light(images[name], torch.cat([factor] * len(each)))
        state = torch.from_numpy(pairs.state[seen]).to(device)
        disturbed = torch.cat([draws.disturb(part, policy) for part in state.split(len(pairs))])
        inputs = Inputs(images, disturbed, [pairs.text[o] for o in seen])
        first, last = state[: len(pairs)], state[-len(pairs) :]

        def tensor(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(array).to(device)

        winner = policy.normalize_actions(tensor(pairs.winner), first)
        loser = policy.normalize_actions(tensor(pairs.loser), last)
        steps = tensor(pairs.winner_steps), tensor(pairs.loser_steps)
        return PairBatch(inputs, winner, loser, tensor(pairs.valid), *steps)

    @abstractmethod
    def compare(
        self,
        policy: FlowPolicy,
        prefix: Prefix,
        expected: Prefix,
        batch: PairBatch,
        draws: Draws,
        generator: torch.Generator,
    ) -> Compared:
        """The pairs by this head.

        Args:
            policy: the one that is trained or measured; ``prefix`` is its, of winners, then of losers.
            expected: the reference's prefix.
        """


def prefix_twice(prefix: Prefix) -> Prefix:
    """The batch of a prefix twice, one after the other: [B] becomes [2 * B]."""
    return Prefix(
        torch.cat([prefix.keys] * 2, 1),
        torch.cat([prefix.values] * 2, 1),
        torch.cat([prefix.mask] * 2),
        torch.cat([prefix.pooled] * 2),
    )
