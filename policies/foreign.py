# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What policies of other libraries lack here: the robot they are for, and statistics of ours."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from apprentice.policies.spec import PolicySpec, gripper_ranges
from apprentice.robot.feature_mapping import read_yaml
from apprentice.robot.normalize import Statistics
from apprentice.robot.parts import find_robot
from apprentice.robot.settings import SettingsError, from_dict
from apprentice.robot.spec import RobotSpec

Settings = TypeVar('Settings')


def read_settings(
    kind: type[Settings], settings: str | Path | Mapping[str, Any]
) -> tuple[RobotSpec, Settings]:
    """The robot and the settings of a policy that do not know their robot.

    Args:
        kind: a dataclass with a field ``robot``: a file beside the settings, or the name of a shipped one.
        settings: a YAML file, or its content.

    Raises SettingsError for what is missing or wrong, RobotFileError or FileNotFoundError for the robot.
    """
    beside, where = Path(), 'settings'
    if isinstance(settings, Mapping):
        given = settings
    else:
        beside, where = Path(settings).parent, str(settings)
        if not Path(settings).is_file():
            raise SettingsError(
                f'{where!r} is no file; write one that says for which robot the policy is and what it calls '
                'differently, see docs/policies.md'
            )
        given = read_yaml(settings)
    if not given.get('robot'):
        raise SettingsError(f'{where} does not name a robot; add robot: FILE')
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]  # type: ignore[arg-type]
    missing = [name for name in needed if name not in given]
    if missing:
        raise SettingsError(f'{where} lacks {missing}')
    known = from_dict(kind, given, where)
    local = beside / given['robot']
    return RobotSpec.load(local if local.is_file() else find_robot(given['robot'])), known


def policy_spec(robot: RobotSpec, cameras: Collection[str], horizon: int) -> PolicySpec:
    """The specification of a policy that sees these cameras of ``robot`` and normalises by itself.

    Its statistics are mean 0 and std 1, of no samples.
    """
    ones = np.ones(robot.dim)
    unknown = Statistics(mean=0 * ones, std=ones, low=-ones, high=ones, count=0)
    return PolicySpec(
        robot=robot.name,
        joints=robot.joint_names,
        relative=tuple(bool(moves) for moves in ~robot.gripper_mask),
        cameras={c.name: (c.height, c.width) for c in robot.cameras if c.name in cameras},
        horizon=horizon,
        action_dt=robot.action_dt,
        state=unknown,
        action=unknown,
        gripper=gripper_ranges(robot),
    )
