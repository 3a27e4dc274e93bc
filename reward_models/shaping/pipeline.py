# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Transforms in a row, as YAML names them::

    shaping:
      sparse: 1.0        # weight of the separate success signal
      weight: 1.0        # of everything that follows
      transforms:
        - part: apprentice.reward_models.shaping.potential:PotentialShaping
          settings: {scale: 0.5}

A part is any class whose dataclass fields are its settings and which is a
:class:`~apprentice.reward_models.base.RewardTransform`; it may live in anybody's package.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from apprentice.reward_models.base import RewardModelError, RewardTransform, Trajectory
from apprentice.robot.parts import load_part
from apprentice.robot.settings import SettingsError, from_dict


@dataclass(frozen=True)
class PartConfig:
    """A transform: ``package.module:Class`` and its settings."""

    part: str = ''
    settings: dict = field(default_factory=dict)


@dataclass(frozen=True)
class ShapingConfig:
    """Rewards of an episode: sparse * success + weight * trust * transforms(process).

    Attributes:
        transforms: applied in order, beginning with the trajectory's process scores (0 where it has none).
        discount: gamma of one step of the action grid.
    """

    transforms: tuple[PartConfig, ...] = (
        PartConfig('apprentice.reward_models.shaping.potential:PotentialShaping'),
    )
    sparse: float = 1.0
    weight: float = 1.0
    discount: float = 1.0

    def __post_init__(self):
        if not 0 < self.discount <= 1:
            raise RewardModelError(f'shaping.discount is {self.discount}; give a value in (0, 1]')


class Shaping:
    """The transforms of one learner. Raises RewardModelError for a part that cannot be made."""

    def __init__(self, config: ShapingConfig | None = None):
        self.config = config or ShapingConfig()
        self.transforms = [make(part) for part in self.config.transforms]

    def __call__(self, trajectory: Trajectory) -> np.ndarray:
        """Rewards float64 [T]. Raises RewardModelError if a transform makes one that is not finite.

        Trust stands outside all transforms: with trust 0 the success signal alone is left.
        """
        total = self.config.sparse * trajectory.success_signal()
        if trajectory.trust <= 0 or not len(trajectory):
            return total
        return total + self.config.weight * trajectory.trust * self._run(trajectory, len(self.transforms))

    @property
    def of_scores(self) -> bool:
        """Whether the chain begins with the scores of single steps, rather than with 0.

        The first transform with an attribute ``of_scores`` decides; a chain without any shapes scores.
        """
        marks = [getattr(transform, 'of_scores', None) for transform in self.transforms]
        return next((mark for mark in marks if mark is not None), bool(marks))

    def needs_returns(self) -> list[str]:
        """Transforms that make no sense over a few steps of one episode: those of scores."""
        return [
            type(transform).__name__ for transform in self.transforms if getattr(transform, 'of_scores', None)
        ]

    @property
    def learns(self) -> bool:
        """Whether a transform keeps statistics: has ``observe``, ``refresh`` and ``forget``."""
        return any(hasattr(transform, 'observe') for transform in self.transforms)

    def learn(self, trajectories: Iterable[Trajectory]) -> None:
        """Statistics from these episodes alone, which count from now on; between updates only.

        Made anew each time, so that an episode that is judged again is not counted twice.
        """
        kept = list(trajectories)
        # one after another: what a later one sees depends on the statistics of an earlier one
        for place, transform in enumerate(self.transforms):
            if hasattr(transform, 'observe'):
                transform.forget()
                for trajectory in kept:
                    transform.observe(self._run(trajectory, place), trajectory)
                transform.refresh()

    def observe(self, trajectory: Trajectory) -> None:
        """Show an episode to the transforms that keep statistics, once; they change in :meth:`refresh`."""
        for place, transform in enumerate(self.transforms):
            if hasattr(transform, 'observe'):
                transform.observe(self._run(trajectory, place), trajectory)

    def refresh(self) -> None:
        """Let collected statistics count; between updates only."""
        for transform in self.transforms:
            if hasattr(transform, 'refresh'):
                transform.refresh()

    def _run(self, trajectory: Trajectory, places: int) -> np.ndarray:
        process = trajectory.process
        rewards = np.zeros(len(trajectory)) if process is None else np.array(process, np.float64)
        for transform in self.transforms[:places]:
            rewards = transform(rewards, trajectory)
            if rewards.shape != (len(trajectory),) or not np.all(np.isfinite(rewards)):
                raise RewardModelError(
                    f'{type(transform).__name__} made rewards that are not finite or not {len(trajectory)}; '
                    'leave out samples that are not valid'
                )
        return rewards


def make(config: PartConfig) -> RewardTransform:
    """A transform from its name and settings. Raises RewardModelError naming the part and what is wrong."""
    try:
        part = load_part(config.part)
        if not dataclasses.is_dataclass(part):
            raise TypeError('its settings must be the fields of a dataclass')
        settable = [f.name for f in dataclasses.fields(part) if f.init]
        unknown = sorted(set(config.settings) - set(settable))
        if unknown:
            raise SettingsError(f'it has no {unknown}; it has: {settable}')
        transform = from_dict(part, config.settings)  # type: ignore[type-var]
    except (ImportError, SettingsError, TypeError) as error:
        raise RewardModelError(f'shaping part {config.part!r}: {error}') from None
    if not isinstance(transform, RewardTransform):
        raise RewardModelError(f'shaping part {config.part!r} cannot be called with (rewards, trajectory)')
    return transform
