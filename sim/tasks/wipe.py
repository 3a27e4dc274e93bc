# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Wipe the named stain off the table with the sponge; a stain of another colour shall stay.

A stain is a grid of thin patches. The held sponge, low over the table, cleans the patches under it: they
sink into the table top, so that camera images show what is left.
"""

from __future__ import annotations

import mujoco
import numpy as np

from apprentice.sim.scene import Scene
from apprentice.sim.task import Expert, Start, TaskBase
from apprentice.sim.tasks.grasping import grasped
from apprentice.sim.tasks.grips import rotation_matrix
from apprentice.sim.tasks.hand import UP, Hand
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

SPONGE = np.array([0.032, 0.018, 0.018])  # m, half of its sides
SPONGE_COLOUR = (1.0, 0.72, 0.8, 1.0)
REACH = np.array([0.002, 0.002, 0.001])  # m, how far beyond its sides the sponge cleans
PITCH = 0.015  # m, between neighbouring patches
GRID = np.stack(
    np.meshgrid(PITCH * np.arange(-1.5, 2), PITCH * np.arange(-2, 3), [0.0], indexing='ij'), axis=-1
).reshape(-1, 3)  # m, centres of the patches from the stain's centre
SUNK = -0.01  # m, joint position of a clean patch
COVERED = 0.95  # part of the stain's patches that must be clean
SPARED = 0.2  # part of the other stain that may become clean on the way
WORKSPACE = ((0.24, -0.14), (0.38, 0.14))  # m, corners of the area of sponge and stains
ROOM = 0.105  # m between the stains, and between the other stain and the sponge
STAINS = ('first', 'second')
PATCHES = [f'{stain}_{number}' for stain in STAINS for number in range(len(GRID))]
PHRASE = f'(?:wipe|clean)(?: up| off| away)? the {COLOUR} stain(?: up| away| off(?: the table)?)?'


def named_stain(instruction: str) -> str:
    """Colour of the stain to wipe. Raises ValueError."""
    return colour_asked(instruction, PHRASE, '"wipe the red stain"')


class Wipe(TaskBase):
    """Success when 95 % of the named stain is clean and at least 80 % of the other is still there.

    Easier starts (``level`` below 1) have smaller stains and a sponge that lies closer to the named one.
    """

    name = 'wipe'
    max_duration_s = 12.0

    def build(self, model: mujoco.MjSpec) -> None:
        add_box(model, 'sponge', SPONGE.tolist(), mass=0.03)
        for stain in STAINS:
            body = add_placed(model, stain)
            for number, place in enumerate(GRID):
                _add_patch(body, f'{stain}_{number}', place)

    def check(self, instruction: str) -> None:
        named_stain(instruction)

    def start(self, rng: np.random.Generator, instruction: str, level: float) -> Start:
        names = two_colours(rng, named_stain(instruction) if instruction else '')
        instruction = instruction or f'wipe the {names[0]} stain'
        sponge, wanted, other = apart(rng, WORKSPACE, level, ROOM)
        slots = [str(slot) for slot in rng.permutation(STAINS)]
        extent = np.linalg.norm(GRID / [2 * PITCH, 2.5 * PITCH, 1.0], axis=1)
        present = extent < 0.5 + 0.45 * level + rng.uniform(-0.1, 0.15, (2, len(GRID)))

        start = Start(instruction)
        start.joints['sponge'] = upright(sponge, SPONGE[2], rng.uniform(-0.5, 0.5))
        start.model['geom_rgba', 'sponge'] = SPONGE_COLOUR
        for name, slot, place in zip(names, slots, (wanted, other), strict=True):
            start.joints.update(placed_at(slot, place))
            start.model.update({('geom_rgba', f'{slot}_{n}'): COLOURS[name] for n in range(len(GRID))})
        start.joints.update(dict(zip(PATCHES, np.where(present, 0.0, SUNK).ravel(), strict=True)))
        start.memory['target'] = STAINS.index(slots[0])
        colours = dict(zip(slots, names, strict=True))
        start.memory['colours'] = np.array([colour_number(colours[slot]) for slot in STAINS])
        start.memory['patches'] = present.sum(1)
        start.memory['dirty'] = present
        return start

    def begin(self, view: View) -> dict[str, np.ndarray]:
        reach = np.linalg.norm(view.tip - view.position('sponge'), axis=1)
        return {'start_distance': np.maximum(reach, 0.05), 'start_aside': np.maximum(self._aside(view), 0.08)}

    def update(self, view: View) -> None:
        """Clean the patches under the held sponge."""
        if 'dirty' not in view.memory:  # before the first start
            return
        away = self._patches(view) - view.position('sponge')[:, None, None]
        inside = np.abs(away @ view.rotation('sponge')[:, None]) < SPONGE + REACH
        dirty = view.memory['dirty']
        wiped = dirty & inside.all(-1) & self._held(view)[:, None, None]
        dirty &= ~wiped
        view.write_joints(PATCHES, SUNK, wiped.reshape(view.count, -1))

    def objects(self, view: View, sim: int) -> dict[str, np.ndarray]:
        """``sponge``, ``red_stain``, ... and the patches still dirty, ``red_stain_7``, ..."""
        poses = {'sponge': view.pose('sponge')[sim]}
        patches = self._patches(view)[sim]
        for number, stain in enumerate(STAINS):
            name = f'{colour_name(view.memory["colours"][sim, number])}_stain'
            poses[name] = view.pose(stain)[sim]
            for patch in np.flatnonzero(view.memory['dirty'][sim, number]):
                poses[f'{name}_{patch}'] = np.array([*patches[number, patch], 1.0, 0, 0, 0])
        return poses

    def progress(self, view: View) -> np.ndarray:
        """0 to 0.25 reaching the sponge, 0.3 held, 0.4 held at the stain; the rest is coverage."""
        reach = np.linalg.norm(view.tip - view.position('sponge'), axis=1) - 0.02
        reach = 0.25 * np.clip(1 - reach / view.memory['start_distance'], 0, 1)
        carry = 1 - (self._aside(view) - 0.06) / (view.memory['start_aside'] - 0.06)
        ready = np.where(self._held(view), 0.3 + 0.1 * np.clip(carry, 0, 1), reach)
        return np.where(self.success(view), 1.0, np.minimum(ready + 0.6 * self.coverage(view)[0], 0.99))

    def success(self, view: View) -> np.ndarray:
        wanted, other = self.coverage(view)
        return (wanted >= COVERED) & (other <= SPARED)

    def coverage(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Clean part [N] in [0, 1] of the named stain and of the other."""
        first, second = (1 - view.memory['dirty'].sum(-1) / np.maximum(view.memory['patches'], 1)).T
        swap = view.memory['target'] == 1
        return np.where(swap, second, first), np.where(swap, first, second)

    def expert(self, scene: Scene) -> Expert:
        return WipeExpert(Hand(scene))

    def _held(self, view: View) -> np.ndarray:
        return grasped(view, view.position('sponge'), float(SPONGE[1]))

    def _patches(self, view: View) -> np.ndarray:
        """Positions [N, 2, patches, 3] on the table of all patches."""
        return np.stack([view.position(stain) for stain in STAINS], axis=1)[:, :, None] + GRID

    def _aside(self, view: View) -> np.ndarray:
        """Horizontal distance [N] (m) of the sponge from the centre of the named stain."""
        first, second = (view.position(stain) for stain in STAINS)
        stain = np.where((view.memory['target'] == 1)[:, None], second, first)
        return np.linalg.norm((view.position('sponge') - stain)[:, :2], axis=1)


class WipeExpert(Expert):
    """Grasp the sponge, carry it over the nearest dirty patch, put it down, sweep; decides from the state."""

    HOVER = 0.07  # m, of the open hand above the sponge
    CARRY = 0.04  # m, of the sponge's lower side above the table
    PRESS = -0.001  # m, the same while wiping: the sponge touches
    SWEEP = 0.06  # m, longest way between patches on which the sponge stays low
    SLOW = 0.3  # part of the hand's stride while wiping

    def __init__(self, hand: Hand):
        self._hand = hand

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        hand, sponge, tip = self._hand, objects['sponge'][:3], self._hand.tip(state)
        axes = rotation_matrix(objects['sponge'][3:])
        close = float(np.linalg.norm(tip - sponge)) < 0.02
        if close and 0.6 * SPONGE[1] < hand.width(state) < 1.3 * SPONGE[1]:
            return self._wipe(state, objects, task, sponge, float(np.abs(axes[2]) @ SPONGE))
        grip = sponge + 0.004 * UP
        long = axes[
            :, int(np.argmax(np.linalg.norm(axes[:2], axis=0) * SPONGE))
        ]  # longest when seen from above
        yaw = (np.arctan2(long[1], long[0]) + np.pi / 2) % np.pi - np.pi / 2
        around = np.linalg.norm((grip - tip)[:2]) < 0.01 and abs(grip[2] - tip[2]) < 0.012
        width = hand.closed if around else hand.opened
        return hand.move(state, grip if around else hand.above(state, grip, self.HOVER), width, yaw)

    def _wipe(
        self, state: np.ndarray, objects: dict[str, np.ndarray], task: str, sponge: np.ndarray, half: float
    ) -> np.ndarray:
        """Joint target that brings the held sponge to the patch that is nearest."""
        hand, tip = self._hand, self._hand.tip(state)
        stain = f'{named_stain(task)}_stain'
        dirty = [pose[:3] for name, pose in objects.items() if name.startswith(f'{stain}_')]
        if not dirty:
            return hand.move(state, tip + self.CARRY * UP, hand.closed)
        # the sponge is as long as a stain is: straight over it in x, over the nearest patch in y
        place = np.array(min(dirty, key=lambda patch: abs(patch[1] - sponge[1])))
        place[0] = (min(patch[0] for patch in dirty) + max(patch[0] for patch in dirty)) / 2
        step = place - sponge
        step[2] = 0.0
        aside, bottom = float(np.linalg.norm(step)), sponge[2] - half
        if bottom < 0.01 and aside < self.SWEEP:  # wipe
            step = step * min(1.0, 0.01 / max(aside, 1e-9))
            height = self.PRESS
        elif aside < 0.01:
            height = self.PRESS
        else:
            height = self.CARRY
            step = step * (bottom > 0.6 * self.CARRY)  # first straight up
        goal = tip + step + np.array([0, 0, height - bottom])
        return hand.move(state, goal, hand.closed)


def _add_patch(stain: mujoco.MjsBody, name: str, place: np.ndarray) -> None:
    """A thin square that touches nothing and can sink."""
    body = stain.add_body(name=name, pos=place.tolist(), gravcomp=1.0)
    body.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=UP.tolist(), damping=1.0, armature=0.01)
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[PITCH / 2, PITCH / 2, 0.001],
        mass=0.001,
        contype=0,
        conaffinity=0,
        rgba=[1, 1, 1, 1],
    )


TASK = Wipe
