# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The vision-language-action policy: backbone, flow expert and the units of one robot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from apprentice.policies import flow
from apprentice.policies.config import PolicyConfig
from apprentice.policies.expert import FlowExpert
from apprentice.policies.prefix import Inputs, Prefix
from apprentice.policies.rtc import Guidance, PreviousChunk, RtcConfig
from apprentice.policies.spec import PolicySpec
from apprentice.robot.parts import load_part
from apprentice.robot.types import Observation

# of the sampling noise: one for the batch, or one for each observation
Noise = torch.Generator | Sequence[torch.Generator] | None


class FlowPolicy(nn.Module):
    """Observation to action chunk.

    Inside, state and actions are z-scored; actions of relative joints are offsets from the measured
    state of the same observation. All public methods take and give raw units (rad, m).
    """

    state_mean: torch.Tensor
    state_std: torch.Tensor
    action_mean: torch.Tensor
    action_std: torch.Tensor
    relative: torch.Tensor

    def __init__(self, spec: PolicySpec, config: PolicyConfig | None = None):
        super().__init__()
        self.spec, self.config = spec, config or PolicyConfig()
        backbone = load_part(self.config.backbone.part)
        self.backbone = backbone(spec.cameras, spec.dim, self.config.backbone)
        self.expert = FlowExpert(spec.dim, spec.horizon, self.backbone.layout, self.config.expert)
        for name, statistics in (('state', spec.state), ('action', spec.action)):
            self._constant(f'{name}_mean', statistics.mean)
            self._constant(f'{name}_std', statistics.std)
        self._constant('relative', np.asarray(spec.relative, np.float32))

    @property
    def device(self) -> torch.device:
        return self.state_mean.device

    def _constant(self, name: str, values: np.ndarray) -> None:
        # not part of the weights: they live in the specification, once
        self.register_buffer(name, torch.as_tensor(np.asarray(values), dtype=torch.float32), persistent=False)

    def normalize_actions(self, actions: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Joint targets [B, H, A] (rad, m) to the expert's space; ``state`` is [B, A] in raw units."""
        offset = state[:, None] * self.relative
        return (actions - offset - self.action_mean) / self.action_std

    def denormalize_actions(self, actions: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """The inverse of :meth:`normalize_actions`."""
        return actions * self.action_std + self.action_mean + state[:, None] * self.relative

    def encode(self, inputs: Inputs) -> Prefix:
        """Raises KeyError for a missing camera and ValueError for a state that is not finite."""
        if not torch.isfinite(inputs.state).all():
            raise ValueError('the measured joint state is not finite')
        state = (inputs.state - self.state_mean) / self.state_std
        return self.backbone.encode(inputs.images, state, inputs.text)

    def flow_loss(
        self,
        prefix: Prefix,
        actions: torch.Tensor,
        noise: torch.Tensor,
        time: torch.Tensor,
        valid: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Flow-matching loss per item [B]; ``actions`` normalised. See :func:`flow.flow_loss`.

        With knowledge insulation no gradient passes to the backbone.
        """
        prefix = prefix.detach() if self.config.insulate else prefix
        return flow.flow_loss(self.expert, prefix, actions, noise, time, valid)

    @torch.no_grad()
    def candidates(
        self,
        inputs: Inputs,
        n: int,
        generator: Noise = None,
        previous: PreviousChunk | None = None,
        rtc: RtcConfig | None = None,
    ) -> torch.Tensor:
        """``n`` independent chunks per observation, [B, n, H, A] in raw units. The prefix is encoded once.

        With one generator per observation, what one draws does not depend on the others.

        Args:
            previous: what all of them continue; see :mod:`.rtc`. The rows are anchored at the present state.
        """
        inputs = inputs.to(self.device)
        prefix = self.encode(inputs).repeat(n)
        batch = len(inputs.state)
        shape = self.spec.horizon, self.spec.dim
        if generator is None or isinstance(generator, torch.Generator):
            noise = torch.randn(batch * n, *shape, generator=generator)
        else:
            if len(generator) != batch:
                raise ValueError(f'{len(generator)} generators for {batch} observations; give one for each')
            noise = torch.cat([torch.randn(n, *shape, generator=each) for each in generator])
        state = inputs.state.repeat_interleave(n, 0)
        guidance = self.guidance(previous, state, rtc or RtcConfig()) if previous is not None else None
        noise, steps = noise.to(state.device), self.config.denoise_steps
        sampled = flow.integrate(self.expert, prefix, noise, steps, guidance)
        return self.denormalize_actions(sampled, state).unflatten(0, (batch, n))

    def guidance(self, previous: PreviousChunk, state: torch.Tensor, config: RtcConfig) -> Guidance | None:
        """What steers chunks planned at ``state`` [B, A] (raw units) to continue ``previous``.

        Raises ValueError for the mode ``trained`` with a longer delay than the policy was trained with.
        """
        if config.mode == 'none':
            return None
        if config.mode == 'trained' and previous.delay > self.config.max_delay:
            raise ValueError(
                f'a delay of {previous.delay} rows, but the policy was trained with at most '
                f'{self.config.max_delay} (policy.max_delay); plan faster, or use the mode soft'
            )
        overlap = min(len(previous.actions), self.spec.horizon)
        rows = np.zeros((self.spec.horizon, self.spec.dim))
        rows[:overlap] = previous.actions[:overlap]
        actions = torch.as_tensor(rows, dtype=state.dtype, device=state.device).expand(len(state), -1, -1)
        target = self.normalize_actions(actions, state)
        return Guidance.of(target, min(previous.delay, overlap), overlap, config)

    def act(
        self,
        observation: Observation,
        generator: torch.Generator | None = None,
        previous: PreviousChunk | None = None,
        rtc: RtcConfig | None = None,
    ) -> np.ndarray:
        """One chunk [H, A] of joint targets for one observation. Raises ValueError if it is not finite."""
        sampled = self.candidates(inputs_of([observation], self.spec), 1, generator, previous, rtc)
        return _finite(sampled[0, 0])

    def act_batch(self, observations: Sequence[Observation], generator: Noise = None) -> np.ndarray:
        """One chunk for each observation, [B, H, A]. Raises ValueError if one is not finite."""
        return _finite(self.candidates(inputs_of(observations, self.spec), 1, generator)[:, 0])


def _finite(actions: torch.Tensor) -> np.ndarray:
    array = actions.cpu().numpy().astype(np.float64)
    if not np.all(np.isfinite(array)):
        raise ValueError('the policy produced an action that is not finite; the weights are damaged')
    return array


def inputs_of(observations: Sequence[Observation], spec: PolicySpec) -> Inputs:
    """Observations as a batch. Raises ValueError naming the camera that is missing or of another size."""
    images = {}
    for name, size in spec.cameras.items():
        seen = [observation.images.get(name) for observation in observations]
        for image in seen:
            if image is None:
                raise ValueError(f'camera {name!r} has no image; is its driver running?')
            if image.shape != (*size, 3):
                raise ValueError(
                    f'camera {name!r} gives {image.shape}, the policy was trained on {(*size, 3)}'
                )
        images[name] = torch.from_numpy(np.stack([image for image in seen if image is not None]))
    state = torch.as_tensor(np.stack([o.state for o in observations]), dtype=torch.float32)
    return Inputs(images, state, [observation.text for observation in observations])
