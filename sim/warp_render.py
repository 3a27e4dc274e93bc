# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Frames of all simulations and cameras in one call, ray-traced by MuJoCo Warp: on a GPU, or without GL."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from apprentice.sim.physics.base import Physics
from apprentice.sim.physics.warp import WarpPhysics, best_device, device_model
from apprentice.sim.physics.warp_kernels import mjw, unpack, wp
from apprentice.sim.robots.decor import SKY
from apprentice.sim.scene import Scene

# what the ray tracer takes from MjData, and from the fields of MjModel that may differ between simulations
_POSES = ('geom_xpos', 'geom_xmat', 'cam_xpos', 'cam_xmat', 'light_xpos', 'light_xdir', 'flexvert_xpos')
_LOOKS = ('geom_rgba', 'geom_matid', 'cam_fovy', 'mat_rgba', 'light_diffuse')


class WarpRendering:
    """All cameras of the robot file, each with its size. See :class:`~apprentice.sim.render.Rendering`.

    With :class:`WarpPhysics` on the same device the poses stay there; every other engine's are uploaded.
    Colours, materials, lights and camera poses may differ between simulations. Shadows are drawn if the
    model's ``visual/quality shadowsize`` is not 0, textures and the skybox if it has them.

    Args:
        device: for other engines than WarpPhysics; None takes the GPU if there is one.
    """

    def __init__(self, scene: Scene, device: str | None = None):
        self._scene, self._device = scene, device
        self._room = 0  # simulations the buffers have room for
        self._lenses = False  # whether fields of view may be other than the model's
        self._context: Any = None
        self._model: Any = None
        self._frames: dict[str, wp.array] = {}

    def render(self, physics: Physics, sims: Sequence[int], out: dict[str, np.ndarray]) -> None:
        """One frame of every camera into ``out``: name -> uint8 [len(sims), H, W, 3] RGB."""
        rows = list(sims)
        if isinstance(physics, WarpPhysics) and (physics.device.is_cuda or len(rows) == physics.count):
            self.draw(physics)
            chosen = slice(None) if rows == list(range(physics.count)) else rows
        else:  # on a CPU a frame that nobody asked for costs as much as any other
            self._draw_some(physics, rows)
            chosen = slice(0, len(rows))
        for name, frames in out.items():
            frames[:] = self._frames[name].numpy()[chosen]

    def tensors(self, physics: WarpPhysics) -> dict[str, Any]:
        """Frames of all simulations as torch tensors on the device, name -> uint8 [N, H, W, 3] RGB.

        They are overwritten by the next call. Needs torch.
        """
        self.draw(physics)
        return {name: wp.to_torch(frames) for name, frames in self._frames.items()}

    def draw(self, physics: WarpPhysics) -> None:
        """All simulations into the buffers on the device."""
        physics.synchronize()
        with wp.ScopedDevice(physics.device):
            self._prepare(physics.count, physics.own_views)
            self._draw(physics.warp_model, physics.warp_data)

    def _draw_some(self, physics: Physics, sims: list[int]) -> None:
        """Upload poses and looks of some simulations, in order, and draw those."""
        poses: dict[str, list[np.ndarray]] = {name: [] for name in _POSES}
        looks: dict[str, list[np.ndarray]] = {name: [] for name in _LOOKS}
        for sim in sims:
            model, data = physics.materialize(sim)
            for source, rows in ((data, poses), (model, looks)):
                for name, values in rows.items():
                    values.append(np.array(getattr(source, name)))
        with wp.ScopedDevice(wp.get_device(self._device or best_device())):
            lenses = any(np.any(fovy != self._scene.model.cam_fovy) for fovy in looks['cam_fovy'])
            self._prepare(len(sims), lenses or self._lenses)
            if self._model is None:
                self._model = mjw.put_model(device_model(self._scene.model))
            for name, values in looks.items():
                setattr(self._model, name, _rows(values, getattr(self._model, name).dtype))
            arrays = {
                name: _rows(values, mjw.Data.__annotations__[name].dtype) for name, values in poses.items()
            }
            self._draw(self._model, SimpleNamespace(nworld=len(sims), **arrays))

    def _prepare(self, count: int, lenses: bool) -> None:
        """Buffers for ``count`` simulations on the present device.

        Rays of the model's own fields of view are made once: a quarter faster on a CPU.
        """
        if count <= self._room and lenses == self._lenses:
            return
        model, cameras = self._scene.model, self._scene.spec.cameras
        self._context = mjw.create_render_context(
            device_model(model),
            nworld=count,
            cam_res=[(camera.width, camera.height) for camera in cameras],
            cam_active=[camera.name for camera in cameras],
            render_rgb=True,
            render_depth=False,
            render_seg=False,
            use_textures=model.ntex > 0,
            use_shadows=int(model.vis.quality.shadowsize) > 0,
            use_precomputed_rays=not lenses,
            render_skybox=SKY not in [model.texture(i).name for i in range(model.ntex)],
        )
        self._first = self._context.rgb_adr.numpy()
        self._frames = {
            camera.name: wp.zeros((count, camera.height, camera.width, 3), dtype=wp.uint8)
            for camera in cameras
        }
        self._room, self._lenses = count, lenses

    def _draw(self, model: Any, data: Any) -> None:
        mjw.refit_bvh(model, data, self._context)
        mjw.render(model, data, self._context)
        for frames, first in zip(self._frames.values(), self._first, strict=True):
            inputs = [self._context.rgb_data, int(first), frames.shape[2]]
            wp.launch(unpack, (data.nworld, *frames.shape[1:3]), inputs=inputs, outputs=[frames])

    def close(self) -> None:
        """Free the buffers."""
        self._context, self._model, self._room = None, None, 0
        self._frames.clear()


def _rows(values: list[np.ndarray], dtype: Any) -> wp.array:
    """Equal values of several simulations as a device array [N, items] of vectors or matrices."""
    stacked = np.stack(values)
    shape = getattr(dtype, '_shape_', ())
    return wp.array(stacked.reshape(*stacked.shape[:2], *shape), dtype=dtype)
