# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Our tasks as Gymnasium environments. Importing this module registers one for each task.

``import apprentice.sim.gym.env`` and then ``gymnasium.make('apprentice/PickCube-v0')``, or both in one:
``gymnasium.make('apprentice.sim.gym.env:apprentice/PickCube-v0')``. (Gymnasium 1.0 took out the entry points
with which a package could register itself unasked.)
"""

from __future__ import annotations

import numbers
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from apprentice.sim.gym.attempts import Attempts
from apprentice.sim.tasks import load_task, task_names

try:
    import gymnasium
    from gymnasium import spaces
    from gymnasium.utils import seeding
    from gymnasium.vector import AutoresetMode, VectorEnv
    from gymnasium.vector.utils import batch_space
except ImportError as error:
    raise ImportError(f"{error}; install Gymnasium 1.1 or newer: pip install 'apprentice[gym]'") from error

NAMESPACE = 'apprentice'
LONGEST_INSTRUCTION = 200  # characters
_SEEDS = 2**31


def env_id(task: str) -> str:
    """``pick`` -> ``apprentice/PickCube-v0``: the name of the task's class."""
    return f'{NAMESPACE}/{type(load_task(task)).__name__}-v0'


def register() -> None:
    """Register every task that is not registered yet."""
    for task in task_names():
        if env_id(task) not in gymnasium.registry:
            gymnasium.register(
                env_id(task),
                entry_point='apprentice.sim.gym.env:ApprenticeEnv',
                vector_entry_point='apprentice.sim.gym.env:ApprenticeVectorEnv',
                kwargs={'task': task},
            )


def observation_space(attempts: Attempts, text: bool) -> spaces.Dict:
    """Of one attempt: an image for each camera, ``state``, and ``instruction`` if asked for."""
    found: dict[str, spaces.Space] = {
        camera.name: spaces.Box(0, 255, (camera.height, camera.width, 3), np.uint8)
        for camera in attempts.spec.cameras
    }
    low, high = attempts.state_bounds
    found['state'] = spaces.Box(low, high, dtype=np.float32)
    if text:
        letters = frozenset(string.ascii_letters + string.digits + ' ,.;:\'"-()')
        found['instruction'] = spaces.Text(LONGEST_INSTRUCTION, charset=letters)
    return spaces.Dict(found)


def action_space(attempts: Attempts) -> spaces.Box:
    return spaces.Box(-1.0, 1.0, (attempts.spec.dim,), np.float32)


class ApprenticeEnv(gymnasium.Env):
    """One attempt at a task after the other.

    Terminates on success; truncates after the task's ``max_duration_s`` and when the physics diverges
    (``info['is_failed']``). A seed is the start of that seed everywhere in this package; without one, starts
    are drawn from the environment's generator. ``reset(options={'instruction': ...})`` asks for something.

    Args:
        text: put the instruction into the observation too; it is always in ``info``.
        render_mode: ``rgb_array``: :meth:`render` gives a large frame of the first camera.
        film_size: height and width of that frame, pixels.
        attempts: see :class:`~apprentice.sim.gym.attempts.Attempts`.
    """

    def __init__(
        self,
        task: str = 'pick',
        *,
        text: bool = False,
        render_mode: str | None = None,
        film_size: int = 480,
        **attempts: Any,
    ):
        if render_mode not in (None, *self.metadata['render_modes']):
            raise ValueError(f'render_mode {render_mode!r} is unknown; use rgb_array or None')
        self.attempts = Attempts(1, task, **attempts)
        self.render_mode, self._text, self._film_size = render_mode, text, film_size
        self.metadata = {**self.metadata, 'render_fps': round(1 / self.attempts.spec.action_dt)}
        self.observation_space = observation_space(self.attempts, text)
        self.action_space = action_space(self.attempts)

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 10}  # noqa: RUF012 - Gymnasium's way

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        seed = None if seed is None else int(seed)  # Gymnasium takes no integers of NumPy
        super().reset(seed=seed)
        start = int(self.np_random.integers(_SEEDS)) if seed is None else seed
        self.attempts.begin([0], [start], str((options or {}).get('instruction', '')))
        return self._observation(), self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        rewards, terminated, truncated = self.attempts.advance(np.asarray(action)[None], [0])
        ended = bool(terminated[0]), bool(truncated[0])
        return self._observation(), float(rewards[0]), *ended, self._info()

    def expert_action(self) -> np.ndarray:
        """The action [dim] that comes closest to what the task's scripted expert does now."""
        worlds = self.attempts.worlds
        target = worlds.expert().act(worlds.joints[0].copy(), worlds.objects(0), worlds.instructions[0])
        return self.attempts.normalized(target[None])[0]

    def _observation(self) -> dict[str, Any]:
        found: dict[str, Any] = {name: values[0].copy() for name, values in self.attempts.observe().items()}
        if self._text:
            found['instruction'] = self.attempts.worlds.instructions[0]
        return found

    def _info(self) -> dict[str, Any]:
        truth = {name: values[0].item() for name, values in self.attempts.truth().items()}
        return {**truth, 'instruction': self.attempts.worlds.instructions[0]}

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        if self.render_mode != 'rgb_array':
            return None
        return self.attempts.worlds.film(self.attempts.film_camera, self._film_size, self._film_size)

    def close(self) -> None:
        self.attempts.close()


class ApprenticeVectorEnv(VectorEnv):
    """``num_envs`` attempts at once, in one set of worlds; equal to that many :class:`ApprenticeEnv`.

    An attempt that has ended begins anew at the next step, whatever its action, with reward 0
    (``AutoresetMode.NEXT_STEP``). Sub-environment i of ``reset(seed=s)`` has seed ``s + i``.
    """

    metadata = {  # noqa: RUF012
        'render_modes': ['rgb_array'],
        'render_fps': 10,
        'autoreset_mode': AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        task: str = 'pick',
        *,
        text: bool = False,
        render_mode: str | None = None,
        film_size: int = 480,
        **attempts: Any,
    ):
        self.num_envs, self.render_mode, self._text = num_envs, render_mode, text
        self._film_size = film_size
        self.attempts = Attempts(num_envs, task, **attempts)
        self.metadata = {**self.metadata, 'render_fps': round(1 / self.attempts.spec.action_dt)}
        self.single_observation_space = observation_space(self.attempts, text)
        self.single_action_space = action_space(self.attempts)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._generators: list[np.random.Generator] = []
        self._ended = np.zeros(num_envs, bool)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | np.ndarray | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        every = range(self.num_envs)
        if seed is None or isinstance(seed, numbers.Integral):
            seeds = [None if seed is None else int(seed) + i for i in every]
        else:
            seeds = [None if given is None else int(given) for given in seed]  # type: ignore[union-attr]
        if len(seeds) != self.num_envs:
            raise ValueError(f'{len(seeds)} seeds for {self.num_envs} environments')
        if not self._generators:
            self._generators = [seeding.np_random(None)[0] for _ in every]
        starts = []
        for i, given in enumerate(seeds):
            if given is not None:
                self._generators[i] = seeding.np_random(given)[0]
            starts.append(self._draw(i) if given is None else given)
        self.attempts.begin(every, starts, str((options or {}).get('instruction', '')))
        self._ended[:] = False
        return self._observation(), self._info()

    def _draw(self, i: int) -> int:
        return int(self._generators[i].integers(_SEEDS))

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        ended, going = np.flatnonzero(self._ended), np.flatnonzero(~self._ended)
        if len(ended):
            self.attempts.begin(ended.tolist(), [self._draw(i) for i in ended.tolist()])
        if len(going):
            made = self.attempts.advance(np.asarray(actions)[going], going.tolist())
            rewards[going], terminated[going], truncated[going] = made
        self._ended = terminated | truncated
        return self._observation(), rewards, terminated, truncated, self._info()

    def _observation(self) -> dict[str, Any]:
        found: dict[str, Any] = {name: values.copy() for name, values in self.attempts.observe().items()}
        if self._text:
            found['instruction'] = tuple(self.attempts.worlds.instructions)
        return found

    def _info(self) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        truth = self.attempts.truth()
        for i, instruction in enumerate(self.attempts.worlds.instructions):
            single = {
                **{name: values[i].item() for name, values in truth.items()},
                'instruction': instruction,
            }
            infos = self._add_info(infos, single, i)
        return infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        if self.render_mode != 'rgb_array':
            return None
        film, camera = self.attempts.worlds.film, self.attempts.film_camera
        size = self._film_size
        return tuple(film(camera, size, size, i) for i in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        self.attempts.close()


register()
