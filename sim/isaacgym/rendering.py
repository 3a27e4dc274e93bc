# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Frames from Isaac Gym's own camera sensors, behind :class:`~apprentice.sim.render.Rendering`."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import mujoco
import numpy as np

from apprentice.robot.spec import CameraSpec
from apprentice.sim.isaacgym.frames import camera_rotation, horizontal_field_of_view
from apprentice.sim.isaacgym.hiding import Hiding
from apprentice.sim.isaacgym.physics import IsaacGymPhysics
from apprentice.sim.physics.base import Physics
from apprentice.sim.scene import Scene

log = logging.getLogger(__name__)

_POSES = ('cam_pos', 'cam_quat')
_SHOWN = ('geom_rgba', *_POSES)
_NO_LOOKS = (
    'geom_friction',
    'body_mass',
    'body_inertia',
    'dof_damping',
    'actuator_gainprm',
    'actuator_biasprm',
)
_FIXED = int(mujoco.mjtCamLight.mjCAMLIGHT_FIXED)


class IsaacGymRendering:
    """The robot's cameras as sensors in every environment; RGB without alpha.

    Works with :class:`IsaacGymPhysics` only. A link has one colour, that of its first geom; lights are Isaac
    Gym's; cameras see neighbouring environments at a distance (``Options.spacing``). Made at the first
    :meth:`render`, or again for another engine.
    """

    def __init__(self, scene: Scene):
        self._scene = scene
        self._physics: IsaacGymPhysics | None = None
        self._hiding: Hiding | None = None
        self._frames: dict[str, np.ndarray] = {}
        self._sent: dict[tuple[int, int], tuple] = {}

    def render(self, physics: Physics, sims: Sequence[int], out: dict[str, np.ndarray]) -> None:
        """One frame of every camera into ``out``: name -> uint8 [len(sims), H, W, 3] RGB.

        What is hidden (an alpha of 0) is moved out of view, see :class:`.hiding.Hiding`. Raises ValueError
        where it cannot be, for another engine, and for lights and materials that differ between
        simulations, which Isaac Gym cannot show.
        """
        if not isinstance(physics, IsaacGymPhysics):
            raise ValueError(
                f'IsaacGymRendering draws IsaacGymPhysics, not {type(physics).__name__}; use gl or warp'
            )
        if physics is not self._physics or self._hiding is None:
            self._make(physics)
            self._hiding = Hiding(physics.model, physics.actors)
        for sim in sims:
            self._pose_cameras(physics, sim)
        physics.values.apply()
        physics.synchronize(self._hiding.places(physics.values, sims))
        physics.worker.call('render', sims=[int(sim) for sim in sims])
        for name, frames in out.items():
            frames[:] = self._frames[name][list(sims)]

    def _make(self, physics: IsaacGymPhysics) -> None:
        if not physics.options.graphics:
            raise ValueError(
                'Isaac Gym was started without graphics; set Options.graphics, or render with gl'
            )
        cameras = self._scene.spec.cameras
        arrays = [[c.name, 'uint8', [physics.count, c.height, c.width, 3]] for c in cameras]
        memory, self._frames = physics.worker.share(arrays)
        made = physics.worker.call(
            'cameras', memory=memory, arrays=arrays, cameras=[self._describe(physics, c) for c in cameras]
        )
        for camera, (_, vertical) in zip(cameras, made['focal_lengths'], strict=True):
            wanted = float(physics.model.cam_fovy[self._scene.id('camera', camera.name)])
            found = float(np.degrees(2 * np.arctan(1 / vertical)))
            if abs(found - wanted) > 0.5:
                log.warning(
                    'camera %s: Isaac Gym sees %.1f degrees vertically, not %.1f; make the frames square',
                    camera.name,
                    found,
                    wanted,
                )
        self._physics = physics
        self._sent.clear()

    def _describe(self, physics: IsaacGymPhysics, camera: CameraSpec) -> dict:
        model, number = physics.model, self._scene.id('camera', camera.name)
        if int(model.cam_mode[number]) != _FIXED:
            raise ValueError(
                f'camera {camera.name!r} follows something; Isaac Gym has cameras fixed to a body only'
            )
        position, rotation = self._place(physics, number, model.cam_pos[number], model.cam_quat[number])
        extent = float(model.stat.extent)
        return {
            'name': camera.name,
            'width': camera.width,
            'height': camera.height,
            'field_of_view': horizontal_field_of_view(
                float(model.cam_fovy[number]), camera.width, camera.height
            ),
            'near': float(model.vis.map.znear) * extent,
            'far': float(model.vis.map.zfar) * extent,
            'body': self._carrier(physics, number),
            'position': position,
            'rotation': rotation,
        }

    def _carrier(self, physics: IsaacGymPhysics, camera: int) -> int:
        """The link a camera is attached to, or -1 where it does not move."""
        body = int(physics.model.cam_bodyid[camera])
        return next((i for i, link in enumerate(physics.links) if link.tracked and link.body == body), -1)

    def _place(
        self, physics: IsaacGymPhysics, camera: int, position: np.ndarray, quaternion: np.ndarray
    ) -> tuple[list[float], list[float]]:
        """Pose in Isaac Gym's axes: in the carrier's frame, or the world's for a fixed camera."""
        if self._carrier(physics, camera) < 0:
            position, quaternion = physics.to_world(
                int(physics.model.cam_bodyid[camera]), position, quaternion
            )
        return np.asarray(position).tolist(), camera_rotation(quaternion).tolist()

    def _pose_cameras(self, physics: IsaacGymPhysics, sim: int) -> None:
        """Send camera poses that differ from the last ones sent; refuse looks that cannot be shown."""
        for name, row in physics.values.overrides[sim]:
            if name not in (*_SHOWN, *_NO_LOOKS):
                raise ValueError(
                    f'simulation {sim}: {name} (row {row}) differs from the model, which Isaac Gym cannot '
                    'show; leave it out of the randomization, or use rendering gl or warp'
                )
        for i, camera in enumerate(self._scene.spec.cameras):
            number = self._scene.id('camera', camera.name)
            pose = tuple(physics.values.value(name, number, sim) for name in _POSES)
            position, rotation = self._place(physics, number, *pose)
            key = (*position, *rotation)
            default = self._place(physics, number, *(getattr(physics.model, name)[number] for name in _POSES))
            if self._sent.get((sim, i), (*default[0], *default[1])) != key:
                physics.worker.call(
                    'camera_pose', sim=int(sim), camera=i, position=position, rotation=rotation
                )
                self._sent[sim, i] = key

    def close(self) -> None:
        """The sensors end with the engine's worker."""
        self._physics = self._hiding = None
        self._frames = {}
