# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Camera images of simulations that share one model's assets but not its colours, lights and camera poses."""

from __future__ import annotations

import mujoco
import numpy as np

MAX_GEOMS = 2000


class SceneRenderer:
    """An off-screen GL context for frames of one size. Belongs to the thread that made it.

    ``mujoco.Renderer`` always draws the model it was made with; here every call brings its own, because
    randomised simulations look different. Raises OSError, with the remedy, where GL is missing.
    """

    def __init__(self, model: mujoco.MjModel, height: int, width: int):
        self.height, self.width = height, width
        model.vis.global_.offheight = max(height, int(model.vis.global_.offheight))
        model.vis.global_.offwidth = max(width, int(model.vis.global_.offwidth))
        try:
            self._gl = mujoco.GLContext(width, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        except Exception as error:
            raise OSError(
                f'cannot render ({error}); install the GL libraries: '
                'apt install libegl1 libgl1-mesa-dri, and leave MUJOCO_GL unset or egl'
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR.value
        self._scene = mujoco.MjvScene(model, maxgeom=MAX_GEOMS)
        self._option, self._perturb = mujoco.MjvOption(), mujoco.MjvPerturb()
        self._camera = mujoco.MjvCamera()
        self._camera.type = int(mujoco.mjtCamera.mjCAMERA_FIXED)
        self._rect = mujoco.MjrRect(0, 0, width, height)

    def render(
        self, model: mujoco.MjModel, data: mujoco.MjData, camera: str, out: np.ndarray | None = None
    ) -> np.ndarray:
        """RGB uint8 [H, W, 3] seen by a named camera, into ``out`` if given."""
        self._gl.make_current()
        self._camera.fixedcamid = int(model.camera(camera).id)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(
            model, data, self._option, self._perturb, self._camera, everything, self._scene
        )
        mujoco.mjr_render(self._rect, self._scene, self._context)
        pixels = np.empty((self.height, self.width, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, self._rect, self._context)
        if out is None:
            return pixels[::-1].copy()
        out[:] = pixels[::-1]  # GL's first row is the lowest
        return out

    def close(self) -> None:
        """Free the GL context."""
        self._context.free()
        self._gl.free()
