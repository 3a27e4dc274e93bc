# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A small policy with random weights, for tests that care how it runs and not what it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.expert import ExpertConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.spec import PolicySpec
from apprentice.robot.normalize import Statistics
from apprentice.robot.types import Observation

JOINTS = ('base', 'elbow', 'gripper')
CONFIG = PolicyConfig(
    TinyConfig(width=32, heads=2, channels=(8, 8, 16)), ExpertConfig(width=32), denoise_steps=3
)


def small_policy(config: PolicyConfig = CONFIG, **changes) -> FlowPolicy:
    """Two cameras of 32 and 16 pixels, three joints, chunks of 6 rows."""
    rng = np.random.default_rng(0)
    spec = PolicySpec(
        robot='small',
        joints=JOINTS,
        relative=(True, True, False),
        cameras={'front': (32, 32), 'wrist': (16, 16)},
        horizon=6,
        action_dt=0.1,
        state=Statistics.of(rng.normal(0.3, 0.5, (200, 3)), JOINTS, 'state'),
        action=Statistics.of(rng.normal(0.05, 0.2, (200, 3)), JOINTS, 'action'),
    )
    torch.manual_seed(0)
    policy = FlowPolicy(spec, replace(config, **changes)).eval()
    for block in policy.expert.blocks:  # they begin at zero, and hide all that comes before them
        torch.nn.init.normal_(block.modulation.weight, std=0.3)
        torch.nn.init.normal_(block.modulation.bias, std=0.3)
    return policy


def small_observation(seed: int = 0, text: str = 'pick up the red cube') -> Observation:
    rng = np.random.default_rng(seed)
    images = {
        'front': rng.integers(0, 256, (32, 32, 3), np.uint8),
        'wrist': rng.integers(0, 256, (16, 16, 3), np.uint8),
    }
    return Observation(0.0, images, rng.normal(0.3, 0.5, 3), text)
