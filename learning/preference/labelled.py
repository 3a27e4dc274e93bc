# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pairs a person chose: lines of JSON beside the episodes, each naming a moment and two chunks.

    {"episode": "e-0007", "step": 12, "winner": [[...], ...], "loser": [[...], ...]}

Chunks are [H, A] in rad and m; ``"winner": "executed"`` takes what was executed there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.learning.dataset import Chunks
from apprentice.learning.preference.pairs import PairDraft, PairError, Pairs, build_each
from apprentice.policies.spec import PolicySpec
from apprentice.robot.types import Episode

EXECUTED = 'executed'


class LabelledPairs:
    """A pair builder that reads ``path``.

    Raises PairError, which names the line, for what is no label.
    """

    name = 'labelled'

    def __init__(self, spec: PolicySpec, path: str | Path):
        self._spec, self._path = spec, Path(path)
        try:
            text = self._path.read_text()
        except OSError as error:
            raise PairError(f'labels cannot be read: {error}') from None
        self._sha256 = hashlib.sha256(text.encode()).hexdigest()
        self._labels: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                label = self._parse(number, line)
                self._labels.setdefault(label['episode'], []).append((number, label))

    def settings(self) -> dict[str, object]:
        return {'builder': self.name, 'labels': self._sha256}

    def build(self, episodes: Iterable[Episode]) -> Pairs:
        """Raises PairError for a label of a row that an episode does not have."""
        return build_each(episodes, self._one, self._spec.horizon, self._spec.dim)

    def _one(self, episode: Episode) -> Pairs:
        horizon = self._spec.horizon
        draft = PairDraft(episode, horizon)
        labels = self._labels.get(episode.episode_id, [])
        samples = Chunks.of(episode, horizon) if labels else None
        for number, label in labels:
            step, chunks, valid = label['step'], [], np.ones(horizon, bool)
            if samples is None or not 0 <= step < len(episode):
                raise PairError(
                    f'{self._path} line {number}: {episode.episode_id} has {len(episode)} rows, no {step}'
                )
            for side in ('winner', 'loser'):
                if isinstance(label[side], str):
                    valid &= samples.valid[step]
                    chunks.append(samples.actions[step])
                else:
                    chunks.append(label[side])
            draft.add(step, chunks[0], chunks[1], valid, 1.0, self.name)
        return draft.pairs()

    def _parse(self, number: int, line: str) -> dict[str, Any]:
        shape = self._spec.horizon, self._spec.dim
        where = f'{self._path} line {number}'
        try:
            label = json.loads(line)
            found: dict[str, Any] = {'episode': str(label['episode']), 'step': int(label['step'])}
            for side in ('winner', 'loser'):
                value = label[side]
                found[side] = value if value == EXECUTED else np.asarray(value, np.float32)
        except (ValueError, TypeError, KeyError) as error:
            raise PairError(
                f'{where} is no label ({error!r}); write episode, step, winner and loser'
            ) from None
        chunks = [found[side] for side in ('winner', 'loser') if not isinstance(found[side], str)]
        if not chunks:
            raise PairError(f'{where}: winner and loser are the same; write down the other chunk')
        for chunk in chunks:
            if chunk.shape != shape or not np.isfinite(chunk).all():
                raise PairError(
                    f'{where}: a chunk is {chunk.shape}, it must be {shape} finite numbers (rows, joints)'
                )
        return found
