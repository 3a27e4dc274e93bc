# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Policies on small models, and observations for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from apprentice.bench.small_vlm import CAMERAS, LAYERS
from apprentice.policies.backbones.huggingface import HuggingFaceConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.expert import ExpertConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs
from apprentice.policies.spec import PolicySpec
from apprentice.robot.normalize import Statistics

JOINTS = tuple(f'joint{i}' for i in range(7))
SHORT, LONG = 'pick up the red cube', 'put the blue cube slowly into the red box and then close it now'


def make_spec() -> PolicySpec:
    rng = np.random.default_rng(0)
    return PolicySpec(
        robot='arm',
        joints=JOINTS,
        relative=(True,) * 6 + (False,),
        cameras=CAMERAS,
        horizon=4,
        action_dt=0.1,
        state=Statistics.of(rng.normal(0.3, 0.5, (100, 7)), JOINTS, 'state'),
        action=Statistics.of(rng.normal(0.0, 0.2, (100, 7)), JOINTS, 'action'),
    )


def make_policy(folder: Path | str, insulate: bool = False, **backbone) -> FlowPolicy:
    """A policy with weights that let everything matter: fresh modulations and adapters are zero."""
    torch.manual_seed(1)
    config = PolicyConfig(
        backbone=HuggingFaceConfig(model=str(folder), **backbone),
        expert=ExpertConfig(width=32, layers=LAYERS, heads=4, rope_theta=-1),
        denoise_steps=2,
        insulate=insulate,
    )
    policy = FlowPolicy(make_spec(), config)
    for name, parameter in policy.named_parameters():
        if 'modulation' in name or 'lora_B' in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return policy.eval()


def make_inputs(*text: str) -> Inputs:
    g = torch.Generator().manual_seed(2)
    images = {
        name: torch.randint(0, 256, (len(text), *size, 3), dtype=torch.uint8, generator=g)
        for name, size in CAMERAS.items()
    }
    return Inputs(images, torch.randn(len(text), 7, generator=g), list(text))


def item(inputs: Inputs, index: int) -> Inputs:
    """One of a batch."""
    images = {name: stack[index : index + 1] for name, stack in inputs.images.items()}
    return Inputs(images, inputs.state[index : index + 1], inputs.text[index : index + 1])
