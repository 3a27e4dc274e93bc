# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Put the named cube where the instruction says: on a plate or block, in a bowl, or beside one of them.

The words and the directions are those of :mod:`apprentice.sim.tasks.relations`.
"""

from __future__ import annotations

import mujoco
import numpy as np

from apprentice.sim.scene import Scene
from apprentice.sim.task import Expert, Start, TaskBase
from apprentice.sim.tasks.grasping import grasped
from apprentice.sim.tasks.placing import PlaceExpert
from apprentice.sim.tasks.relations import (
    CUBE,
    EXTENT,
    HEIGHTS,
    KINDS,
    OFFSETS,
    RADII,
    Placement,
    add_thing,
    in_place,
    parse,
    possible,
)
from apprentice.sim.tasks.things import (
    COLOURS,
    HIDDEN,
    add_box,
    colour_name,
    colour_number,
    other_colours,
    placed_at,
    shade,
    upright,
)
from apprentice.sim.view import View

CUBES = ('cube0', 'cube1')
THINGS = {'plate0': 'plate', 'plate1': 'plate', 'bowl0': 'bowl', 'block0': 'block', 'block1': 'block'}
WORKSPACE = ((0.2, -0.14), (0.38, 0.14))  # m, corners of the area of all centres
FINGERS = 0.058  # m, from the middle of an opened hand to the outside of a finger, and some room
NEAREST = 0.16  # m, least way of the cube to its goal
ASIDE = (-0.18, 0.42)  # m, corner of the table where a cube is that a start does not use
AWAY = (-2.0, 0.0)  # m, where a thing is that a start does not use
OPEN = 1.25 * CUBE  # m, gripper position that lets a cube go
CLEAR = 0.05  # m, distance of the tip from a cube that no hand holds, open or closed
AT_REST = 0.02  # m/s


class Place(TaskBase):
    """Cubes, plates, a bowl and blocks; success when the named cube rests in its place, let go.

    At level 0 there are one cube and one thing, near each other; at level 1 there are two of both.
    """

    name = 'place'
    max_duration_s = 10.0

    def build(self, model: mujoco.MjSpec) -> None:
        for name, kind in THINGS.items():
            add_thing(model, kind, name)
        for cube in CUBES:
            add_box(model, cube, [CUBE] * 3)

    def check(self, instruction: str) -> None:
        parse(instruction)

    def start(self, rng: np.random.Generator, instruction: str, level: float) -> Start:
        wanted = parse(instruction) if instruction else self._draw(rng)
        cubes = [wanted.colour, *other_colours(rng, [wanted.colour], 1)]
        slots = list(THINGS)
        same = [slot for slot in slots if THINGS[slot] == wanted.kind]
        named = same[int(rng.integers(len(same)))]
        other = str(rng.choice([slot for slot in slots if slot != named]))
        colours = [wanted.thing_colour or other_colours(rng, [], 1)[0]]
        colours += other_colours(rng, colours, 1)
        used = rng.random(2) < level  # whether there is a second cube, a second thing
        if not wanted.thing_colour and THINGS[other] == wanted.kind:
            used[1] = False  # 'the plate' must be the only one
        places = self._places(rng, wanted, THINGS[other], level)
        start = Start(instruction or str(wanted))
        cube_colours, thing_colours = np.full(len(CUBES), -1), np.full(len(THINGS), -1)
        first = int(rng.integers(2))
        for i, slot in enumerate((first, 1 - first)):
            seen = i == 0 or used[0]
            place = places[2 * i] if seen else np.array(ASIDE)
            start.joints[CUBES[slot]] = upright(place, CUBE, rng.uniform(-0.15, 0.15))
            start.model['geom_rgba', CUBES[slot]] = COLOURS[cubes[i]] if seen else HIDDEN
            cube_colours[slot] = colour_number(cubes[i]) if seen else -1
        shown = {named: 0, other: 1} if used[1] else {named: 0}
        for slot, name in enumerate(slots):
            number = shown.get(name)
            start.joints.update(placed_at(name, AWAY if number is None else places[1 + 2 * number]))
            colour = HIDDEN if number is None else shade(colours[number])
            walls = range(8) if THINGS[name] == 'bowl' else ()
            for geom in (name, *(f'{name}_wall{wall}' for wall in walls)):
                start.model['geom_rgba', geom] = colour
            thing_colours[slot] = -1 if number is None else colour_number(colours[number])
        relation, kind = wanted.numbers
        start.memory.update(
            cube=first, thing=slots.index(named), cube_colours=cube_colours, thing_colours=thing_colours,
            offset=OFFSETS[relation, kind], radius=RADII[relation, kind],
            height=HEIGHTS[relation, kind],
        )  # fmt: skip
        return start

    @staticmethod
    def _draw(rng: np.random.Generator) -> Placement:
        """What to ask for. Of a bowl there is only one, its colour may stay unsaid."""
        choices = possible()
        relation, kind = choices[int(rng.integers(len(choices)))]
        colour, thing_colour = (other_colours(rng, [], 1)[0] for _ in range(2))
        unsaid = kind == 'bowl' and rng.random() < 0.5
        return Placement(colour, relation, kind, '' if unsaid else thing_colour)

    @staticmethod
    def _places(rng: np.random.Generator, wanted: Placement, other_kind: str, level: float) -> np.ndarray:
        """Places [4, 2] of the named cube and thing, and of the others; room for fingers where they go."""
        low, high = np.array(WORKSPACE)
        relation, kind = wanted.numbers
        extent, other_extent = EXTENT[kind], EXTENT[KINDS.index(other_kind)]
        furthest = NEAREST + 0.04 + 0.2 * level
        while True:
            cube, thing = rng.uniform(low, high, (2, 2))
            goal = thing + OFFSETS[relation, kind][:2]
            if not NEAREST < np.linalg.norm(cube - goal) < furthest or np.any((goal < low) | (goal > high)):
                continue
            if np.linalg.norm(cube - thing) < extent + FINGERS:
                continue
            for _ in range(20):  # else the two leave no room for the others
                other, second = rng.uniform(low, high, (2, 2))
                if (
                    min(np.linalg.norm(other - cube), np.linalg.norm(other - goal)) > 0.03 + FINGERS
                    and np.linalg.norm(other - thing) > extent + 0.03
                    and min(np.linalg.norm(second - cube), np.linalg.norm(second - goal))
                    > other_extent + FINGERS
                    and np.linalg.norm(second - thing) > extent + other_extent + 0.01
                    and np.linalg.norm(second - other) > other_extent + 0.03
                ):
                    return np.array([cube, thing, other, second])

    def begin(self, view: View) -> dict[str, np.ndarray]:
        cube, goal = self._cube(view), self._goal(view)
        return {
            'start_reach': np.maximum(np.linalg.norm(view.tip - cube, axis=1), 0.05),
            'start_distance': np.maximum(np.linalg.norm((cube - goal)[:, :2], axis=1), 0.1),
        }

    def objects(self, view: View, sim: int) -> dict[str, np.ndarray]:
        seen = {}
        for name, number in zip(CUBES, view.memory['cube_colours'][sim], strict=True):
            if number >= 0:
                seen[f'cube_{colour_name(number)}'] = view.pose(name)[sim]
        for (name, kind), number in zip(THINGS.items(), view.memory['thing_colours'][sim], strict=True):
            if number >= 0:
                seen[f'{kind}_{colour_name(number)}'] = view.pose(name)[sim]
        return seen

    def progress(self, view: View) -> np.ndarray:
        """0 to 0.3 reaching, 0.35 grasped, to 0.9 as the cube nears its place; 0.95 there, but held."""
        cube, goal, radius = self._cube(view), self._goal(view), view.memory['radius']
        reached = 1 - np.linalg.norm(view.tip - cube, axis=1) / view.memory['start_reach']
        left = np.linalg.norm((cube - goal)[:, :2], axis=1) - radius
        carried = 1 - left / (view.memory['start_distance'] - radius)
        progress = np.where(
            grasped(view, cube, CUBE), 0.35 + 0.55 * np.clip(carried, 0, 1), 0.3 * np.clip(reached, 0, 1)
        )
        progress = np.where(in_place(cube, goal, radius, view.memory['height']), 0.95, progress)
        return np.where(self.success(view), 1.0, progress)

    def success(self, view: View) -> np.ndarray:
        cube, radius, height = self._cube(view), view.memory['radius'], view.memory['height']
        free = (view.opening > OPEN) | (np.linalg.norm(view.tip - cube, axis=1) > CLEAR)
        second = view.memory['cube'] == 1
        slow = np.where(second, view.speed(CUBES[1]), view.speed(CUBES[0])) < AT_REST
        return in_place(cube, self._goal(view), radius, height) & free & slow

    def expert(self, scene: Scene) -> Expert:
        return PlaceExpert(scene)

    def _cube(self, view: View) -> np.ndarray:
        """Position [N, 3] of the named cube."""
        second = (view.memory['cube'] == 1)[:, None]
        return np.where(second, view.position(CUBES[1]), view.position(CUBES[0]))

    def _goal(self, view: View) -> np.ndarray:
        """Where the named cube's centre belongs [N, 3]."""
        things = np.stack([view.position(name) for name in THINGS], axis=1)
        return things[np.arange(view.count), view.memory['thing']] + view.memory['offset']


TASK = Place
