# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Camera images and joint states joined into observations, by stamp of capture."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from apprentice.nodes import convert, qos
from apprentice.robot.spec import RobotSpec

# A camera whose newest frame is this share of its period behind the others has a frame due. Of N cameras that
# run freely at one rate the oldest may never be less than 1 - 1/N behind: a lower share waits forever.
_DUE = 0.8
_SET_BACK_S = 0.5  # joint states that come late are less late than that; more, and the clock was set back


class Observer:
    """Keeps the newest frame of every camera and calls back when a set is complete.

    A set is complete when every camera has a frame and a joint state at or after the newest frame has
    arrived. In lock-step the stamps of a set are equal. Live a camera whose frame of that moment is due is
    waited for; other stamps may differ by up to a camera's ``max_age_s``, beyond which the set is refused
    and ``problem`` says which camera is old or missing.

    Args:
        callback: called with (images, joint positions [dim], stamp of the oldest input).
        exact: demand equal stamps (lock-step).
    """

    def __init__(
        self,
        node: Node,
        spec: RobotSpec,
        callback: Callable[[dict[str, np.ndarray], np.ndarray, float], None],
        exact: bool,
    ):
        self._node, self._spec, self._callback, self._exact = node, spec, callback, exact
        self._images: dict[str, tuple[float, Image]] = {}
        self._joints: deque[tuple[float, np.ndarray]] = deque(maxlen=64)
        self._delivered = -1.0
        self.problem = 'waiting for ' + ', '.join(c.name for c in spec.cameras)
        self.count = 0
        for camera in spec.cameras:
            node.create_subscription(Image, camera.topic, partial(self._on_image, camera.name), qos.SENSOR)
        node.create_subscription(JointState, spec.joint_states_topic, self._on_joints, qos.SENSOR)

    def _on_image(self, name: str, message: Image) -> None:
        self._images[name] = (convert.seconds(message.header.stamp), message)
        self._try()

    def _on_joints(self, message: JointState) -> None:
        try:
            positions = convert.joint_vector(message, self._spec.joint_names)
        except convert.MessageError as error:
            self.problem = str(error)
            return
        stamp = convert.seconds(message.header.stamp)
        if self._joints and stamp < self._joints[-1][0] - _SET_BACK_S:
            self._images.clear()  # also of a time that is still to come
            self._joints.clear()
            self._delivered = -1.0
        if not self._joints or stamp > self._joints[-1][0]:
            self._joints.append((stamp, positions))
            self._try()

    def _try(self) -> None:
        missing = [c.name for c in self._spec.cameras if c.name not in self._images]
        if missing or not self._joints:
            self.problem = f'no image from camera {", ".join(missing)}' if missing else 'no joint states'
            return
        stamps = {name: stamp for name, (stamp, _) in self._images.items()}
        newest = max(stamps.values(), default=self._joints[-1][0])
        for camera in self._spec.cameras:
            silent = self._joints[-1][0] - stamps[camera.name]
            if silent > camera.max_age_s:
                self.problem = f'camera {camera.name} is silent for {silent:.1f} s; is its driver running?'
                return
        if newest <= self._delivered:
            return
        if self._exact and len(set(stamps.values())) > 1:
            return  # the other camera's frame of this tick is on its way
        for camera in self._spec.cameras:
            age = newest - stamps[camera.name]
            if age > camera.max_age_s:
                self.problem = f'camera {camera.name} is {age:.2f} s behind the others'
                return
            if age > _DUE / camera.rate_hz:
                return  # nearly a frame period: its frame of this moment is on its way
        if self._joints[-1][0] < newest - 1e-6:
            return  # the joint state of this moment is on its way
        # the joint state nearest to the newest frame
        stamp, positions = min(self._joints, key=lambda item: abs(item[0] - newest))
        try:
            images = {name: convert.image_array(message) for name, (_, message) in self._images.items()}
        except convert.MessageError as error:
            self.problem = str(error)
            return
        self._delivered, self.problem = newest, ''
        self.count += 1
        self._callback(images, positions, min(newest, stamp))
