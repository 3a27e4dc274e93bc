# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Isaac Gym's conventions and MuJoCo's: quaternions, rotation matrices, camera axes.

Isaac Gym writes quaternions xyzw, MuJoCo wxyz. With the z axis up, Isaac Gym's cameras look along their x
axis with z up (isaacgym-utils, pull request 19); MuJoCo's look along -z with y up and x to the right.
"""

from __future__ import annotations

import numpy as np

# columns: Isaac Gym's camera axes (forward, left, up) in MuJoCo's camera frame
_CAMERA_AXES = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])


def to_xyzw(quaternion: np.ndarray) -> np.ndarray:
    """MuJoCo's quaternions [..., 4] in Isaac Gym's order."""
    return np.asarray(quaternion)[..., [1, 2, 3, 0]]


def to_wxyz(quaternion: np.ndarray) -> np.ndarray:
    """Isaac Gym's quaternions [..., 4] in MuJoCo's order."""
    return np.asarray(quaternion)[..., [3, 0, 1, 2]]


def matrices(quaternion: np.ndarray) -> np.ndarray:
    """Rotation matrices [..., 3, 3] of unit quaternions wxyz [..., 4]."""
    w, x, y, z = np.moveaxis(np.asarray(quaternion, np.float64), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def multiply(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Products [..., 4] of quaternions wxyz: the rotation ``second``, then ``first``."""
    a, b, c, d = np.moveaxis(np.asarray(first), -1, 0)
    w, x, y, z = np.moveaxis(np.asarray(second), -1, 0)
    return np.stack(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ],
        axis=-1,
    )


def camera_rotation(quaternion: np.ndarray) -> np.ndarray:
    """Isaac Gym's camera rotation xyzw [4] for MuJoCo's camera quaternion wxyz [4], same parent frame."""
    return to_xyzw(multiply(np.asarray(quaternion, np.float64), _CAMERA_QUATERNION))


def horizontal_field_of_view(vertical: float, width: int, height: int) -> float:
    """Degrees; MuJoCo's cameras are given by the vertical angle, Isaac Gym's by the horizontal one."""
    return float(np.degrees(2 * np.arctan(np.tan(np.radians(vertical) / 2) * width / height)))


def _quaternion(matrix: np.ndarray) -> np.ndarray:
    w = 0.5 * np.sqrt(1 + np.trace(matrix))
    skew = [matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]]
    return np.array([w, *(np.array(skew) / (4 * w))])


_CAMERA_QUATERNION = _quaternion(_CAMERA_AXES)
