# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pick up the named cube; another colour is in the scene."""

from __future__ import annotations

import mujoco
import numpy as np

from apprentice.sim.scene import Scene
from apprentice.sim.task import Expert, Start, TaskBase
from apprentice.sim.tasks.grasping import grasped
from apprentice.sim.tasks.hand import UP, Hand
from apprentice.sim.tasks.phrases import matched
from apprentice.sim.tasks.things import COLOURS, add_box, named_colour
from apprentice.sim.view import View

HALF_SIZE = 0.02  # m
LIFTED = 0.08  # m, height of the cube's centre that counts as picked up
WORKSPACE = ((0.2, -0.13), (0.36, 0.13))  # m, corners of the area of the cubes' centres
SMALLEST = 0.5  # part of the area's sides that level 0 uses
SLOTS = ('first', 'second')
_PATTERN = (
    r'(?:pick(?: up)?|lift(?: up)?|raise|grasp|grip|grab|seize|hold|take|get|fetch|collect) (?:the |a )?'
    rf'({"|".join(COLOURS)}) cube(?: up)?'
)


class PickCube(TaskBase):
    """Two cubes of different colours; success when the named one is lifted and held, and the other is not up.

    The other may have been up before, as a person who puts it right has to let go of it first.

    At level 0 the area of the cubes has half the sides of level 1's, around the same middle.
    """

    name = 'pick'

    def build(self, model: mujoco.MjSpec) -> None:
        for slot in SLOTS:
            add_box(model, slot, [HALF_SIZE] * 3)

    def check(self, instruction: str) -> None:
        wanted_colour(instruction)

    def start(self, rng: np.random.Generator, instruction: str, level: float) -> Start:
        names = [str(name) for name in rng.permutation(list(COLOURS))[:2]]
        if instruction:
            wanted = wanted_colour(instruction)
            if wanted not in names:
                names[int(rng.integers(2))] = wanted
        else:
            instruction = f'pick up the {names[int(rng.integers(2))]} cube'
        low, high = np.array(WORKSPACE)
        shrink = (1 - SMALLEST) * (1 - level) * (high - low) / 2
        low, high = low + shrink, high - shrink
        while True:
            places = rng.uniform(low, high, (2, 2))
            if np.linalg.norm(places[0] - places[1]) > 0.085:  # fingers need room
                break
        start = Start(instruction)
        for colour, slot, place in zip(names, SLOTS, places, strict=True):
            yaw = rng.uniform(-0.15, 0.15)
            start.joints[slot] = np.array([*place, HALF_SIZE, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
            start.model['geom_rgba', slot] = COLOURS[colour]
        start.memory['target'] = names.index(named_colour(instruction))
        start.memory['colours'] = np.array([list(COLOURS).index(name) for name in names])
        return start

    def begin(self, view: View) -> dict[str, np.ndarray]:
        distance = np.linalg.norm(view.tip - self._cubes(view)[0], axis=1)
        return {'start_distance': np.maximum(distance, 0.05)}

    def objects(self, view: View, sim: int) -> dict[str, np.ndarray]:
        colours = list(COLOURS)
        numbers = view.memory['colours'][sim]
        return {f'cube_{colours[n]}': view.pose(slot)[sim] for n, slot in zip(numbers, SLOTS, strict=True)}

    def progress(self, view: View) -> np.ndarray:
        """0 to 0.4 reaching, 0.5 grasped, to 1 lifting."""
        cube, other = self._cubes(view)
        held = grasped(view, cube, HALF_SIZE)
        reach = 1.0 - np.linalg.norm(view.tip - cube, axis=1) / view.memory['start_distance']
        lift = (cube[:, 2] - HALF_SIZE) / (LIFTED - HALF_SIZE)
        progress = np.where(held, 0.5 + 0.49 * np.clip(lift, 0, 1), 0.4 * np.clip(reach, 0, 1))
        return np.where(held & lifted(cube, other), 1.0, progress)

    def success(self, view: View) -> np.ndarray:
        cube, other = self._cubes(view)
        return lifted(cube, other) & grasped(view, cube, HALF_SIZE)

    def expert(self, scene: Scene) -> Expert:
        return PickExpert(Hand(scene))

    def _cubes(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Positions [N, 3] of the named cube and of the other."""
        both, named = view.positions(SLOTS), view.memory['target']
        sims = np.arange(view.count)
        return both[sims, named], both[sims, 1 - named]


def wanted_colour(instruction: str) -> str:
    """Colour of the cube an instruction asks to pick up. Raises ValueError for any other instruction."""
    colour, found = named_colour(instruction), matched(instruction, _PATTERN)
    if found is None:
        raise ValueError(
            f'{instruction!r} is not understood; say "pick up the {colour} cube", with one colour of '
            f'{sorted(COLOURS)}'
        )
    return found[1]


def lifted(cube: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether the cube at [N, 3] is up and the other one is not, bool [N]."""
    return (cube[:, 2] > LIFTED) & (other[:, 2] < LIFTED)


class PickExpert(Expert):
    """Reach above, descend, close, lift; decides from the state alone, so it recovers from anywhere."""

    HOVER = 0.07  # m above the cube's centre
    GRASP = 0.004  # m above the cube's centre
    ALIGNED = 0.008  # m, horizontal error at which to descend

    def __init__(self, hand: Hand):
        self._hand = hand

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        hand, cube = self._hand, objects[f'cube_{named_colour(task)}'][:3]
        tip, grip = hand.tip(state), cube + self.GRASP * UP
        sideways = float(np.linalg.norm((cube - tip)[:2]))
        around = sideways < 2.5 * self.ALIGNED and abs(grip[2] - tip[2]) < 0.014
        if around and hand.width(state) < 1.3 * HALF_SIZE:  # closed on something as wide as the cube
            return hand.move(state, tip + 0.2 * UP, hand.closed)
        if around:
            return hand.move(state, grip, hand.closed)
        return hand.move(state, hand.above(state, grip, self.HOVER - self.GRASP, self.ALIGNED), hand.opened)


TASK = PickCube
