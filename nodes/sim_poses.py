# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Poses that only a simulator knows: of the objects, as markers that RViz shows, and of the tool."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from visualization_msgs.msg import Marker, MarkerArray

from apprentice.nodes import convert, qos
from apprentice.nodes.steady_world import SteadyWorld


def object_markers(poses: dict[str, np.ndarray], stamp: float, frame_id: str) -> MarkerArray:
    """All objects there are, after a marker that takes away those of the message before.

    A marker carries name (``ns``) and pose in one standard message. ``poses`` are [7] (m; quaternion wxyz).
    """
    header_stamp, markers = convert.stamp_of(stamp), [Marker(action=Marker.DELETEALL)]
    for number, (name, pose) in enumerate(poses.items()):
        marker = Marker(ns=name, id=number, type=Marker.CUBE, action=Marker.ADD)
        place, turn = marker.pose.position, marker.pose.orientation
        place.x, place.y, place.z = (float(v) for v in pose[:3])
        turn.w, turn.x, turn.y, turn.z = (float(v) for v in pose[3:])
        marker.scale.x = marker.scale.y = marker.scale.z = 0.04
        marker.color.r = marker.color.g = marker.color.b = marker.color.a = 1.0
        markers.append(marker)
    for marker in markers:
        marker.header.stamp, marker.header.frame_id = header_stamp, frame_id
    return MarkerArray(markers=markers)


def object_poses(message: MarkerArray) -> dict[str, np.ndarray]:
    """Name -> pose [7] (m; quaternion wxyz) of all objects there are: the inverse of object_markers."""
    poses = {}
    for marker in message.markers:
        if marker.action == Marker.ADD:
            place, turn = marker.pose.position, marker.pose.orientation
            poses[marker.ns] = np.array([place.x, place.y, place.z, turn.w, turn.x, turn.y, turn.z])
    return poses


class PosePublisher:
    """Publishes ``sim/object_poses`` and ``ee_pose`` while somebody listens."""

    def __init__(self, node: Node, world: SteadyWorld, frame_id: str):
        self._world, self._frame_id = world, frame_id
        self._tip = node.create_publisher(PoseStamped, 'ee_pose', qos.SENSOR_PUBLISHER)
        self._objects = node.create_publisher(MarkerArray, 'sim/object_poses', qos.SENSOR_PUBLISHER)

    def publish(self, stamp: float) -> None:
        if self._objects.get_subscription_count():
            self._objects.publish(object_markers(self._world.objects(), stamp, self._frame_id))
        if self._tip.get_subscription_count():
            self._publish_tip(stamp)

    def _publish_tip(self, stamp: float) -> None:
        tip = self._world.tip()
        if tip is None or not np.all(np.isfinite(tip[0])):
            return
        position, rotation = tip
        pose = PoseStamped()
        pose.header.stamp, pose.header.frame_id = convert.stamp_of(stamp), self._frame_id
        pose.pose.position.x, pose.pose.position.y, pose.pose.position.z = (float(v) for v in position)
        w, x, y, z = convert.quaternion(rotation)
        pose.pose.orientation.w, pose.pose.orientation.x = w, x
        pose.pose.orientation.y, pose.pose.orientation.z = y, z
        self._tip.publish(pose)
