# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The state of one robot for reward models that read it: joints, tool and objects at a frame's moment."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from visualization_msgs.msg import MarkerArray

from apprentice.nodes import convert, qos
from apprentice.nodes.sim_poses import object_poses
from apprentice.reward_models.base import RewardModelError
from apprentice.robot.spec import RobotSpec

JOINTS, TIP, OBJECTS = 'joint_states', 'ee_pose', 'sim/object_poses'
_OF_JOINTS = ('joints', 'joint_velocity', 'opening')
_KEPT = 200  # messages of a topic
_WAIT_S = 0.5  # wall time for the state of a frame to arrive after it, in lockstep
MAX_AGE_S = 0.2  # robot time by which the state may be older than the frame


class StateFeed:
    """Keeps what is needed of joint states, ``ee_pose`` and object poses. Names as in ``sim/state.py``.

    On a real robot a pose estimator publishes the objects as markers, name in ``ns``, on ``sim/object_poses``
    (remap it).

    Args:
        namespace: of the robot, below the node's own; empty: the node's own.
        names: what the model needs.
        lockstep: wait for the state of the very moment; otherwise the newest one is taken, and nothing is
            waited for: other robots wait for the thread of this one.
        max_age_s: robot time by which the state may be older than the frame; above the period of the slowest
            topic and what it is late by.
    """

    def __init__(
        self,
        node: Node,
        spec: RobotSpec,
        namespace: str,
        names: Sequence[str],
        lockstep: bool = False,
        max_age_s: float = MAX_AGE_S,
    ):
        self._spec, self._names, self._lockstep, self._max_age_s = spec, tuple(names), lockstep, max_age_s
        self._joint_names = [joint.name for joint in spec.joints]
        self._gripper = np.flatnonzero(spec.gripper_mask)[:1]
        self._arrived = threading.Condition()
        prefix = f'{namespace}/' if namespace else ''
        wanted = {JOINTS: any(n in _OF_JOINTS for n in names), TIP: 'tip' in names}
        wanted[OBJECTS] = any(n not in (*_OF_JOINTS, 'tip') for n in names)
        self._seen: dict[str, deque[tuple[float, dict[str, np.ndarray]]]] = {
            topic: deque(maxlen=_KEPT) for topic, needed in wanted.items() if needed
        }
        ways = {
            JOINTS: (JointState, spec.joint_states_topic, self._on_joints),
            TIP: (PoseStamped, TIP, self._on_tip),
            OBJECTS: (MarkerArray, OBJECTS, self._on_objects),
        }
        for topic in self._seen:
            kind, name, callback = ways[topic]
            absolute = name.startswith('/')
            node.create_subscription(kind, name if absolute else f'{prefix}{name}', callback, qos.SENSOR)

    def at(self, stamp: float) -> dict[str, np.ndarray]:
        """What is needed [d], as it was at ``stamp`` (s), or shortly before. In lockstep not from a callback:
        there it may wait for it, at most ``_WAIT_S`` for all topics together.

        Raises RewardModelError naming what is missing or too old.
        """
        found: dict[str, np.ndarray] = {}
        end = time.monotonic() + _WAIT_S
        for topic, seen in self._seen.items():
            with self._arrived:
                if self._lockstep:
                    self._wait(seen, stamp, end)
                before = [entry for entry in seen if entry[0] <= stamp + 1e-6]
            if not before:
                raise RewardModelError(f'the reward needs {topic}, which is missing; is it published?')
            if before[-1][0] < stamp - self._max_age_s - 1e-6:
                raise RewardModelError(
                    f'the reward needs {topic}, which is {stamp - before[-1][0]:.1f} s old; is it published? '
                    f'For a slow topic raise state_max_age_s ({self._max_age_s:g} s)'
                )
            found |= before[-1][1]
        missing = [name for name in self._names if name not in found]
        if missing:
            raise RewardModelError(f'nothing measures {missing}; there are: {sorted(found)}')
        return {name: found[name] for name in self._names}

    def _wait(self, seen: deque[tuple[float, dict[str, np.ndarray]]], stamp: float, end: float) -> None:
        """Until the state of ``stamp`` is here, or the clock reaches ``end``. Holds the lock."""
        self._arrived.wait_for(
            lambda: bool(seen) and seen[-1][0] >= stamp - 1e-6, max(0.0, end - time.monotonic())
        )

    def _keep(self, topic: str, stamp: float, values: dict[str, np.ndarray]) -> None:
        with self._arrived:
            self._seen[topic].append((stamp, values))
            self._arrived.notify_all()

    def _on_joints(self, message: JointState) -> None:
        try:
            joints = convert.joint_vector(message, self._joint_names)
        except convert.MessageError:
            return  # of another device on the topic; the gate reports it
        values = {'joints': joints, 'opening': joints[self._gripper]}
        if len(message.velocity) == len(message.name):
            by_name = dict(zip(message.name, message.velocity, strict=True))
            values['joint_velocity'] = np.array([by_name[name] for name in self._joint_names])
        self._keep(JOINTS, convert.seconds(message.header.stamp), values)

    def _on_tip(self, message: PoseStamped) -> None:
        place, turn = message.pose.position, message.pose.orientation
        pose = np.array([place.x, place.y, place.z, turn.w, turn.x, turn.y, turn.z])
        self._keep(TIP, convert.seconds(message.header.stamp), {'tip': pose})

    def _on_objects(self, message: MarkerArray) -> None:
        if message.markers:
            stamp = convert.seconds(message.markers[0].header.stamp)
            self._keep(OBJECTS, stamp, dict(object_poses(message)))
