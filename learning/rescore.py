# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Recorded episodes scored again when a reward model became better; the learner reads them anew."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import iter_sealed
from apprentice.reward_models.base import RewardModel, RewardModelError
from apprentice.reward_models.ledger import Ledger
from apprentice.robot.spec import RobotSpec

FILE = 'rewards.jsonl'  # in the run folder
log = logging.getLogger(__name__)


def rescore_run(
    run_dir: str | Path,
    robot: RobotSpec,
    model: RewardModel,
    stride_s: float = 1.0,
    progress: Callable[[int], None] = lambda n: None,
) -> int:
    """Score every sealed episode of a run that another version of the model scored; the number of new scores.

    The raw scores go to the ledger ``rewards.jsonl`` of the run folder; a learner of this run takes them at
    its next look at the episodes. What cannot be scored is logged and left as it is. Doing it twice changes
    nothing.
    """
    ledger = Ledger(Path(run_dir) / FILE)
    count = 0
    for number, path in enumerate(iter_sealed(Path(run_dir) / 'episodes')):
        try:
            count += ledger.rescore(read_episode(path, robot), model, stride_s)
        except (EpisodeFileError, RewardModelError) as error:
            log.warning('%s is not scored again: %s', path.stem, error)
        progress(number + 1)
    return count
