# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The policy of the latency bench for the policy node: LeRobot's ACT as TorchScript, without LeRobot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from apprentice.policies.policy import inputs_of
from apprentice.policies.spec import PolicySpec
from apprentice.robot.normalize import Statistics
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Observation


class ScriptedAct:
    """See :class:`~apprentice.policies.runtime.ChunkPolicy`; every chunk is planned on its own.

    Args:
        network: float [1, 3, H, W] in [0, 1] to joint targets [1, rows, dim] in degrees.
    """

    def __init__(self, network: torch.nn.Module, robot: RobotSpec):
        self.network, camera, dim = network, robot.cameras[0], robot.dim
        self._camera, size = camera.name, (camera.height, camera.width)
        with torch.inference_mode():
            for _ in range(4):  # TorchScript compiles itself during its first calls
                rows = network(torch.zeros(1, 3, *size)).shape[1]
        statistics = Statistics(np.zeros(dim), np.ones(dim), -np.ones(dim), np.ones(dim), 1)
        relative = tuple(not joint.gripper for joint in robot.joints)
        self.spec = PolicySpec(
            robot.name, robot.joint_names, relative, {camera.name: size}, rows, robot.action_dt,
            statistics, statistics,
        )  # fmt: skip

    def act(self, observation: Observation, generator=None, previous=None, rtc=None) -> np.ndarray:
        """One chunk [H, A] in radians."""
        images = inputs_of([observation], self.spec).images[self._camera]
        with torch.inference_mode():
            chunk = self.network(images.permute(0, 3, 1, 2).contiguous().float() / 255)
        return np.radians(chunk[0].numpy().astype(np.float64))


def load(
    weights: str | Path, expected_sha256: str = '', robot: str = ''
) -> tuple[ScriptedAct, dict[str, Any]]:
    """The policy in ``weights``, made by ``peers/lerobot_async.py``, for a robot file. Raises ValueError."""
    try:
        network = torch.jit.load(str(weights), map_location='cpu').eval()
    except RuntimeError as error:
        raise ValueError(f'{weights} is no TorchScript of the latency bench: {error}') from error
    return ScriptedAct(network, RobotSpec.load(robot)), {'about': {'name': 'ACT of LeRobot, TorchScript'}}
