# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pictures of the fake: a square of its colour at each body's origin, seen along the camera's x axis."""

import numpy as np

from .model import matrix


def projection(properties):
    focal = 1 / np.tan(np.radians(properties.horizontal_fov) / 2)
    result = np.zeros((4, 4))
    result[0, 0], result[1, 1] = focal, focal * properties.width / properties.height
    return result


def draw(sim, env, handle):
    """RGBA uint8 [H, W, 4] of what the last step showed."""
    properties, body, pose = env.cameras[handle]
    origin = np.array([pose.p.x, pose.p.y, pose.p.z])
    frame = matrix(np.array([pose.r.x, pose.r.y, pose.r.z, pose.r.w]))
    shown = zip(sim.actors, sim.shown)
    mine = [actor.asset.poses(*state) for (owner, actor), state in shown if owner is env]
    if body is not None:
        listed = [shown[b] for actor, shown in zip(env.actors, mine) for b in actor.asset.listed]
        carrier = matrix(listed[body][3:])
        origin, frame = listed[body][:3] + carrier.dot(origin), carrier.dot(frame)
    matrix_ = projection(properties)
    width, height = properties.width, properties.height
    image = np.zeros((height, width, 4), np.uint8)
    image[..., 3] = 255
    points = []
    for actor, shown in zip(env.actors, mine):
        for b, colour in actor.colours.items():
            forward, left, up = frame.T.dot(shown[b][:3] - origin)
            if forward > properties.near_plane:
                points.append((forward, left, up, colour))
    for forward, left, up, colour in sorted(points, key=lambda point: -point[0]):
        column = int((1 - matrix_[0, 0] * left / forward) * width / 2)
        row = int((1 - matrix_[1, 1] * up / forward) * height / 2)
        if 1 <= column < width - 1 and 1 <= row < height - 1:
            image[row - 1 : row + 2, column - 1 : column + 2, :3] = np.round(255 * colour)
    return image
