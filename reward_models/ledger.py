# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The ledger: every raw score of every episode, appended and never changed.

It is derived from the episode log (``Episode.rewards``) and adds what was scored again later, when a model
became better: of equal model and moment the highest revision counts. Calibration and shaping are applied to
what is read, never stored, so a buffer is relabelled by reading the ledger again.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.reward_models.base import RewardModel, RewardModelError
from apprentice.reward_models.online import score_episode
from apprentice.reward_models.revisions import effective, moment
from apprentice.robot.types import Episode, Reward, RewardKind

log = logging.getLogger(__name__)
_FIELDS = {field.name: field.type for field in dataclasses.fields(Reward)}
_MORE = 'more'  # how many lines of the same call follow; a line of before, which does not say, stands alone


class Ledger:
    """Raw scores by episode in one file of JSON lines.

    What a crash left unfinished, a line or the scores of one call, is not read, and cut off by the next who
    writes; another damaged line is an error.

    Args:
        path: the file; it is made with the first score.

    Raises RewardModelError for a file with a damaged line.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._scores: dict[str, list[Reward]] = {}
        self._read = 0
        self.refresh()

    def refresh(self) -> set[str]:
        """Read what others appended since; returns the episodes that changed."""
        if not self.path.is_file():
            return set()
        with open(self.path, 'rb') as file:
            file.seek(self._read)
            data = file.read()
        changed, waiting, read, whole = set(), [], 0, 0
        for number, line in enumerate(data[: data.rfind(b'\n') + 1].splitlines(keepends=True)):
            try:
                fields = json.loads(line)
                waiting.append((fields.pop('episode_id'), _reward(fields)))
                more = fields.get(_MORE, 0)
            except (ValueError, KeyError, TypeError) as error:
                raise RewardModelError(
                    f'{self.path}, line {number + 1} after byte {self._read}, is damaged ({error}); it is '
                    'derived, so remove the file and build it again from the episode logs'
                ) from None
            read += len(line)
            if more:  # of the same call: without them an episode would pass for measured
                continue
            for episode_id, reward in waiting:
                self._scores.setdefault(episode_id, []).append(reward)
                changed.add(episode_id)
            waiting, whole = [], read
        self._read += whole
        return changed

    @property
    def episodes(self) -> list[str]:
        return sorted(self._scores)

    def raw(self, episode_id: str) -> list[Reward]:
        """Every score of an episode in the order they were written."""
        return list(self._scores.get(episode_id, []))

    def scored(self, episode_id: str, model: str) -> bool:
        """Whether ``model`` has scored an episode, in any version."""
        return any(reward.model == model for reward in self._scores.get(episode_id, []))

    def rewards(self, episode_id: str) -> list[Reward]:
        """What counts of an episode, by time."""
        return effective(self.raw(episode_id))

    def add(self, episode: Episode) -> int:
        """Append an episode's measurements that are not here yet; returns how many. Twice changes nothing."""
        known = {_key(reward) for reward in self.raw(episode.episode_id)}
        return self._append(episode.episode_id, [r for r in episode.rewards if _key(r) not in known])

    def stale(self, model: str, version: str) -> list[str]:
        """Episodes whose newest scores of ``model`` come from another version than ``version``."""
        return [
            name
            for name in self.episodes
            if any(r.model == model and r.version != version for r in self.rewards(name))
        ]

    def append_revision(self, episode_id: str, rewards: Sequence[Reward]) -> list[Reward]:
        """Append scores made later, under a revision above that of every moment they replace."""
        last: dict[str, int] = {}
        for old in self.raw(episode_id):
            last[old.model] = max(last.get(old.model, -1), old.revision)
        new = [dataclasses.replace(r, revision=last.get(r.model, -1) + 1) for r in rewards]
        self._append(episode_id, new)
        return new

    def rescore(
        self, episode: Episode, model: RewardModel, stride_s: float = 1.0, again: bool = False
    ) -> int:
        """Score an episode again with another version of a model, at the moments it was scored before.

        An episode that this version already scored is left alone unless ``again``. Moments without a score of
        the model are the whole action grid. Returns the number of new scores. Raises RewardModelError for a
        camera the episode lacks.
        """
        self.add(episode)
        before = [r for r in self.rewards(episode.episode_id) if r.model == model.model]
        if before and all(r.version == model.version for r in before) and not again:
            return 0
        cameras = model.needs.cameras or tuple(episode.images)
        missing = [camera for camera in cameras if camera not in episode.images]
        if missing or not cameras:
            raise RewardModelError(
                f'{episode.episode_id} has no images of {missing or "any camera"}; it has '
                f'{sorted(episode.images)}, {model.model} looks at {list(cameras)}'
            )
        if not len(episode):
            return 0
        times = np.array([r.t1 for r in before]) if before else np.asarray(episode.stamps)
        # the newest frame at or before a moment, as the log joins images
        rows = np.searchsorted(episode.stamps, times + 1e-6, side='right') - 1
        rows = np.clip(rows, 0, len(episode) - 1)
        frames = np.stack([np.asarray(episode.images[camera])[rows] for camera in cameras], axis=1)
        rewards = score_episode(model, frames, times.tolist(), episode.task, stride_s)
        for reward in rewards:
            reward.camera = ','.join(cameras)
        return len(self.append_revision(episode.episode_id, rewards))

    def apply(self, episode: Episode) -> Episode:
        """The episode with its scores and those made later; itself where the ledger has none of it.

        All revisions stay: which one counts is for the reader (revisions.effective) to say, because a learner
        that keeps to an older version of a model leaves the newer ones out first.
        """
        if episode.episode_id not in self._scores:
            return episode
        here = self.raw(episode.episode_id)
        known = {_key(reward) for reward in here}
        return dataclasses.replace(
            episode, rewards=[*(r for r in episode.rewards if _key(r) not in known), *here]
        )

    def _append(self, episode_id: str, rewards: Sequence[Reward]) -> int:
        if not rewards:
            return 0
        left = range(len(rewards) - 1, -1, -1)
        lines = ''.join(_line(episode_id, *each) for each in zip(rewards, left, strict=True))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, 'ab') as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # somebody else may score at the same time
            self.refresh()
            if file.tell() > self._read:
                log.warning('%s: cutting off what an interrupted writer left unfinished', self.path)
                file.truncate(self._read)
                file.seek(self._read)
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())
        self.refresh()
        return len(rewards)


def _key(reward: Reward) -> tuple[Any, ...]:
    return reward.model, int(reward.kind), moment(reward.t1), reward.version, reward.revision


def _line(episode_id: str, reward: Reward, more: int) -> str:
    fields = {**dataclasses.asdict(reward), _MORE: more}
    fields['kind'] = reward.kind.name
    # JSON knows no NaN
    fields = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in fields.items()}
    return json.dumps({'episode_id': episode_id, **fields}) + '\n'


def _reward(fields: dict[str, Any]) -> Reward:
    fields = {k: v for k, v in fields.items() if k in _FIELDS}  # a newer writer may know more
    values = {k: float('nan') if v is None else v for k, v in fields.items()}
    return Reward(**{**values, 'kind': RewardKind[fields['kind']]})
