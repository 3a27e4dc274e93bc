# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A flow policy whose chunks are chosen, and edited, by learned critics: what acts in the default recipe."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apprentice.learning.rl.base import Algorithm, Sizes, Steering, make
from apprentice.learning.rl.features import FeatureConfig, FrozenEncoder, compose
from apprentice.learning.snapshot import below
from apprentice.policies import checkpoint
from apprentice.policies.noise import Noise
from apprentice.policies.policy import FlowPolicy, finite, inputs_of
from apprentice.policies.prefix import Inputs
from apprentice.policies.rtc import PreviousChunk, RtcConfig
from apprentice.robot.settings import from_dict
from apprentice.robot.types import Observation

NAME = 'critics'  # of the part beside the policy in a checkpoint
_AS_FOLLOWED = RtcConfig('hard')  # the rows that will be past, and no others


class Choosing:
    """Plans candidates, lets the algorithm choose; a :class:`~apprentice.policies.runtime.ChunkPolicy`.

    Only the leading rows that critics judge are chosen among and edited; the rows after them are those of
    the candidate that comes nearest to what was chosen. An algorithm that steers the noise plans one
    candidate from it.

    Rows that will be past when the chunk arrives are those that the robot follows meanwhile. They are put
    into every candidate before it is judged and are not edited, so that critics are asked about what will be
    executed, as they were trained.

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
        self._encoder, self._algorithm, self._steering = encoder, algorithm, steering(algorithm, policy)
        # one of somebody else may edit every row; what is followed counts nevertheless
        self._keeps_fixed = 'fixed' in inspect.signature(algorithm.choose).parameters
        self._duration_s, self._candidates = duration_s, encoder.config.candidates
        self.explore = explore
        self.elapsed_s = 0.0  # of the episode, by whoever asks :meth:`act`

    @property
    def rows(self) -> int:
        """Leading rows of a chunk that are judged."""
        return self._encoder.rows

    def act(
        self,
        observation: Observation,
        generator: torch.Generator | None = None,
        previous: PreviousChunk | None = None,
        rtc: RtcConfig | None = None,
        followed: PreviousChunk | None = None,
    ) -> np.ndarray:
        """One chunk [H, A] in raw units. Raises ValueError for bad input or an action that is not finite."""
        return self.act_batch([observation], generator, [previous], rtc, [self.elapsed_s], [followed])[0]

    @torch.no_grad()
    def act_batch(
        self,
        observations: Sequence[Observation],
        generator: Noise = None,
        previous: Sequence[PreviousChunk | None] | None = None,
        rtc: RtcConfig | None = None,
        elapsed_s: Sequence[float] | None = None,
        followed: Sequence[PreviousChunk | None] | None = None,
    ) -> np.ndarray:
        """One chunk for each observation, [B, H, A] in raw units.

        Args:
            elapsed_s: of each episode; None: all have just begun.
            followed: what the robot follows until the chunk arrives, where the chunk does not continue it;
                elsewhere it is ``previous``.
        """
        policy, rows, batch = self.policy, self.rows, len(observations)
        inputs = inputs_of(observations, self.spec).to(policy.device)
        seen = self._see(inputs, elapsed_s if elapsed_s is not None else [0.0] * batch)
        # exploring draws for all observations together
        single = generator[0] if isinstance(generator, Sequence) else generator
        noise, count = None, self._candidates
        if self._steering is not None:
            noise, count = self._steering.noise(seen, self.explore, single)[:, None], 1
        planned = policy.candidates(inputs, count, generator, previous, rtc, noise=noise)
        state = inputs.state.repeat_interleave(count, 0)
        chunks = policy.normalize_actions(planned.flatten(0, 1), state).unflatten(0, (batch, count))
        none: list[PreviousChunk | None] = [None] * batch
        meanwhile = [one or other for one, other in zip(followed or none, previous or none, strict=True)]
        fixed = None
        if any(one is not None and one.delay for one in meanwhile):
            held = policy.guidance(meanwhile, inputs.state, _AS_FOLLOWED)
            assert held is not None
            fixed = held.weights > 0  # [B, H]
            chunks = held.target[:, None].where(fixed[:, None, :, None], chunks)
            fixed = fixed[:, :rows]
        also = {} if fixed is None or not self._keeps_fixed else {'fixed': fixed}
        chosen = self._algorithm.choose(seen, chunks[:, :, :rows], self.explore, single, **also)
        apart = (chunks[:, :, :rows] - chosen[:, None]).square().sum((2, 3))
        best = chunks[torch.arange(batch, device=chunks.device), apart.argmin(1)].clone()
        best[:, :rows] = chosen
        return finite(policy.denormalize_actions(best, inputs.state))

    @torch.no_grad()
    def values(self, observation: Observation, chunks: np.ndarray, elapsed_s: float = 0.0) -> np.ndarray:
        """What each critic says of chunks [n, H, A] in raw units at one observation, float32 [members, n].

        The leading :attr:`rows` count. Raises ValueError for an algorithm without critics of chunks.
        """
        critics = getattr(self._algorithm, 'critics', None)
        if critics is None:
            raise ValueError(f'{type(self._algorithm).__name__} has no critics that judge chunks')
        inputs = inputs_of([observation], self.spec).to(self.policy.device)
        given = torch.as_tensor(chunks, dtype=torch.float32).to(self.policy.device)
        judged = self.policy.normalize_actions(given, inputs.state.expand(len(given), -1))[:, : self.rows]
        return critics.values(self._see(inputs, [elapsed_s]), judged[None])[:, 0].cpu().numpy()

    def _see(self, inputs: Inputs, elapsed_s: Sequence[float]) -> torch.Tensor:
        """What the algorithm sees, [B, D]."""
        feature = self._encoder.summary(self._encoder.policy.encode(inputs))
        over = torch.as_tensor(elapsed_s, dtype=torch.float32)
        share = (over / self._duration_s).clamp(0, 1).to(self.policy.device)
        return compose(feature, self.policy.normalize_state(inputs.state), torch.zeros_like(share), share)


def steering(algorithm: Algorithm, policy: FlowPolicy) -> Steering | None:
    """``algorithm``, if it chooses the noise ``policy`` plans from. Raises ValueError where it cannot."""
    if not isinstance(algorithm, Steering):
        return None
    if policy.config.head != 'flow':
        raise ValueError(f'the head {policy.config.head} plans from no noise; set policy.head to flow')
    algorithm.require(policy.spec.horizon)
    return algorithm


def pack(
    part: str,
    settings: dict[str, Any],
    duration_s: float,
    encoder: FrozenEncoder,
    algorithm: Algorithm,
    acts: bool = True,
) -> checkpoint.Beside:
    """Critics as they lie beside a policy; ``part`` and ``settings`` are what the algorithm was made with.
    Those that do not act yet lie there for a learner that goes back to this version.
    """
    about = {
        'acts': acts,
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


def critics_act(manifest: dict[str, Any]) -> bool:
    """Whether critics lie beside the policy of ``manifest`` and choose what it does."""
    found = manifest.get('beside', {})
    return found.get('name') == NAME and found['settings'].get('acts', True)


def load_choosing(folder: str | Path, policy: FlowPolicy, manifest: dict[str, Any]) -> FlowPolicy | Choosing:
    """``policy``, read from ``folder``, with the critics that lie beside it; without any that act, itself.

    Raises CheckpointError where they are damaged or made with settings that this version does not know.
    """
    found = checkpoint.load_beside(folder, manifest, NAME)
    if found is None or not critics_act(manifest):
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
