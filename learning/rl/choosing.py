# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A flow policy whose chunks are chosen, and edited, by learned critics: what acts in the default recipe."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apprentice.learning.rl.base import Algorithm, Sizes, make
from apprentice.learning.rl.features import FeatureConfig, FrozenEncoder, compose
from apprentice.learning.snapshot import below
from apprentice.policies import checkpoint
from apprentice.policies.noise import Noise
from apprentice.policies.policy import FlowPolicy, finite, inputs_of
from apprentice.policies.rtc import PreviousChunk, RtcConfig
from apprentice.robot.settings import from_dict
from apprentice.robot.types import Observation

NAME = 'critics'  # of the part beside the policy in a checkpoint


class Choosing:
    """Plans candidates, lets the algorithm choose; a :class:`~apprentice.policies.runtime.ChunkPolicy`.

    Only the leading rows that critics judge are chosen among and edited; the rows after them are those of
    the candidate that comes nearest to what was chosen.

    Args:
        policy: plans.
        encoder: what the algorithm sees; it must not see the potential, which nobody measures here in time.
        duration_s: longest episode, as in :class:`.windows.WindowConfig`.
    """

    def __init__(
        self,
        policy: FlowPolicy,
        encoder: FrozenEncoder,
        algorithm: Algorithm,
        duration_s: float,
        explore: bool = False,
    ):
        if encoder.potential:
            raise ValueError('critics that see the potential cannot act; set features.potential to false')
        self.policy, self.spec, self.config = policy.eval(), policy.spec, policy.config
        self._encoder, self._algorithm = encoder, algorithm
        self._duration_s, self._candidates = duration_s, encoder.config.candidates
        self.explore = explore
        self.elapsed_s = 0.0  # of the episode, by whoever asks :meth:`act`

    def act(
        self,
        observation: Observation,
        generator: torch.Generator | None = None,
        previous: PreviousChunk | None = None,
        rtc: RtcConfig | None = None,
    ) -> np.ndarray:
        """One chunk [H, A] in raw units. Raises ValueError for bad input or an action that is not finite."""
        return self.act_batch([observation], generator, [previous], rtc, [self.elapsed_s])[0]

    @torch.no_grad()
    def act_batch(
        self,
        observations: Sequence[Observation],
        generator: Noise = None,
        previous: Sequence[PreviousChunk | None] | None = None,
        rtc: RtcConfig | None = None,
        elapsed_s: Sequence[float] | None = None,
    ) -> np.ndarray:
        """One chunk for each observation, [B, H, A] in raw units.

        Args:
            elapsed_s: of each episode; None: all have just begun.
        """
        policy, rows = self.policy, self._encoder.rows
        inputs = inputs_of(observations, self.spec).to(policy.device)
        planned = policy.candidates(inputs, self._candidates, generator, previous, rtc)
        batch, count = planned.shape[:2]
        state = inputs.state.repeat_interleave(count, 0)
        chunks = policy.normalize_actions(planned.flatten(0, 1), state).unflatten(0, (batch, count))
        feature = self._encoder.summary(self._encoder.policy.encode(inputs))
        over = torch.as_tensor(elapsed_s if elapsed_s is not None else [0.0] * batch, dtype=torch.float32)
        share = (over / self._duration_s).clamp(0, 1).to(policy.device)
        seen = compose(feature, policy.normalize_state(inputs.state), torch.zeros_like(share), share)
        # exploring draws for all observations together
        single = generator[0] if isinstance(generator, Sequence) else generator
        chosen = self._algorithm.choose(seen, chunks[:, :, :rows], self.explore, single)
        apart = (chunks[:, :, :rows] - chosen[:, None]).square().sum((2, 3))
        best = chunks[torch.arange(batch, device=chunks.device), apart.argmin(1)].clone()
        best[:, :rows] = chosen
        return finite(policy.denormalize_actions(best, inputs.state))


def pack(
    part: str, settings: dict[str, Any], duration_s: float, encoder: FrozenEncoder, algorithm: Algorithm
) -> checkpoint.Beside:
    """Critics as they lie beside a policy; ``part`` and ``settings`` are what the algorithm was made with."""
    about = {
        'part': part,
        'settings': settings,
        'duration_s': duration_s,
        'features': asdict(encoder.config),
        'sizes': asdict(algorithm.sizes),
    }
    tensors = {f'algorithm.{name}': tensor for name, tensor in algorithm.state_dict().items()}
    tensors |= {f'features.{name}': tensor for name, tensor in encoder.state_dict().items()}
    for name, tensor in encoder.policy.state_dict().items():
        tensors[f'encoder.{name}'] = tensor.detach().to('cpu', copy=True).contiguous()
    return NAME, about, tensors


def load_choosing(folder: str | Path, policy: FlowPolicy, manifest: dict[str, Any]) -> FlowPolicy | Choosing:
    """``policy``, read from ``folder``, with the critics that lie beside it; without any, itself.

    Raises CheckpointError where they are damaged or made with settings that this version does not know.
    """
    found = checkpoint.load_beside(folder, manifest, NAME)
    if found is None:
        return policy
    _, about, tensors = found
    try:
        first = copy.deepcopy(policy)
        first.load_state_dict(below(tensors, 'encoder'))
        encoder = FrozenEncoder(first.requires_grad_(False), from_dict(FeatureConfig, about['features']))
        encoder.load_state_dict(below(tensors, 'features'))
        algorithm = make(about['part'], Sizes(**about['sizes']), about['settings'], 0, policy.device)
        algorithm.load_state_dict(below(tensors, 'algorithm'))
        return Choosing(policy, encoder, algorithm, about['duration_s'])
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise checkpoint.CheckpointError(
            f'{folder}: the critics beside the policy cannot be used ({error}); '
            'they were written by another version of apprentice'
        ) from error
