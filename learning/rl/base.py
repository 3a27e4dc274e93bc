# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The seam between data and algorithms: a batch of chunk transitions, and what an algorithm can do with it.

Actions are in the policy's normalised space (z-scored, relative joints as offsets from the state the chunk
begins at), so that one bound and one noise scale fit all joints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch

from apprentice.robot.parts import load_part
from apprentice.robot.settings import SettingsError, from_dict

_METHODS = ('update', 'choose', 'state_dict', 'load_state_dict')


@dataclass(frozen=True)
class Sizes:
    """What an algorithm is made for.

    Attributes:
        feature: D, numbers of a feature.
        rows: C, rows of a chunk.
        actions: A, numbers of a row.
    """

    feature: int
    rows: int
    actions: int

    def __post_init__(self):
        if min(self.feature, self.rows, self.actions) < 1:
            raise ValueError(f'{self} has a size below 1; give the sizes of the policy and its features')

    @property
    def chunk(self) -> int:
        """Numbers of a chunk."""
        return self.rows * self.actions


@dataclass
class ChunkBatch:
    """B transitions of C rows for a target ``reward + discount * Q(next)``; all float32 unless said.

    Attributes:
        feature: [B, D], output of the frozen encoder, joint state, potential, share of the time that is over.
        action: [B, C, A], the chunk the gate executed; rows that are not valid repeat the last valid one.
        valid: bool [B, C], rows that were executed; always the leading ones.
        reward: [B], discounted sum over the valid rows.
        discount: [B], gamma to the number of valid rows; 0 after a terminal.
        next_feature: [B, D], at the first row after the sum; without a meaning after a terminal.
        candidates, next_candidates: [B, N, C, A], chunks the frozen flow planned at both moments.
        human: bool [B], a person drove most of the valid rows, or it is a demonstration.
        noise, next_noise: [B, N, C, A], the noise the candidates were integrated from; None: not kept.
        executed_noise: [B, C, A], the noise the executed chunk came from; None: not kept.
    """

    feature: torch.Tensor
    action: torch.Tensor
    valid: torch.Tensor
    reward: torch.Tensor
    discount: torch.Tensor
    next_feature: torch.Tensor
    candidates: torch.Tensor
    next_candidates: torch.Tensor
    human: torch.Tensor
    noise: torch.Tensor | None = None
    next_noise: torch.Tensor | None = None
    executed_noise: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.reward)

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> ChunkBatch:
        """The same transitions with every tensor changed, e.g. moved or cut."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: change(v) for k, v in values.items() if v is not None})

    def to(self, device: torch.device | str) -> ChunkBatch:
        """The same on another device; copies from pinned memory do not wait."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))

    def check(self, sizes: Sizes) -> None:
        """Raise ValueError naming the first field whose shape or type does not fit ``sizes``."""
        b, n, chunk = len(self), self.candidates.shape[1], (sizes.rows, sizes.actions)
        planned = (b, n, *chunk)
        expected: dict[str, tuple[int, ...]] = {
            'feature': (b, sizes.feature),
            'action': (b, *chunk),
            'valid': (b, sizes.rows),
            'reward': (b,),
            'discount': (b,),
            'next_feature': (b, sizes.feature),
            'candidates': planned,
            'next_candidates': planned,
            'human': (b,),
            'noise': planned,
            'next_noise': planned,
            'executed_noise': (b, *chunk),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is None:
                continue
            boolean = name in ('valid', 'human')
            if tuple(value.shape) != shape or (value.dtype == torch.bool) != boolean:
                kind = 'bool' if boolean else 'float32'
                raise ValueError(
                    f'{name} is {value.dtype} {tuple(value.shape)}; the algorithm expects {kind} {shape}'
                )


@runtime_checkable
class Algorithm(Protocol):
    """Learns from chunk transitions and chooses among chunks.

    A class made as ``Class(sizes, config, seed, device)`` with a frozen dataclass ``Config`` of settings
    beside it, one file an algorithm; named in YAML as ``package.module:Class``.

    Attributes:
        sizes: what it was made for.
        steps: updates done.
    """

    sizes: Sizes
    steps: int

    def update(self, batch: ChunkBatch) -> dict[str, float]:
        """Learn from one batch; returns metrics.

        A step whose loss or gradient is not finite is not applied, and counted as ``skipped``.
        """
        ...

    def choose(
        self,
        feature: torch.Tensor,
        candidates: torch.Tensor,
        explore: bool = False,
        generator: torch.Generator | None = None,
        fixed: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The chunk to execute, [B, C, A].

        Args:
            feature: [B, D].
            candidates: [B, N, C, A], planned by the frozen flow from the same observations.
            explore: act as in training; otherwise as in evaluation.
            generator: of the exploration, on the CPU; None: the global one.
            fixed: bool [B, C], rows that will be executed as they are in all candidates, whatever is chosen:
                they count in what is judged, and are not changed. None: there are none.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that continues the training: networks, targets, optimizers, random state, steps."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put :meth:`state_dict` back. Raises ValueError for one of another algorithm or other sizes."""
        ...


@runtime_checkable
class Steering(Protocol):
    """An algorithm that chooses the noise a frozen policy starts from (DSRL), before there is a candidate."""

    def noise(
        self, feature: torch.Tensor, explore: bool = False, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Noise [B, C, A] to integrate a chunk from."""
        ...

    def require(self, horizon: int) -> None:
        """Raise ValueError where it cannot steer chunks of ``horizon`` rows and learn that from episodes."""
        ...


def make(
    part: str,
    sizes: Sizes,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    device: torch.device | str = 'cpu',
) -> Algorithm:
    """An algorithm from its name and settings, as a YAML file gives them.

    Args:
        part: ``package.module:Class``.
        settings: fields of its ``Config``; what is left out has the default.

    Raises ValueError naming the part and what is wrong.
    """
    cls, config = find(part, settings)
    try:
        made = cls(sizes, config, seed, device)
    except (SettingsError, TypeError) as error:
        raise ValueError(f'algorithm {part!r}: {error}') from None
    if not isinstance(made, Algorithm):
        raise ValueError(f'algorithm {part!r} lacks sizes or steps')
    return made


def find(part: str, settings: dict[str, Any] | None = None) -> tuple[Callable[..., Algorithm], Any]:
    """The class ``part`` of an algorithm and its ``Config`` with ``settings``; nothing is made.

    Raises ValueError naming the part and what is wrong.
    """
    try:
        cls = load_part(part)
        config = getattr(cls, 'Config', None)
        if config is None or not is_dataclass(config):
            raise TypeError('it has no dataclass Config')
        if not all(callable(getattr(cls, name, None)) for name in _METHODS):
            raise TypeError(f'it lacks one of {", ".join(_METHODS)}')
        return cls, from_dict(config, settings or {}, 'settings')
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(f'algorithm {part!r}: {error}') from None
