# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A learner that saves after every step and says before each save what it would do; made to be killed."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import torch
from clone_rig import ALGORITHM, ROBOT, make_episode

from apprentice.learning.learner import Learner, LearnerConfig
from apprentice.learning.preference.online import PreferenceConfig
from apprentice.learning.probe_set import ProbeConfig
from apprentice.learning.rl.features import FeatureConfig
from apprentice.learning.rl.online import OnlineConfig
from apprentice.learning.rl.windows import WindowConfig
from apprentice.robot.types import Observation, Source

UPDATES = 40
CONFIG = LearnerConfig(
    updates_per_episode=UPDATES,
    publish_every=15,
    warm_up=1,
    algorithm=ALGORITHM,
    probe=ProbeConfig(observations=4, max_change=0.0),
)
ONLINE = OnlineConfig(
    settings={'critic': {'members': 2, 'hidden': [16]}, 'hidden': [16], 'warm_up': 2, 'edit_every': 1},
    features=FeatureConfig(candidates=2, rows=4, potential=False),
    windows=WindowConfig(rows=4),
    batch=8,
    warm_up=4,
    judge_after=4,
    refresh_every=3,
)
RECIPES = {
    'weighted_flow': CONFIG,
    'flow_edit': dataclasses.replace(CONFIG, online=ONLINE, preference=PreferenceConfig(every=2, least=2)),
}


def recorded(number: int):
    """The policy drives first, then a person."""
    episode = make_episode(number, length=16)
    episode.source[:8] = int(Source.POLICY)
    episode.takeover_id[8:] = 1
    return episode


def make_learner(folder: Path, recipe: str) -> Learner:
    learner = Learner(ROBOT, folder / 'run', folder / 'starter', RECIPES[recipe], seed=3)
    if learner.online is not None:  # tokens need demonstrations, and a node loads them at every start
        learner.show([make_episode(i) for i in range(100, 104)])
    return learner


def action(learner: Learner) -> list[float]:
    """What would act, on a fixed observation with fixed noise."""
    episode = make_episode(50)
    images = {name: stack[3] for name, stack in episode.images.items()}
    seen = Observation(1.0, images, episode.state[3], episode.task)
    return learner.acting().act(seen, torch.Generator().manual_seed(5)).flatten().tolist()


def run(folder: Path, recipe: str) -> None:
    """Learn for ever."""
    torch.set_num_threads(1)
    learner = make_learner(folder, recipe)
    with open(folder / 'said.jsonl', 'a') as file:

        def say() -> None:
            line = {'steps': learner.algorithm.steps, 'episodes': learner.episodes, 'action': action(learner)}
            file.write(json.dumps(line) + '\n')
            file.flush()

        say()
        while True:
            learner.ingest()
            if learner.ready:
                learner.update()
            else:
                time.sleep(0.002)
            say()
            if learner.publish_due:
                learner.publish()
            else:
                learner.save()
