# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Camera sensors of Isaac Gym: made once for every environment, rendered together, read as tensors.

Runs in the worker, see building.py. Cameras look along x, z is up. On a GPU images are read as tensors
between start_access and end_access; on a CPU through get_camera_image.
"""

import numpy as np

from .library import GymError


class Cameras:
    """Sensors described by protocol.CAMERA; ``arrays`` has uint8 [N, H, W, 3] under each name."""

    def __init__(self, library, world, cameras, arrays):
        self._library = library
        self._world, self._cameras, self._arrays = world, cameras, arrays
        self._handles = [[self._create(i, camera) for camera in cameras] for i in range(world.count)]

    def _create(self, sim, camera):
        properties = self._library.gymapi.CameraProperties()
        properties.width, properties.height = camera['width'], camera['height']
        properties.horizontal_fov = camera['field_of_view']
        properties.near_plane, properties.far_plane = camera['near'], camera['far']
        properties.enable_tensors = self._world.gpu
        handle = self._world.gym.create_camera_sensor(self._world.envs[sim], properties)
        if handle is None or handle < 0:  # INVALID_HANDLE
            raise GymError(f'camera {camera}: create_camera_sensor failed; is there a display driver?')
        self._pose(sim, handle, camera['body'], camera['position'], camera['rotation'])
        return handle

    def set_pose(self, sim, camera, position, rotation):
        """Pose in the body's frame, or the environment's for a fixed camera."""
        self._pose(sim, self._handles[sim][camera], self._cameras[camera]['body'], position, rotation)

    def _pose(self, sim, handle, body, position, rotation):
        world = self._world
        pose = self._library.gymapi.Transform()
        pose.p = self._library.gymapi.Vec3(*position)
        pose.r = self._library.gymapi.Quat(*rotation)
        if body < 0:
            world.gym.set_camera_transform(handle, world.envs[sim], pose)
        else:
            follow = self._library.gymapi.FOLLOW_TRANSFORM
            place = world.body_handle(sim, body)
            world.gym.attach_camera_to_body(handle, world.envs[sim], place, pose, follow)

    def focal_lengths(self):
        """Per camera [horizontal, vertical] 1 / tan(half angle), as the library made them."""
        first = [
            np.array(self._world.gym.get_camera_proj_matrix(self._world.sim, self._world.envs[0], handle))
            for handle in self._handles[0]
        ]
        return [[float(abs(matrix[0, 0])), float(abs(matrix[1, 1]))] for matrix in first]

    def render(self, sims):
        """One frame of every camera of every environment; those of ``sims`` go to the arrays, as RGB."""
        world = self._world
        world.gym.step_graphics(world.sim)
        world.gym.render_all_camera_sensors(world.sim)
        if not world.gpu:
            return self._copy(sims, self._image)
        world.gym.start_access_image_tensors(world.sim)
        try:
            return self._copy(sims, self._tensor)
        finally:
            world.gym.end_access_image_tensors(world.sim)

    def _copy(self, sims, read):
        for i in sims:
            for camera, handle in zip(self._cameras, self._handles[i]):
                image = read(self._world.envs[i], handle)
                if image is None or not image.size:
                    raise GymError('camera {}: no image; see the output of the worker'.format(camera['name']))
                rgba = image.reshape(camera['height'], camera['width'], 4)
                self._arrays[camera['name']][i] = rgba[..., :3]

    def _tensor(self, env, handle):
        world = self._world
        found = world.gym.get_camera_image_gpu_tensor(
            world.sim, env, handle, self._library.gymapi.IMAGE_COLOR
        )
        return self._library.to_numpy(self._library.gymtorch.wrap_tensor(found))

    def _image(self, env, handle):
        world = self._world
        return np.asarray(
            world.gym.get_camera_image(world.sim, env, handle, self._library.gymapi.IMAGE_COLOR)
        )
