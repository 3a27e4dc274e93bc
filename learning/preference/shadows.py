# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the policy would have done while a person drove: logged by the policy node, or planned afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.labels import iter_sealed
from apprentice.episodes.log_reader import LogReader
from apprentice.episodes.messages import nanoseconds
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs
from apprentice.robot.types import Episode, Source

SHADOW = 'policy/shadow_chunk'

# of an episode: row -> chunk [H, A] (rad, m) planned from that row's observation
Shadows = Callable[[Episode], Mapping[int, np.ndarray]]


def logged_shadows(folder: str | Path) -> Shadows:
    """Shadow chunks from the logs in ``folder``; an episode that has no log there has none.

    A chunk belongs to the row whose stamp is nearest to that of its observation, if that is less than half
    a row away; of several for one row the latest counts.
    """
    paths = {path.stem: path for path in iter_sealed(Path(folder))}

    def read(episode: Episode) -> dict[int, np.ndarray]:
        path = paths.get(episode.episode_id)
        return {} if path is None else read_shadows(path, episode)

    return read


def read_shadows(path: Path, episode: Episode) -> dict[int, np.ndarray]:
    """The shadow chunks of one log. Raises EpisodeFileError for a chunk that does not fit the episode."""
    reader = LogReader(path)
    found: dict[int, np.ndarray] = {}
    if len(episode) < 2:
        return found
    half = 0.5 * float(np.median(np.diff(episode.stamps)))
    dim = episode.state.shape[1]
    for message in reader.messages({SHADOW}):
        decoded = reader.decode(message)
        stamp = nanoseconds(decoded.header.stamp) * 1e-9  # of the observation
        row = int(np.argmin(np.abs(episode.stamps - stamp)))
        if abs(float(episode.stamps[row]) - stamp) >= half:
            continue
        values = np.asarray(decoded.data, np.float32)
        if len(decoded.names) != dim or values.size != decoded.horizon * dim:
            raise EpisodeFileError(
                f'{path}: a shadow chunk has {len(decoded.names)} joints, the episode {dim}; pass the robot '
                'file it was recorded with'
            )
        found[row] = values.reshape(decoded.horizon, dim)
    return found


def replayed_shadows(policy: FlowPolicy, seed: int = 0, head: str = '', batch: int = 32) -> Shadows:
    """Plans them afterwards, at every row a person drove: for logs without shadow chunks, and to ask a newer
    policy than the one that was there.

    Args:
        head: of the policy, ``flow`` or ``fast``; empty: as configured.
    """

    def plan(episode: Episode) -> dict[int, np.ndarray]:
        rows = np.flatnonzero(episode.source == int(Source.HUMAN))
        found: dict[int, np.ndarray] = {}
        for first in range(0, len(rows), batch):
            chosen = rows[first : first + batch]
            images = {n: torch.from_numpy(np.asarray(episode.images[n][chosen])) for n in policy.spec.cameras}
            inputs = Inputs(
                images,
                torch.from_numpy(episode.state[chosen].astype(np.float32)),
                [episode.task] * len(chosen),
            )
            noise = [torch.Generator().manual_seed(seed * 1_000_003 + int(row)) for row in chosen]
            planned = policy.candidates(inputs, 1, noise, head=head or None)[:, 0].cpu().numpy()
            found |= {int(row): chunk for row, chunk in zip(chosen, planned)}
        return found

    return plan
