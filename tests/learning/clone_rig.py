# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Random episodes and a small policy, to train in tests and in the processes that tests start."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np

from apprentice.learning.clone_config import CloneConfig
from apprentice.learning.weighted_flow import WeightedFlowConfig
from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.expert import ExpertConfig
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome, Source

ROBOT = RobotSpec.load(share('robots', 'sim_arm.yaml'))
SMALL = PolicyConfig(backbone=TinyConfig(width=32, layers=1, heads=2, channels=(8, 8, 16)))
ALGORITHM = WeightedFlowConfig(batch=8, draws=1, shift=1)
CONFIG = CloneConfig(steps=6, warm_up=2, snapshot_every=3, policy=SMALL, algorithm=ALGORITHM)


def vision_language_config(model: Path) -> CloneConfig:
    """Adapters of a small vision-language model, computed again in the backward pass, and a flow expert."""
    from apprentice.policies.backbones.huggingface import HuggingFaceConfig

    backbone = HuggingFaceConfig(str(model), lora_rank=2, state_tokens=1, gradient_checkpointing=True)
    policy = PolicyConfig(backbone, ExpertConfig(width=32, layers=3, heads=4, rope_theta=-1))
    algorithm = dataclasses.replace(ALGORITHM, batch=4)
    return dataclasses.replace(CONFIG, steps=3, policy=policy, algorithm=algorithm)


def make_episode(number: int, length: int = 12, source: Source = Source.HUMAN, **changes) -> Episode:
    rng = np.random.default_rng(number)
    state = (ROBOT.vector('home') + rng.normal(0, 0.05, (length, 7)).cumsum(0) * 0.2).astype(np.float32)
    state = np.clip(state, ROBOT.vector('lower'), ROBOT.vector('upper')).astype(np.float32)
    values = {
        'episode_id': f'episode-{number:04d}',
        'task': 'pick up the red cube',
        'seed': number,
        'outcome': Outcome.SUCCESS,
        'end_cause': 2,
        'eval_only': False,
        'stamps': 100.0 * (number + 1) + 0.1 * np.arange(length),
        'images': {c.name: rng.integers(0, 255, (length, 64, 64, 3), dtype=np.uint8) for c in ROBOT.cameras},
        'state': state,
        'action': (state + rng.normal(0, 0.02, state.shape)).astype(np.float32),
        'source': np.full(length, int(source), np.uint8),
        'takeover_id': np.zeros(length, np.int64),
        'robot': 'sim_arm',
    }
    return Episode(**{**values, **changes})


def make_episodes(count: int = 4) -> list[Episode]:
    return [make_episode(number, 10 + number) for number in range(count)]


def process_environment() -> dict[str, str]:
    """For processes of a training: they find this file, compute on one thread and stay on this machine."""
    here = str(Path(__file__).parent)
    paths = os.pathsep.join([here, *filter(None, [os.environ.get('PYTHONPATH')])])
    local = {'OMP_NUM_THREADS': '1', 'GLOO_SOCKET_IFNAME': 'lo', 'PYTHONPATH': paths}
    return {**os.environ, **local}


def torchrun(count: int, port: int, *command: str) -> list[str]:
    """A command in ``count`` processes, which meet at a port of this machine."""
    options = ['--nproc-per-node', str(count), '--master-addr', '127.0.0.1', '--master-port', str(port)]
    return [sys.executable, '-m', 'torch.distributed.run', *options, *command]
