# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Rendering and training in one process: the order of two LLVMs (software GL, triton)."""

import subprocess
import sys

SCRIPT = """
from apprentice.learning.weighted_flow import WeightedFlow
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.world import World
import torch
world = World(RobotSpec.load(share('robots', 'sim_arm.yaml')))
world.render()
torch.optim.AdamW(torch.nn.Linear(2, 2).parameters())
world.close()
"""


def test_optimizer_after_the_first_picture_does_not_crash():
    done = subprocess.run([sys.executable, '-c', SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
