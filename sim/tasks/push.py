# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Push the named block over the table into the named zone; other blocks and zones lie about."""

from __future__ import annotations

import mujoco
import numpy as np

from apprentice.sim.scene import Scene
from apprentice.sim.task import Expert, Start, TaskBase
from apprentice.sim.tasks.hand import UP, Hand
from apprentice.sim.tasks.phrases import matched
from apprentice.sim.tasks.things import (
    COLOURS,
    HIDDEN,
    add_box,
    add_placed,
    colour_name,
    colour_number,
    other_colours,
    placed_at,
    shade,
    upright,
    yaw_of,
)
from apprentice.sim.view import View

HALF_SIZE = 0.022  # m, of a block, sideways
HALF_HEIGHT = 0.015  # m; low, so that a block slides before it topples
SLIDING = (0.8, 0.01, 0.0001)  # friction of a block; one that is hit stops soon
ZONE_RADIUS = 0.052  # m
INSIDE = 0.022  # m, distance of the block's centre from the zone's that puts the whole block inside
FLAT = 0.026  # m, height of the centre of a block that lies on the table, on any face
UPRIGHT = 0.98  # cosine of the block's lean, from whichever of its faces it lies on
AT_REST = 0.02  # m/s
WORKSPACE = ((0.21, -0.125), (0.37, 0.125))  # m, corners of the area of blocks and zones
BLOCKS, ZONES = ('block0', 'block1'), ('zone0', 'zone1')
ASIDE = (-0.18, 0.42)  # m, corner of the table where a block is that a start does not use
AWAY = (-2.0, 0.0)  # m, where a zone is that a start does not use
BEHIND = 0.048  # m, distance from the block's centre at which the finger tips come down
_COLOUR = '|'.join(COLOURS)
_PATTERN = (
    rf'(?:push|slide|move|shove|shift) (?:the |a )?({_COLOUR}) block (?:over |all the way )?'
    rf'(?:to|into|onto|inside|in|on) (?:the |a )?({_COLOUR}) zone'
)


class Push(TaskBase):
    """Two blocks, two discs painted on the table; success when the named block rests flat in the named disc.

    At level 0 there are only the block and the zone, near each other; at level 1 there are two of both.
    """

    name = 'push'
    max_duration_s = 9.0

    def build(self, model: mujoco.MjSpec) -> None:
        for zone in ZONES:
            add_placed(model, zone, mass=0.1).add_geom(
                name=zone,
                type=mujoco.mjtGeom.mjGEOM_CYLINDER,
                size=[ZONE_RADIUS, 0.0005, 0],
                pos=[0, 0, 0.0005],
                contype=0,
                conaffinity=0,
                rgba=[1, 1, 1, 1],
            )
        for block in BLOCKS:
            add_box(model, block, [HALF_SIZE, HALF_SIZE, HALF_HEIGHT], friction=SLIDING, priority=1)

    def check(self, instruction: str) -> None:
        block_and_zone(instruction)

    def start(self, rng: np.random.Generator, instruction: str, level: float) -> Start:
        if instruction:
            block, zone = block_and_zone(instruction)
        else:
            (block,), (zone,) = other_colours(rng, [], 1), other_colours(rng, [], 1)
            instruction = f'push the {block} block to the {zone} zone'
        blocks = [block, *other_colours(rng, [block], 1)]
        zones = [zone, *other_colours(rng, [zone], 1)]
        others = rng.random(2) < level  # whether there is a second block, a second zone
        block_places, zone_places = self._places(rng, level)
        first_block, first_zone = (int(number) for number in rng.integers(2, size=2))
        start = Start(instruction, memory={'block': first_block, 'zone': first_zone})
        block_colours, zone_colours = np.full(2, -1), np.full(2, -1)
        for i in range(2):
            slot, name, used = (first_block + i) % 2, blocks[i], i == 0 or others[0]
            place = block_places[i] if used else np.array(ASIDE)
            start.joints[BLOCKS[slot]] = upright(place, HALF_HEIGHT, rng.uniform(-0.3, 0.3))
            start.model['geom_rgba', BLOCKS[slot]] = COLOURS[name] if used else HIDDEN
            block_colours[slot] = colour_number(name) if used else -1
            slot, name, used = (first_zone + i) % 2, zones[i], i == 0 or others[1]
            start.joints.update(placed_at(ZONES[slot], zone_places[i] if used else AWAY))
            start.model['geom_rgba', ZONES[slot]] = shade(name) if used else HIDDEN
            zone_colours[slot] = colour_number(name) if used else -1
        start.memory.update(block_colours=block_colours, zone_colours=zone_colours)
        return start

    @staticmethod
    def _places(rng: np.random.Generator, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Places of blocks and zones, [2, 2] each, the named first; the way between these is free."""
        low, high = np.array(WORKSPACE)
        furthest = 0.18 + 0.12 * level
        while True:
            places = rng.uniform(low, high, (4, 2))
            block, other, zone, other_zone = places
            line = zone - block
            distance = float(np.linalg.norm(line))
            if not 0.15 < distance < furthest or np.linalg.norm(zone - other_zone) < 2.1 * ZONE_RADIUS:
                continue
            along = np.clip(np.dot(other - block, line) / distance, -0.07, distance)
            aside = np.linalg.norm(other - block - along * line / distance)
            if aside > 0.065 and np.linalg.norm(block - other_zone) > ZONE_RADIUS + HALF_SIZE:
                return places[:2], places[2:]

    def begin(self, view: View) -> dict[str, np.ndarray]:
        block, zone = self._pair(view)
        return {
            'start_reach': np.maximum(np.linalg.norm(view.tip - block, axis=1), 0.1),
            'start_distance': np.maximum(np.linalg.norm((block - zone)[:, :2], axis=1), INSIDE + 0.05),
        }

    def objects(self, view: View, sim: int) -> dict[str, np.ndarray]:
        seen = {}
        for kind, slots in (('block', BLOCKS), ('zone', ZONES)):
            for number, slot in zip(view.memory[f'{kind}_colours'][sim], slots, strict=True):
                if number >= 0:
                    seen[f'{kind}_{colour_name(number)}'] = view.pose(slot)[sim]
        return seen

    def progress(self, view: View) -> np.ndarray:
        """0 to 0.45 coming near the block, to 0.95 as the block nears the zone; 1 at rest in it."""
        block, zone = self._pair(view)
        reached = 1 - (np.linalg.norm(view.tip - block, axis=1) - 0.05) / (view.memory['start_reach'] - 0.05)
        left = np.linalg.norm((block - zone)[:, :2], axis=1) - INSIDE
        pushed = 1 - left / (view.memory['start_distance'] - INSIDE)
        progress = np.where(pushed < 0.02, 0.45 * np.clip(reached, 0, 1), 0.45 + 0.5 * np.clip(pushed, 0, 1))
        return np.where(self.success(view), 1.0, progress)

    def success(self, view: View) -> np.ndarray:
        block, zone = self._pair(view)
        named = view.memory['block'] == 1
        speed = np.where(named, view.speed(BLOCKS[1]), view.speed(BLOCKS[0]))
        rotation = np.where(named[:, None, None], view.rotation(BLOCKS[1]), view.rotation(BLOCKS[0]))
        inside = np.linalg.norm((block - zone)[:, :2], axis=1) < INSIDE
        flat = (block[:, 2] < FLAT) & (np.abs(rotation[:, 2]).max(axis=1) > UPRIGHT)
        return inside & flat & (speed < AT_REST)

    def expert(self, scene: Scene) -> Expert:
        return PushExpert(scene)

    def _pair(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Positions [N, 3] of the named block and zone."""
        block, zone = (view.memory[kind][:, None] == 1 for kind in ('block', 'zone'))
        return (
            np.where(block, view.position(BLOCKS[1]), view.position(BLOCKS[0])),
            np.where(zone, view.position(ZONES[1]), view.position(ZONES[0])),
        )


def block_and_zone(instruction: str) -> tuple[str, str]:
    """Colours of the block and of the zone. Raises ValueError for an instruction that is not understood."""
    found = matched(instruction, _PATTERN)
    if found is None:
        raise ValueError(
            f'{instruction!r} does not say which block goes to which zone; say for example '
            f"'push the red block to the yellow zone', with colours of {sorted(COLOURS)}"
        )
    return found[1], found[2]


class PushExpert(Expert):
    """Round the block, down behind it, along the line to the zone; correct sideways, or start over.

    Behind is the side of the block away from the zone. The finger tips come down at BEHIND, far enough
    not to touch the block, and push only from where they can have got in that way.
    """

    LOW = 0.022  # m, tip height for pushing
    TRAVEL = 0.075  # m above LOW for going round
    LEAD = 0.012  # m that the tip is sent ahead of the block's rear face
    TOUCH = 0.034  # m, distance of the tip from the block's centre in contact
    STRAIGHT = 0.014  # m, largest distance of the tip from the line to push along it

    def __init__(self, scene: Scene):
        self._hand, self._kinematics = Hand(scene), scene.kinematics()
        self._arm = ~scene.spec.gripper_mask

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        hand, (block_colour, zone_colour) = self._hand, block_and_zone(task)
        block, zone = objects[f'block_{block_colour}'][:2], objects[f'zone_{zone_colour}'][:2]
        tip = hand.tip(state)
        line = zone - block
        distance = float(np.linalg.norm(line))
        if distance < INSIDE / 2:
            return hand.move(state, tip + 0.2 * UP, hand.closed)
        ahead = line / distance
        yaw = self._across(state, float(np.arctan2(ahead[1], ahead[0])))
        along = float((tip[:2] - block) @ ahead)
        aside = float((tip[:2] - block) @ np.array([-ahead[1], ahead[0]]))
        low = tip[2] < self.LOW + 0.012
        if low and abs(aside) < self.STRAIGHT and -BEHIND - 0.03 < along < -self.TOUCH + 0.008:
            push = block - ahead * (self.TOUCH - min(self.LEAD, distance))
            return hand.move(state, np.array([*push, self.LOW]), hand.closed, yaw)
        start = np.array([*(block - ahead * BEHIND), self.LOW])
        if low and along < -BEHIND + 0.006 and np.linalg.norm(tip[:2] - start[:2]) < 0.04:
            return hand.move(state, start, hand.closed, yaw)  # behind already: go sideways on the table
        return hand.move(state, hand.above(state, start, self.TRAVEL), hand.closed, yaw)

    def _across(self, state: np.ndarray, angle: float) -> float:
        """Yaw (rad) that sets the fingers side by side across a direction, whichever side is nearer.

        So fingers that open do not push the block on.
        """
        current = yaw_of(self._kinematics.forward(state[self._arm])[1])
        choices = [angle + turn for turn in (-np.pi, 0.0, np.pi) if abs(angle + turn) < 1.75]
        return float(min(choices, key=lambda yaw: abs(yaw - current)))


TASK = Push
