# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""N simulated robots at the same task: reset, step, sense, save, branch. Deterministic for a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from apprentice.robot.spec import RobotSpec
from apprentice.sim.perturb import Perturbation
from apprentice.sim.physics import make_physics
from apprentice.sim.physics.base import Physics
from apprentice.sim.randomize import Randomization
from apprentice.sim.render import GlRendering, Rendering, make_rendering
from apprentice.sim.scene import Scene
from apprentice.sim.task import Expert, Task
from apprentice.sim.view import View

SETTLE_STEPS = 20  # time steps in which objects come to rest before the first observation


@dataclass
class Snapshot:
    """One simulation, complete: its continuation under equal commands is the same to the bit.

    Attributes:
        state: MuJoCo's integration state.
        model: model values that differ from the scene's, (field, row) -> value.
        memory: the task's memory, name -> value.
    """

    seed: int
    instruction: str
    state: np.ndarray
    model: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)
    memory: dict[str, np.ndarray] = field(default_factory=dict)


class Worlds:
    """``count`` copies of the robot of ``spec`` in the scene of its task.

    A simulation that diverges is listed in ``failed`` and stands still until its next reset; the others go
    on. Rendering is set up at the first :meth:`render`, so worlds without GL libraries still step.

    Args:
        spec: the robot; its ``simulator`` section names model and task.
        count: simulations.
        threads: of the physics; 0 takes all processors.
        engine: of the physics, see :func:`~apprentice.sim.physics.make_physics`.
        task: instead of the robot file's.
        level: difficulty of the starts, see Task.start.
        rendering: of the frames, see :func:`~apprentice.sim.render.make_rendering`.
        quality: ``fast`` or ``pretty``.
        randomization: drawn at each reset from a stream of its own, so the start of a seed is the same with
            and without it; a name or file is loaded.
    """

    def __init__(
        self,
        spec: RobotSpec,
        count: int = 1,
        threads: int = 1,
        engine: str = 'auto',
        task: Task | None = None,
        level: float = 1.0,
        rendering: str = 'auto',
        quality: str = 'fast',
        randomization: Randomization | str | Path | None = None,
    ):
        self.spec, self.count, self.level = spec, count, level
        self.scene = Scene(spec, task)
        self.randomization: Randomization = Randomization.of(randomization)
        active = self.randomization.active
        self._perturbation = Perturbation(self.randomization, self.scene) if active else None
        self._rendering: Rendering = make_rendering(self.scene, rendering, quality)
        self._film: GlRendering | None = None
        # last: it may hold threads, a GPU or a process, which an error above would leave behind
        self.physics: Physics = make_physics(self.scene.model, count, threads, engine)
        self.memory: dict[str, np.ndarray] = {}
        self.view = View(self.scene, self.physics, self.memory)
        self.instructions = [''] * count
        self.seeds = np.zeros(count, np.int64)
        self._started = np.zeros(count, bool)
        self._overrides: list[dict[tuple[str, int], np.ndarray]] = [{} for _ in range(count)]
        self._limits = spec.vector('lower'), spec.vector('upper')

    @property
    def task(self) -> Task:
        return self.scene.task

    @property
    def max_duration_s(self) -> float:
        """An attempt that takes longer has failed."""
        return self.task.max_duration_s

    @property
    def failed(self) -> np.ndarray:
        """bool [N]: simulations that diverged and stand still."""
        return self.physics.failed

    @property
    def joints(self) -> np.ndarray:
        """Measured joint positions [N, dim]; the truth is in ``view``."""
        truth = self.view.joints
        if self._perturbation is None or 'random.key' not in self.memory:
            return truth
        return self._perturbation.measured(truth, self.memory)

    @property
    def velocities(self) -> np.ndarray:
        """Joint velocities [N, dim]."""
        return self.view.velocities

    def reset(self, sims: Sequence[int], seeds: Sequence[int], instruction: str = '') -> list[str]:
        """Seeded starts: objects placed, arms within their spread of home. Returns the instructions.

        An instruction fixes what is asked for; the rest is drawn. Raises ValueError for one that the task
        cannot be given, before anything moves.
        """
        if instruction:
            self.task.check(instruction)
        self.physics.reset(sims)
        for sim, seed in zip(sims, seeds, strict=True):
            self._place(sim, int(seed), instruction)
        self.physics.forward(sims)
        self.physics.step(SETTLE_STEPS, sims)
        for name, values in self.task.begin(self.view).items():
            self._remember(name, values[list(sims)], sims)
        return [self.instructions[sim] for sim in sims]

    def _place(self, sim: int, seed: int, instruction: str) -> None:
        spec, rng = self.spec, np.random.default_rng(seed)
        joints = spec.start_posture(rng)
        start = self.task.start(rng, instruction, self.level)
        qpos = self.scene.start_qpos(joints, start.joints)
        self.physics.write('qpos', range(len(qpos)), qpos, [sim])
        self.physics.write('ctrl', self.scene.ctrl, joints, [sim])
        self._overrides[sim] = {}
        for (name, item), value in start.model.items():
            self._override(sim, name, self.scene.row(name, item), np.asarray(value, np.float64))
        remembered = dict(start.memory)
        if self._perturbation is not None:
            for (name, row), value in self._perturbation.model(seed, self._overrides[sim]).items():
                self._override(sim, name, row, value)
            remembered |= self._perturbation.memory(seed)
        for name, value in remembered.items():
            self._remember(name, np.asarray(value)[None], [sim])
        self.instructions[sim], self.seeds[sim], self._started[sim] = start.instruction, seed, True

    def _override(self, sim: int, name: str, row: int, value: np.ndarray) -> None:
        self._overrides[sim][name, row] = value
        self.physics.write_model(name, row, value, sim)

    def _remember(self, name: str, values: np.ndarray, sims: Sequence[int]) -> None:
        if name not in self.memory:
            self.memory[name] = np.zeros((self.count, *values.shape[1:]), values.dtype)
        self.memory[name][list(sims)] = values

    def step(self, targets: np.ndarray, duration_s: float, sims: Sequence[int] | None = None) -> int:
        """Command joint positions [N, dim] (or [len(sims), dim]) and simulate ``duration_s``.

        Returns the number of time steps made. Raises ValueError for a target that is not finite.
        """
        if not np.all(np.isfinite(targets)):
            raise ValueError(f'joint target is not finite: {targets}')
        targets = np.clip(targets, *self._limits)
        steps = max(1, round(duration_s / self.scene.model.opt.timestep))
        if self._perturbation is not None:
            self._perturbation.step(self.physics, self.memory, targets, steps, sims)
        else:
            chosen = range(self.count) if sims is None else sims
            self.physics.write('ctrl', self.scene.ctrl, targets, chosen)
            self.physics.step(steps, sims)
        self.task.update(self.view)
        return steps

    def progress(self) -> np.ndarray:
        """Staged progress [N] in [0, 1]; 0 of a simulation that diverged or was never reset."""
        live = self._live()
        if not live.any():
            return np.zeros(self.count)
        with np.errstate(divide='ignore', invalid='ignore'):  # of those that are not
            return np.where(live, self.task.progress(self.view), 0.0)

    def success(self) -> np.ndarray:
        """bool [N]; never true of a simulation that diverged or was never reset."""
        live = self._live()
        return self.task.success(self.view) & live if live.any() else live

    def _live(self) -> np.ndarray:
        return self._started & ~self.failed

    def objects(self, sim: int = 0) -> dict[str, np.ndarray]:
        """Poses [7] (m, base frame; quaternion wxyz) of the objects of one simulation."""
        return self.task.objects(self.view, sim)

    def expert(self) -> Expert:
        return self.task.expert(self.scene)

    def save(self, sim: int) -> Snapshot:
        """A copy of one simulation, to go on from it again, here or in worlds of the same robot and task."""
        return Snapshot(
            seed=int(self.seeds[sim]),
            instruction=self.instructions[sim],
            state=self.physics.save(sim),
            model=dict(self._overrides[sim]),
            memory={name: np.copy(values[sim]) for name, values in self.memory.items()},
        )

    def restore(self, sim: int, snapshot: Snapshot) -> None:
        """Continue a snapshot in simulation ``sim``; any number of branches may start from one.

        Raises ValueError for a snapshot of worlds with another randomization.
        """
        if ('random.key' in snapshot.memory) != (self._perturbation is not None):
            raise ValueError(
                f'the snapshot is of worlds with another randomization than {self.randomization.name!r}'
            )
        self.physics.reset([sim])
        self.physics.restore(sim, snapshot.state)
        self._overrides[sim] = {}
        for (name, row), value in snapshot.model.items():
            self._override(sim, name, row, value)
        self.physics.forward([sim])  # cameras and lights of this simulation
        for name, value in snapshot.memory.items():
            self._remember(name, np.asarray(value)[None], [sim])
        self.instructions[sim], self.seeds[sim] = snapshot.instruction, snapshot.seed
        self._started[sim] = True

    def render(
        self, sims: Sequence[int] | None = None, out: dict[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """One frame of every camera: name -> uint8 [len(sims), H, W, 3] RGB, into ``out`` if given."""
        chosen = range(self.count) if sims is None else sims
        frames = out if out is not None else self.frame_buffers(len(chosen))
        self._rendering.render(self.physics, chosen, frames)
        if self._perturbation is not None and 'random.key' in self.memory:
            for number, camera in enumerate(self.spec.cameras):
                for frame, sim in zip(frames[camera.name], chosen, strict=True):
                    self._perturbation.spoil(frame, self.memory, sim, number)
        return frames

    def film(self, camera: str, height: int = 512, width: int = 512, sim: int = 0) -> np.ndarray:
        """A frame uint8 [height, width, 3] for people: shadows, smooth edges, no sensor errors."""
        self._film = self._film or GlRendering(self.scene, 'pretty')
        return self._film.film(self.physics, sim, camera, height, width)

    def frame_buffers(self, count: int) -> dict[str, np.ndarray]:
        """Zeroed frames of every camera, name -> uint8 [count, H, W, 3]."""
        return {c.name: np.zeros((count, c.height, c.width, 3), np.uint8) for c in self.spec.cameras}

    def close(self) -> None:
        """Free threads and GL contexts."""
        self._rendering.close()
        if self._film is not None:
            self._film.close()
        self.physics.close()
