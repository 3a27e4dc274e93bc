# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Recorded episodes scored after the fact: by a model that did not run then, or that became better."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import iter_sealed
from apprentice.reward_models.base import RewardModel, RewardModelError
from apprentice.reward_models.ledger import Ledger
from apprentice.robot.spec import RobotSpec

FILE = 'rewards.jsonl'  # in the run folder, or beside demonstrations that belong to no run
log = logging.getLogger(__name__)


def ledger_path(episodes: str | Path) -> Path:
    """The ledger of a folder of episodes: of ``RUN/episodes`` the run's, of another folder in it."""
    # links are not followed: a run whose episodes lie on another disk keeps its ledger
    folder = Path(os.path.abspath(Path(episodes).expanduser()))
    return (folder.parent if folder.name == 'episodes' else folder) / FILE


def score_recorded(
    episodes: str | Path,
    robot: RobotSpec,
    model: RewardModel,
    stride_s: float = 1.0,
    progress: Callable[[int], None] = lambda n: None,
) -> int:
    """Score every sealed episode of a folder that this version of the model has not scored; the number of
    new scores.

    The raw scores go to the folder's ledger (:func:`ledger_path`); a learner of the run takes them at its
    next look at the episodes, and one that is shown the folder as demonstrations reads them with these. What
    cannot be scored is logged and left as it is. Doing it twice changes nothing.
    """
    ledger = Ledger(ledger_path(episodes))
    count = 0
    for number, path in enumerate(iter_sealed(Path(episodes))):
        try:
            count += ledger.rescore(read_episode(path, robot), model, stride_s)
        except (EpisodeFileError, RewardModelError) as error:
            log.warning('%s is not scored: %s', path.stem, error)
        progress(number + 1)
    return count
