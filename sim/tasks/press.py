# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Press the named push button down; buttons of other colours stand beside it."""

from __future__ import annotations

import mujoco
import numpy as np

from apprentice.sim.scene import Scene
from apprentice.sim.task import Expert, Start, TaskBase
from apprentice.sim.tasks.hand import UP, Hand
from apprentice.sim.tasks.phrases import COLOUR, colour_asked
from apprentice.sim.tasks.things import (
    COLOURS,
    HIDDEN,
    add_placed,
    colour_name,
    colour_number,
    other_colours,
    placed_at,
)
from apprentice.sim.view import View

BASE = (0.027, 0.0105)  # m, radius and half height of a base
CAP = (0.02, 0.01)  # m, of a cap
TRAVEL = 0.014  # m, by which a cap can be pushed down
TOP = 0.038  # m, height of a cap's upper side while nothing presses it
PRESSED = TRAVEL / 2  # m, further down than this a button is pressed
SPRING, DAMPING = 180.0, 3.0  # N/m, N s/m, of a cap: 2.5 N hold it down
AGAIN_S = 1.0  # how long a button has to be held down for each wrong one that was pressed before
CENTRE, REACH = (
    np.array([0.29, 0.0]),
    np.array([0.08, 0.125]),
)  # m, of the area of the buttons, and half of it
APART = 0.095  # m, least distance between buttons
FINGERS = 0.01  # m, by which closed fingers end below the tip
CAPS = ('cap0', 'cap1', 'cap2')
BASES = ('button0', 'button1', 'button2')
AWAY = ((-2.0, 0.0), (-2.0, 0.3), (-2.0, 0.6))  # m, where buttons are that a start does not use
GREY = (0.32, 0.33, 0.36, 1.0)
_PATTERN = rf'(?:press|push|hit|tap)(?: down)?(?: on)? (?:the |a )?{COLOUR} button(?: down)?'


class Press(TaskBase):
    """One to three push buttons; success while the named one alone is down by more than half of its travel.

    If others were pressed before, it has to be held down for ``AGAIN_S`` for each of them: a person can put
    right what went wrong, but pressing button after button takes longer than there is time.

    At level 0 there is one button, near the middle; at level 1 there are two or three, anywhere.
    """

    name = 'press'
    max_duration_s = 6.0

    def build(self, model: mujoco.MjSpec) -> None:
        for base, cap in zip(BASES, CAPS, strict=True):
            body = add_placed(model, base, damping=1e4)
            _add_cylinder(body, base, BASE, 0.001 + BASE[1])
            moving = body.add_body(name=cap, pos=[0, 0, TOP - CAP[1]], gravcomp=1.0)
            moving.add_joint(
                name=cap,
                type=mujoco.mjtJoint.mjJNT_SLIDE,
                axis=[0, 0, -1],
                range=[0, TRAVEL],
                stiffness=SPRING,
                damping=DAMPING,
                armature=0.02,
            )
            _add_cylinder(moving, cap, CAP, 0.0, mass=0.03)

    def check(self, instruction: str) -> None:
        wanted_button(instruction)

    def start(self, rng: np.random.Generator, instruction: str, level: float) -> Start:
        wanted = wanted_button(instruction) if instruction else other_colours(rng, [], 1)[0]
        most = round(level * (len(CAPS) - 1))
        others = other_colours(rng, [wanted], int(rng.integers(min(most, 1), most + 1)))
        places = _places(rng, 1 + len(others), level)
        slots = rng.permutation(len(CAPS))
        start = Start(instruction or f'press the {wanted} button', memory={'target': int(slots[0])})
        colours = np.full(len(CAPS), -1)
        for item, slot in enumerate(slots):
            used = item < len(places)
            name = [wanted, *others][item] if used else ''
            colours[slot] = colour_number(name) if used else -1
            start.joints.update(placed_at(BASES[slot], places[item] if used else AWAY[slot]))
            start.joints[CAPS[slot]] = 0.0
            start.model['geom_rgba', CAPS[slot]] = COLOURS[name] if used else HIDDEN
            start.model['geom_rgba', BASES[slot]] = GREY if used else HIDDEN
        start.memory['colours'] = colours
        return start

    def begin(self, view: View) -> dict[str, np.ndarray]:
        """``since`` [N]: when (s) the named one went down; ``others`` [N, buttons]: wrongly pressed."""
        return {
            'start_distance': np.maximum(self._distance(view), 0.1),
            'since': np.full(view.count, np.inf),
            'now': view.time,
            'others': np.zeros((view.count, len(CAPS)), bool),
        }

    def update(self, view: View) -> None:
        memory = view.memory
        if 'since' not in memory:  # nothing has started yet
            return
        memory['now'][:] = view.time
        pressed = self._depths(view) > PRESSED
        named = pressed[np.arange(view.count), memory['target']]
        memory['since'][:] = np.where(named, np.minimum(memory['since'], memory['now']), np.inf)
        pressed[np.arange(view.count), memory['target']] = False
        memory['others'] |= pressed

    def objects(self, view: View, sim: int) -> dict[str, np.ndarray]:
        numbers = view.memory['colours'][sim]
        return {
            f'button_{colour_name(number)}': view.pose(cap)[sim]
            for number, cap in zip(numbers, CAPS, strict=True)
            if number >= 0
        }

    def progress(self, view: View) -> np.ndarray:
        """0 to 0.75 coming near the cap from above, to 0.95 as it goes down; 1 while it alone is pressed."""
        depth = self._depths(view)[np.arange(view.count), view.memory['target']]
        near = np.clip(1 - self._distance(view) / view.memory['start_distance'], 0, 1)
        progress = 0.75 * near + 0.2 * np.clip(depth / PRESSED, 0, 1)
        return np.where(self.success(view), 1.0, progress)

    def success(self, view: View) -> np.ndarray:
        memory, pressed = view.memory, self._depths(view) > PRESSED
        wrong = memory['others'].sum(axis=1)
        held = (wrong == 0) | (memory['now'] - memory['since'] > AGAIN_S * wrong - 1e-6)
        return pressed[np.arange(view.count), memory['target']] & (pressed.sum(axis=1) == 1) & held

    def expert(self, scene: Scene) -> Expert:
        return PressExpert(Hand(scene))

    @staticmethod
    def _depths(view: View) -> np.ndarray:
        """How far the caps are down [N, buttons] (m)."""
        return np.stack([view.joint(cap) for cap in CAPS], axis=1)

    @staticmethod
    def _distance(view: View) -> np.ndarray:
        """Distance [N] (m) of the closed fingers' ends from the top of the named cap, wherever that is."""
        cap = view.positions(CAPS)[np.arange(view.count), view.memory['target']]
        return np.linalg.norm(view.tip - FINGERS * UP - (cap + CAP[1] * UP), axis=1)


def _add_cylinder(
    body: mujoco.MjsBody, name: str, size: tuple[float, float], height: float, mass: float = 0.0
) -> None:
    """An upright cylinder (radius, half height; m) that touches fingers and clutter, but no other button."""
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=[*size, 0],
        pos=[0, 0, height],
        mass=mass,
        friction=[0.8, 0.01, 0.0001],
        contype=2,
        conaffinity=1,
        rgba=[1, 1, 1, 1],
    )


def _places(rng: np.random.Generator, count: int, level: float) -> list[np.ndarray]:
    """Places [2] (m) of buttons, the named one first."""
    reach = REACH * (0.4 + 0.6 * level)
    while True:
        places = [CENTRE + rng.uniform(-reach, reach) for _ in range(count)]
        gaps = [np.linalg.norm(a - b) for i, a in enumerate(places) for b in places[:i]]
        if min(gaps, default=APART) >= APART:
            return places


def wanted_button(instruction: str) -> str:
    """Colour of the button an instruction asks to press. Raises ValueError for any other instruction."""
    return colour_asked(instruction, _PATTERN, 'for example "press the red button"')


class PressExpert(Expert):
    """Close the hand, move over the button, down onto the cap, and push slowly until it is nearly down."""

    HOVER = 0.06  # m above the cap on the way
    SLOWLY = 0.009  # m, of an action while pushing
    DEPTH = 0.9 * TRAVEL  # m, to which it pushes

    def __init__(self, hand: Hand):
        self._hand = hand

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        hand, place = self._hand, objects[f'button_{wanted_button(task)}'][:2]
        touch = np.array([*place, TOP + FINGERS])
        goal = hand.above(state, touch, self.HOVER)
        tip = hand.tip(state)
        if goal is touch:
            if hand.width(state) > 0.5 * hand.opened and tip[2] > touch[2] + 0.6 * self.HOVER:
                goal = touch + self.HOVER * UP  # the fingers close first
            elif tip[2] < touch[2] + 0.01:
                goal = np.array([*place, max(tip[2] - self.SLOWLY, touch[2] - self.DEPTH)])
        return hand.move(state, goal, hand.closed)


TASK = Press
