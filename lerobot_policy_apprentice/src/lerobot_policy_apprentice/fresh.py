# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A new policy for a LeRobot dataset: specification and statistics as ``apprentice train bc`` makes them."""

from __future__ import annotations

from typing import Any

from apprentice.episodes.lerobot_dataset import LeRobotSource
from apprentice.learning.dataset import policy_spec
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.robot.feature_mapping import FeatureMapping, read_yaml
from apprentice.robot.parts import find_robot
from apprentice.robot.spec import RobotSpec
from lerobot_policy_apprentice.configuration_apprentice import ApprenticeConfig


def new_policy(config: ApprenticeConfig, dataset_meta: Any) -> FlowPolicy:
    """A policy with random weights; fills in what ``config`` has to say of the dataset.

    Reads joint states and actions of the whole dataset, no images. Raises ValueError where the robot file is
    not given or the dataset does not fit it.
    """
    if not config.robot or dataset_meta is None:
        raise ValueError(
            'a new policy needs a dataset and the robot it is for: --policy.robot=FILE. Or go on with a '
            'trained one: --policy.path=FOLDER'
        )
    spec = RobotSpec.load(find_robot(config.robot))
    mapping = FeatureMapping.load(config.mapping) if config.mapping else FeatureMapping()
    if (mapping.state, mapping.action) != (FeatureMapping.state, FeatureMapping.action):
        raise ValueError(
            'LeRobot calls them observation.state and action; rename the features of the dataset'
        )
    source = LeRobotSource(dataset_meta.root, spec, mapping)
    cameras = {camera.name: mapping.camera(camera.name) for camera in spec.cameras}
    for camera in spec.cameras:
        if source.meta.size(cameras[camera.name]) != (camera.height, camera.width):
            raise ValueError(
                f'camera {camera.name!r} is {(camera.height, camera.width)} in the robot file, '
                f'{source.meta.size(cameras[camera.name])} in the dataset; LeRobot gives images as they are: '
                'change width and height of the robot file'
            )
    if source.stride != 1:
        raise ValueError(
            f'the dataset has {source.meta.fps:g} frames a second, the robot file says action_dt '
            f'{spec.action_dt} s; LeRobot takes every frame: set action_dt to {1 / source.meta.fps:g}'
        )
    episodes = [source.episode(number, lazy=True) for number in range(len(source))]
    config.cameras = cameras
    config.state_columns, config.action_columns = (
        source.state.columns.tolist(),
        source.action.columns.tolist(),
    )
    config.scale, config.offset = source.action.scale.tolist(), source.action.offset.tolist()
    architecture = (
        PolicyConfig.from_dict(dict(read_yaml(config.architecture))) if config.architecture else None
    )
    return FlowPolicy(policy_spec(episodes, spec, config.chunk_size), architecture)
