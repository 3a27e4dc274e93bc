# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One Gymnasium environment, driven by setpoints in the unit of a robot file and read in it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import mujoco
import numpy as np

from apprentice.robot.parts import load_part
from apprentice.robot.spec import CameraSpec, RobotSpec
from apprentice.sim.gym.mapping import Commands, Readings, look_up, numbers_at, resized
from apprentice.sim.render import SceneRenderer
from apprentice.sim.robots.section import GYM_KEYS, SCENE_KEYS, Section

UNSOLVED = 0.99  # progress stays below 1 until success
_IMAGE_KEYS = ('key', 'camera', 'flip')

logger = logging.getLogger(__name__)


def make_env(section: Section) -> Any:
    """The environment that the robot file names.

    ``env`` is an id (``package:Name-v0`` imports the package that registers it), ``make`` a part that is
    called instead; ``options`` go to either. ``wrapper`` is a part around the result, with
    ``wrapper_options``.
    """
    options = section.mapping('options')
    wrapper_options = section.mapping('wrapper_options')
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
            raise section.error(
                f'env {section["env"]!r} cannot be made: {error}. An id may begin with the package '
                'that registers it: gymnasium_robotics:FetchReach-v4'
            ) from error
    else:
        raise section.error('env is missing; name an environment, see robots/gym_pusher.yaml')
    if 'wrapper' in section:
        with _closed_on_error(env):
            return load_part(str(section['wrapper']))(env, **wrapper_options)
    return env


@contextlib.contextmanager
def _closed_on_error(env: Any) -> Iterator[None]:
    try:
        yield
    except BaseException:
        env.close()
        raise


class GymSimulation:
    """One environment: its clock, its last observation, what it says of success.

    Raises RobotFileError for a mapping that does not fit the environment, which is closed then.
    """

    def __init__(self, spec: RobotSpec):
        self.spec, self.section = spec, Section(spec)
        self.section.check_keys(GYM_KEYS, {'our own scenes': SCENE_KEYS})
        self.env = make_env(self.section)
        with _closed_on_error(self.env):
            self._read_section()
        self._renderers: dict[tuple[int, int], SceneRenderer] = {}
        self._frame: np.ndarray | None = None
        self.joints, self.velocities = spec.vector('home'), np.zeros(spec.dim)
        self.ended = self.failed = self.success = self._started = False
        self.info: dict[str, Any] = {}
        self.reward, self._due_ns = 0.0, 0

    def _read_section(self) -> None:
        spec, section, space = self.spec, self.section, self.env.action_space
        if getattr(space, 'shape', None) is None or len(space.shape) != 1 or not hasattr(space, 'low'):
            raise section.error(f'env: its actions are {space}, not one vector of numbers')
        self._kind = space.dtype
        low, high = (np.asarray(bound, np.float64) for bound in (space.low, space.high))
        self._commands, self._state = Commands(spec, low, high), Readings(spec, 'state')
        self._speed = Readings(spec, 'velocity')
        self._step_ns = max(1, round(1e9 * self._step_duration()))
        cameras = [camera.name for camera in spec.cameras]
        self._images = {
            name: rule if rule == 'render' else section.mapping(f'images.{name}', _IMAGE_KEYS, rule)
            for name, rule in section.mapping('images', cameras).items()
        }
        self._objects = {
            name: section.mapping(f'objects.{name}', ('key', 'index', 'body'), rule)
            for name, rule in section.mapping('objects').items()
        }
        rule = section.get('success', 'terminated')
        self._success_key, self._enough = (rule, 0.0) if isinstance(rule, str) else ('', np.inf)
        if not self._success_key:
            given = section.mapping('success', ('reward',)).get('reward')
            self._enough = section.number(given, 'success.reward', positive=False)
        self._progress = section.mapping('progress', ('info', 'values'))
        if self._progress:
            self._ends = section.pair(self._progress.get('values'), 'progress.values [worst, best]')

    def _step_duration(self) -> float:
        inner = getattr(self.env, 'unwrapped', self.env)
        rate = (getattr(self.env, 'metadata', None) or {}).get('render_fps')
        seconds = self.section.get('step_s', getattr(inner, 'dt', 1 / rate if rate else None))
        if seconds is None:
            raise self.section.error('step_s is missing: the environment does not say how long its steps are')
        return self.section.number(seconds, 'step_s, seconds of one step of the environment,')

    def reset(self, seed: int) -> None:
        self.observation, self.info = self.env.reset(seed=seed)
        self.ended = self.failed = self.success = self._started = False
        self.reward, self._due_ns, self._frame = 0.0, 0, None
        self.joints = np.clip(self.spec.vector('home'), self.spec.vector('lower'), self.spec.vector('upper'))
        self.velocities = np.zeros(self.spec.dim)
        self._sense(self.joints.copy(), np.zeros(self.spec.dim))
        self._judge(False)

    def _sense(self, joints: np.ndarray, velocities: np.ndarray) -> None:
        """Fill both [dim] where the observation tells and keep them, if they are numbers: else it failed."""
        self._state.read(self.observation, joints)
        self._speed.read(self.observation, velocities)
        if np.isfinite(joints).all() and np.isfinite(velocities).all() and np.isfinite(self.reward):
            self.joints, self.velocities = joints, velocities
            return
        self.failed, self.velocities = True, np.zeros(self.spec.dim)
        logger.warning('%s gives numbers that are not finite; it stands still until reset', self.spec.name)

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
        try:
            self.observation, reward, terminated, truncated, self.info = self.env.step(action)
        except Exception:
            # somebody else's code, one of many simulations: the others go on
            logger.exception('%s: its environment raised; it stands still until reset', self.spec.name)
            self.failed, self.success, self.velocities = True, False, np.zeros(self.spec.dim)
            return
        self.reward, self._frame, self._started = float(reward), None, True
        joints = np.array(target, np.float64)  # where nothing is measured, the setpoint is the position
        self._state.read(self.observation, joints)
        self._sense(joints, (joints - self.joints) * 1e9 / self._step_ns)
        self._judge(bool(terminated))
        if terminated or truncated:
            self.ended = True
            logger.debug('%s ended its episode and stands still until it is reset', self.spec.name)

    def _judge(self, terminated: bool) -> None:
        key = self._success_key
        if not key:
            self.success = self._started and self.reward >= self._enough
            return
        if key != 'terminated' and key not in self.info and self._started:
            raise self.section.error(
                f"success: the environment's info has no {key!r}; it has: {sorted(self.info)}"
            )
        self.success = bool(terminated if key == 'terminated' else np.all(self.info.get(key, False)))

    def progress(self) -> float:
        """1 at success; else what the robot file takes for progress, or 0."""
        if self.success or not self._progress or not self._started:
            return float(self.success)
        worst, best = self._ends
        value = float(self.reward)
        if 'info' in self._progress:
            value = float(self.info.get(str(self._progress['info']), worst))
        if not np.isfinite(value):
            return 0.0
        return float(np.clip((value - worst) / (best - worst), 0.0, UNSOLVED)) + 0.0

    def objects(self) -> dict[str, np.ndarray]:
        """Poses [7] of what the robot file lists under ``objects``: {name: {key, index} or {body}}."""
        poses = {}
        for name, rule in self._objects.items():
            where = f'objects.{name}'
            if 'body' in rule:
                model, data = self.mujoco()
                names = [model.body(i).name for i in range(model.nbody)]
                if rule['body'] not in names:
                    raise self.section.error(f'{where}: no body {rule["body"]!r}; it has: {names}')
                body = data.body(rule['body'])
                poses[name] = np.concatenate([body.xpos, body.xquat])
                continue
            first = self.section.whole(rule.get('index', 0), f'{where}.index')
            key = str(rule.get('key', ''))
            place = numbers_at(self.section, where, self.observation, key, first, 3)
            poses[name] = np.array([*place, 1.0, 0.0, 0.0, 0.0])
        return poses

    def mujoco(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Model and data of an environment that runs on MuJoCo's own bindings."""
        inner = getattr(self.env, 'unwrapped', self.env)
        for model, data in (('model', 'data'), ('_model', '_data')):
            if isinstance(getattr(inner, model, None), mujoco.MjModel):
                return getattr(inner, model), getattr(inner, data)
        raise self.section.error(
            f'env: {type(inner).__name__} shows no MuJoCo model; use render or a key instead'
        )

    def render(self, camera: CameraSpec, out: np.ndarray) -> None:
        """One frame of a camera into ``out`` [H, W, 3]."""
        given = self._images.get(camera.name, 'render')
        if isinstance(given, str):
            if self._frame is None:
                self._frame = self._image(camera, self.env.render())
            out[:] = resized(self._frame, camera.height, camera.width)
            return
        if 'camera' in given:
            model, data = self.mujoco()
            names = [model.camera(i).name for i in range(model.ncam)]
            if given['camera'] not in names:
                raise self.section.error(
                    f'images.{camera.name}: no camera {given["camera"]!r}; it has: {names}'
                )
            size = (camera.height, camera.width)
            if size not in self._renderers:
                self._renderers[size] = SceneRenderer(model, *size)
            out[:] = self._renderers[size].render(model, data, given['camera'])
            return
        found = look_up(self.section, f'images.{camera.name}', self.observation, str(given.get('key', '')))
        image = self._image(camera, found)
        out[:] = resized(image[::-1] if given.get('flip') else image, camera.height, camera.width)

    def _image(self, camera: CameraSpec, found: Any) -> np.ndarray:
        image = np.asarray(found)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise self.section.error(f'images.{camera.name}: not a uint8 image [H, W, 3] but {image.dtype} '
                f'{image.shape}; does the environment render with render_mode rgb_array?'
            )  # fmt: skip
        return image

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
        self.env.close()
