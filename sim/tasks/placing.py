# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The demonstrator of the place task."""

from __future__ import annotations

import numpy as np

from apprentice.sim.scene import Scene
from apprentice.sim.task import Expert
from apprentice.sim.tasks.hand import UP, Hand
from apprentice.sim.tasks.relations import AIMS, CUBE, EXTENT, KINDS, OFFSETS, in_place, parse
from apprentice.sim.tasks.things import square_yaw, yaw_of


class PlaceExpert(Expert):
    """Fetch the cube, carry it over its place, lower it, open a little, rise.

    Decides from the state alone, so it recovers from anywhere: a cube already in place is let go, a cube
    in the hand is carried on, any other is fetched.
    """

    HOVER = 0.07  # m above the cube, and above its place
    GRASP = 0.004  # m of the tip above the cube's centre
    ALIGNED = 0.008  # m, horizontal error at which to descend
    RELEASE = 1.45 * CUBE  # gripper position that frees the cube and still fits into the bowl (m)
    FREE = 1.3 * CUBE  # m; the cube is free when the gripper is wider

    def __init__(self, scene: Scene):
        self._hand, self._kinematics = Hand(scene), scene.kinematics()
        self._arm = ~scene.spec.gripper_mask

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        hand, wanted = self._hand, parse(task)
        relation, kind = wanted.numbers
        name = f'cube_{wanted.colour}'
        thing = next(key for key in objects if key.startswith(f'{wanted.kind}_{wanted.thing_colour}'))
        cube, goal = objects[name][:3], objects[thing][:3] + OFFSETS[relation, kind]
        tip, rotation = self._kinematics.forward(state[self._arm])
        current, width = yaw_of(rotation), hand.width(state)
        if in_place(cube, goal, AIMS[relation, kind]):
            if width < self.FREE:
                return hand.move(state, tip, self.RELEASE, current)
            narrow = np.linalg.norm(tip - cube) < 2 * CUBE  # fingers may still be inside the bowl
            return hand.move(state, tip + 0.2 * UP, self.RELEASE if narrow else hand.opened, current)
        grip = cube + self.GRASP * UP
        sideways = float(np.linalg.norm((cube - tip)[:2]))
        around = sideways < 2.5 * self.ALIGNED and abs(grip[2] - tip[2]) < 0.014
        if around and width < self.FREE:  # closed on something as wide as the cube
            place = goal + (tip - cube) + 0.002 * UP
            return hand.move(state, hand.above(state, place, self.HOVER, self.ALIGNED), hand.closed, current)
        if around:
            return hand.move(state, grip, hand.closed, current)
        yaw = self._free_yaw(objects, name)
        return hand.move(state, hand.above(state, grip, self.HOVER, self.ALIGNED), hand.opened, yaw)

    @staticmethod
    def _free_yaw(objects: dict[str, np.ndarray], name: str) -> float:
        """Yaw (rad) along the cube's sides that leaves room for the fingers; the smaller if both do."""
        cube, yaw = objects[name][:2], square_yaw(objects[name][3:])
        others = [
            (pose[:2], CUBE if key.startswith('cube') else EXTENT[KINDS.index(key.partition('_')[0])])
            for key, pose in objects.items()
            if key != name and not key.startswith('plate')
        ]

        def room(angle: float) -> float:
            side = 0.046 * np.array([-np.sin(angle), np.cos(angle)])
            fingers = (cube + side, cube - side)
            gaps = [np.linalg.norm(at - place) - extent for place, extent in others for at in fingers]
            return float(min(gaps, default=1.0))

        turned = yaw - np.copysign(np.pi / 2, yaw)
        return turned if room(yaw) < 0.015 and room(turned) > room(yaw) else yaw
