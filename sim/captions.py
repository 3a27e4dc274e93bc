# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Renders of the pick task with true sentences about them, and attempts that succeed or fail.

Material for training and judging reward models. The sentences are view-neutral: they hold for the
scene, whichever camera looks at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apprentice.sim.tasks.pick import COLOURS, HALF_SIZE, LIFTED, named_colour
from apprentice.sim.world import World

OBJECTS = tuple(f'{colour} cube' for colour in COLOURS)
BASELINE = 'a robot arm and cubes on a table'
STAGES: dict[str, tuple[str, ...]] = {
    'far': ('the gripper is far from the {object}',),
    'near': ('the gripper is near the {object}',),
    'close': ('the gripper is close to the {object}',),
    'around': ('the open gripper is around the {object}',),
    'grasped': ('the gripper is closed around the {object}', 'the robot grasps the {object} on the table'),
    'lifting': ('the robot lifts the {object} off the table',),
    'held': ('the robot holds the {object} above the table', 'the {object} is in the air'),
}
RESTING = 'the {object} is on the table'
SCENE = 'a {first} and a {second} on a table'
BEHAVIOURS = ('expert', 'miss', 'wrong', 'drop', 'wander')


@dataclass
class Attempt:
    """One attempt at an instruction on the policy's time grid.

    Attributes:
        frames: uint8 [T, V, H, W, 3], views in the robot file's order.
        captions: true sentences of each frame.
        truth: float32 [T], the task's staged progress.
        solved: bool [T], the task's success predicate.
    """

    text: str
    behaviour: str
    seed: int
    frames: np.ndarray
    captions: list[list[str]]
    truth: np.ndarray
    solved: np.ndarray

    @property
    def success(self) -> bool:
        return bool(self.solved[-1])


def all_captions() -> list[str]:
    """Every sentence :func:`describe` can say, in a fixed order."""
    sentences = [BASELINE]
    for item in OBJECTS:
        sentences += [t.replace('{object}', item) for stage in STAGES.values() for t in stage]
        sentences.append(RESTING.replace('{object}', item))
    sentences += [_scene(a, b) for i, a in enumerate(OBJECTS) for b in OBJECTS[i + 1 :]]
    return sentences


def describe(world: World) -> list[str]:
    """Sentences true of the world now."""
    tip, width = world.tip()[0], float(world.state()[-1])
    poses = {name.removeprefix('cube_') + ' cube': pose for name, pose in world.objects().items()}
    present = [item for item in OBJECTS if item in poses]
    sentences = [_scene(*present[:2])] if len(present) == 2 else []
    anything_held = False
    for item in present:
        stage = _stage(poses[item][:3], tip, width)
        held = stage in ('grasped', 'lifting', 'held')
        anything_held |= held
        sentences += [t.replace('{object}', item) for t in STAGES[stage]]
        if not held and poses[item][2] < HALF_SIZE + 0.01:
            sentences.append(RESTING.replace('{object}', item))
    return sentences if anything_held else [BASELINE, *sentences]


def attempt(world: World, seed: int, behaviour: str = 'expert', steps: int = 60, after: int = 4) -> Attempt:
    """Act out one attempt. Deterministic for (seed, behaviour).

    Args:
        world: is reset to ``seed``.
        seed: also draws what goes wrong.
        behaviour: one of BEHAVIOURS. ``miss`` grasps beside the cube, ``wrong`` goes for the other cube,
            ``drop`` lets go halfway, ``wander`` moves at random.
        steps: longest attempt, in steps of ``action_dt``.
        after: steps to stay after the cube aimed at is up.
    """
    if behaviour not in BEHAVIOURS:
        raise ValueError(f'behaviour {behaviour!r} is unknown; use one of {BEHAVIOURS}')
    rng = np.random.default_rng((seed, BEHAVIOURS.index(behaviour)))
    text = world.reset(seed)
    aim, offset = text, np.zeros(3)
    if behaviour == 'wrong':
        others = [name.removeprefix('cube_') for name in world.objects()]
        others.remove(named_colour(text))
        aim = f'pick up the {others[0]} cube'
    elif behaviour == 'miss':
        angle = rng.uniform(0, 2 * np.pi)
        offset[:2] = rng.uniform(0.025, 0.06) * np.array([np.cos(angle), np.sin(angle)])
    expert, drop_at = world.expert(), rng.uniform(HALF_SIZE + 0.01, LIFTED - 0.01)
    dropped = False
    frames, captions, truth, solved = [], [], [], []
    still = 0
    for _ in range(steps):
        images = world.render()
        frames.append(np.stack([images[camera.name] for camera in world.spec.cameras]))
        captions.append(describe(world))
        truth.append(world.progress())
        solved.append(world.success())
        still = still + 1 if _lifted(world, aim) else 0
        if still > after:
            break
        objects = {name: pose.copy() for name, pose in world.objects().items()}
        for pose in objects.values():
            pose[:3] += offset
        target = expert.act(world.state(), objects, aim)
        if behaviour == 'drop':
            dropped = dropped or objects['cube_' + named_colour(aim)][2] > drop_at
            if dropped:
                target = np.append(world.state()[:-1], world.spec.joints[-1].upper)
        elif behaviour == 'wander':
            span = world.spec.vector('velocity') * world.spec.action_dt
            target = world.state() + 0.7 * span * rng.uniform(-1, 1, world.spec.dim)
            target[-1] = world.spec.joints[-1].upper * (rng.random() < 0.7)
        world.step(target, world.spec.action_dt)
    return Attempt(
        text,
        behaviour,
        seed,
        np.stack(frames),
        captions,
        np.array(truth, np.float32),
        np.array(solved, bool),
    )


def attempts(world: World, seeds: Sequence[int], mix: Sequence[str] = ('expert',)) -> list[Attempt]:
    """One attempt a seed; behaviours taken in turn from ``mix``."""
    return [attempt(world, seed, mix[i % len(mix)]) for i, seed in enumerate(seeds)]


def _scene(a: str, b: str) -> str:
    return SCENE.replace('{first}', a).replace('{second}', b)


def _lifted(world: World, aim: str) -> bool:
    return bool(world.objects()[f'cube_{named_colour(aim)}'][2] > LIFTED)


def _stage(cube: np.ndarray, tip: np.ndarray, width: float) -> str:
    distance = float(np.linalg.norm(cube - tip))
    if distance < 0.025 and width < 1.3 * HALF_SIZE:
        if cube[2] > LIFTED:
            return 'held'
        return 'lifting' if cube[2] > HALF_SIZE + 0.012 else 'grasped'
    if distance < 0.03:
        return 'around'
    if distance < 0.085:
        return 'close'
    return 'near' if distance < 0.15 else 'far'
