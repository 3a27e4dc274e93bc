# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which geoms a camera cannot see: software GL pays for every vertex, also of those outside the picture."""

from __future__ import annotations

import functools

import mujoco
import numpy as np

_UNSEEN_GROUP = 5  # not drawn by default, as groups 3 and 4


class Culling:
    """Hides the geoms outside of a camera's view while a frame is drawn.

    Told from bounding spheres, so it never hides a geom that is seen. Where what is outside of the picture
    has a part in it (shadows, mirrors), and for cameras that are not perspective or whose axis is not in the
    middle of the picture, nothing is hidden.

    Args:
        model: any of the simulations'; sizes and groups of geoms are the same in all.
        aspect: width / height of the picture.
    """

    def __init__(self, model: mujoco.MjModel, aspect: float):
        self._aspect, self._groups = aspect, model.geom_group.copy()
        # a plane has no bounding sphere and no end
        self._radius = np.where(model.geom_rbound > 0, model.geom_rbound, np.inf)[:, None]
        mirrors = model.nmat > 0 and bool((model.mat_reflectance > 0).any())
        alone = not mirrors and int(model.vis.quality.shadowsize) == 0
        self._plain = [alone and _is_plain(model, camera) for camera in range(model.ncam)]

    def hide(self, model: mujoco.MjModel, data: mujoco.MjData, camera: int) -> bool:
        """Put what is out of view into a group that is not drawn; False if nothing can be told.

        After drawing, :meth:`restore`.
        """
        if not self._plain[camera]:
            return False
        # distances to the planes through the camera that bound its view, positive outside
        normals = data.cam_xmat[camera].reshape(3, 3) @ _outward(float(model.cam_fovy[camera]), self._aspect)
        beyond = data.cam_xpos[camera] @ normals + self._radius
        unseen = (data.geom_xpos @ normals > beyond).any(1)
        model.geom_group[:] = np.where(unseen, _UNSEEN_GROUP, self._groups)
        return True

    def restore(self, model: mujoco.MjModel) -> None:
        """Take :meth:`hide` back."""
        model.geom_group[:] = self._groups


@functools.lru_cache(maxsize=1024)  # a randomised lens is another one in every simulation
def _outward(fovy: float, aspect: float) -> np.ndarray:
    """Normals [3, 5] out of a view, in the camera's frame (x right, y up, looking along -z).

    Left, right, below, above and behind. ``fovy`` in degrees.
    """
    vertical = np.radians(fovy) / 2
    horizontal = np.arctan(np.tan(vertical) * aspect)
    (ch, sh), (cv, sv) = ((np.cos(angle), np.sin(angle)) for angle in (horizontal, vertical))
    return np.array([[-ch, 0, sh], [ch, 0, sh], [0, -cv, sv], [0, cv, sv], [0, 0, 1.0]]).T


def _is_plain(model: mujoco.MjModel, camera: int) -> bool:
    """Whether a camera's view is given by its field of view alone."""
    kinds = getattr(model, 'cam_projection', None)
    if kinds is None:  # its name in older versions of MuJoCo
        kinds = model.cam_orthographic
    return not kinds[camera] and not model.cam_sensorsize[camera].any()
