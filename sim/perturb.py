# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Domain randomisation as :class:`~apprentice.sim.worlds.Worlds` applies it, the same in every engine.

Looks and dynamics are model values of one simulation, drawn at its reset. Delays and sensor errors are
kept in the worlds' memory, so that snapshots carry them; noise is a function of the episode's key and the
time steps made, so that reading twice gives the same and branches stay equal to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from apprentice.sim.physics.base import Physics
from apprentice.sim.randomize import Randomization, Range
from apprentice.sim.robots.decor import CLUTTER, TEXTURES
from apprentice.sim.scene import Scene

_TAG = 0x5EED  # starts and randomisation of one seed draw from different streams
_DELAY_GRID_S = 0.01  # few moments at which commands take effect, so that a batch steps in few pieces
_SURFACES = ('table', 'floor', 'ground', 'wall')
_GREY = np.array([0.5, 0.5, 0.5, 1.0], np.float32)  # MuJoCo's default: the material's colour counts
_AFFINE = int(mujoco.mjtBias.mjBIAS_AFFINE)
_CLEAR = ((-0.05, 0.45), (-0.17, 0.17))  # m, x and y of where the robot works; clutter lies around it

Values = dict[tuple[str, int], np.ndarray]


class Perturbation:
    """Draws and applies one :class:`Randomization` to the worlds of a scene."""

    def __init__(self, randomization: Randomization, scene: Scene):
        self.randomization, self.scene = randomization, scene
        model = scene.model
        joints = [scene.id('joint', name) for name in scene.joints]
        roots = {int(model.body_rootid[model.jnt_bodyid[joint]]) for joint in joints}
        bodies = np.arange(model.nbody)
        self._things = [int(b) for b in bodies[1:] if int(model.body_rootid[b]) not in roots]
        owner = np.array([int(b) for b in model.geom_bodyid], int)
        names = [model.geom(i).name for i in range(model.ngeom)]
        clutter = {i for i, name in enumerate(names) if name in CLUTTER}
        plane = int(mujoco.mjtGeom.mjGEOM_PLANE)
        self._surfaces = [
            i
            for i in np.flatnonzero(owner == 0).tolist()
            if int(model.geom_type[i]) == plane or any(word in names[i].lower() for word in _SURFACES)
        ]
        self._robot = [i for i, b in enumerate(owner) if b and int(model.body_rootid[b]) in roots]
        self._objects = [i for i, b in enumerate(owner) if b in self._things]
        self._clutter = sorted(clutter)
        materials = [model.material(i).name for i in range(model.nmat)]
        self._textures = [i for i, name in enumerate(materials) if name in TEXTURES]
        self._cameras = [scene.id('camera', camera.name) for camera in scene.spec.cameras]
        timestep = float(model.opt.timestep)
        self._grid = max(1, round(_DELAY_GRID_S / timestep))
        self._slots = self._steps(randomization.dynamics.delay_s[1], timestep) + 1
        span = scene.spec.vector('upper') - scene.spec.vector('lower')
        noise = np.where(scene.spec.gripper_mask, span, 1.0)  # a gripper has a unit of its own
        self._joint_noise = randomization.sensors.joint_noise * noise

    def _steps(self, delay_s: float, timestep: float) -> int:
        return round(delay_s / (timestep * self._grid)) * self._grid

    # drawn at a reset

    def model(self, seed: int, current: Mapping[tuple[str, int], np.ndarray]) -> Values:
        """Model values of one simulation; ``current`` are those that its start has set."""
        values: Values = {}
        for number, draw in enumerate((self._lights, self._colours, self._views, self._drives, self._bodies)):
            # a stream for each: switching one off leaves the others as they are
            draw(np.random.default_rng((_TAG, number, seed)), _Overrides(self.scene.model, current, values))
        return values

    def memory(self, seed: int) -> dict[str, np.ndarray]:
        """What is remembered of one simulation: name -> value."""
        rng = np.random.default_rng((_TAG, 9, seed))
        spec, sensors = self.scene.spec, self.randomization.sensors
        low, high = self.randomization.dynamics.delay_s
        offset = rng.uniform(-1, 1, spec.dim) * sensors.joint_offset * ~spec.gripper_mask
        brightness, contrast = 1 + rng.uniform(-1, 1, 2) * (sensors.image_brightness, sensors.image_contrast)
        blur = rng.uniform(0, sensors.blur_px)
        return {
            'random.delay': np.array(self._steps(rng.uniform(low, high), self.scene.model.opt.timestep)),
            'random.due': np.full(self._slots, -1),  # time steps until a command takes effect; -1: free
            'random.commands': np.zeros((self._slots, spec.dim)),
            'random.ticks': np.array(0),
            'random.key': np.array(rng.integers(0, 2**63), np.uint64),
            'random.offset': offset,
            'random.image': np.array([brightness, contrast, blur]),
        }

    def _lights(self, rng: np.random.Generator, values: _Overrides) -> None:
        lights = self.randomization.lights
        for i in range(self.scene.model.nlight):
            colour = _factor(rng, lights.brightness) * (1 + rng.uniform(-1, 1, 3) * lights.tint)
            values.set('light_diffuse', i, np.clip(values.get('light_diffuse', i) * colour, 0, 1))
            shift = rng.uniform(-1, 1, 3) * lights.position_m
            values.set('light_pos', i, values.get('light_pos', i) + shift)
            turn = _turn(rng, lights.direction_rad)
            direction = np.zeros(3)
            mujoco.mju_rotVecQuat(direction, values.get('light_dir', i), turn)
            values.set('light_dir', i, direction)

    def _colours(self, rng: np.random.Generator, values: _Overrides) -> None:
        looks = self.randomization.looks
        for geoms, amount in (*(([i], looks.surface_colour) for i in self._surfaces),
                              (self._robot, looks.robot_colour)):  # fmt: skip
            share, colour = rng.uniform(0, amount), rng.uniform(0, 1, 3)
            for i in geoms:
                rgba = values.colour(i)
                values.set('geom_rgba', i, [*((1 - share) * rgba[:3] + share * colour), rgba[3]])
        for i in self._objects:
            tint = 1 + rng.uniform(-1, 1, 3) * looks.object_tint
            rgba = values.colour(i)
            values.set('geom_rgba', i, [*np.clip(rgba[:3] * tint, 0, 1), rgba[3]])
        for i in (*self._surfaces, *self._robot):
            wanted, which = rng.random() < looks.texture, rng.random()
            if wanted:
                values.set('geom_matid', i, self._textures[int(which * len(self._textures))])
        many = int(rng.integers(0, int(looks.clutter) + 1))
        for i in self._clutter[:many]:
            values.set('geom_pos', i, self._beside(rng, float(self.scene.model.geom_size[i, 0])))
            # greyish: never the thing of a colour that an instruction asks for
            values.set('geom_rgba', i, [*(rng.uniform(0.2, 0.8) + rng.uniform(-0.15, 0.15, 3)), 1.0])

    def _beside(self, rng: np.random.Generator, height: float) -> np.ndarray:
        """A place [3] on the table around the working area."""
        (left, right), (near, far) = _CLEAR
        while True:
            place = rng.uniform((left, near - 0.15), (right + 0.05, far + 0.15))
            if place[0] > right or not near < place[1] < far:
                return np.array([*place, height])

    def _views(self, rng: np.random.Generator, values: _Overrides) -> None:
        cameras = self.randomization.cameras
        for i in self._cameras:
            shift = rng.uniform(-1, 1, 3) * cameras.position_m
            values.set('cam_pos', i, values.get('cam_pos', i) + shift)
            quaternion = np.zeros(4)
            mujoco.mju_mulQuat(quaternion, values.get('cam_quat', i), _turn(rng, cameras.rotation_rad))
            values.set('cam_quat', i, quaternion)
            values.set('cam_fovy', i, values.get('cam_fovy', i) + rng.uniform(-1, 1) * cameras.fovy_deg)

    def _drives(self, rng: np.random.Generator, values: _Overrides) -> None:
        dynamics, scene = self.randomization.dynamics, self.scene
        for actuator, dof in zip(scene.ctrl.tolist(), scene.dof.tolist(), strict=True):
            gain, damping = _factor(rng, dynamics.gain), _factor(rng, dynamics.damping)
            prm, bias = values.get('actuator_gainprm', actuator), values.get('actuator_biasprm', actuator)
            prm[0] *= gain
            if int(scene.model.actuator_biastype[actuator]) == _AFFINE:
                # force = gain * (ctrl - position) + offset - damping * velocity; at rest nothing may move
                bias[:2] *= gain
                bias[2] *= damping
            values.set('actuator_gainprm', actuator, prm)
            values.set('actuator_biasprm', actuator, bias)
            values.set('dof_damping', dof, values.get('dof_damping', dof) * damping)

    def _bodies(self, rng: np.random.Generator, values: _Overrides) -> None:
        dynamics, owner = self.randomization.dynamics, self.scene.model.geom_bodyid
        for body in self._things:
            factor = _factor(rng, dynamics.mass)
            for name in ('body_mass', 'body_inertia'):
                values.set(name, body, values.get(name, body) * factor)
        # of two things that touch the larger friction counts, so robot and table must stray as well
        groups = [[i for i in self._objects if int(owner[i]) == body] for body in self._things]
        for group in (*groups, self._robot, self._surfaces):
            factor = _factor(rng, dynamics.friction)
            for i in group:
                values.set('geom_friction', i, values.get('geom_friction', i) * factor)

    # applied while the worlds run

    def step(
        self,
        physics: Physics,
        memory: dict[str, np.ndarray],
        targets: np.ndarray,
        steps: int,
        sims: Sequence[int] | None,
    ) -> None:
        """Command ``targets`` [len(sims), dim] and simulate; each takes effect after its delay."""
        rows = np.arange(physics.count) if sims is None else np.asarray(sims)
        due, commands = memory['random.due'], memory['random.commands']
        free = np.argmin(due[rows], axis=1)
        due[rows, free], commands[rows, free] = memory['random.delay'][rows], targets
        left = steps
        while left:
            here, slot = np.nonzero(due[rows] == 0)
            if len(here):
                ready = rows[here]
                physics.write('ctrl', self.scene.ctrl, commands[ready, slot], ready.tolist())
                due[ready, slot] = -1
            waiting = due[rows]
            ahead = waiting[waiting > 0]
            piece = min(left, int(ahead.min())) if len(ahead) else left
            physics.step(piece, sims)
            due[rows] = np.where(waiting > 0, waiting - piece, waiting)
            left -= piece
        memory['random.ticks'][rows] += steps

    def measured(self, joints: np.ndarray, memory: dict[str, np.ndarray]) -> np.ndarray:
        """Joint readings [N, dim] of true positions."""
        joints = joints + memory['random.offset']
        if self.randomization.sensors.joint_noise:
            key = _mix(memory['random.key'] + memory['random.ticks'].astype(np.uint64))
            joints = joints + self._joint_noise * _normal(key, joints.shape[1])
        return joints

    def spoil(self, frame: np.ndarray, memory: dict[str, np.ndarray], sim: int, camera: int) -> None:
        """Blur, exposure and noise on one image uint8 [H, W, 3], in place."""
        brightness, contrast, blur = memory['random.image'][sim]
        noise = self.randomization.sensors.image_noise
        if not (noise or blur) and brightness == contrast == 1.0:
            return
        image = frame.astype(np.float32)
        if blur > 0.2:
            image = _blurred(image, blur)
        image = (image * brightness - 127.5) * contrast + 127.5
        if noise:
            key = (int(memory['random.key'][sim]), int(memory['random.ticks'][sim]), camera)
            draws = np.random.default_rng(key).standard_normal(image.shape, np.float32)
            image += 255 * noise * draws
        frame[:] = np.clip(image, 0, 255).astype(np.uint8)


class _Overrides:
    """Model values under construction: the model's, over them the start's, over them ours."""

    def __init__(self, model: mujoco.MjModel, current: Mapping, values: Values):
        self._model, self._current, self._values = model, current, values

    def get(self, name: str, row: int) -> np.ndarray:
        for layer in (self._values, self._current):
            if (name, row) in layer:
                return np.array(layer[name, row], np.float64)
        return np.array(getattr(self._model, name)[row], np.float64)

    def set(self, name: str, row: int, value: np.ndarray | Sequence[float] | float) -> None:
        value = np.asarray(value, np.float64)
        if not np.array_equal(value, self.get(name, row)):
            self._values[name, row] = value

    def colour(self, geom: int) -> np.ndarray:
        """RGBA [4] that a geom is drawn with."""
        rgba, material = self.get('geom_rgba', geom), int(self._model.geom_matid[geom])
        if material >= 0 and np.allclose(rgba, _GREY):
            rgba = np.array(self._model.mat_rgba[material], np.float64)
        return rgba


def _factor(rng: np.random.Generator, bounds: Range) -> float:
    low, high = bounds
    draw = rng.random()
    return float(low * (high / low) ** draw) if low > 0 else float(low + (high - low) * draw)


def _turn(rng: np.random.Generator, most: float) -> np.ndarray:
    """Quaternion of a turn by up to ``most`` rad about a random axis."""
    axis, quaternion = rng.normal(size=3), np.zeros(4)
    mujoco.mju_axisAngle2Quat(quaternion, axis / np.linalg.norm(axis), rng.uniform(0, most))
    return quaternion


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele, Lea, Flood 2014): uint64 to well mixed uint64."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _normal(keys: np.ndarray, size: int) -> np.ndarray:
    """Standard normal numbers [N, size], a function of the keys [N] (Box-Muller)."""
    counter = np.arange(1, 2 * size + 1, dtype=np.uint64)
    uniform = ((_mix(keys[:, None] + counter * np.uint64(0xD1342543DE82EF95)) >> np.uint64(11)) + 0.5) / 2**53
    return np.sqrt(-2 * np.log(uniform[:, :size])) * np.cos(2 * np.pi * uniform[:, size:])


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of [H, W, 3] with the edge repeated."""
    reach = int(np.ceil(2 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    weights /= weights.sum()
    for axis in (0, 1):
        pad = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        wide = np.pad(image, pad, 'edge')
        size = image.shape[axis]
        pieces = (w * np.take(wide, range(i, i + size), axis) for i, w in enumerate(weights))
        image = np.sum(np.stack(list(pieces)), axis=0)
    return image
