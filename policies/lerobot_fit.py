# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a LeRobot policy needs and gives, against a robot file: a specification, or every difference.

Reads the policy's configuration by its public fields; lerobot itself is not imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apprentice.policies.foreign import policy_spec
from apprentice.policies.spec import PolicyMismatch, PolicySpec
from apprentice.robot.feature_mapping import FeatureMapping, VectorMap
from apprentice.robot.spec import RobotSpec

_NOT_THERE = 'empty_camera'  # images that SmolVLA and pi0 fill up themselves


@dataclass(frozen=True)
class Fit:
    """How the features of a policy are filled.

    Attributes:
        images: camera of the robot file -> (feature, (height, width) of the policy).
        state: of the joint state, None for a policy that does not look at it.
        action: of the rows of a chunk.
    """

    spec: PolicySpec
    mapping: FeatureMapping
    images: dict[str, tuple[str, tuple[int, int]]]
    state: VectorMap | None
    action: VectorMap


def fit(config: Any, robot: RobotSpec, mapping: FeatureMapping) -> Fit:
    """Args: config: a PreTrainedConfig of LeRobot.

    Raises PolicyMismatch that names every difference between the policy and the robot.
    """
    found = mapping.unknown(robot)
    if config.n_obs_steps != 1:
        found.append(f'it looks at {config.n_obs_steps} observations at once, only one is given')
    rows = config.action_delta_indices
    if not rows or rows[0] != 0:
        found.append(f'it plans the actions {rows}, not a chunk from now on')
    features = {camera.name: mapping.camera(camera.name) for camera in robot.cameras}
    images: dict[str, tuple[str, tuple[int, int]]] = {}
    state: VectorMap | None = None
    for name, feature in (config.input_features or {}).items():
        kind, shape = getattr(feature.type, 'value', feature.type), tuple(feature.shape)
        if name == mapping.state:
            state, wrong = _vector(mapping, robot, shape, name)
            found += wrong
            if state is not None and state.width != robot.dim:
                found.append(f'{name!r} has {state.width} elements, the robot fills {robot.dim}')
        elif kind == 'VISUAL' and _NOT_THERE in name:
            continue
        elif kind == 'VISUAL' and name in features.values():
            camera = robot.camera(next(camera for camera, given in features.items() if given == name))
            size, seen = (int(shape[1]), int(shape[2])), (camera.height, camera.width)
            images[camera.name] = (name, size)
            if size != seen and not mapping.resize:
                found.append(
                    f'camera {camera.name!r} is {seen}, {name!r} is {size} (height, width); say resize: '
                    'stretch or resize: pad if you want it changed'
                )
        else:
            found.append(f'it needs {name!r} ({kind}), which no camera and no state of the robot fills')
    for camera in mapping.cameras:
        if camera in features and camera not in images:
            found.append(f'it has no image {features[camera]!r}, which the mapping gives to {camera!r}')
    action = (config.output_features or {}).get(mapping.action)
    vector: VectorMap | None = None
    if action is None:
        found.append(f'it has no {mapping.action!r}, but {list(config.output_features or {})}')
    else:
        vector, wrong = _vector(mapping, robot, tuple(action.shape), mapping.action)
        found += wrong
    if found or vector is None:
        raise PolicyMismatch(
            f'the LeRobot policy {config.type!r} does not fit robot {robot.name!r}: '
            + '; '.join(found)
            + '. '
            'Say what differs in apprentice.yaml (docs/policies.md), or correct the robot file'
        )
    return Fit(policy_spec(robot, images, len(rows)), mapping, images, state, vector)


def _vector(
    mapping: FeatureMapping, robot: RobotSpec, shape: tuple[int, ...], name: str
) -> tuple[VectorMap | None, list[str]]:
    if len(shape) != 1:
        return None, [f'{name!r} has shape {shape}, not one axis']
    return mapping.vector(robot, int(shape[0]), None, repr(name))
