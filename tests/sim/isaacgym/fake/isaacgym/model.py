# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What stands in for PhysX: MJCF read with the standard library, joints that follow, things that fall.

Joints approach their targets at the rate stiffness / damping, free roots fall until they rest on ground or on
a fixed box below. Bodies and joints are listed in an order of the fake's own, so that code must go by names.
"""

import math
import os
from xml.etree import ElementTree

import numpy as np

TYPES = ('sphere', 'capsule', 'cylinder', 'box', 'mesh')


def numbers(text):
    return np.array([float(word) for word in text.split()])


def matrix(quaternion):
    """Rotation matrix of xyzw."""
    x, y, z, w = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def product(a, b):
    """Quaternion product of xyzw."""
    x = a[3] * b[:3] + b[3] * a[:3] + np.cross(a[:3], b[:3])
    return np.append(x, a[3] * b[3] - a[:3].dot(b[:3]))


def turn(axis, angle):
    return np.append(np.asarray(axis) * math.sin(angle / 2), math.cos(angle / 2))


class Asset:
    """An imported file: bodies (dicts, parents first), joints (dicts), and the orders they are listed in."""

    def __init__(self, folder, file, options):
        root = ElementTree.parse(os.path.join(folder, file)).getroot()
        if root.find('compiler') is None or root.find('compiler').get('angle') != 'radian':
            raise ValueError('angles would be read as degrees')
        for mesh in root.iter('mesh'):
            if os.path.getsize(os.path.join(folder, mesh.get('file'))) < 84:
                raise ValueError('not an STL file')
        self.options = options
        self.bodies, self.joints = [], []
        tops = root.find('worldbody').findall('body')
        if len(tops) != 1:
            raise ValueError('one tree an asset')
        self._read(tops[0], -1)
        self.listed = [
            b for b, _ in sorted(enumerate(self.bodies), key=lambda item: (item[1]['depth'], -item[0]))
        ]
        self.dofs = list(range(len(self.joints)))[::-1]

    def _read(self, element, parent):
        number = len(self.bodies)
        depth = 0 if parent < 0 else self.bodies[parent]['depth'] + 1
        quaternion = numbers(element.get('quat', '1 0 0 0'))[[1, 2, 3, 0]]
        body = {'name': element.get('name'), 'parent': parent, 'depth': depth, 'quat': quaternion}
        body['pos'] = numbers(element.get('pos', '0 0 0'))
        body['geoms'] = [geom.attrib for geom in element.findall('geom')]
        if not body['geoms']:
            raise ValueError('a body without geoms has no mass')
        for geom in body['geoms']:
            if geom['type'] not in TYPES:
                raise ValueError('geom type {}'.format(geom['type']))
        self.bodies.append(body)
        for joint in element.findall('joint'):
            if joint.get('type') not in ('hinge', 'slide'):
                raise ValueError('joint type {}'.format(joint.get('type')))
            item = dict(
                joint.attrib, body=number, axis=numbers(joint.get('axis')), pos=numbers(joint.get('pos'))
            )
            self.joints.append(item)
        for child in element.findall('body'):
            self._read(child, number)

    def poses(self, root, q):
        """Pose [7] of each body (in file order) for the root's pose and joint positions in file order."""
        poses = []
        for number, body in enumerate(self.bodies):
            if body['parent'] < 0:
                position, quaternion = root[:3].copy(), root[3:7].copy()
            else:
                parent = poses[body['parent']]
                position = parent[:3] + matrix(parent[3:]).dot(body['pos'])
                quaternion = product(parent[3:], body['quat'])
            for j, joint in enumerate(self.joints):
                if joint['body'] != number:
                    continue
                frame = matrix(quaternion)
                if joint['type'] == 'slide':
                    position = position + frame.dot(joint['axis']) * q[j]
                else:
                    anchor = position + frame.dot(joint['pos'])
                    quaternion = product(quaternion, turn(joint['axis'], q[j]))
                    position = anchor - matrix(quaternion).dot(joint['pos'])
            poses.append(np.append(position, quaternion))
        return poses

    def height(self):
        """From the root's origin down to the lowest point of its first geom, upright."""
        geom = self.bodies[0]['geoms'][0]
        size = numbers(geom.get('size', '0'))
        return size[2] if geom['type'] == 'box' else size[0]


class Actor:
    """One asset in one environment; ``root`` [13], ``q`` and ``qd`` in file order, local coordinates."""

    def __init__(self, asset, position, quaternion, name, group):
        self.asset, self.name, self.group = asset, name, group
        self.root = np.concatenate([position, quaternion, np.zeros(6)])
        self.q, self.qd = np.zeros(len(asset.joints)), np.zeros(len(asset.joints))
        self.target = np.zeros(len(asset.joints))
        self.colours = {}
        self.drives = self.inertials = self.shapes = None

    def poses(self):
        return self.asset.poses(self.root, self.q)

    def step(self, dt, gravity, others, ground):
        """One time step. ``drives`` are in the library's order, positions in the file's."""
        if len(self.q):
            order = np.argsort(self.asset.dofs)
            drives, before = self.drives[order], self.q.copy()
            rate = np.minimum(1.0, dt * drives['stiffness'] / np.maximum(drives['damping'], 1e-9))
            driven = drives['stiffness'] > 0
            self.q += np.where(driven, rate * (self.target - self.q), dt * self.qd)
            inside = np.clip(self.q, drives['lower'], drives['upper'])
            self.q = np.where(drives['hasLimits'], inside, self.q)
            self.qd = (self.q - before) / dt
        if self.asset.options.fix_base_link:
            return
        position, velocity, spin = self.root[:3], self.root[7:10], self.root[10:]
        floats = self.inertials[self.asset.listed.index(0)].flags & 1  # RIGID_BODY_DISABLE_GRAVITY
        if not self.asset.options.disable_gravity and not floats:
            velocity += dt * gravity
        position += dt * velocity
        speed = np.linalg.norm(spin)
        if speed > 0:
            self.root[3:7] = product(turn(spin / speed, speed * dt), self.root[3:7])
        lowest = max([support(other, position) for other in others if other is not self] + ground)
        if position[2] - self.asset.height() < lowest:
            position[2] = lowest + self.asset.height()
            velocity[:] = 0
            spin[:] = 0


def support(actor, position):
    """Height of a fixed box's top below a position, or nothing."""
    geom = actor.asset.bodies[0]['geoms'][0]
    if not actor.asset.options.fix_base_link or geom['type'] != 'box' or geom['contype'] == '0':
        return -np.inf
    centre, size = actor.root[:3] + numbers(geom['pos']), numbers(geom['size'])
    over = np.all(np.abs(position[:2] - centre[:2]) < size[:2])
    return centre[2] + size[2] if over else -np.inf
