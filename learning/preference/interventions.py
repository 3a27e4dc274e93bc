# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pairs from interventions: what a person did against what the policy would have done, seen the same.

The observation is one and the same, so these are true pairs. Methods that compare segments of a run from
different states need an unpaired loss instead (arXiv 2506.07127).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from apprentice.learning.advantage import potential
from apprentice.learning.dataset import Chunks
from apprentice.learning.preference.pairs import PairDraft, Pairs, build_each
from apprentice.learning.preference.shadows import Shadows
from apprentice.policies.spec import PolicySpec
from apprentice.robot.settings import SettingsError
from apprentice.robot.types import Episode, Outcome, Source

Potential = Callable[[Episode], np.ndarray | None]


@dataclass(frozen=True)
class InterventionConfig:
    """Which interventions count.

    Attributes:
        distance: mean distance of the two chunks, in standard deviations of each joint's action: a person who
            does what the policy would do says nothing.
        rise: a segment counts if the potential rose by more than this, or if it ended in success.
        rows: executed by the person, at least so many from the observation on.
        every: rows between observations.
    """

    distance: float = 0.1
    rise: float = 0.0
    rows: int = 2
    every: int = 1

    def __post_init__(self) -> None:
        if not (self.distance >= 0 and self.rise >= 0 and self.rows >= 1 and self.every >= 1):
            raise SettingsError('distance and rise must be 0 or more, rows and every 1 or more')


class InterventionPairs:
    """A pair builder: executed human chunk over the policy's shadow chunk.

    Args:
        spec: of the policy that is trained.
        shadows: where shadow chunks come from, see :mod:`.shadows`.
        potential: [T] of an episode, None where nothing was measured; default: the reward models' progress.
        identity: what tells these shadows from others: a policy's hash where it planned them afterwards.
    """

    name = 'intervention'

    def __init__(
        self,
        spec: PolicySpec,
        shadows: Shadows,
        config: InterventionConfig | None = None,
        potential: Potential = potential,
        identity: str = 'logged',
    ):
        self._spec, self._shadows, self._potential = spec, shadows, potential
        self.config, self._identity = config or InterventionConfig(), identity

    def settings(self) -> dict[str, object]:
        return {'builder': self.name, 'shadows': self._identity, **asdict(self.config)}

    def build(self, episodes: Iterable[Episode]) -> Pairs:
        """Evaluations give no pairs. Raises EpisodeFileError for a damaged log."""
        return build_each(episodes, self._one, self._spec.horizon, self._spec.dim)

    def _one(self, episode: Episode) -> Pairs:
        horizon, config = self._spec.horizon, self.config
        draft = PairDraft(episode, horizon)
        segments = [] if episode.eval_only else [s for s in human_segments(episode) if self._good(episode, s)]
        if not segments:
            return draft.pairs()
        shadows, samples = self._shadows(episode), Chunks.of(episode, horizon)
        scale = self._spec.action.std
        for rows in segments:
            for step in range(rows.start, rows.stop, config.every):
                shadow = shadows.get(step)
                # rows of the person's segment only; Chunks ends a chunk where somebody else drives
                count = min(
                    int(samples.valid[step].sum()), rows.stop - step, 0 if shadow is None else len(shadow)
                )
                if shadow is None or count < config.rows:
                    continue
                executed = samples.actions[step]
                loser = shadow[np.minimum(np.arange(horizon), len(shadow) - 1)]
                apart = float((np.abs(executed - loser) / scale)[:count].mean())
                if apart > config.distance:
                    valid = np.arange(horizon) < count
                    draft.add(step, executed, loser, valid, apart, self.name)
        return draft.pairs()

    def _good(self, episode: Episode, rows: range) -> bool:
        """It ended in success, or progress rose."""
        if episode.outcome == Outcome.SUCCESS and rows.stop == len(episode):
            return True
        phi = self._potential(episode)
        return (
            phi is not None and float(phi[min(rows.stop, len(phi) - 1)] - phi[rows.start]) > self.config.rise
        )


def human_segments(episode: Episode) -> Iterator[range]:
    """Rows of each takeover, one after the other."""
    human = episode.source == int(Source.HUMAN)
    takeover = np.where(human, episode.takeover_id, -1)
    edges = np.flatnonzero(np.diff(takeover)) + 1
    for begin, end in zip([0, *edges], [*edges, len(episode)]):
        if end > begin and human[begin]:
            yield range(int(begin), int(end))
