# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Advantage-weighted flow matching: cloning is the case of equal weights.

L = E[w * ||v(x_t, t, o) - (noise - action)||^2], w from the advantage of what was executed
(AWR, arXiv 1910.00177; for flow policies RA-BC in SARM). One file, one algorithm.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch

# Mesa's software GL and triton each bring an LLVM: loading triton (which the first optimizer does) after the
# first GL context is a segmentation fault. Loading it here, at import, comes before any rendering.
import torch._dynamo

from apprentice.learning.augment import random_light, random_shift
from apprentice.learning.dataset import Chunks
from apprentice.policies.flow import sample_time
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs


@dataclass(frozen=True)
class WeightedFlowConfig:
    """Hyper-parameters.

    Attributes:
        draws: (noise, time) pairs per sample; the prefix is encoded once for all of them.
        ema: decay of the averaged weights that act.
        shift: augmentation, pixels; light: augmentation, relative brightness.
        freeze_backbone: train the expert only.
    """

    learning_rate: float = 5e-4
    weight_decay: float = 1e-3
    batch: int = 64
    draws: int = 2
    ema: float = 0.995
    clip: float = 1.0
    shift: int = 2
    light: float = 0.15
    freeze_backbone: bool = False


class WeightedFlow:
    """Trains ``policy`` on weighted chunks; ``averaged``, its exponential moving average, should act."""

    def __init__(self, policy: FlowPolicy, config: WeightedFlowConfig | None = None, seed: int = 0):
        self.policy, self.config = policy, config or WeightedFlowConfig()
        self.averaged = copy.deepcopy(policy).eval().requires_grad_(False)
        policy.backbone.requires_grad_(not self.config.freeze_backbone)
        trained = [p for p in policy.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, lr=self.config.learning_rate, weight_decay=self.config.weight_decay, betas=(0.9, 0.95)
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.steps = 0

    def update(self, batch: Chunks, rate: float = 1.0) -> dict[str, float]:
        """One gradient step on ``batch`` at ``rate`` times the learning rate; returns metrics.

        A step whose loss or gradient is not finite is skipped and reported, never applied.
        """
        config, policy, g = self.config, self.policy, self.generator
        inputs, actions = batch.inputs(), torch.from_numpy(batch.actions)
        valid, weight = torch.from_numpy(batch.valid), torch.from_numpy(batch.weight)
        inputs = Inputs(
            {
                name: random_light(random_shift(stack, config.shift, g), config.light, g)
                for name, stack in inputs.images.items()
            },
            inputs.state,
            inputs.text,
        )
        target = policy.normalize_actions(actions, inputs.state).repeat_interleave(config.draws, 0)
        with torch.set_grad_enabled(not config.freeze_backbone):
            prefix = policy.encode(inputs).repeat(config.draws)
        noise = torch.randn(target.shape, generator=g)
        valid = valid.repeat_interleave(config.draws, 0)
        time = sample_time((len(target), 1), g, policy.config.time_alpha).expand(target.shape[:2])
        if policy.config.max_delay:  # rows that will be past are given clean: trained real-time chunking
            delay = torch.randint(0, policy.config.max_delay + 1, (len(target), 1), generator=g)
            clean = torch.arange(target.shape[1]) < delay
            time, valid = time.masked_fill(clean, 0.0), valid & ~clean
        error = policy.flow_loss(prefix, target, noise, time, valid)
        weight = weight.repeat_interleave(config.draws)
        loss = (weight * error).sum() / weight.sum().clamp(min=1e-6)

        for group in self.optimizer.param_groups:
            group['lr'] = config.learning_rate * rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), config.clip)
        skipped = not (torch.isfinite(loss) and torch.isfinite(norm))
        if not skipped:
            self.optimizer.step()
            self.steps += 1
            self._average()
        return {'loss': float(loss.detach()), 'gradient_norm': float(norm), 'skipped': float(skipped)}

    @torch.no_grad()
    def _average(self) -> None:
        # short memory at first, so that the average is not the random start
        decay = min(self.config.ema, (1 + self.steps) / (10 + self.steps))
        for mean, value in zip(self.averaged.parameters(), self.policy.parameters()):
            mean.lerp_(value, 1 - decay)
