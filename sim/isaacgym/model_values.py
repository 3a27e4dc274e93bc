# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Model values that differ between simulations: kept here, sent to Isaac Gym where it has a counterpart."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import mujoco
import numpy as np

from apprentice.sim.isaacgym import actors, assets
from apprentice.sim.isaacgym.actors import Drive, Link
from apprentice.sim.isaacgym.process import WorkerProcess
from apprentice.sim.physics.base import PER_SIMULATION

_MASS = ('body_mass', 'body_inertia')
_GAINS = ('actuator_gainprm', 'actuator_biasprm', 'dof_damping')
# looks, which other renderings can draw; IsaacGymRendering knows which it can
_LOOKS = (
    *('geom_rgba', 'geom_matid', 'geom_pos', 'mat_rgba', 'cam_pos', 'cam_quat', 'cam_fovy'),
    *('light_diffuse', 'light_pos', 'light_dir'),
)


class ModelValues:
    """Per-simulation values of one engine.

    Attributes:
        overrides: for each simulation (field, row) -> value where it differs from the model.
        blend: [N, joints, 2] gain and offset of each joint's target, see Drive.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        worker: WorkerProcess,
        links: list[Link],
        drives: list[Drive],
        count: int,
        device: str,
    ):
        self._model, self._worker, self._drives, self._device = model, worker, drives, device
        self._scratch = copy.copy(model)
        self._shapes = {geom: (i, k) for i, link in enumerate(links) for k, geom in enumerate(link.geoms)}
        self._links = {link.body: i for i, link in enumerate(links) if link.tracked}
        self.overrides: list[dict[tuple[str, int], np.ndarray]] = [{} for _ in range(count)]
        self._changed: list[set[tuple[str, int]]] = [set() for _ in range(count)]
        self.blend = np.tile([(drive.gain, drive.offset) for drive in drives], (count, 1, 1)).reshape(
            count, -1, 2
        )

    def write(self, name: str, row: int, value: np.ndarray, sim: int) -> None:
        """Set one row of one field. Raises ValueError for one that cannot differ between simulations."""
        if name not in PER_SIMULATION:
            raise ValueError(f'{name!r} cannot differ between simulations; {sorted(PER_SIMULATION)} can')
        self._check(name, row)
        self.overrides[sim][name, row] = np.array(value, np.float64)
        self._changed[sim].add((name, row))

    def _check(self, name: str, row: int) -> None:
        if name in _MASS and self._device != 'cpu':
            raise ValueError(
                f'{name}: with its GPU pipeline Isaac Gym cannot change masses while it runs; leave them out '
                "of the randomization, set APPRENTICE_ISAACGYM_DEVICE=cpu, or take engine 'warp'"
            )
        if name == 'geom_pos' and actors.collides(self._model, row):
            raise ValueError(
                f'geom {self._model.geom(row).name!r}: Isaac Gym cannot move a shape in its body'
            )
        if name not in (*_LOOKS, *_MASS, *_GAINS, 'geom_friction'):
            raise ValueError(f"{name} cannot differ between simulations in Isaac Gym; take engine 'warp'")

    def reset(self, sims: Sequence[int]) -> None:
        """Back to the model's values."""
        for sim in sims:
            self._changed[sim] |= self.overrides[sim].keys()
            self.overrides[sim].clear()

    def value(self, name: str, row: int, sim: int) -> np.ndarray:
        """One row of one field as it is in a simulation."""
        return self.overrides[sim].get((name, row), getattr(self._model, name)[row])

    def fill(self, model: mujoco.MjModel, sim: int) -> None:
        """Put a simulation's values into a copy of the model."""
        for name in PER_SIMULATION:
            getattr(model, name)[:] = getattr(self._model, name)
        for (name, row), value in self.overrides[sim].items():
            getattr(model, name)[row] = value

    def apply(self) -> None:
        """Send what changed since the last call."""
        for sim, changed in enumerate(self._changed):
            if not changed:
                continue
            self.fill(self._scratch, sim)
            for name, row in changed:
                if name == 'geom_friction' and row in self._shapes:
                    link, shape = self._shapes[row]
                    friction = float(self._scratch.geom_friction[row, 0])
                    self._worker.call('friction', sim=sim, body=link, shape=shape, friction=friction)
                elif (
                    name == 'geom_rgba' and self._shapes.get(row, (0, 1))[1] == 0
                ):  # gives the link its colour
                    colour = assets.geom_colour(self._scratch, row)
                    self._worker.call('colour', sim=sim, body=self._shapes[row][0], colour=colour)
            for body in {row for name, row in changed if name in _MASS} & self._links.keys():
                self._worker.call(
                    'mass', sim=sim, body=self._links[body], **assets.inertial(self._scratch, body)
                )
            if any(name in _GAINS for name, _ in changed):
                self._apply_gains(sim)
            changed.clear()

    def _apply_gains(self, sim: int) -> None:
        drives = actors.drives(self._scratch)
        for i, drive in enumerate(self._drives):
            new = drives[drive.joint]
            self.blend[sim, i] = new.gain, new.offset
            self._worker.call('drive', sim=sim, dof=i, stiffness=new.stiffness, damping=new.damping)
