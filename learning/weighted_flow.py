# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Advantage-weighted flow matching: cloning is the case of equal weights.

L = E[w * ||v(x_t, t, o) - (noise - action)||^2], w from the advantage of what was executed
(AWR, arXiv 1910.00177; for flow policies RA-BC in SARM). One file, one algorithm.

The loss (:class:`FlowObjective`) is a module apart from the step, and all that is random in a step is drawn
for the whole batch before: a batch cut into parts, over accumulation or over GPUs, gives the same gradient.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

# Mesa's software GL and triton each bring an LLVM: loading triton (which the first optimizer does) after the
# first GL context is a segmentation fault. Loading it here, at import, comes before any rendering.
import torch._dynamo
from torch import nn

from apprentice.learning.augment import draw_light, draw_shift, light, shift
from apprentice.learning.dataset import Batch, Chunks
from apprentice.learning.distributed import Ranks
from apprentice.policies.flow import sample_time
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs, Prefix
from apprentice.robot.settings import SettingsError, at_least, positive

Losses = tuple[torch.Tensor, dict[str, float]]  # a loss, and metrics of it


@dataclass(frozen=True)
class WeightedFlowConfig:
    """Hyper-parameters.

    Attributes:
        batch: samples of a gradient step, over all GPUs and parts together.
        draws: (noise, time) pairs per sample; the prefix is encoded once for all of them.
        ema: decay of the averaged weights that act.
        clip: largest norm of the gradient.
        shift: augmentation, pixels; light: augmentation, relative brightness.
        state_noise: augmentation, standard deviations of the data: of what the network sees of the joints.
            Where all episodes begin in one posture, a step away from it tells where the person was going,
            and the images are not looked at (causal confusion, arXiv 1905.11979).
        freeze_backbone: train the heads only.
        flow_weight: of the flow loss beside the cross-entropy of a token head (NORA-1.5: 10); 0 trains the
            token head alone.
    """

    learning_rate: float = 5e-4
    weight_decay: float = 1e-3
    batch: int = 64
    draws: int = 2
    ema: float = 0.995
    clip: float = 1.0
    shift: int = 2
    light: float = 0.15
    state_noise: float = 0.0
    freeze_backbone: bool = False
    flow_weight: float = 10.0

    def __post_init__(self) -> None:
        at_least(self, 1, 'batch', 'draws')
        at_least(self, 0, 'learning_rate', 'weight_decay', 'shift', 'light', 'state_noise', 'flow_weight')
        positive(self, 'clip')
        if not 0 <= self.ema < 1:
            raise SettingsError(f'ema is {self.ema}; give 0 or more and less than 1')


@dataclass
class Draws:
    """The random numbers of one step, for B samples.

    Attributes:
        shift, light: camera -> what :mod:`.augment` draws; without the camera: not augmented.
        state: [B, A], standard deviations to add to the state; None: nothing.
        noise: [B, draws, H, A].
        time: [B, draws, 1] of the flow.
        delay: int [B, draws, 1], rows given clean; None: none.
    """

    shift: dict[str, torch.Tensor]
    light: dict[str, torch.Tensor]
    noise: torch.Tensor
    time: torch.Tensor
    delay: torch.Tensor | None
    state: torch.Tensor | None = None

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Draws:
        """The same with every tensor changed, e.g. cut or moved."""
        return Draws(
            {name: change(value) for name, value in self.shift.items()},
            {name: change(value) for name, value in self.light.items()},
            change(self.noise),
            change(self.time),
            None if self.delay is None else change(self.delay),
            None if self.state is None else change(self.state),
        )

    def disturb(self, state: torch.Tensor, policy: FlowPolicy) -> torch.Tensor:
        """The state [B, A] as the network of ``policy`` is to see it, raw units."""
        if self.state is None:
            return state
        return state + self.state * torch.as_tensor(
            policy.spec.state.std, dtype=state.dtype, device=state.device
        )


class FlowObjective(nn.Module):
    """The loss of a policy on a batch, as a module that DDP and FSDP can wrap."""

    def __init__(self, policy: FlowPolicy, config: WeightedFlowConfig):
        super().__init__()
        self.policy, self.config = policy, config

    def forward(
        self, batch: Batch, draws: Draws, total: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """``loss``, and its parts if there are several.

        Args:
            batch, draws: on the device of the policy.
            total: sum of the weights of the whole batch where ``batch`` is a part of it; the losses of all
                parts then add up to the loss of the whole.
        """
        config, policy = self.config, self.policy
        images = dict(batch.inputs.images)
        for name, offset in draws.shift.items():
            images[name] = shift(images[name], config.shift, offset)
        for name, factor in draws.light.items():
            images[name] = light(images[name], factor)
        inputs = Inputs(images, draws.disturb(batch.inputs.state, policy), batch.inputs.text)
        actions = policy.normalize_actions(batch.actions, batch.inputs.state)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not config.freeze_backbone):
            prefix = policy.encode(inputs)
        if policy.token_head is None:
            return {'loss': self._flow(prefix, actions, batch, draws, total)}
        error = policy.token_loss(prefix, actions, batch.valid)
        whole = batch.weight.sum() if total is None else total
        tokens = (batch.weight * error).sum() / whole.clamp(min=1e-6)
        if not config.flow_weight:
            return {'loss': tokens, 'token_loss': tokens}
        flow = self._flow(prefix, actions, batch, draws, total)
        return {'loss': tokens + config.flow_weight * flow, 'token_loss': tokens, 'flow_loss': flow}

    def _flow(
        self, prefix: Prefix, actions: torch.Tensor, batch: Batch, draws: Draws, total: torch.Tensor | None
    ) -> torch.Tensor:
        config, policy = self.config, self.policy
        prefix, target = prefix.repeat(config.draws), actions.repeat_interleave(config.draws, 0)
        noise, time = draws.noise.flatten(0, 1), draws.time.flatten(0, 1).expand(target.shape[:2])
        valid = batch.valid.repeat_interleave(config.draws, 0)
        if draws.delay is not None:  # rows that will be past are given clean: trained real-time chunking
            clean = torch.arange(target.shape[1], device=target.device) < draws.delay.flatten(0, 1)
            time, valid = time.masked_fill(clean, 0.0), valid & ~clean
        error = policy.flow_loss(prefix, target, noise, time, valid)
        weight = batch.weight.repeat_interleave(config.draws)
        whole = weight.sum() if total is None else total * config.draws
        return (weight * error).sum() / whole.clamp(min=1e-6)


class WeightedFlow:
    """Trains ``policy`` on weighted chunks; ``averaged``, its exponential moving average, should act.

    What the backbone itself has frozen stays frozen, and is in memory once for both.

    Attributes:
        ranks: processes that train together by :meth:`update`, which began with the same seed or state and
            are given the same batches; each computes the gradient of its rows. (What cloning needs beside
            that, parts of a batch and shared parameters, is in :mod:`.trainer`.)
    """

    ranks = Ranks()

    def __init__(self, policy: FlowPolicy, config: WeightedFlowConfig | None = None, seed: int = 0):
        self.policy, self.config = policy, config or WeightedFlowConfig()
        if policy.token_head is not None and not self.config.flow_weight:
            policy.expert.requires_grad_(False)
        if self.config.freeze_backbone:
            policy.backbone.requires_grad_(False)
        frozen = {id(p): p for p in policy.parameters() if not p.requires_grad}
        self.averaged = copy.deepcopy(policy, dict(frozen)).eval().requires_grad_(False)
        self.objective = FlowObjective(policy, self.config)
        self.optimizer = self.make_optimizer()
        self.generator = torch.Generator().manual_seed(seed)
        self.steps = 0

    def make_optimizer(self) -> torch.optim.Optimizer:
        """A fresh optimizer of the parameters that are trained."""
        trained = [p for p in self.policy.parameters() if p.requires_grad]
        return torch.optim.AdamW(
            trained,
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            betas=(0.9, 0.95),
        )

    def draw(self, size: int, cameras: Iterable[str] = (), generator: torch.Generator | None = None) -> Draws:
        """The random numbers for ``size`` samples, on the CPU.

        Args:
            cameras: whose images are augmented; without any, nothing is.
            generator: default: that of training.
        """
        config, spec, g = self.config, self.policy.spec, generator or self.generator
        offsets, factors, cameras = {}, {}, list(cameras)
        augments = bool(cameras) and config.state_noise > 0
        for name in cameras:
            if config.shift:
                offsets[name] = draw_shift(size, config.shift, g)
            if config.light:
                factors[name] = draw_light(size, config.light, g)
        count, most = size * config.draws, self.policy.config.max_delay
        noise = torch.randn(count, spec.horizon, spec.dim, generator=g)
        time = sample_time((count, 1), g, self.policy.config.time_alpha)
        delay = torch.randint(0, most + 1, (count, 1), generator=g) if most else None
        state = torch.randn(size, spec.dim, generator=g) * config.state_noise if augments else None
        several = (size, config.draws)
        return Draws(
            offsets,
            factors,
            noise.unflatten(0, several),
            time.unflatten(0, several),
            None if delay is None else delay.unflatten(0, several),
            state,
        )

    def update(
        self, batch: Chunks, rate: float = 1.0, also: Callable[[], Losses] | None = None
    ) -> dict[str, float]:
        """One gradient step on ``batch`` at ``rate`` times the learning rate; returns metrics.

        Args:
            also: a further loss of the same policy, added to this one, and its metrics.

        A step whose loss or gradient is not finite is skipped and reported, never applied.
        """
        device, ranks = self.policy.device, self.ranks
        draws, mine = self.draw(len(batch), batch.images), ranks.share(len(batch))
        tensors, total = batch.tensors(), None
        if ranks.world > 1:
            tensors, total = tensors.part(mine), tensors.weight.sum().to(device)
            draws = draws.each(lambda tensor: tensor[mine])
        losses = self.objective(tensors.to(device), draws.each(lambda tensor: tensor.to(device)), total)
        self.optimizer.zero_grad(set_to_none=True)
        # the gradients' mean is taken over processes, the loss is their sum
        (losses['loss'] * ranks.world).backward()
        sums = ranks.total(torch.stack([value.detach().float() for value in losses.values()]))
        parts = dict(zip(losses, sums.tolist(), strict=True))
        whole = parts['loss']
        if also is not None:  # the same in all processes
            further, metrics = also()
            further.backward()
            parts |= metrics
            whole += float(further.detach())
        ranks.average([p.grad for p in self.policy.parameters() if p.grad is not None])
        return {**parts, **self.apply(whole, rate)}

    def apply(self, loss: float, rate: float = 1.0) -> dict[str, float]:
        """Step with the gradients there are; those of a ``loss`` that is not finite are thrown away."""
        for group in self.optimizer.param_groups:
            group['lr'] = self.config.learning_rate * rate
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.config.clip)
        size = float(norm.full_tensor() if hasattr(norm, 'full_tensor') else norm)
        skipped = not (math.isfinite(loss) and math.isfinite(size))
        if not skipped:
            self.optimizer.step()
            self.steps += 1
            self._average()
        return {'gradient_norm': size, 'skipped': float(skipped)}

    @torch.no_grad()
    def _average(self) -> None:
        # short memory at first, so that the average is not the random start
        decay = min(self.config.ema, (1 + self.steps) / (10 + self.steps))
        for mean, value in zip(self.averaged.parameters(), self.policy.parameters()):
            if value.requires_grad:
                local_shard(mean).lerp_(local_shard(value), 1 - decay)


def local_shard(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a parameter: all of it, unless it is sharded (FSDP)."""
    return tensor.to_local() if hasattr(tensor, 'to_local') else tensor
