# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Where a cube is with respect to a plate, a bowl or a block: the words for it, and the place.

Directions are the robot's own (REP 103: x forward, y left, z up), as seen from its base:
left of is +y, right of is -y, behind is +x (further away), in front of is -x (nearer). A camera that looks at
the robot shows them the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from apprentice.sim.tasks.phrases import matched
from apprentice.sim.tasks.things import COLOURS, add_placed

CUBE = 0.02  # m, half of a cube's side
KINDS = ('plate', 'bowl', 'block')
EXTENT = np.array([0.045, 0.06, 0.028])  # m, of each kind, from its centre to its edge
TOP = np.array([0.007, 0.006, 0.029])  # m, height of what a cube stands on
RELATIONS = ('on', 'in', 'left', 'right', 'front', 'behind')
BESIDE = 0.065  # m, from a thing's edge to the middle of the place beside it
_DIRECTIONS = {'left': (0, 1), 'right': (0, -1), 'front': (-1, 0), 'behind': (1, 0)}
_RADII = {'on plate': 0.04, 'on block': 0.028, 'in bowl': 0.032}  # m; beside a thing: 0.04
_HEIGHTS = {'in bowl': 0.016}  # m; a cube may lean on the wall. Elsewhere 0.008
_AIMS = {'on plate': 0.02, 'on block': 0.015, 'in bowl': 0.024}  # m; beside a thing: 0.03
_PHRASES = {
    'on top of': 'on', 'onto': 'on', 'on': 'on', 'into': 'in', 'inside': 'in', 'in': 'in',
    'left of': 'left', 'to the left of': 'left', 'on the left of': 'left',
    'right of': 'right', 'to the right of': 'right', 'on the right of': 'right',
    'in front of': 'front', 'behind': 'behind',
}  # fmt: skip
_SAID = {'on': 'on', 'in': 'in', 'left': 'left of', 'right': 'right of', 'front': 'in front of'}
_COLOUR = '|'.join(COLOURS)
_PATTERN = (
    rf'(?:put|place|set|lay|move|drop|bring|carry)(?: down)? (?:the |a )?'
    rf'({_COLOUR}) cube ({"|".join(sorted(_PHRASES, key=len, reverse=True))}) '
    rf'(?:the |a )?(?:({_COLOUR}) )?({"|".join(KINDS)})'
)
_EXAMPLE = "'put the red cube on the blue plate' or 'put the red cube left of the green block'"


@dataclass(frozen=True)
class Placement:
    """What an instruction asks for: which cube, and where with respect to which thing.

    Attributes:
        colour: of the cube.
        relation: one of RELATIONS.
        kind: of the thing, one of KINDS.
        thing_colour: of the thing; empty when the instruction leaves it open.
    """

    colour: str
    relation: str
    kind: str
    thing_colour: str = ''

    @property
    def numbers(self) -> tuple[int, int]:
        """Indices of the relation in RELATIONS and of the kind in KINDS."""
        return RELATIONS.index(self.relation), KINDS.index(self.kind)

    def __str__(self) -> str:
        said = _SAID.get(self.relation, self.relation)
        return f'put the {self.colour} cube {said} the {self.thing_colour} {self.kind}'.replace('  ', ' ')


def parse(instruction: str) -> Placement:
    """Raises ValueError with what to say instead for an instruction that is not understood."""
    found = matched(instruction, _PATTERN)
    if found is None:
        raise ValueError(
            f'{instruction!r} does not say which cube goes where; say for example {_EXAMPLE}: colours '
            f'{sorted(COLOURS)}, things {list(KINDS)}, relations {sorted(_PHRASES)}'
        )
    colour, phrase, thing_colour, kind = found.groups()
    placement = Placement(colour, _PHRASES[phrase], kind, thing_colour or '')
    if placement.relation in ('on', 'in') and (placement.relation == 'in') != (kind == 'bowl'):
        fitting = 'in' if kind == 'bowl' else 'on'
        raise ValueError(f'{instruction!r}: a cube goes {fitting} a {kind}; say so, or name another thing')
    return placement


def possible() -> list[tuple[str, str]]:
    """Every (relation, kind) that can be asked for."""
    return [
        (relation, kind)
        for relation in RELATIONS
        for kind in KINDS
        if relation in _DIRECTIONS or f'{relation} {kind}' in _RADII
    ]


def _offset(relation: str, kind: str) -> list[float]:
    number = KINDS.index(kind)
    if relation in _DIRECTIONS:
        away = EXTENT[number] + BESIDE
        return [*(away * direction for direction in _DIRECTIONS[relation]), CUBE]
    return [0.0, 0.0, TOP[number] + CUBE]


# [relation, kind, 3]: where the cube's centre belongs, from the thing's place on the table (m);
# [relation, kind]: how far from there, sideways and up or down, it may be (m), and how far sideways a
# demonstrator lets it be
OFFSETS = np.array([[_offset(relation, kind) for kind in KINDS] for relation in RELATIONS])
RADII = np.array([[_RADII.get(f'{relation} {kind}', 0.04) for kind in KINDS] for relation in RELATIONS])
HEIGHTS = np.array([[_HEIGHTS.get(f'{relation} {kind}', 0.008) for kind in KINDS] for relation in RELATIONS])
AIMS = np.array([[_AIMS.get(f'{relation} {kind}', 0.03) for kind in KINDS] for relation in RELATIONS])


def in_place(
    cube: np.ndarray, goal: np.ndarray, radius: np.ndarray | float, height: np.ndarray | float = 0.008
) -> np.ndarray:
    """Whether a cube lies where it belongs, bool [...].

    Args:
        cube, goal: centres [..., 3] (m).
        radius: largest distance sideways (m).
        height: largest distance up or down (m).
    """
    apart = cube - goal
    sideways = np.linalg.norm(apart[..., :2], axis=-1)
    return (sideways < radius) & (np.abs(apart[..., 2]) < height)


def add_thing(model: mujoco.MjSpec, kind: str, name: str) -> list[str]:
    """Add a plate, bowl or block on slide joints (see add_placed). Returns the names of its geoms.

    Each ends a millimetre above the table, so that the two never touch. It is heavy and stiff: a hand that
    pushes it does not bring it to a cube.
    """
    body = add_placed(model, name, mass=1000.0, damping=1e6)
    if kind == 'plate':
        size, height = [EXTENT[0], 0.003, 0], 0.004
        body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=size, pos=[0, 0, height], mass=0)
        return [name]
    if kind == 'block':
        size = [EXTENT[2], EXTENT[2], 0.014]
        body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, size=size, pos=[0, 0, 0.015], mass=0)
        return [name]
    names = [name, *(f'{name}_wall{number}' for number in range(8))]
    inner, thickness = EXTENT[1] - 0.006, 0.003
    size, height = [inner, 0.0025, 0], 0.0035
    body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=size, pos=[0, 0, height], mass=0)
    for number, wall in enumerate(names[1:]):
        angle = number * np.pi / 4
        distance = inner - thickness
        body.add_geom(
            name=wall,
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[thickness, (distance + thickness) * np.tan(np.pi / 8), 0.013],
            pos=[distance * np.cos(angle), distance * np.sin(angle), 0.014],
            quat=[np.cos(angle / 2), 0, 0, np.sin(angle / 2)],
            mass=0,
        )
    return names
