# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reach the named marker with the tool tip; markers of other colours lie on the table or float."""

from __future__ import annotations

import mujoco
import numpy as np

from apprentice.sim.scene import Scene
from apprentice.sim.task import Expert, Start, TaskBase
from apprentice.sim.tasks.hand import Hand
from apprentice.sim.tasks.phrases import matched
from apprentice.sim.tasks.things import (
    COLOURS,
    HIDDEN,
    add_placed,
    colour_name,
    colour_number,
    named_colour,
    other_colours,
    placed_at,
)
from apprentice.sim.view import View

RADIUS = 0.018  # m, of a marker
WITHIN = 0.02  # m, distance of the tip from the marker's centre that counts as reached
SLOW = 0.08  # rad/s, norm of the joint velocities of an arm that stays there
DWELL_S = 0.2  # how long it has to stay
AGAIN_S = 1.0  # how long it has to be within the marker for each other one in which it stayed before
WORKSPACE = ((0.2, -0.13, 0.03), (0.4, 0.13, 0.2))  # m, corners of the box of the markers' centres
ON_TABLE = 0.5  # part of the markers that lie on the table
APART = 0.08  # m, least distance between markers
HOME = np.array([0.26, 0.0, 0.2])  # m, where the tip of sim_arm starts, give or take 0.045
SLOTS = ('marker0', 'marker1', 'marker2', 'marker3')
AWAY = (-2.0, 0.0, 0.0)  # m, where markers are that a start does not use
_PATTERN = (
    r'(?:reach(?: for| to| out to)?|touch|approach|(?:go|move|point)(?: the (?:hand|gripper|tip|tool))? to) '
    rf'(?:the |a )?({"|".join(COLOURS)}) (?:marker|sphere)'
)


class Reach(TaskBase):
    """One to four coloured spheres without contacts; success when the tip rests within the named one.

    If it stayed within others before, it has to be within the named one for ``AGAIN_S`` for each of them: a
    person can put right what went wrong, but trying marker after marker takes longer than there is time.

    At level 0 there is one marker, near the tip; at level 1 there are four, anywhere in the workspace.
    """

    name = 'reach'
    max_duration_s = 6.0

    def build(self, model: mujoco.MjSpec) -> None:
        for slot in SLOTS:
            add_placed(model, slot, 'xyz', mass=0.1).add_geom(
                name=slot,
                type=mujoco.mjtGeom.mjGEOM_SPHERE,
                size=[RADIUS, 0, 0],
                contype=0,
                conaffinity=0,
                rgba=[1, 1, 1, 1],
            )

    def check(self, instruction: str) -> None:
        wanted_colour(instruction)

    def start(self, rng: np.random.Generator, instruction: str, level: float) -> Start:
        wanted = wanted_colour(instruction) if instruction else other_colours(rng, [], 1)[0]
        others = other_colours(rng, [wanted], round(level * (len(SLOTS) - 1)))
        furthest = 0.17 + 0.15 * level
        places: list[np.ndarray] = []
        while len(places) < 1 + len(others):
            place = rng.uniform(*np.array(WORKSPACE))
            if rng.random() < ON_TABLE:
                place[2] = RADIUS
            distance = np.linalg.norm(place - HOME)
            near_others = any(np.linalg.norm(place - other) < APART for other in places)
            if 0.13 < distance < (furthest if not places else 1.0) and not near_others:
                places.append(place)
        start = Start(instruction or f'reach the {wanted} marker')
        colours = np.full(len(SLOTS), -1)
        slots = rng.permutation(len(SLOTS))
        start.memory['target'] = int(slots[0])
        for number, slot in enumerate(SLOTS):
            start.joints.update(placed_at(slot, AWAY))
            start.model['geom_rgba', slot] = HIDDEN
            if number in slots[: len(places)]:
                item = int(np.flatnonzero(slots == number)[0])
                name = [wanted, *others][item]
                colours[number] = colour_number(name)
                start.joints.update(placed_at(slot, places[item]))
                start.model['geom_rgba', slot] = COLOURS[name]
        start.memory['colours'] = colours
        return start

    def begin(self, view: View) -> dict[str, np.ndarray]:
        """``entered``, ``since`` [N, markers]: when (s) the tip came into a marker, and to rest within it.

        ``others`` [N, markers]: those it stayed in that are not the named one.
        """
        return {
            'start_distance': np.maximum(self._distance(view), WITHIN + 0.05),
            'entered': np.full((view.count, len(SLOTS)), np.inf),
            'since': np.full((view.count, len(SLOTS)), np.inf),
            'now': view.time,
            'others': np.zeros((view.count, len(SLOTS)), bool),
        }

    def update(self, view: View) -> None:
        """How long the tip has rested within which marker; told at each control step."""
        memory = view.memory
        if 'since' not in memory:  # nothing has started yet
            return
        memory['now'][:] = view.time
        inside = self._distances(view) < WITHIN
        slow = np.linalg.norm(view.velocities, axis=1) < SLOW
        for name, holds in (('entered', inside), ('since', inside & slow[:, None])):
            memory[name][:] = np.where(holds, np.minimum(memory[name], memory['now'][:, None]), np.inf)
        stayed = self._lasted(view, 'since', DWELL_S)
        stayed[np.arange(view.count), memory['target']] = False
        memory['others'] |= stayed

    def objects(self, view: View, sim: int) -> dict[str, np.ndarray]:
        numbers = view.memory['colours'][sim]
        return {
            f'marker_{colour_name(number)}': view.pose(slot)[sim]
            for number, slot in zip(numbers, SLOTS, strict=True)
            if number >= 0
        }

    def progress(self, view: View) -> np.ndarray:
        """0 to 0.9 in proportion to the way made to the marker; 0.95 within it, not yet for long enough."""
        left = (self._distance(view) - WITHIN) / (view.memory['start_distance'] - WITHIN)
        progress = np.where(left < 0, 0.95, 0.9 * np.clip(1 - left, 0, 1))
        return np.where(self.success(view), 1.0, progress)

    def success(self, view: View) -> np.ndarray:
        again = AGAIN_S * view.memory['others'].sum(axis=1, keepdims=True)  # without rest: people tremble
        stayed = self._lasted(view, 'since', DWELL_S) & self._lasted(view, 'entered', again)
        return stayed[np.arange(view.count), view.memory['target']] & (self._distance(view) < WITHIN)

    def expert(self, scene: Scene) -> Expert:
        return ReachExpert(Hand(scene))

    def _distance(self, view: View) -> np.ndarray:
        """Distance [N] of the tip from the named marker (m)."""
        return self._distances(view)[np.arange(view.count), view.memory['target']]

    @staticmethod
    def _distances(view: View) -> np.ndarray:
        """Distances [N, markers] of the tip from all markers (m)."""
        return np.linalg.norm(view.tip[:, None] - view.positions(SLOTS), axis=2)

    @staticmethod
    def _lasted(view: View, name: str, seconds: float | np.ndarray) -> np.ndarray:
        """Whether what began at the times in the memory ``name`` has lasted so long, bool [N, markers]."""
        return view.memory['now'][:, None] - view.memory[name] > seconds - 1e-6


def wanted_colour(instruction: str) -> str:
    """Colour of the marker an instruction asks to reach. Raises ValueError for any other instruction."""
    colour, found = named_colour(instruction), matched(instruction, _PATTERN)
    if found is None:
        raise ValueError(
            f'{instruction!r} is not understood; say "reach the {colour} marker", with one colour of '
            f'{sorted(COLOURS)}'
        )
    return found[1]


class ReachExpert(Expert):
    """Straight to the marker and stay there."""

    LOWEST = 0.016  # m, of the tip: the fingers end 0.01 m below it

    def __init__(self, hand: Hand):
        self._hand = hand

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        goal = objects[f'marker_{named_colour(task)}'][:3].copy()
        goal[2] = max(goal[2], self.LOWEST)
        return self._hand.move(state, goal, self._hand.opened)


TASK = Reach
