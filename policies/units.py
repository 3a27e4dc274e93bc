# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The units of one robot: raw (rad, m) outside of a policy, z-scored inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from apprentice.policies.config import PolicyConfig
from apprentice.policies.rtc import Guidance, PreviousChunk, RtcConfig
from apprentice.policies.spec import PolicySpec


class PolicyUnits(nn.Module):
    """What every runtime of a policy converts in the same way.

    Inside, state and actions are z-scored; actions of relative joints are offsets from the measured
    state of the same observation.
    """

    state_mean: torch.Tensor
    state_std: torch.Tensor
    action_mean: torch.Tensor
    action_std: torch.Tensor
    relative: torch.Tensor

    def __init__(self, spec: PolicySpec, config: PolicyConfig):
        super().__init__()
        if config.max_delay >= spec.horizon:
            raise ValueError(
                f'policy.max_delay is {config.max_delay}, but a chunk has {spec.horizon} rows; use fewer'
            )
        self.spec, self.config = spec, config
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

    def normalize_state(self, state: torch.Tensor) -> torch.Tensor:
        """Raw state [B, A] to the backbone's. Raises ValueError for a state that is not finite."""
        require_finite(state)
        return (state - self.state_mean) / self.state_std

    def normalize_actions(self, actions: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Joint targets [B, H, A] (rad, m) to the expert's space; ``state`` is [B, A] in raw units."""
        offset = state[:, None] * self.relative
        return (actions - offset - self.action_mean) / self.action_std

    def denormalize_actions(self, actions: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """The inverse of :meth:`normalize_actions`."""
        return actions * self.action_std + self.action_mean + state[:, None] * self.relative

    def guidance(
        self,
        previous: PreviousChunk | Sequence[PreviousChunk | None] | None,
        state: torch.Tensor,
        config: RtcConfig,
    ) -> Guidance | None:
        """What steers chunks planned at ``state`` [B, A] (raw units) to continue ``previous``.

        Raises ValueError for the mode ``trained`` with a longer delay than the policy was trained with.
        """
        if previous is None or config.mode == 'none':
            return None
        each = [previous] * len(state) if isinstance(previous, PreviousChunk) else list(previous)
        if len(each) != len(state):
            raise ValueError(f'{len(each)} previous chunks for {len(state)} observations; give one for each')
        none = PreviousChunk(np.zeros((0, self.spec.dim)), 0)
        return Guidance.concatenate(
            [self._guidance(one or none, state[i : i + 1], config) for i, one in enumerate(each)]
        )

    def _guidance(self, previous: PreviousChunk, state: torch.Tensor, config: RtcConfig) -> Guidance:
        if config.mode == 'trained' and previous.delay > self.config.max_delay:
            raise ValueError(
                f'a delay of {previous.delay} rows, but the policy was trained with at most '
                f'{self.config.max_delay} (policy.max_delay); plan faster, or use the mode soft'
            )
        overlap = min(len(previous.actions), self.spec.horizon)
        rows = np.zeros((1, self.spec.horizon, self.spec.dim))
        rows[0, :overlap] = previous.actions[:overlap]
        actions = torch.as_tensor(rows, dtype=state.dtype, device=state.device)
        target = self.normalize_actions(actions, state)
        return Guidance.of(target, min(previous.delay, overlap), overlap, config)


def require_finite(state: torch.Tensor) -> None:
    """Raise ValueError for a measured state that is not finite."""
    if not torch.isfinite(state).all():
        raise ValueError('the measured joint state is not finite')
