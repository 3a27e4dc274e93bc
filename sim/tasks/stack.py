# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Stack one named cube on another and let go."""

from __future__ import annotations

import mujoco
import numpy as np

from apprentice.sim.scene import Scene
from apprentice.sim.task import Expert, Start, TaskBase
from apprentice.sim.tasks.grasping import grasped
from apprentice.sim.tasks.grips import TurningHand, fitting_yaws
from apprentice.sim.tasks.hand import UP
from apprentice.sim.tasks.phrases import COLOUR, matched
from apprentice.sim.tasks.shelf import add_shelf, shelved
from apprentice.sim.tasks.things import COLOURS, add_box, colour_name, colour_number, upright
from apprentice.sim.view import View

HALF_SIZE = 0.02  # m
CUBES = ('first', 'second', 'third')
CENTRE, SPAN = np.array([0.28, 0.0]), np.array([0.08, 0.13])  # m, of the area of the cubes' centres
ROOM = 0.1  # m between centres, for fingers
ALIGNED, LEVEL = 0.018, 0.008  # m, how exactly the upper cube sits, sideways and in height
RESTS = 0.028  # m, sideways; a cube further off the middle of the one below falls
AT_REST = 0.03  # m/s
AWAY = 0.05  # m, distance of the tool from the upper cube once it has let go
NEAR = 0.06  # m, sideways; closer than this a cube let go may land on the lower one
PHRASE = f'(?:stack|put|place|set) the {COLOUR} cube (?:on|onto|on top of) the {COLOUR} cube'


def named_pair(instruction: str) -> tuple[str, str]:
    """Colours of the cube to move and of the one below it. Raises ValueError."""
    found = matched(instruction, PHRASE)
    if found is None or found[1] == found[2]:
        raise ValueError(
            f'{instruction!r} is not understood; say "stack the red cube on the blue cube", '
            f'with two different colours of {sorted(COLOURS)}'
        )
    return found[1], found[2]


class StackCubes(TaskBase):
    """Three cubes; success when the first named rests on the second and the hand is away."""

    name = 'stack'
    max_duration_s = 12.0

    def build(self, model: mujoco.MjSpec) -> None:
        add_shelf(model)
        for cube in CUBES:
            add_box(model, cube, [HALF_SIZE] * 3)

    def check(self, instruction: str) -> None:
        named_pair(instruction)

    def start(self, rng: np.random.Generator, instruction: str, level: float) -> Start:
        drawn = [str(name) for name in rng.permutation(list(COLOURS))]
        if not instruction:
            instruction = f'stack the {drawn[0]} cube on the {drawn[1]} cube'
        pair = named_pair(instruction)
        colours = [*pair, next(name for name in drawn if name not in pair)]
        count = 3 if level > 0.5 else 2
        span = SPAN * (0.5 + 0.5 * level)
        while True:
            places = CENTRE + rng.uniform(-span, span, (count, 2))
            between = np.linalg.norm(places[:, None] - places, axis=2)[np.triu_indices(count, 1)]
            if np.all(between > ROOM):
                break
        order, start = rng.permutation(count), Start(instruction)
        numbers = np.full(len(CUBES), -1)
        for cube, place in zip(order, places, strict=True):
            yaw, colour = rng.uniform(-0.4, 0.4), colours[cube]
            body = CUBES[cube]
            start.joints[body] = upright(place, HALF_SIZE, yaw)
            start.model['geom_rgba', body] = COLOURS[colour]
            numbers[cube] = colour_number(colour)
        for cube in range(count, len(CUBES)):
            start.joints[CUBES[cube]] = shelved(cube, HALF_SIZE)
        start.memory['colours'] = numbers
        return start

    def begin(self, view: View) -> dict[str, np.ndarray]:
        upper, lower = view.position(CUBES[0]), view.position(CUBES[1])
        return {
            'start_distance': np.maximum(np.linalg.norm(view.tip - upper, axis=1), 0.05),
            'start_gap': np.maximum(np.linalg.norm((upper - lower)[:, :2], axis=1), NEAR + 0.02),
        }

    def objects(self, view: View, sim: int) -> dict[str, np.ndarray]:
        numbers = view.memory['colours'][sim]
        return {
            f'cube_{colour_name(number)}': view.pose(cube)[sim]
            for number, cube in zip(numbers, CUBES, strict=True)
            if number >= 0
        }

    def progress(self, view: View) -> np.ndarray:
        """0 to 0.15 reaching, 0.2 grasped, to 0.35 lifting, to 0.85 carrying, 0.9 in place, 0.95 let go.

        0.6 when it rests on the other, too far off its middle.
        """
        upper, lower = view.position(CUBES[0]), view.position(CUBES[1])
        reach = 1.0 - np.linalg.norm(view.tip - upper, axis=1) / view.memory['start_distance']
        lift = np.clip(1.1 * (upper[:, 2] - HALF_SIZE) / (2 * HALF_SIZE), 0, 1)
        gap = np.linalg.norm((upper - lower)[:, :2], axis=1)
        carried = 0.4 * (1.0 - np.clip((gap - NEAR) / (view.memory['start_gap'] - NEAR), 0, 1))
        carried += np.where(gap < NEAR, 0.05 + 0.05 * (1.0 - gap / NEAR), 0.0)
        progress = np.where(
            grasped(view, upper, HALF_SIZE), 0.2 + lift * (0.15 + carried), 0.15 * np.clip(reach, 0, 1)
        )
        rests = (gap < RESTS) & (np.abs(upper[:, 2] - lower[:, 2] - 2 * HALF_SIZE) < LEVEL)
        progress = np.where(rests, np.maximum(progress, 0.6), progress)
        progress = np.where(self._stacked(view), np.where(self._free(view), 0.95, 0.9), progress)
        return np.where(self.success(view), 1.0, progress)

    def success(self, view: View) -> np.ndarray:
        upper = view.position(CUBES[0])
        away = np.linalg.norm(view.tip - upper, axis=1) > AWAY  # and so nothing is in the hand
        still = (view.speed(CUBES[0]) < AT_REST) & (view.speed(CUBES[1]) < AT_REST)
        return self._stacked(view) & away & still

    def expert(self, scene: Scene) -> Expert:
        return StackExpert(TurningHand(scene))

    def _stacked(self, view: View) -> np.ndarray:
        """Whether the first cube is on the second, bool [N]."""
        return on_top(view.position(CUBES[0]).T, view.position(CUBES[1]).T)

    def _free(self, view: View) -> np.ndarray:
        """Whether the hand holds no cube, bool [N]."""
        away = np.linalg.norm(view.tip - view.position(CUBES[0]), axis=1) > AWAY
        return away | (view.opening > 1.3 * HALF_SIZE)


def on_top(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Whether a cube at ``upper`` [>= 3, ...] (m) sits on one at ``lower``, bool [...]."""
    sideways = np.hypot(upper[0] - lower[0], upper[1] - lower[1])
    return (sideways < ALIGNED) & (np.abs(upper[2] - lower[2] - 2 * HALF_SIZE) < LEVEL)


class StackExpert(Expert):
    """Fetch the cube, set it down on the other, let go, rise. What lies in the way is put aside first."""

    HOVER = 0.07  # m above where something is grasped or set down
    ALIGNED = 0.006  # m, horizontal error at which to descend
    TURNED = 0.15  # rad, error of the hand's turn at which to descend

    def __init__(self, hand: TurningHand):
        self._hand = hand

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        moved, below = (f'cube_{colour}' for colour in named_pair(task))
        upper, lower = objects[moved], objects[below]
        if on_top(upper, lower):
            return self._leave(state)
        held = next((name for name, pose in objects.items() if self._holds(state, pose)), None)
        if held == moved and not self._burdens(objects, moved):
            return self._set_down(state, upper, lower[:3] + 2 * HALF_SIZE * UP)
        if held is not None:
            return self._put_aside(state, held, objects)
        burdens = self._burdens(objects, moved) + [
            name for name in self._burdens(objects, below) if name != moved
        ]
        return self._fetch(state, burdens[0] if burdens else moved, objects)

    def _holds(self, state: np.ndarray, pose: np.ndarray) -> bool:
        """Whether the closed hand is around a cube."""
        away = pose[:3] + 0.004 * UP - self._hand.tip(state)
        around = float(np.linalg.norm(away[:2])) < 0.02 and abs(float(away[2])) < 0.014
        return around and self._hand.width(state) < 1.3 * HALF_SIZE

    def _burdens(self, objects: dict[str, np.ndarray], name: str) -> list[str]:
        """Cubes that lie on a cube, the highest first."""
        base = objects[name]
        above = [
            other
            for other, pose in objects.items()
            if other != name and pose[2] > base[2] + HALF_SIZE and np.linalg.norm((pose - base)[:2]) < 0.04
        ]
        return sorted(above, key=lambda other: -float(objects[other][2]))

    def _fetch(self, state: np.ndarray, name: str, objects: dict[str, np.ndarray]) -> np.ndarray:
        """One step towards holding a cube."""
        hand, pose = self._hand, objects[name]
        others = [other for each, other in objects.items() if each != name and other[2] > pose[2] - HALF_SIZE]
        yaw = hand.grip_yaw(state, pose, fitting_yaws(pose[3:]), others)
        tip, grip = hand.tip(state), pose[:3] + 0.004 * UP
        turned = abs(hand.yaw(state) - yaw) < self.TURNED
        if turned and np.linalg.norm((grip - tip)[:2]) < 0.018 and abs(grip[2] - tip[2]) < 0.012:
            return hand.move(state, grip, hand.closed, yaw)
        goal = hand.above(state, grip, self.HOVER, self.ALIGNED)
        if goal is grip and not turned and tip[2] > grip[2] + 0.6 * self.HOVER:
            goal = grip + self.HOVER * UP
        return hand.move(state, goal, hand.opened, yaw)

    def _set_down(self, state: np.ndarray, pose: np.ndarray, place: np.ndarray) -> np.ndarray:
        """One step of bringing the cube in the hand to ``place`` [3], over what stands between."""
        hand = self._hand
        grip = place + hand.tip(state) - pose[:3]
        goal = hand.above(state, grip, self.HOVER, self.ALIGNED)
        return hand.move(state, goal, hand.closed, hand.yaw(state))

    def _put_aside(self, state: np.ndarray, name: str, objects: dict[str, np.ndarray]) -> np.ndarray:
        """One step of setting the cube in the hand on the table, far from the others."""
        pose, others = objects[name], [o[:2] for n, o in objects.items() if n != name]
        if pose[2] < HALF_SIZE + 0.004:
            return self._leave(state)
        corners = CENTRE + SPAN * np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
        free = max(corners, key=lambda corner: min(np.linalg.norm(corner - other) for other in others))
        return self._set_down(state, pose, np.array([*free, HALF_SIZE]))

    def _leave(self, state: np.ndarray) -> np.ndarray:
        """Let go, then rise."""
        hand, tip = self._hand, self._hand.tip(state)
        opened = hand.width(state) > 1.5 * HALF_SIZE
        return hand.move(state, tip + 0.2 * UP if opened else tip, hand.opened, hand.yaw(state))


TASK = StackCubes
