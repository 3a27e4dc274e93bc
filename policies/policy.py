# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The vision-language-action policy: backbone, flow expert and the units of one robot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from apprentice.policies import flow
from apprentice.policies.config import PolicyConfig
from apprentice.policies.expert import FlowExpert
from apprentice.policies.fast import hold
from apprentice.policies.noise import Noise, draw
from apprentice.policies.prefix import Inputs, Prefix, rotated_as
from apprentice.policies.rtc import PreviousChunk, RtcConfig
from apprentice.policies.spec import PolicySpec
from apprentice.policies.token_head import TokenHead
from apprentice.policies.units import PolicyUnits
from apprentice.robot.parts import load_part
from apprentice.robot.types import Observation


class FlowPolicy(PolicyUnits):
    """Observation to action chunk.

    Public methods take and give raw units (rad, m); for those inside see :mod:`.units`.
    """

    def __init__(self, spec: PolicySpec, config: PolicyConfig | None = None):
        super().__init__(spec, config or PolicyConfig())
        backbone = load_part(self.config.backbone.part)
        self.backbone = backbone(spec.cameras, spec.dim, self.config.backbone)
        layout, expert, tokens = self.backbone.layout, self.config.expert, self.config.tokens
        self.expert = FlowExpert(spec.dim, spec.horizon, layout, rotated_as(self.backbone, expert))
        tokens = tokens and rotated_as(self.backbone, tokens)
        self.token_head = TokenHead(spec.dim, spec.horizon, layout, tokens) if tokens else None

    def encode(self, inputs: Inputs) -> Prefix:
        """Raises KeyError for a missing camera and ValueError for a state that is not finite."""
        state = self.normalize_state(inputs.state)
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

    def fit_tokenizer(self, actions: np.ndarray, state: np.ndarray, valid: np.ndarray) -> None:
        """Fit the action tokens to training data; before training, and nothing without a token head.

        Args:
            actions: [N, H, A], raw units.
            state: [N, A], raw units.
            valid: bool [N, H], see :meth:`token_loss`.
        """
        if self.token_head is not None:
            offset = state[:, None] * np.asarray(self.spec.relative)
            self.token_head.fit(hold(actions - offset, valid), self.spec.action.low, self.spec.action.high)

    def token_loss(
        self, prefix: Prefix, actions: torch.Tensor, valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Cross-entropy of the action tokens per item [B]; ``actions`` normalised. Trains the backbone too.

        Args:
            valid: bool [B, H], leading rows that count; see :meth:`.token_head.TokenHead.chunk_loss`.

        Raises ValueError without a token head or before :meth:`fit_tokenizer`.
        """
        return self._tokens().chunk_loss(prefix, actions * self.action_std + self.action_mean, valid)

    @torch.no_grad()
    def candidates(
        self,
        inputs: Inputs,
        n: int,
        generator: Noise = None,
        previous: PreviousChunk | Sequence[PreviousChunk | None] | None = None,
        rtc: RtcConfig | None = None,
        head: str | None = None,
        temperature: float | None = None,
        noise: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """``n`` independent chunks per observation, [B, n, H, A] in raw units. The prefix is encoded once.

        With one generator per observation, what one draws does not depend on the others.

        Args:
            previous: what they continue, one for all or one for each observation; see :mod:`.rtc`. The rows
                are anchored at the present state. For the flow head only.
            head: ``flow`` or ``fast``; default as configured.
            temperature: of the tokens of the fast head; default as configured.
            noise: [B, n, H, A] that the flow head plans from; None: drawn.

        Raises ValueError for what a head cannot do.
        """
        inputs, head = inputs.to(self.device), head or self.config.head
        prefix = self.encode(inputs).repeat(n)
        batch, rtc = len(inputs.state), rtc or RtcConfig()
        if isinstance(generator, Sequence) and len(generator) != batch:
            raise ValueError(f'{len(generator)} generators for {batch} observations; give one for each')
        if head == 'flow':
            if noise is None:
                noise = draw(torch.randn, batch * n, (self.spec.horizon, self.spec.dim), generator)
            else:
                noise = noise.flatten(0, 1)
            guidance = self.guidance(previous, inputs.state, rtc)
            guidance = guidance.repeat(n) if guidance is not None else None
            noise, steps = noise.to(inputs.state.device), self.config.denoise_steps
            sampled = flow.integrate(self.expert, prefix, noise, steps, guidance)
        elif head == 'fast':
            if noise is not None:
                raise ValueError('the fast head plans from no noise; use the head flow')
            if previous is not None and rtc.mode != 'none':
                raise ValueError(
                    'the fast head cannot continue a chunk; use mode none of real-time chunking, or flow'
                )
            sampled = self._sample_tokens(prefix, n, generator, temperature)
        else:
            raise ValueError(f'no head {head!r}; use flow or fast')
        state = inputs.state.repeat_interleave(n, 0)
        return self.denormalize_actions(sampled, state).unflatten(0, (batch, n))

    def _sample_tokens(
        self, prefix: Prefix, n: int, generator: Noise, temperature: float | None
    ) -> torch.Tensor:
        tokens = self._tokens()
        temperature = tokens.config.temperature if temperature is None else temperature
        if n > 1 and temperature <= 0:
            raise ValueError(f'{n} candidates at temperature 0 are all the same; give a temperature, say 1')
        return (tokens.chunks(prefix, generator, temperature) - self.action_mean) / self.action_std

    def _tokens(self) -> TokenHead:
        if self.token_head is None:
            raise ValueError('the policy has no token head; train one with policy.tokens')
        return self.token_head

    def act(
        self,
        observation: Observation,
        generator: torch.Generator | None = None,
        previous: PreviousChunk | None = None,
        rtc: RtcConfig | None = None,
        head: str | None = None,
    ) -> np.ndarray:
        """One chunk [H, A] of joint targets for one observation. Raises ValueError if it is not finite."""
        sampled = self.candidates(inputs_of([observation], self.spec), 1, generator, previous, rtc, head)
        return finite(sampled[0, 0])

    def act_batch(
        self,
        observations: Sequence[Observation],
        generator: Noise = None,
        previous: Sequence[PreviousChunk | None] | None = None,
        rtc: RtcConfig | None = None,
        head: str | None = None,
    ) -> np.ndarray:
        """One chunk for each observation, [B, H, A]. Raises ValueError if one is not finite."""
        sampled = self.candidates(inputs_of(observations, self.spec), 1, generator, previous, rtc, head)
        return finite(sampled[:, 0])


def finite(actions: torch.Tensor) -> np.ndarray:
    """Actions as float64. Raises ValueError if one is not finite."""
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
