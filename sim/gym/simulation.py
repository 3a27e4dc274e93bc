# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One Gymnasium environment, driven by setpoints in the unit of a robot file and read in it."""

from __future__ import annotations

import logging
from typing import Any

import mujoco
import numpy as np

from apprentice.robot.parts import load_part
from apprentice.robot.spec import CameraSpec, RobotSpec
from apprentice.sim.gym.mapping import Commands, Readings, fault, look_up, mapping, pair, resized
from apprentice.sim.render import SceneRenderer

UNSOLVED = 0.99  # progress stays below 1 until success
_IMAGE_KEYS = ('key', 'camera', 'flip')

logger = logging.getLogger(__name__)


def make_env(spec: RobotSpec) -> Any:
    """The environment that the robot file names.

    ``env`` is an id (``package:Name-v0`` imports the package that registers it), ``make`` a part that is
    called instead; ``options`` go to either. ``wrapper`` is a part around the result, with
    ``wrapper_options``.
    """
    section = spec.simulator
    options = dict(section.get('options', {}))
    if 'make' in section:
        env = load_part(str(section['make']))(**options)
    elif 'env' in section:
        try:
            import gymnasium
        except ImportError as error:
            raise ImportError(f"{error}; install it: pip install 'apprentice[gym]'") from error
        options = {'render_mode': 'rgb_array', 'disable_env_checker': True, **options}
        try:
            env = gymnasium.make(str(section['env']), **options)
        except (gymnasium.error.Error, ModuleNotFoundError, TypeError) as error:
            raise fault(
                spec, f'env {section["env"]!r} cannot be made: {error}. An id may begin with the package '
                'that registers it: gymnasium_robotics:FetchReach-v4'
            ) from error  # fmt: skip
    else:
        raise fault(spec, 'env is missing; name an environment, see robots/gym_pusher.yaml')
    if 'wrapper' in section:
        env = load_part(str(section['wrapper']))(env, **dict(section.get('wrapper_options', {})))
    return env


class GymSimulation:
    """One environment: its clock, its last observation, what it says of success."""

    def __init__(self, spec: RobotSpec):
        self.spec, self.env = spec, make_env(spec)
        space = self.env.action_space
        if getattr(space, 'shape', None) is None or len(space.shape) != 1 or not hasattr(space, 'low'):
            raise fault(spec, f'env: its actions are {space}, not one vector of numbers')
        self._kind = space.dtype
        low, high = (np.asarray(bound, np.float64) for bound in (space.low, space.high))
        self._commands, self._state = Commands(spec, low, high), Readings(spec, 'state')
        self._speed = Readings(spec, 'velocity')
        self._step_ns = round(1e9 * self._step_duration())
        self._renderers: dict[tuple[int, int], SceneRenderer] = {}
        self._frame: np.ndarray | None = None
        self.joints, self.velocities = spec.vector('home'), np.zeros(spec.dim)
        self.ended = self.failed = self.success = self._started = False
        self.info: dict[str, Any] = {}
        self.reward, self._due_ns = 0.0, 0

    def _step_duration(self) -> float:
        inner = getattr(self.env, 'unwrapped', self.env)
        rate = (getattr(self.env, 'metadata', None) or {}).get('render_fps')
        seconds = self.spec.simulator.get('step_s', getattr(inner, 'dt', 1 / rate if rate else None))
        if not isinstance(seconds, (int, float)) or not seconds > 0:
            raise fault(
                self.spec, f'step_s, seconds of one step of the environment, must be given; got {seconds!r}'
            )
        return float(seconds)

    def reset(self, seed: int) -> None:
        self.observation, self.info = self.env.reset(seed=seed)
        self.ended = self.failed = self.success = False
        self.reward, self._due_ns, self._frame = 0.0, 0, None
        self.joints = np.clip(self.spec.vector('home'), self.spec.vector('lower'), self.spec.vector('upper'))
        self._state.read(self.observation, self.joints)
        self.velocities = np.zeros(self.spec.dim)
        self._speed.read(self.observation, self.velocities)
        self._started = False
        self._judge(False)

    def step(self, target: np.ndarray, duration_s: float) -> int:
        """Follow ``target`` [dim] for a time; returns the number of steps made.

        The environment's steps have their own length: those that are due by now are made.
        """
        self._due_ns += round(1e9 * duration_s)
        steps = 0
        while self._due_ns >= self._step_ns:
            self._due_ns -= self._step_ns
            steps += 1
            if not (self.ended or self.failed):
                self._advance(target)
        return steps

    def _advance(self, target: np.ndarray) -> None:
        action = self._commands.action(target, self.joints, self.velocities).astype(self._kind)
        self.observation, reward, terminated, truncated, self.info = self.env.step(action)
        before = self.joints
        self.joints = np.array(target, np.float64)  # where nothing is measured, the setpoint is the position
        self._state.read(self.observation, self.joints)
        self.velocities = (self.joints - before) * 1e9 / self._step_ns
        self._speed.read(self.observation, self.velocities)
        self.reward, self._frame = float(reward), None
        self.failed = not (np.isfinite(self.joints).all() and np.isfinite(self.reward))
        if self.failed:
            self.joints, self.velocities = before, np.zeros(self.spec.dim)
        self._started = True
        self._judge(bool(terminated))
        if terminated or truncated:
            self.ended = True
            logger.debug('%s ended its episode and stands still until it is reset', self.spec.name)

    def _judge(self, terminated: bool) -> None:
        started = self._started
        rule = self.spec.simulator.get('success', 'terminated')
        if isinstance(rule, str):
            if rule != 'terminated' and rule not in self.info and started:
                raise fault(
                    self.spec, f"success: the environment's info has no {rule!r}; it has: {sorted(self.info)}"
                )
            self.success = bool(terminated if rule == 'terminated' else np.all(self.info.get(rule, False)))
        else:
            wanted = mapping(self.spec, 'success', rule, ('reward',))
            self.success = started and self.reward >= float(wanted.get('reward', np.inf))

    def progress(self) -> float:
        """1 at success; else what the robot file takes for progress, or 0."""
        rule = mapping(self.spec, 'progress', self.spec.simulator.get('progress', {}), ('info', 'values'))
        if self.success or not rule or not self._started:
            return float(self.success)
        worst, best = pair(self.spec, 'progress.values [worst, best]', rule.get('values'))
        value = self.info.get(str(rule['info']), worst) if 'info' in rule else self.reward
        return float(np.clip((float(value) - worst) / (best - worst), 0.0, UNSOLVED)) + 0.0

    def objects(self) -> dict[str, np.ndarray]:
        """Poses [7] of what the robot file lists under ``objects``: {name: {key, index} or {body}}."""
        poses = {}
        for name, rule in dict(self.spec.simulator.get('objects', {})).items():
            given = mapping(self.spec, f'objects.{name}', rule, ('key', 'index', 'body'))
            if 'body' in given:
                body = self.mujoco()[1].body(str(given['body']))
                poses[name] = np.concatenate([body.xpos, body.xquat])
                continue
            values = np.ravel(look_up(self.spec, 'objects', self.observation, str(given.get('key', ''))))
            first = int(given.get('index', 0))
            poses[name] = np.array([*values[first : first + 3], 1.0, 0.0, 0.0, 0.0])
        return poses

    def mujoco(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Model and data of an environment that runs on MuJoCo's own bindings."""
        inner = getattr(self.env, 'unwrapped', self.env)
        for model, data in (('model', 'data'), ('_model', '_data')):
            if isinstance(getattr(inner, model, None), mujoco.MjModel):
                return getattr(inner, model), getattr(inner, data)
        raise fault(
            self.spec, f'env: {type(inner).__name__} shows no MuJoCo model; use render or a key instead'
        )

    def render(self, camera: CameraSpec, out: np.ndarray) -> None:
        """One frame of a camera into ``out`` [H, W, 3]."""
        rule = dict(self.spec.simulator.get('images', {})).get(camera.name, 'render')
        if rule == 'render':
            if self._frame is None:
                self._frame = self._image(camera, self.env.render())
            out[:] = resized(self._frame, camera.height, camera.width)
            return
        given = mapping(self.spec, f'images.{camera.name}', rule, _IMAGE_KEYS)
        if 'camera' in given:
            model, data = self.mujoco()
            names = [model.camera(i).name for i in range(model.ncam)]
            if given['camera'] not in names:
                raise fault(
                    self.spec, f'images.{camera.name}: no camera {given["camera"]!r}; it has: {names}'
                )
            size = (camera.height, camera.width)
            if size not in self._renderers:
                self._renderers[size] = SceneRenderer(model, *size)
            self._renderers[size].render(model, data, given['camera'], out)
            return
        found = look_up(self.spec, f'images.{camera.name}', self.observation, str(given.get('key', '')))
        image = self._image(camera, found)
        out[:] = resized(image[::-1] if given.get('flip') else image, camera.height, camera.width)

    def _image(self, camera: CameraSpec, found: Any) -> np.ndarray:
        image = np.asarray(found)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise fault(
                self.spec, f'images.{camera.name}: not a uint8 image [H, W, 3] but {image.dtype} '
                f'{image.shape}; does the environment render with render_mode rgb_array?'
            )  # fmt: skip
        return image

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
        self.env.close()
