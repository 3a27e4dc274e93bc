# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a physics engine gives the simulator: many simulations of one model, as arrays.

Everything above this seam (scenes, tasks, worlds) is written once, for N simulations; the live node is the
case N = 1. Arrays have a leading axis over the simulations and float64 entries. Engines: MuJoCo's own
thread pool (:mod:`.batch`), plain threads (:mod:`.threads`), MuJoCo Warp (:mod:`.warp`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import mujoco
import numpy as np

# model values that may differ between simulations; a reset writes them, see randomize.py
PER_SIMULATION = (
    'geom_rgba',
    'geom_friction',
    'geom_matid',
    'geom_pos',
    'body_mass',
    'body_inertia',
    'light_diffuse',
    'light_pos',
    'light_dir',
    'cam_pos',
    'cam_quat',
    'cam_fovy',
    'mat_rgba',
    'actuator_gainprm',
    'actuator_biasprm',
    'dof_damping',
)


STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)  # what save() keeps, in MuJoCo's order


def update_poses(model: mujoco.MjModel, data: mujoco.MjData) -> None:
    """Poses of bodies, cameras and lights at the present positions: what is drawn and what tasks look at."""
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_camlight(model, data)


class UnstableSimulation(RuntimeError):
    """A simulation left the numbers; the message names it, the cause and the remedy."""


class Physics(Protocol):
    """N simulations of one model.

    ``read`` fields are current: derived ones (``xpos``, ``site_xpos``, ...) belong to the positions after
    the last :meth:`step`, :meth:`forward` or :meth:`restore`. A simulation that diverges is marked in
    ``failed``, stands still, and does not disturb the others; :meth:`reset` brings it back.
    """

    model: mujoco.MjModel
    count: int
    failed: np.ndarray  # bool [N]

    def read(self, name: str) -> np.ndarray:
        """An MjData field of all simulations, [N, ...]. Do not write into it, do not keep it over a step."""
        ...

    def write(self, name: str, index: int | Sequence[int], values: np.ndarray, sims: Sequence[int]) -> None:
        """Set entries of a state or input field (``qpos``, ``qvel``, ``ctrl``).

        Args:
            index: column or columns to set.
            values: broadcast to [len(sims), len(index)].
            sims: the simulations.
        """
        ...

    def write_model(self, name: str, index: int, value: np.ndarray, sim: int) -> None:
        """Set one row of a model field of one simulation; ``name`` is one of PER_SIMULATION."""
        ...

    def reset(self, sims: Sequence[int]) -> None:
        """Back to the model's defaults, state and model values."""
        ...

    def step(self, substeps: int, sims: Sequence[int] | None = None) -> None:
        """Advance by ``substeps`` time steps of the model."""
        ...

    def forward(self, sims: Sequence[int]) -> None:
        """Make derived fields current after writes."""
        ...

    def save(self, sim: int) -> np.ndarray:
        """The complete state of one simulation: its continuation is the same to the bit."""
        ...

    def restore(self, sim: int, state: np.ndarray) -> None:
        """Put a saved state into a simulation of the same model, any index."""
        ...

    def materialize(self, sim: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """One simulation as plain MuJoCo objects, for rendering. Valid until the next call."""
        ...

    def close(self) -> None:
        """Release threads and memory."""
        ...
