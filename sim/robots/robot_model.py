# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The robot of a robot file as a MuJoCo model that obeys it: its names, its units, its tool, its cameras.

The ``simulator`` section of the robot file says how a model that knows nothing of us is to be used; every key
but ``model`` has a default. docs/robots.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import mujoco
import numpy as np

from apprentice.robot.spec import RobotFileError, RobotSpec
from apprentice.sim.robots import actuators
from apprentice.sim.robots.model_file import model_path, read_model
from apprentice.sim.robots.section import GYM_KEYS, SCENE_KEYS, Section
from apprentice.sim.robots.urdf import add_mimics, tie

TIP = 'tip'
_AIMED = (int(mujoco.mjtCamLight.mjCAMLIGHT_TARGETBODY), int(mujoco.mjtCamLight.mjCAMLIGHT_TARGETBODYCOM))
CAMERA_KEYS = ('camera', 'body', 'position', 'target', 'quaternion', 'fovy')


class RobotModel:
    """An editable model with everything that the robot file promises.

    Raises RobotFileError naming the robot, what is missing, what there is, and the remedy.

    Attributes:
        specification: to be extended by a task and compiled.
        joints: name in the model of each joint of the robot file, in its order.
        actuators: likewise; their controls are positions in the unit of the robot file.
        tip: name of the tool's site.
        scale, offset: float64 [dim]; position in the robot file = offset + scale * position in the model.
    """

    def __init__(self, spec: RobotSpec):
        self.spec, self.section = spec, Section(spec)
        self._check_keys()
        self.specification = read_model(spec)
        self._urdf = str(self.section['model']).lower().endswith('.urdf')
        grip = self.section.mapping('gripper', ('joint', 'actuator', 'position', 'control'))
        self.joints = self._names('joints', 'joint', self.specification.joints, grip)
        self._tie_followers()
        self.scale, self.offset = self._units(grip)
        self.remove(self.section.get('remove', ()))
        for key in list(self.specification.keys):  # of the robot alone: their size fits no scene
            delete(self.specification, key)
        self.actuators = actuators.adopt(self, grip)
        self.tip = self._add_tip()
        self._place_base()
        self._furnish()
        self._add_cameras()
        if 'timestep' in self.section:
            self.specification.option.timestep = self.section.number(self.section['timestep'], 'timestep')

    def _check_keys(self) -> None:
        if 'model' not in self.section:
            raise self.section.error('model is missing; name a model file or a part, see robots/sim_arm.yaml')
        if 'world' not in self.section:  # a world of somebody else's may have keys of its own
            self.section.check_keys(SCENE_KEYS, {'Gymnasium environments': GYM_KEYS})

    @property
    def urdf(self) -> bool:
        return self._urdf

    def find(self, elements: Iterable[Any], name: str, kind: str, remedy: str) -> Any:
        """The element of that name. Raises RobotFileError listing what there is."""
        names = []
        for element in elements:
            if element.name == name:
                return element
            names.append(element.name or '(unnamed)')
        raise RobotFileError(
            f'robot {self.spec.name!r}: the simulated model has no {kind} {name!r}; it has: {names}. {remedy}'
        )

    def _names(self, key: str, kind: str, elements: Iterable[Any], grip: dict[str, Any]) -> list[str]:
        given = self.section.mapping(key, self.spec.joint_names)
        found: list[str] = []
        for joint in self.spec.joints:
            default = grip.get(kind, joint.name) if joint.gripper else joint.name
            name = str(given.get(joint.name, default))
            if name in found:
                twice = [self.spec.joint_names[found.index(name)], joint.name]
                raise self.section.error(
                    f'{key}: {name!r} of the model is named twice, for {twice}; give each a {kind} of its own'
                )
            found.append(name)
            element = self.find(
                elements, name, kind, f'Say simulator.{key}: {{{joint.name}: its name there}}'
            )
            if int(element.type) not in (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE)):
                raise self.section.error(f'{key}: {name!r} is neither a hinge nor a slide joint')
        return found

    def _tie_followers(self) -> None:
        self.followers = []
        if self._urdf:
            path = model_path(str(self.section['model']), self.spec.folder)
            self.followers = add_mimics(self.specification, path)
        known = [joint.name for joint in self.specification.joints]
        for follower, given in self.section.mapping('follow', known).items():
            rule = self.section.mapping(f'follow.{follower}', ('joint', 'factor', 'offset'), given)
            leader = str(rule.get('joint', ''))
            self.find(self.specification.joints, leader, 'joint', f'See simulator.follow.{follower}')
            where = f'follow.{follower}'
            factor = self.section.number(rule.get('factor', 1), f'{where}.factor', positive=False)
            offset = self.section.number(rule.get('offset', 0), f'{where}.offset', positive=False)
            tie(self.specification, follower, leader, factor, offset)
            self.followers.append(follower)

    def _units(self, grip: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """The gripper's joint may have another unit, or open the other way, in the model."""
        scale, offset = np.ones(self.spec.dim), np.zeros(self.spec.dim)
        if 'position' in grip:
            closed, opened = self.section.vector(grip['position'], 2, 'gripper.position [closed, opened]')
            if closed == opened:
                raise self.section.error('gripper.position: closed and opened are the same')
            for i in np.flatnonzero(self.spec.gripper_mask):
                joint = self.spec.joints[i]
                scale[i] = (joint.upper - joint.lower) / (opened - closed)
                offset[i] = joint.lower - scale[i] * closed
        return scale, offset

    def remove(self, bodies: Any) -> None:
        """Bodies of the model's own scene that are in the way."""
        if isinstance(bodies, str) or not isinstance(bodies, Iterable):
            raise self.section.error(f'remove must be a list of bodies, got {bodies!r}')
        for name in bodies:
            body = self.find(self.specification.bodies, str(name), 'body', 'Correct simulator.remove')
            delete(self.specification, body)

    def _add_tip(self) -> str:
        given = self.section.get('tip', TIP)
        sites = [site.name for site in self.specification.sites]
        if isinstance(given, str):
            if given not in sites:
                remedy = (
                    'Say simulator.tip: {body: hand, position: [x, y, z], quaternion: [w, x, y, z]}, with z '
                )
                remedy += 'out of the hand and y along the fingers'
                self.find(self.specification.sites, given, 'site', remedy)
            return given
        tip = self.section.mapping('tip', ('body', 'position', 'quaternion'))
        if TIP in sites:
            raise self.section.error(
                f'tip: the model has a site {TIP!r} already; say tip: {TIP}, or rename it there'
            )
        name = str(tip.get('body', ''))
        body = self.find(self.specification.bodies, name, 'body', 'Correct simulator.tip.body')
        site = body.add_site(
            name=TIP,
            pos=self.section.vector(tip.get('position', [0, 0, 0]), 3, 'tip.position'),
            size=[0.005] * 3,
            rgba=[0, 0, 0, 0],
        )
        turn(site, self.section.vector(tip.get('quaternion', [1, 0, 0, 0]), 4, 'tip.quaternion'))
        return TIP

    def _place_base(self) -> None:
        base = self.section.mapping('base', ('body', 'position', 'quaternion'))
        if not base:
            return
        if 'body' in base:
            body = self.find(self.specification.bodies, str(base['body']), 'body', 'Correct simulator.base')
        else:
            body = next(b for b in self.specification.bodies if b.name != 'world' and self._carries_joint(b))
        if 'position' in base:
            body.pos = self.section.vector(base['position'], 3, 'base.position')
        if 'quaternion' in base:
            turn(body, self.section.vector(base['quaternion'], 4, 'base.quaternion'))

    def _carries_joint(self, body: Any) -> bool:
        return any(joint.name in self.joints for joint in body.find_all(mujoco.mjtObj.mjOBJ_JOINT))

    def _furnish(self) -> None:
        """A table and a light for a model that is a robot and nothing else."""
        scene = self.section.get('scene', 'auto')
        if scene not in ('auto', 'table', 'none'):
            raise self.section.error(f'scene {scene!r} is unknown; use auto, table or none')
        world = self.specification.worldbody
        if scene == 'table' or (scene == 'auto' and not len(world.geoms)):
            world.add_geom(
                name='table',
                type=mujoco.mjtGeom.mjGEOM_BOX,
                size=[0.5, 0.5, 0.02],
                pos=[0.25, 0, -0.02],
                rgba=[0.55, 0.5, 0.44, 1],
            )
        if scene != 'none' and not len(self.specification.lights):
            light = world.add_light(pos=[0.3, 0, 2], dir=[0, 0, -1])
            light.diffuse, light.specular = [0.5] * 3, [0.0] * 3
            light.castshadow = False

    def _add_cameras(self) -> None:
        given = self.section.mapping('cameras', [camera.name for camera in self.spec.cameras])
        for camera in self.spec.cameras:
            if camera.name not in given:
                example = '{position: [0.8, 0, 0.5], target: [0.3, 0, 0]}'
                remedy = f'Say simulator.cameras: {{{camera.name}: {example}}}'
                self.find(self.specification.cameras, camera.name, 'camera', remedy)
                continue
            rule = self.section.mapping(f'cameras.{camera.name}', CAMERA_KEYS, given[camera.name] or None)
            self._add_camera(camera.name, rule)

    def _add_camera(self, name: str, rule: dict[str, Any]) -> None:
        model, where = self.specification, f'cameras.{name}'
        if 'camera' in rule:  # one of the model, under our name
            element = self.find(model.cameras, str(rule['camera']), 'camera', f'Correct simulator.{where}')
            element.name = name
        else:
            if any(camera.name == name for camera in model.cameras):
                raise self.section.error(
                    f'{where}: the model has this camera; say {{camera: {name}, fovy: ...}} to change it'
                )
            body = model.worldbody
            if 'body' in rule:
                body = self.find(model.bodies, str(rule['body']), 'body', f'Correct simulator.{where}')
            element = body.add_camera(name=name)
        if 'position' in rule:
            element.pos = self.section.vector(rule['position'], 3, f'{where}.position')
        if 'target' in rule:
            turn(element, looking(element.pos, self.section.vector(rule['target'], 3, f'{where}.target')))
        if 'quaternion' in rule:
            turn(element, self.section.vector(rule['quaternion'], 4, f'{where}.quaternion'))
        if 'target' in rule or ('quaternion' in rule and int(element.mode) in _AIMED):
            element.mode = mujoco.mjtCamLight.mjCAMLIGHT_FIXED
        if 'fovy' in rule:
            element.fovy = self.section.number(rule['fovy'], f'{where}.fovy')


def looking(position: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Quaternion wxyz [4] of a camera that looks from ``position`` to ``target`` (z up where possible)."""
    backward = np.asarray(position, np.float64) - target
    length = float(np.linalg.norm(backward))
    if length < 1e-9:
        raise RobotFileError(f'a camera at {list(position)} cannot look at its own place')
    backward /= length  # MuJoCo's cameras look along -z, x to the right, y up
    up = np.array([0.0, 0, 1]) if abs(backward[2]) < 0.999 else np.array([1.0, 0, 0])
    right = np.cross(up, backward)
    right /= np.linalg.norm(right)
    quaternion = np.zeros(4)
    rotation = np.stack([right, np.cross(backward, right), backward], axis=1)
    mujoco.mju_mat2Quat(quaternion, rotation.reshape(-1))
    return quaternion


def turn(element: Any, quaternion: np.ndarray) -> None:
    """Orient a body, site or camera (wxyz [4]), however the model or its defaults orient it."""
    element.alt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT  # else euler, xyaxes, ... win over quat
    element.quat = quaternion


def delete(specification: mujoco.MjSpec, element: Any) -> None:
    """Take an element out; MuJoCo has renamed the call, and bodies had one of their own."""
    if hasattr(specification, 'delete'):
        specification.delete(element)
    elif hasattr(element, 'delete'):
        element.delete()
    else:
        specification.detach_body(element)
