# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Open or close the named drawer of a cabinet; the other one stays shut."""

from __future__ import annotations

import mujoco
import numpy as np

from apprentice.sim.scene import Scene
from apprentice.sim.task import Expert, Start, TaskBase
from apprentice.sim.tasks.cabinet import (
    DRAWERS,
    LIP,
    add_cabinet,
    opened_by,
    slide_direction,
    standing_at,
)
from apprentice.sim.tasks.grips import TurningHand, fitting_yaws
from apprentice.sim.tasks.hand import UP
from apprentice.sim.tasks.phrases import matched
from apprentice.sim.view import View

OPEN, CLOSED = 0.07, 0.012  # m, positions that count as open and as closed
DOUBT = 0.005  # m, by which the bottom drawer must be further open to be "the drawer"
AT_REST = 0.02  # m/s
PLACE, SPREAD = np.array([0.28, 0.085]), np.array([0.02, 0.01])  # m, of the middle of the cabinet's front
TURN = 0.4  # rad, largest turn of the cabinet from facing along y to facing along x
NAMES = list(DRAWERS)
WANTED = ('open', 'close')
SYNONYMS = {'pull open': 'open', 'push shut': 'close', 'shut': 'close', 'upper': 'top', 'lower': 'bottom'}
PHRASE = '(open|close|shut|pull open|push shut) the (?:(top|bottom|upper|lower) )?drawer'


def named_drawer(instruction: str) -> tuple[str, str]:
    """What to do ('open', 'close') with which drawer ('top', 'bottom'; '' for either). Raises ValueError."""
    found = matched(instruction, PHRASE)
    if found is None:
        raise ValueError(
            f'{instruction!r} is not understood; say "open the top drawer", "close the bottom drawer" '
            'or "open the drawer"'
        )
    verb, drawer = found[1], found[2] or ''
    return SYNONYMS.get(verb, verb), SYNONYMS.get(drawer, drawer)


class OpenDrawer(TaskBase):
    """A cabinet with two drawers; success when the named one is as asked, at rest, and the other is shut.

    "Open the drawer" leaves the choice; "close the drawer" means the one that is open.
    """

    name = 'drawer'
    max_duration_s = 12.0

    def build(self, model: mujoco.MjSpec) -> None:
        add_cabinet(model)

    def check(self, instruction: str) -> None:
        named_drawer(instruction)

    def start(self, rng: np.random.Generator, instruction: str, level: float) -> Start:
        if not instruction:
            verb = str(rng.choice(WANTED, p=[0.7, 0.3]))
            which = str(rng.choice(['top ', 'bottom ', ''], p=[0.45, 0.45, 0.1]))
            instruction = f'{verb} the {which}drawer'
        verb, drawer = named_drawer(instruction)
        moved = drawer or str(rng.choice(NAMES))
        side = float(rng.choice([-1.0, 1.0]))  # of the robot; drawers open towards the middle
        place = (PLACE + rng.uniform(-SPREAD, SPREAD)) * [1.0, side]
        yaw = side * rng.uniform(0.0, TURN) + (0.0 if side > 0 else np.pi)
        ajar = rng.uniform(0.0, (1.0 - level) * 0.6 * OPEN)
        pulled = rng.uniform(0.06, 0.09) * (0.5 + 0.5 * level)
        start = Start(instruction, {**standing_at(place, yaw), 'top': 0.0, 'bottom': 0.0})
        start.joints[moved] = float(ajar if verb == 'open' else pulled)
        start.memory['target'] = NAMES.index(drawer) if drawer else -1
        start.memory['opening'] = verb == 'open'
        return start

    def begin(self, view: View) -> dict[str, np.ndarray]:
        target = self._target(view)
        handle = self._handles(view)[np.arange(view.count), target]
        return {
            'start_distance': np.maximum(np.linalg.norm(view.tip - handle, axis=1), 0.05),
            'start_position': self._positions(view)[np.arange(view.count), target],
        }

    def objects(self, view: View, sim: int) -> dict[str, np.ndarray]:
        bodies = ('cabinet', *(f'handle_{name}' for name in NAMES))
        return {body: view.pose(body)[sim] for body in bodies}

    def progress(self, view: View) -> np.ndarray:
        """0 to 0.4 reaching the handle, 0.5 to 1 moving the drawer."""
        every, target = np.arange(view.count), self._target(view)
        position = self._positions(view)[every, target]
        distance = np.linalg.norm(view.tip - self._handles(view)[every, target], axis=1)
        reach = 0.4 * np.clip(1.0 - distance / view.memory['start_distance'], 0, 1)
        begun = view.memory['start_position']
        goal = np.where(view.memory['opening'], OPEN, CLOSED)
        way = np.where(np.abs(goal - begun) > 0.005, goal - begun, 0.005)
        moved = (position - begun) / way
        progress = np.where(moved > 0.03, 0.5 + 0.49 * np.clip(moved, 0, 1), reach)
        return np.where(self.success(view), 1.0, progress)

    def success(self, view: View) -> np.ndarray:
        positions, target = self._positions(view), self._target(view)
        named, other = positions[np.arange(view.count), target], positions[np.arange(view.count), 1 - target]
        fulfilled = np.where(view.memory['opening'], named > OPEN, named < CLOSED)
        return fulfilled & (other < CLOSED) & self._at_rest(view)

    def expert(self, scene: Scene) -> Expert:
        return DrawerExpert(TurningHand(scene))

    def _positions(self, view: View) -> np.ndarray:
        """How far the drawers are open [N, 2] (m), in the order of NAMES."""
        return np.stack([view.joint(name) for name in NAMES], axis=1)

    def _handles(self, view: View) -> np.ndarray:
        """Positions [N, 2, 3] of the handles."""
        return np.stack([view.position(f'handle_{name}') for name in NAMES], axis=1)

    def _target(self, view: View) -> np.ndarray:
        """Number of the drawer asked for [N]; of either, the one further open, else the top one."""
        top, bottom = self._positions(view).T
        return np.where(view.memory['target'] < 0, bottom > top + DOUBT, view.memory['target'])

    def _at_rest(self, view: View) -> np.ndarray:
        """Whether both drawers stand still, bool [N]."""
        return np.all([np.abs(view.joint_velocity(name)) < AT_REST for name in NAMES], axis=0)


class DrawerExpert(Expert):
    """Grasp the handle from above and pull or push it; a drawer in the way is closed first."""

    HOVER = 0.135  # m, height of the hand above the table when it moves over the cabinet
    GRASP = 0.004  # m above the handle's middle
    ALIGNED = 0.005  # m, horizontal error at which to descend
    TURNED = 0.1  # rad, error of the hand's turn at which to descend
    WIDTH = 0.016  # m, of a hand that goes around the handle and lands on nothing when it is 4 cm beside
    STRIDE = 0.015  # m, by which the hand leads the handle
    PULLED, PUSHED = 0.085, -0.01  # m, positions to move an opened and a closed drawer to

    def __init__(self, hand: TurningHand):
        self._hand = hand

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        verb, named = named_drawer(task)
        cabinet = objects['cabinet']
        opened = {name: opened_by(cabinet, objects[f'handle_{name}']) for name in NAMES}
        return self._slide(state, objects, opened, *self._next_move(opened, verb, named))

    def _next_move(self, opened: dict[str, float], verb: str, named: str) -> tuple[str, float]:
        """The drawer to move now and the position (m) to move it to."""
        further = 'bottom' if opened['bottom'] > opened['top'] + DOUBT else 'top'
        wanted = named or further
        shut = {name: position < 0.8 * CLOSED for name, position in opened.items()}
        if verb == 'open' and all(shut[name] for name in NAMES if name != wanted):
            return wanted, self.PULLED
        # an open top drawer covers the handle of the bottom one
        return ('top' if not shut['top'] else 'bottom' if not shut['bottom'] else wanted), self.PUSHED

    def _slide(
        self,
        state: np.ndarray,
        objects: dict[str, np.ndarray],
        opened: dict[str, float],
        name: str,
        goal: float,
    ) -> np.ndarray:
        """One step of bringing a drawer to ``goal`` (m) by its handle."""
        hand, cabinet = self._hand, objects['cabinet']
        tip, grip = hand.tip(state), objects[f'handle_{name}'][:3] + self.GRASP * UP
        yaw = hand.grip_yaw(state, grip, fitting_yaws(cabinet[3:], axis=0), [])
        turned = abs(hand.yaw(state) - yaw) < self.TURNED
        sideways, width = float(np.linalg.norm((grip - tip)[:2])), hand.width(state)
        if turned and sideways < 0.013 and abs(grip[2] - tip[2]) < 0.014:
            if width < 0.4 * LIP:  # closed on nothing
                return hand.move(state, tip + 0.2 * UP, self.WIDTH, yaw)
            if width < 1.8 * LIP:
                ahead = np.clip(goal - opened[name], -self.STRIDE, self.STRIDE)
                grip = grip + ahead * slide_direction(cabinet)
            return hand.move(state, grip, hand.closed, yaw)
        height = self.HOVER - grip[2]
        point = hand.above(state, grip, height, self.ALIGNED)
        ready = turned and abs(width - self.WIDTH) < 0.005
        if point is grip and not ready and tip[2] > grip[2] + 0.6 * height:
            point = grip + height * UP
        return hand.move(state, point, self.WIDTH, yaw)


TASK = OpenDrawer
