# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pick up the named thing; others of its shape or of its colour lie beside it."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from apprentice.sim.scene import Scene
from apprentice.sim.task import Expert, Start, TaskBase
from apprentice.sim.tasks.grasping import grasped, nearest
from apprentice.sim.tasks.grips import TurningHand, fitting_yaws
from apprentice.sim.tasks.hand import UP
from apprentice.sim.tasks.phrases import matched
from apprentice.sim.tasks.shelf import add_shelf, shelved
from apprentice.sim.tasks.things import COLOURS, colour_name, colour_number, upright
from apprentice.sim.view import View


@dataclass(frozen=True)
class Shape:
    """One kind of thing; lengths in m.

    Attributes:
        size: as MuJoCo's geoms of this type want it.
        height: of the centre when it lies or stands on the table.
        grip: half of its width between the fingers.
        axis: its long axis, 0 to 2, or None.
        half_length: of the part of the axis along which fingers may hold it.
        rolls: whether rolling friction has to stop it.
    """

    name: str
    type: mujoco.mjtGeom
    size: tuple[float, ...]
    height: float
    grip: float
    axis: int | None = None
    half_length: float = 0.0
    rolls: bool = False


SHAPES = (
    Shape('cube', mujoco.mjtGeom.mjGEOM_BOX, (0.02, 0.02, 0.02), 0.02, 0.02),
    Shape('cylinder', mujoco.mjtGeom.mjGEOM_CYLINDER, (0.018, 0.028), 0.028, 0.018, 2, 0.018, rolls=True),
    Shape('bar', mujoco.mjtGeom.mjGEOM_BOX, (0.035, 0.012, 0.012), 0.012, 0.012, 0, 0.025),
    Shape('ball', mujoco.mjtGeom.mjGEOM_SPHERE, (0.02,), 0.02, 0.02, rolls=True),
)
NAMES = [shape.name for shape in SHAPES]
THINGS = [(shape, f'{shape.name}_{number}') for shape in SHAPES for number in (1, 2)]  # all that there are
FRICTION = (1.5, 0.02, 0.003)  # sliding, torsional (m), rolling (m): a pushed ball soon stops
LIFTED = 0.08  # m, height of the centre that counts as picked up
CENTRE, SPAN = np.array([0.28, 0.0]), np.array([0.08, 0.13])  # m, of the area of the things' centres
ROOM = 0.1  # m between centres, for fingers
AGAIN_S = 1.0  # how long the thing has to be up for each other one that was up before
_PATTERN = (
    r'(?:pick(?: up)?|lift(?: up)?|raise|grasp|grip|grab|seize|hold|take|get|fetch|collect) (?:the |a )?'
    rf'(?:({"|".join(COLOURS)}) )?({"|".join(NAMES)})(?: up)?'
)


def named_thing(instruction: str) -> tuple[str, str]:
    """Shape and colour an instruction asks for; the colour is '' if it names none. Raises ValueError."""
    found = matched(instruction, _PATTERN)
    if found is None:
        raise ValueError(
            f'{instruction!r} is not understood; say "pick up the" with one colour of {sorted(COLOURS)} '
            f'and one thing of {NAMES}'
        )
    return found[2], found[1] or ''


class LiftObject(TaskBase):
    """Up to three things; success when the named one is lifted and held, and no other is up.

    If others were up before, it has to be up alone for ``AGAIN_S`` for each of them: a person can put right
    what went wrong, but taking thing after thing until one is right takes longer than there is time.
    """

    name = 'lift'

    def build(self, model: mujoco.MjSpec) -> None:
        add_shelf(model)
        for shape, name in THINGS:
            body = model.worldbody.add_body(name=name)
            body.add_freejoint(name=name)
            body.add_geom(
                name=name,
                type=shape.type,
                size=[*shape.size, 0.0, 0.0][:3],
                mass=0.05,
                friction=FRICTION,
                condim=6 if shape.rolls else 4,
                rgba=[1, 1, 1, 1],
            )

    def check(self, instruction: str) -> None:
        named_thing(instruction)

    def start(self, rng: np.random.Generator, instruction: str, level: float) -> Start:
        shape, colour = named_thing(instruction) if instruction else (str(rng.choice(NAMES)), '')
        drawn = colour or str(rng.choice(list(COLOURS)))
        unique = bool(instruction) and not colour  # a shape alone must tell which
        instruction = instruction or f'pick up the {drawn} {shape}'
        other_shapes = [str(name) for name in rng.permutation([name for name in NAMES if name != shape])]
        other_colour = str(rng.choice([name for name in COLOURS if name != drawn]))
        beside = [(other_shapes[0], drawn), (other_shapes[1] if unique else shape, other_colour)]
        count = round(level * int(rng.integers(1, 3)))
        present = [(shape, drawn), *[beside[i] for i in rng.permutation(2)[:count]]]

        places = self._places(rng, len(present), level)
        yaws = rng.uniform(-0.5, 0.5, len(present)) * [np.pi if s == 'bar' else 1.0 for s, _ in present]
        start, numbers = Start(instruction), np.full(len(THINGS), -1)
        for (name, tint), place, yaw in zip(present, places, yaws, strict=True):
            thing = next(i for i, (s, _) in enumerate(THINGS) if s.name == name and numbers[i] < 0)
            kind, body = THINGS[thing]
            start.joints[body] = upright(place, kind.height, yaw)
            start.model['geom_rgba', body] = COLOURS[tint]
            numbers[thing] = colour_number(tint)
            if (name, tint) == (shape, drawn):
                start.memory['target'] = thing
        for thing, (kind, body) in enumerate(THINGS):
            if numbers[thing] < 0:
                start.joints[body] = shelved(thing, kind.height)
        start.memory['colours'] = numbers
        return start

    def _places(self, rng: np.random.Generator, count: int, level: float) -> np.ndarray:
        """Where things stand [count, 2] (m); closer to the middle at a lower level."""
        span = SPAN * (0.4 + 0.6 * level)
        while True:
            places = CENTRE + rng.uniform(-span, span, (count, 2))
            between = np.linalg.norm(places[:, None] - places, axis=2)[np.triu_indices(count, 1)]
            if np.all(between > ROOM):
                return places

    def begin(self, view: View) -> dict[str, np.ndarray]:
        distance = np.linalg.norm(view.tip - self._target(view), axis=1)
        return {
            'start_distance': np.maximum(distance, 0.05),
            'since': np.full(view.count, np.inf),
            'others': np.zeros((view.count, len(THINGS)), bool),
        }

    def update(self, view: View) -> None:
        """Since when the named thing alone is up, and which others were up; told at each control step."""
        memory = view.memory
        if 'since' not in memory:  # nothing has started yet
            return
        alone, others = self._up(view)
        memory['since'][:] = np.where(alone, np.minimum(memory['since'], view.time), np.inf)
        memory['others'] |= others

    def objects(self, view: View, sim: int) -> dict[str, np.ndarray]:
        """Poses by names such as ``cylinder_red``."""
        numbers = view.memory['colours'][sim]
        return {
            f'{shape.name}_{colour_name(number)}': view.pose(body)[sim]
            for (shape, body), number in zip(THINGS, numbers, strict=True)
            if number >= 0
        }

    def progress(self, view: View) -> np.ndarray:
        """0 to 0.4 reaching, 0.5 grasped, to 0.99 lifting; 1 when it was up for long enough."""
        position = self._target(view)
        rest = np.array([shape.height for shape, _ in THINGS])[view.memory['target']]
        reach = 1.0 - np.linalg.norm(view.tip - position, axis=1) / view.memory['start_distance']
        lift = (position[:, 2] - rest) / (LIFTED - rest)
        held = 0.5 + 0.49 * np.clip(lift, 0, 1)
        progress = np.where(self._held(view), held, 0.4 * np.clip(reach, 0, 1))
        return np.where(self.success(view), 1.0, progress)

    def success(self, view: View) -> np.ndarray:
        again = AGAIN_S * view.memory['others'].sum(axis=1)
        lasted = view.time - view.memory['since'] > again - 1e-6
        return lasted & self._up(view)[0] & self._held(view)

    def expert(self, scene: Scene) -> Expert:
        return LiftExpert(TurningHand(scene))

    def _positions(self, view: View) -> np.ndarray:
        """Positions [N, things, 3] of all things."""
        return np.stack([view.position(body) for _, body in THINGS], axis=1)

    def _target(self, view: View) -> np.ndarray:
        """Position [N, 3] of the named thing."""
        return self._positions(view)[np.arange(view.count), view.memory['target']]

    def _up(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Whether the named thing is up and no other, bool [N]; which others are up, bool [N, things]."""
        sims, target = np.arange(view.count), view.memory['target']
        up = self._positions(view)[:, :, 2] > LIFTED
        named = up[sims, target]
        up[sims, target] = False
        return named & ~up.any(axis=1), up

    def _held(self, view: View) -> np.ndarray:
        """Whether the named thing is between closed fingers, bool [N]."""
        sims, target = np.arange(view.count), view.memory['target']
        grips, lengths = np.array([(shape.grip, shape.half_length) for shape, _ in THINGS]).T
        axes = np.stack([view.rotation(body)[:, :, shape.axis or 0] for shape, body in THINGS], axis=1)
        held = nearest(view.tip, self._target(view), axes[sims, target], lengths[target])
        return grasped(view, held, grips[target])


class LiftExpert(Expert):
    """Reach above, turn to the thing's sides, descend, close, lift; decides from the state alone."""

    HOVER = 0.07  # m above the thing's centre
    ALIGNED = 0.008  # m, horizontal error at which to descend
    TURNED = 0.15  # rad, error of the hand's turn at which to descend

    def __init__(self, hand: TurningHand):
        self._hand = hand

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        hand, target = self._hand, find_thing(objects, task)
        pose, shape = objects[target], SHAPES[NAMES.index(target.partition('_')[0])]
        others = [other for name, other in objects.items() if name != target]
        yaws = fitting_yaws(pose[3:], shape.axis) if shape.name != 'ball' else np.linspace(-1.5, 1.5, 7)
        yaw = hand.grip_yaw(state, pose, yaws, others)
        tip, grip = hand.tip(state), pose[:3] + 0.004 * UP
        sideways = float(np.linalg.norm((grip - tip)[:2]))
        turned = abs(hand.yaw(state) - yaw) < self.TURNED
        around = turned and sideways < 2.5 * self.ALIGNED and abs(grip[2] - tip[2]) < 0.014
        if around and hand.width(state) < 1.3 * shape.grip:  # closed on something as wide as the thing
            return hand.move(state, tip + 0.2 * UP, hand.closed, yaw)
        if around:
            return hand.move(state, grip, hand.closed, yaw)
        goal = hand.above(state, grip, self.HOVER, self.ALIGNED)
        if goal is grip and not turned and tip[2] > grip[2] + 0.6 * self.HOVER:
            goal = grip + self.HOVER * UP
        return hand.move(state, goal, hand.opened, yaw)


def find_thing(objects: dict[str, np.ndarray], instruction: str) -> str:
    """Name of the object an instruction asks for. Raises ValueError if there is none such."""
    shape, colour = named_thing(instruction)
    for name in objects:
        kind, _, tint = name.partition('_')
        if kind == shape and colour in ('', tint):
            return name
    raise ValueError(f'{instruction!r} names nothing that is here; there are: {sorted(objects)}')


TASK = LiftObject
