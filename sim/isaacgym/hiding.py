# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Things that a start does not use: MuJoCo does not draw an alpha of 0, Isaac Gym has no alpha.

What is hidden is therefore moved out of view for the step that a frame needs: by its root where it is a free
body, by a slide joint without limits where it hangs on one.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco

from apprentice.sim.isaacgym.actors import Actor, Link
from apprentice.sim.isaacgym.model_values import ModelValues

AWAY = 1000.0  # m, beyond what cameras see
_SLIDE = int(mujoco.mjtJoint.mjJNT_SLIDE)

Place = tuple[int, str, int]  # simulation, shared array (root or dof), column


class Hiding:
    """What moves each geom of a scene out of view, and what else goes with it."""

    def __init__(self, model: mujoco.MjModel, actors: Sequence[Actor]):
        self._model = model
        self._movers: dict[int, tuple[str, int, list[int]] | None] = {}  # geom -> array, column, geoms moved
        roots = dofs = 0
        for actor in actors:
            columns = {}
            for i, link in enumerate(actor.links):
                slides = [k for k, joint in enumerate(link.joints) if self._slides(joint)]
                if slides:
                    columns[i] = dofs + slides[0]
                dofs += len(link.joints)
            for i, link in enumerate(actor.links):
                top = next((k for k in _upwards(actor.links, i) if k in columns), -1)
                mover = None
                if top >= 0:
                    mover = ('dof', columns[top], _below(actor.links, top))
                elif actor.free >= 0:
                    mover = ('root', roots, _below(actor.links, 0))
                self._movers.update(dict.fromkeys(link.geoms, mover))
            roots += actor.free >= 0

    def _slides(self, joint: int) -> bool:
        return int(self._model.jnt_type[joint]) == _SLIDE and not self._model.jnt_limited[joint]

    def places(self, values: ModelValues, sims: Sequence[int]) -> set[Place]:
        """What to move for frames of ``sims``. Raises ValueError for what cannot be hidden, or not alone."""
        found: set[Place] = set()
        for sim in sims:
            written = [row for name, row in values.overrides[sim] if name == 'geom_rgba']
            for geom in (row for row in written if _hidden(values, row, sim)):
                if self._model.geom_rgba[geom, 3] == 0:
                    continue  # as in the model
                mover = self._movers.get(geom)
                if mover is None or not all(_hidden(values, other, sim) for other in mover[2]):
                    raise ValueError(
                        f'simulation {sim}: geom {self._model.geom(geom).name!r} has an alpha of 0, and '
                        'Isaac Gym can only move it out of view: hide all geoms of a body that has a free '
                        'joint or a slide joint without limits, or use rendering gl or warp'
                    )
                found.add((int(sim), mover[0], mover[1]))
        return found


def _hidden(values: ModelValues, geom: int, sim: int) -> bool:
    return bool(values.value('geom_rgba', geom, sim)[3] == 0)


def _upwards(links: Sequence[Link], link: int) -> list[int]:
    """A link and those it hangs on, up to the root."""
    found = [link]
    while links[found[-1]].parent >= 0:
        found.append(links[found[-1]].parent)
    return found


def _below(links: Sequence[Link], top: int) -> list[int]:
    """Geoms of a link and of everything that hangs on it."""
    return [geom for i, link in enumerate(links) if top in _upwards(links, i) for geom in link.geoms]
