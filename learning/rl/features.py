# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What critics see: a frozen policy's summary of an observation, joint state, potential and time.

The encoder is never trained by reinforcement learning, so an episode is encoded once and kept as float16.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from apprentice.policies import flow
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs, Prefix
from apprentice.robot.settings import at_least
from apprentice.robot.types import Episode

_FITTED_TO = 2**27  # numbers that features are fitted to, at most; the decomposition holds them several times


@dataclass(frozen=True)
class FeatureConfig:
    """How observations are summarised and what is planned from them.

    Attributes:
        kind: ``pooled``, the backbone's own summary, or ``tokens``, the main components of what its last
            layer gives the expert at every place, which keep where things are; they need
            :meth:`FrozenEncoder.fit`.
        components: of ``tokens``.
        candidates: N, chunks planned from each observation.
        rows: C, leading rows of a chunk that are kept; 0: all.
        batch: observations encoded at a time.
        potential: critics see the potential, too. Shaping changes nothing about what is best only where they
            do, or where it depends on what they see; whoever acts must then measure it in time.
    """

    kind: Literal['pooled', 'tokens'] = 'pooled'
    components: int = 64
    candidates: int = 8
    rows: int = 0
    batch: int = 32
    potential: bool = True

    def __post_init__(self) -> None:
        at_least(self, 1, 'components', 'candidates', 'batch')
        at_least(self, 0, 'rows')


@dataclass
class Moments:
    """R observations of one episode, encoded, on the CPU.

    Attributes:
        rows: int64 [R], rows of the episode, sorted.
        feature: float16 [R, F].
        state: float32 [R, A], normalised.
        candidates: float16 [R, N, C, A], normalised.
        noise: float16 [R, N, C, A], what they were integrated from, leading rows.
    """

    rows: torch.Tensor
    feature: torch.Tensor
    state: torch.Tensor
    candidates: torch.Tensor
    noise: torch.Tensor


class FrozenEncoder:
    """Features and candidates of a policy that is not trained meanwhile.

    Args:
        policy: encodes; it is put into evaluation mode.
        planner: plans the candidates, if another version of the policy does.
    """

    def __init__(
        self, policy: FlowPolicy, config: FeatureConfig | None = None, planner: FlowPolicy | None = None
    ):
        self.policy, self.config = policy.eval(), config or FeatureConfig()
        self.spec = policy.spec
        if not 0 <= self.config.rows <= self.spec.horizon:
            raise ValueError(
                f'{self.config.rows} rows, but a chunk has {self.spec.horizon}; give as many at most'
            )
        self._mean: torch.Tensor | None = None
        self._basis: torch.Tensor | None = None  # [raw, F], or [raw] to scale only
        self.plan_with(planner or policy)

    @property
    def rows(self) -> int:
        """C, rows of a candidate."""
        return self.config.rows or self.spec.horizon

    @property
    def planner(self) -> FlowPolicy:
        """Plans the candidates."""
        return self._planner

    @property
    def potential(self) -> bool:
        """Whether critics see the potential."""
        return self.config.potential

    def plan_with(self, planner: FlowPolicy) -> None:
        """Plan candidates with another version of the policy from now on."""
        self._planner = planner.eval()
        # what one backbone encoded, only the same can read
        self._own_prefix = planner is not self.policy and not _alike(planner.backbone, self.policy.backbone)

    @torch.no_grad()
    def _raw(self, prefix: Prefix) -> torch.Tensor:
        if self.config.kind == 'pooled':
            return prefix.pooled.float()
        values = _values(prefix)
        if self._mean is not None:
            values = _places(values, len(self._mean) // (values.shape[1] * values.shape[3]))
        return values.flatten(1)

    @torch.no_grad()
    def fit(self, episodes: Iterable[Episode], stride: int = 5, most: int = 2000) -> None:
        """Find what varies, from recorded episodes: the scale of each number, or the main components.

        Args:
            stride: every so many rows of an episode one observation.
            most: observations; fewer where each has very many numbers, as with large pictures.

        Raises ValueError for fewer observations than components.
        """
        found: list[torch.Tensor] = []
        pooled = self.config.kind == 'pooled'
        least = 2 if pooled else self.config.components
        for episode in episodes:
            rows = np.arange(0, len(episode), stride)
            for part in np.array_split(rows, max(1, -(-len(rows) // self.config.batch))):
                prefix = self.policy.encode(self._inputs(episode, part))
                found.append(prefix.pooled.float() if pooled else _values(prefix))
                most = min(most, max(least, _FITTED_TO // found[-1].shape[1:].numel()))
            if sum(map(len, found)) >= most:
                break
        if not pooled and found:  # instructions may be of different lengths
            longest = max(values.shape[2] for values in found)
            found = [_places(values, longest).flatten(1) for values in found]
        raw = torch.cat(found)[:most] if found else torch.empty(0, 1)
        if len(raw) < least:
            raise ValueError(f'{len(raw)} observations to fit features to; give at least {least}')
        self._mean = raw.mean(0)
        if self.config.kind == 'pooled':
            self._basis = 1 / raw.std(0).clamp(min=1e-3)
            return
        _, sizes, directions = torch.linalg.svd(raw - self._mean, full_matrices=False)
        deviation = sizes[: self.config.components] / (len(raw) - 1) ** 0.5
        # components that hardly vary are noise, and are not blown up
        floor = 0.03 * deviation[0].clamp(min=1e-6)
        self._basis = directions[: self.config.components].T / deviation.clamp(min=float(floor))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What :meth:`fit` found, on the CPU, to be stored with the algorithm; empty before it."""
        if self._mean is None or self._basis is None:
            return {}
        return {'mean': self._mean.cpu(), 'basis': self._basis.cpu().contiguous()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Put :meth:`state_dict` back, so that features mean what they meant before a restart."""
        device = self.policy.device
        self._mean = state['mean'].to(device) if state else None
        self._basis = state['basis'].to(device) if state else None

    @property
    def size(self) -> int:
        """D, numbers of a feature as critics get it: encoder, state, potential, time."""
        if self.config.kind == 'tokens':
            count = self.config.components
        else:
            count = self._pooled_size()
        return count + self.spec.dim + 2

    def _pooled_size(self) -> int:
        zeros = {name: torch.from_numpy(stack) for name, stack in self.spec.blank_images(1).items()}
        inputs = Inputs(zeros, torch.zeros(1, self.spec.dim), ['']).to(self.policy.device)
        with torch.no_grad():
            return self.policy.encode(inputs).pooled.shape[-1]

    def summary(self, prefix: Prefix) -> torch.Tensor:
        """The encoder's part of a feature, [B, F]. Raises ValueError for ``tokens`` before :meth:`fit`."""
        raw = self._raw(prefix)
        if self._mean is None or self._basis is None:
            if self.config.kind == 'tokens':
                raise ValueError('features of the kind tokens need fit() on recorded episodes first')
            return raw
        if raw.shape[1] != len(self._mean):
            raise ValueError(
                f'{raw.shape[1]} numbers to summarise, but features were fitted to {len(self._mean)}; '
                'fit them to episodes with these cameras and instructions'
            )
        centred = raw - self._mean
        return centred * self._basis if self._basis.ndim == 1 else centred @ self._basis

    @torch.no_grad()
    def encode(
        self, inputs: Inputs, generator: torch.Generator | None = None, noise: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Summary [B, F], normalised state [B, A], candidates and their noise [B, N, C, A], normalised.

        Args:
            noise: [B, N, H, A] to plan from; None: drawn with ``generator``.
        """
        inputs, spec = inputs.to(self.policy.device), self.spec
        prefix = self.policy.encode(inputs)
        planned_from = self._planner.encode(inputs) if self._own_prefix else prefix
        if noise is None:
            shape = (len(inputs.state), self.config.candidates, spec.horizon, spec.dim)
            noise = torch.randn(shape, generator=generator)
        noise = noise.to(self.policy.device)
        count = noise.shape[1]
        chunks = flow.integrate(
            self._planner.expert,
            planned_from.repeat(count),
            noise.flatten(0, 1),
            self._planner.config.denoise_steps,
        ).unflatten(0, (-1, count))
        state = self.policy.normalize_state(inputs.state)
        return self.summary(prefix), state, chunks[:, :, : self.rows], noise[:, :, : self.rows]

    def _inputs(self, episode: Episode, rows: np.ndarray) -> Inputs:
        images = {
            name: torch.from_numpy(np.ascontiguousarray(episode.images[name][rows]))
            for name in self.spec.cameras
        }
        state = torch.from_numpy(np.ascontiguousarray(episode.state[rows], np.float32))
        return Inputs(images, state, [episode.task] * len(rows)).to(self.policy.device)

    def moments(self, episode: Episode, rows: np.ndarray) -> Moments:
        """Encode ``rows`` of an episode. What is drawn depends on the episode and the row alone.

        Raises KeyError for a missing camera and ValueError for a state that is not finite.
        """
        parts: list[tuple[torch.Tensor, ...]] = []
        for begin in range(0, len(rows), self.config.batch):
            some = rows[begin : begin + self.config.batch]
            noise = torch.stack([self._noise(episode.episode_id, int(row)) for row in some])
            feature, state, chunks, drawn = self.encode(self._inputs(episode, some), noise=noise)
            parts.append((feature.half().cpu(), state.cpu(), chunks.half().cpu(), drawn.half().cpu()))
        if not parts:
            raise ValueError(f'{episode.episode_id}: no rows to encode')
        joined = [torch.cat(column) for column in zip(*parts, strict=True)]
        return Moments(torch.as_tensor(rows, dtype=torch.int64), *joined)

    def _noise(self, episode_id: str, row: int) -> torch.Tensor:
        digest = hashlib.sha256(f'{episode_id}:{row}'.encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], 'big'))
        shape = (self.config.candidates, self.spec.horizon, self.spec.dim)
        return torch.randn(shape, generator=generator)


def compose(
    feature: torch.Tensor, state: torch.Tensor, phi: torch.Tensor, share: torch.Tensor
) -> torch.Tensor:
    """A feature [B, D] as critics get it, float32.

    Args:
        feature: [B, F] of the encoder; state: [B, A], normalised.
        phi: [B], the potential; share: [B], of the longest episode that is over.
    """
    return torch.cat([feature.float(), state.float(), phi[:, None].float(), share[:, None].float()], -1)


def _values(prefix: Prefix) -> torch.Tensor:
    """What the last layer gives the expert, float32 [B, heads, P, head_dim]; 0 at places without a token."""
    return (prefix.values[-1] * prefix.mask[:, None, :, None]).float()


def _places(values: torch.Tensor, count: int) -> torch.Tensor:
    """The first ``count`` places of ``values`` [B, heads, P, head_dim]; those that are missing hold no token.

    A model of others pads a batch to its longest instruction, so their number changes with what is said.
    """
    missing = max(0, count - values.shape[2])
    return functional.pad(values[:, :, :count], (0, 0, 0, missing))


def _alike(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether all weights are the same."""
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
