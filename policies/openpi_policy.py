# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A policy behind openpi's policy server (``serve_policy.py``) as ours.

What the keys of an observation are depends on the configuration that is served, so a YAML file says it::

    robot: my_arm.yaml
    horizon: 16
    images: {front: observation/image, wrist: observation/wrist_image}      # a.b: key b in the map a
    state: {observation/joint_position: [joint1, joint2], observation/gripper_position: [gripper]}
    actions: [joint1, joint2, gripper]                                      # columns of the answer

The columns must be joint positions; configurations that give velocities or poses of the hand cannot be used.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apprentice.policies.foreign import policy_spec, read_settings
from apprentice.policies.openpi_wire import OpenpiConnection, OpenpiError
from apprentice.policies.policy import inputs_of
from apprentice.policies.rtc import PreviousChunk, RtcConfig
from apprentice.policies.spec import PolicyMismatch
from apprentice.robot.feature_mapping import FeatureMapping
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Observation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenpiSettings:
    """What a server expects and gives.

    Attributes:
        robot: robot file beside the settings, or the name of a shipped one.
        horizon: rows of a chunk.
        images: camera of the robot file -> key; a camera without a key is not sent.
        state: key -> joints, in the order of its vector.
        actions: the joint of each column.
        prompt: key of the instruction; empty: it is not sent.
        channels_first: images are [3, H, W], not [H, W, 3].
        scale, offset: joint -> ours = theirs * scale + offset, as in FeatureMapping.
    """

    robot: str
    horizon: int
    images: dict
    state: dict
    actions: tuple[str, ...]
    prompt: str = 'prompt'
    channels_first: bool = False
    scale: dict = field(default_factory=dict)
    offset: dict = field(default_factory=dict)


def load(
    address: str | Path,
    expected_sha256: str = '',
    settings: str | Path | Mapping[str, Any] = '',
    timeout_s: float = 60.0,
    api_key_file: str = '',
) -> tuple[OpenpiPolicy, dict[str, Any]]:
    """A connected client of the server at ``address`` (``ws://host:port``), and what it says of itself.

    Args:
        settings: file or content of :class:`OpenpiSettings`.
        timeout_s: for the connection and for each chunk; the first one may compile for a minute.
        api_key_file: file with the key that the server asks for; empty: it asks for none.

    Raises OpenpiError, PolicyMismatch that names every difference, SettingsError.
    """
    if expected_sha256:
        raise OpenpiError('an openpi server does not tell the hash of its weights; expect none')
    robot, known = read_settings(OpenpiSettings, settings)
    policy = OpenpiPolicy(robot, known)
    key = Path(api_key_file).read_text().strip() if api_key_file else ''
    policy.connection = OpenpiConnection(str(address), timeout_s, key)
    about = {'name': f'openpi at {address}', 'robot': robot.name, 'metadata': policy.connection.metadata}
    return policy, {'format': 'openpi', 'about': about}


class OpenpiPolicy:
    """See :class:`~apprentice.policies.runtime.ChunkPolicy`; made by :func:`load`."""

    connection: OpenpiConnection

    def __init__(self, robot: RobotSpec, settings: OpenpiSettings):
        self.settings, mapping = settings, FeatureMapping(scale=settings.scale, offset=settings.offset)
        found = mapping.unknown(robot)
        cameras = [camera.name for camera in robot.cameras]
        found += [
            f'images has {name!r}, which is none of {cameras}'
            for name in settings.images
            if name not in cameras
        ]
        for key, names in settings.state.items():
            found += [
                f'{key!r} has {name!r}, which is no joint' for name in names if name not in robot.joint_names
            ]
        state, wrong = mapping.vector(robot, robot.dim, robot.joint_names, 'the state')
        action, lacking = mapping.vector(robot, len(settings.actions), settings.actions, 'actions')
        found += wrong + lacking
        if found or state is None or action is None:
            raise PolicyMismatch(f'the settings do not fit robot {robot.name!r}: ' + '; '.join(found))
        self._state, self._action = state, action
        self._joints = {
            key: [robot.joint_names.index(n) for n in names] for key, names in settings.state.items()
        }
        self.spec = policy_spec(robot, settings.images, settings.horizon)
        self._warned = False

    def act(
        self,
        observation: Observation,
        generator: torch.Generator | None = None,
        previous: PreviousChunk | None = None,
        rtc: RtcConfig | None = None,
    ) -> np.ndarray:
        """One chunk [H, A] of joint targets. The server draws its own noise, and ``previous`` is ignored.

        Raises ValueError for a missing camera, OpenpiError for what comes back.
        """
        if previous is not None and not self._warned:
            self._warned = True
            log.warning('an openpi server cannot continue a chunk: each is planned on its own')
        answer = self.connection.ask(self.request(observation))
        actions, wanted = answer.get('actions'), (self.spec.horizon, self._action.width)
        if not isinstance(actions, np.ndarray) or actions.shape != wanted:
            given = actions.shape if isinstance(actions, np.ndarray) else sorted(map(str, answer))
            raise OpenpiError(
                f'{self.connection.address} gave {given}, not actions of {wanted}; correct horizon and '
                'actions in the settings'
            )
        if not np.all(np.isfinite(actions)):
            raise OpenpiError(f'{self.connection.address} gave actions that are not finite')
        return self._action.to_robot(actions.astype(np.float64))

    def request(self, observation: Observation) -> dict[str, Any]:
        """The observation under the server's names and in its units."""
        inputs = inputs_of([observation], self.spec)
        if not torch.isfinite(inputs.state).all():
            raise ValueError('the measured joint state is not finite')
        found: dict[str, Any] = {}
        for camera, key in self.settings.images.items():
            image = inputs.images[camera][0].numpy()
            _put(found, key, np.moveaxis(image, -1, 0) if self.settings.channels_first else image)
        state = self._state.from_robot(np.asarray(observation.state, np.float64))
        for key, columns in self._joints.items():
            _put(found, key, state[columns].astype(np.float32))
        if self.settings.prompt:
            _put(found, self.settings.prompt, observation.text)
        return found

    def close(self) -> None:
        """End the connection."""
        self.connection.close()


def _put(target: dict[str, Any], key: str, value: Any) -> None:
    *maps, last = key.split('.')
    for name in maps:
        target = target.setdefault(name, {})
    target[last] = value
