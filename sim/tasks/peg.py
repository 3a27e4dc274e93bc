# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Take the peg out of its stand and insert it into the named hole; a hole of another colour is there too.

A square peg of 24 mm, holes of 28 mm: 2 mm of clearance on every side, at every level of difficulty.
"""

from __future__ import annotations

import mujoco
import numpy as np

from apprentice.sim.scene import Scene
from apprentice.sim.task import Expert, Start, TaskBase
from apprentice.sim.tasks.grasping import grasped
from apprentice.sim.tasks.hand import UP
from apprentice.sim.tasks.inserting import InsertExpert, PosingHand
from apprentice.sim.tasks.phrases import COLOUR, colour_asked
from apprentice.sim.tasks.tabletop import apart
from apprentice.sim.tasks.things import (
    COLOURS,
    add_box,
    add_placed,
    colour_name,
    colour_number,
    placed_at,
    two_colours,
    upright,
)
from apprentice.sim.view import View

HALF_WIDTH, HALF_LENGTH = 0.012, 0.045  # m, of the peg
CLEARANCE = 0.002  # m, on every side
DEPTH, WALL = 0.03, 0.006  # m, of a hole and its walls
INSERTED = 0.006  # m above the table, highest bottom of an inserted peg
WORKSPACE = ((0.24, -0.13), (0.36, 0.13))  # m, corners of the area of stand and holes
ROOM = 0.075  # m between a hole and what else stands there, for the fingers
HOLES = ('first', 'second')
STAND_COLOUR = (0.3, 0.3, 0.33, 1.0)
PEG_COLOUR = (0.93, 0.9, 0.8, 1.0)
SIDES = ('left', 'right', 'near', 'far')
AWAY = HALF_LENGTH + 0.03  # m, of the tool from the peg's centre; a hand as far as that does not hold it


def named_hole(instruction: str) -> str:
    """Colour of the hole to insert the peg into. Raises ValueError."""
    pattern = f'(?:insert|put|place|push) the peg in(?:to)? the {COLOUR} hole'
    return colour_asked(instruction, pattern, '"insert the peg into the red hole"')


class InsertPeg(TaskBase):
    """Success when the peg rests deep in the named hole, upright, and the hand has let go of it.

    Easier starts (``level`` below 1) put the peg's stand closer to the named hole and turn it less.
    """

    name = 'peg'
    max_duration_s = 10.0

    def build(self, model: mujoco.MjSpec) -> None:
        for name in (*HOLES, 'stand'):
            _add_socket(model, name)
        add_box(model, 'peg', [HALF_WIDTH, HALF_WIDTH, HALF_LENGTH])

    def check(self, instruction: str) -> None:
        named_hole(instruction)

    def start(self, rng: np.random.Generator, instruction: str, level: float) -> Start:
        names = two_colours(rng, named_hole(instruction) if instruction else '')
        instruction = instruction or f'insert the peg into the {names[0]} hole'
        stand, wanted, other = apart(rng, WORKSPACE, level, ROOM)
        yaw = float(rng.uniform(-0.35, 0.35)) * level
        slots = [str(slot) for slot in rng.permutation(HOLES)]

        start = Start(instruction)
        start.joints.update(placed_at('stand', stand), stand_yaw=yaw)
        start.joints['peg'] = upright(stand, HALF_LENGTH, yaw)
        for name, slot, place in zip(names, slots, (wanted, other), strict=True):
            start.joints.update(placed_at(slot, place))
            start.model.update({('geom_rgba', f'{slot}_{side}'): COLOURS[name] for side in SIDES})
        start.model.update({('geom_rgba', f'stand_{side}'): STAND_COLOUR for side in SIDES})
        start.model['geom_rgba', 'peg'] = PEG_COLOUR
        start.memory['target'] = HOLES.index(slots[0])
        colours = dict(zip(slots, names, strict=True))
        start.memory['colours'] = np.array([colour_number(colours[slot]) for slot in HOLES])
        return start

    def begin(self, view: View) -> dict[str, np.ndarray]:
        reach = np.linalg.norm(view.tip - view.position('peg'), axis=1)
        return {'start_distance': np.maximum(reach, 0.05), 'start_aside': np.maximum(self._aside(view), 0.08)}

    def objects(self, view: View, sim: int) -> dict[str, np.ndarray]:
        """``peg``, its ``stand`` and ``red_hole``, ...; the frame of a hole is at its bottom."""
        poses = {name: view.pose(name)[sim] for name in ('peg', 'stand')}
        for slot, number in zip(HOLES, view.memory['colours'][sim], strict=True):
            poses[f'{colour_name(number)}_hole'] = view.pose(slot)[sim]
        return poses

    def progress(self, view: View) -> np.ndarray:
        """0 to 0.3 reaching, 0.35 grasped, 0.5 out of the stand, 0.75 near the hole, 0.85 over it."""
        peg, aside, bottom = view.position('peg'), self._aside(view), self._bottom(view)
        reach = 0.3 * np.clip(
            1 - (np.linalg.norm(view.tip - peg, axis=1) - 0.02) / view.memory['start_distance'], 0, 1
        )
        lifted = 0.35 + 0.15 * np.clip(bottom / DEPTH, 0, 1)
        carried = 0.5 + 0.25 * np.clip(1 - (aside - 0.05) / (view.memory['start_aside'] - 0.05), 0, 1)
        carried += 0.1 * np.clip(1 - aside / 0.05, 0, 1)
        held = np.where(bottom > DEPTH, carried, lifted)
        progress = np.where(grasped(view, peg, HALF_WIDTH, HALF_LENGTH), held, reach)
        inside = 0.85 + 0.13 * np.clip(1 - bottom / DEPTH, 0, 1)
        progress = np.where(
            (aside < 2 * CLEARANCE) & (bottom < DEPTH) & self._upright(view), inside, progress
        )
        return np.where(self.success(view), 1.0, progress)

    def success(self, view: View) -> np.ndarray:
        placed = (self._aside(view) < 2 * CLEARANCE) & (self._bottom(view) < INSERTED) & self._upright(view)
        free = (view.opening > 1.4 * HALF_WIDTH) | (
            np.linalg.norm(view.tip - view.position('peg'), axis=1) > AWAY
        )
        return placed & (view.speed('peg') < 0.05) & free

    def expert(self, scene: Scene) -> Expert:
        return InsertExpert(PosingHand(scene), HALF_WIDTH, HALF_LENGTH, DEPTH, CLEARANCE)

    def _aside(self, view: View) -> np.ndarray:
        """Horizontal distance [N] (m) of the peg's centre from the axis of the named hole."""
        first, second = (view.position(slot) for slot in HOLES)
        hole = np.where((view.memory['target'] == 1)[:, None], second, first)
        return np.linalg.norm((view.position('peg') - hole)[:, :2], axis=1)

    def _bottom(self, view: View) -> np.ndarray:
        """Height [N] (m) of the middle of the peg's lower end."""
        return view.position('peg')[:, 2] - HALF_LENGTH * np.abs(view.rotation('peg')[:, 2, 2])

    def _upright(self, view: View) -> np.ndarray:
        """Whether the peg stands straight, on either end, bool [N]."""
        return np.abs(view.rotation('peg')[:, 2, 2]) > 0.97


def _add_socket(model: mujoco.MjSpec, name: str) -> None:
    """Four walls around a hole; immovable to the robot but placed by a start."""
    body = add_placed(model, name, mass=1000.0, damping=1e6)
    if name == 'stand':
        body.add_joint(
            name=f'{name}_yaw', type=mujoco.mjtJoint.mjJNT_HINGE, axis=UP.tolist(), armature=1e3, damping=1e6
        )
    inner = HALF_WIDTH + CLEARANCE
    middle, long = inner + WALL / 2, inner + WALL
    walls = ((0, middle, long, WALL / 2), (0, -middle, long, WALL / 2),
             (-middle, 0, WALL / 2, inner), (middle, 0, WALL / 2, inner))  # fmt: skip
    for side, (x, y, along, across) in zip(SIDES, walls, strict=True):
        body.add_geom(
            name=f'{name}_{side}',
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=[x, y, DEPTH / 2],
            size=[along, across, DEPTH / 2],
            mass=0,
            friction=[0.3, 0.005, 0.0001],
            priority=1,
            rgba=[1, 1, 1, 1],
        )


TASK = InsertPeg
