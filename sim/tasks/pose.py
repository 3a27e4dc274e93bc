# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The humanoid takes the pose it is told: kneel, squat, raise both arms, stand on the left leg, ...

Poses of a humanoid named in words are what vision-language models have been shown to teach as zero-shot
reward models (Rocamonde et al., VLM-RM, arXiv 2310.12921). Here each pose has a true predicate too: bounds on
heights and distances of body parts, so that it says what the words say and no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from apprentice.sim.scene import Scene
from apprentice.sim.task import Expert, Start, TaskBase
from apprentice.sim.tasks.phrases import matched
from apprentice.sim.view import View

MEASURES = (
    'left_hand_over_head',  # m, height of the hand above the middle of the head
    'right_hand_over_head',
    'left_hand_over_shoulder',  # m
    'right_hand_over_shoulder',
    'left_hand_out',  # m, from the middle of the chest to the left
    'right_hand_out',  # m, to the right
    'left_knee',  # m, height
    'right_knee',
    'left_foot',  # m, height of the ankle, 0.07 on the floor
    'right_foot',
    'pelvis',  # m, height, 0.9 standing straight
    'feet_apart',  # m, between the ankles, to the side
    'tilt',  # rad, of the chest against the vertical
)
UPRIGHT = 0.2  # rad, largest tilt of the chest in any pose
RESTING = 0.7  # rad/s, norm of the joint velocities below which a pose is held
ON_FLOOR = 0.12  # m, highest ankle of a foot that stands
SIDES = ('left', 'right')
ANY = (-np.inf, np.inf)


Bounds = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class PoseTarget:
    """One pose.

    Attributes:
        phrase: what else asks for it, a regular expression for all the words of an instruction.
        bounds: measure -> lowest and highest value: what the words mean; the rest is free.
        joints: joint -> position (rad), one way to take it; the rest is at home.
        first: the same for as long as the pelvis is much higher than its bound.
    """

    phrase: str
    bounds: Bounds
    joints: dict[str, float]
    first: dict[str, float] | None = None


def _both(name: str, low: float, high: float) -> Bounds:
    """The same bounds for the left and the right side of the body."""
    return {f'{side}_{name}': (low, high) for side in SIDES}


def _joints(**joints: float) -> dict[str, float]:
    """The same joint positions for the left and the right side of the body."""
    return {f'{side}_{name}': position for side in SIDES for name, position in joints.items()}


_ARMS = '(?:the|your|both|both the|both your|both of your) (?:arms|hands)'
_SIDES = '(?:sideways|to (?:the|your|both) sides?)'
_ARM_UP = {'shoulder_pitch': 2.95, 'shoulder_roll': 0.1, 'elbow': 0.0}
_SQUAT = _joints(hip_pitch=1.5, knee=1.9, ankle=0.5)
_STAND = {'pelvis': (0.78, np.inf), **_both('foot', 0.0, ON_FLOOR)}


def _one_arm(side: str, other: str) -> PoseTarget:
    return PoseTarget(
        f'(?:raise|lift)(?: up)? (?:the|your) {side} (?:arm|hand)(?: up)?',
        {f'{side}_hand_over_head': (0.12, np.inf), f'{other}_hand_over_shoulder': (-np.inf, -0.15), **_STAND},
        {f'{side}_{name}': position for name, position in _ARM_UP.items()},
    )


def _one_leg(side: str, other: str) -> PoseTarget:
    return PoseTarget(
        f'(?:stand|balance)(?: only)? on (?:the|your) {side} (?:leg|foot)(?: only)?'
        f'|stand with (?:the|your) {other} (?:leg|foot) (?:raised|lifted|up)',
        {'pelvis': (0.75, np.inf), f'{side}_foot': (0.0, ON_FLOOR), f'{other}_foot': (0.28, np.inf)},
        {f'{other}_hip_pitch': 1.5, f'{other}_knee': 1.5, f'{other}_ankle': 0.0, f'{side}_hip_roll': 0.0},
    )


POSES = {  # the easier first
    'raise the left arm': _one_arm('left', 'right'),
    'raise the right arm': _one_arm('right', 'left'),
    'raise both arms': PoseTarget(
        f'(?:raise|lift)(?: up)? {_ARMS}(?: up)?',
        {**_both('hand_over_head', 0.12, np.inf), **_STAND},
        _joints(**_ARM_UP),
    ),
    'stretch both arms out to the sides': PoseTarget(
        f'(?:stretch|spread|extend|raise)(?: out)? {_ARMS}(?: out)? {_SIDES}',
        {**_both('hand_out', 0.58, np.inf), **_both('hand_over_shoulder', -0.15, 0.15), **_STAND},
        _joints(shoulder_pitch=0.0, shoulder_roll=1.57, elbow=0.0),
    ),
    'stand on the left leg': _one_leg('left', 'right'),
    'stand on the right leg': _one_leg('right', 'left'),
    'squat': PoseTarget(
        '(?:do a )?squat(?: down)?',
        {'pelvis': (0.0, 0.62), **_both('knee', 0.28, np.inf), **_both('foot', 0.0, ON_FLOOR)},
        _SQUAT,
    ),
    'kneel': PoseTarget(
        'kneel(?: down)?|(?:go|get) down on your knees',
        {'pelvis': (0.38, 0.6), **_both('knee', 0.0, 0.13)},
        _joints(hip_roll=0.0, hip_pitch=0.0, knee=1.55, ankle=-1.4),
        first=_joints(hip_roll=0.0, hip_pitch=0.0, knee=1.55, ankle=0.5),
    ),
    'do the splits': PoseTarget(
        'do (?:the|a) splits?',
        {'pelvis': (0.0, 0.42), 'feet_apart': (1.2, np.inf)},
        _joints(hip_roll=1.4, hip_pitch=0.0, knee=0.0, ankle=0.0),
    ),
}


def named_pose(instruction: str) -> str:
    """The pose an instruction asks for, a key of POSES. Raises ValueError if it names none."""
    for name, pose in POSES.items():
        if matched(instruction, f'{name}|{pose.phrase}'):
            return name
    raise ValueError(f'{instruction!r} names no pose; say one of {list(POSES)}')


class Pose(TaskBase):
    """Success when the body is within the bounds of the named pose, the chest upright, and at rest.

    Easier starts (``level`` below 1) ask for the easier poses only: those of the arms.
    """

    name = 'pose'
    robot = 'sim_humanoid'
    max_duration_s = 8.0

    def __init__(self) -> None:
        bounds = [{'tilt': (0.0, UPRIGHT), **pose.bounds} for pose in POSES.values()]
        table = np.array([[each.get(name, ANY) for name in MEASURES] for each in bounds])
        self._lowest, self._highest = table[..., 0], table[..., 1]  # [poses, measures]

    def build(self, model: mujoco.MjSpec) -> None:
        """Adds nothing: the humanoid is alone."""

    def check(self, instruction: str) -> None:
        named_pose(instruction)

    def start(self, rng: np.random.Generator, instruction: str, level: float) -> Start:
        names = list(POSES)
        if not instruction:
            instruction = names[int(rng.integers(4 + round(level * (len(names) - 4))))]
        return Start(instruction, memory={'pose': names.index(named_pose(instruction))})

    def begin(self, view: View) -> dict[str, np.ndarray]:
        return {'start_violation': np.maximum(self._violation(view), 0.1)}

    def objects(self, view: View, sim: int) -> dict[str, np.ndarray]:
        """The ``pelvis``, which sways."""
        return {'pelvis': view.pose('pelvis')[sim]}

    def progress(self, view: View) -> np.ndarray:
        """How much of the distance to the pose is done; up to 0.95 until it is held."""
        done = np.clip(1 - self._violation(view) / view.memory['start_violation'], 0, 1)
        return np.where(self.success(view), 1.0, 0.95 * done)

    def success(self, view: View) -> np.ndarray:
        resting = np.linalg.norm(view.velocities, axis=1) < RESTING
        return resting & (self._violation(view) == 0.0)

    def expert(self, scene: Scene) -> Expert:
        return PoseExpert(scene)

    def _violation(self, view: View) -> np.ndarray:
        """How far the body is outside the bounds of the named pose [N], summed over measures (m, rad)."""
        pose, values = view.memory['pose'], measure(view)
        below = np.maximum(self._lowest[pose] - values, 0.0)
        return (below + np.maximum(values - self._highest[pose], 0.0)).sum(1)


def measure(view: View) -> np.ndarray:
    """The measures of the body [N, len(MEASURES)], see MEASURES."""
    chest = view.position('chest')
    hands = [view.site(f'{side}_hand') for side in SIDES]
    shoulders = [view.position(f'{side}_upper_arm') for side in SIDES]
    feet = [view.position(f'{side}_foot') for side in SIDES]
    columns = [hand[:, 2] - view.tip[:, 2] for hand in hands]
    columns += [hand[:, 2] - shoulder[:, 2] for hand, shoulder in zip(hands, shoulders, strict=True)]
    columns += [hands[0][:, 1] - chest[:, 1], chest[:, 1] - hands[1][:, 1]]
    columns += [view.position(f'{side}_shin')[:, 2] for side in SIDES]
    columns += [foot[:, 2] for foot in feet]
    columns += [view.position('pelvis')[:, 2], feet[0][:, 1] - feet[1][:, 1]]
    columns.append(np.arccos(np.clip(view.rotation('chest')[:, 2, 2], -1, 1)))
    return np.stack(columns, axis=1)


class PoseExpert(Expert):
    """All joints straight to the pose, each in step with the slowest; leans the trunk against sway.

    Raises ValueError for a robot without the joints of a pose.
    """

    SPEED = 0.6  # part of the joints' largest speeds
    NEAR = 0.08  # m, of the pelvis above its bound, until which a pose's ``first`` is taken
    LEAN = 9.0  # rad/m, of the waist against the pelvis's displacement

    def __init__(self, scene: Scene):
        spec = scene.spec
        known, used = set(spec.joint_names), {name for pose in POSES.values() for name in pose.joints}
        missing = sorted((used | {'waist_roll', 'waist_pitch'}) - known)
        if missing:
            raise ValueError(f'robot {spec.name!r} cannot take the poses; it has no joints {missing}')
        self._stride = self.SPEED * spec.vector('velocity') * spec.action_dt
        self._index = {name: number for number, name in enumerate(spec.joint_names)}
        self._lower, self._upper = spec.vector('lower'), spec.vector('upper')
        self._home = spec.vector('home')

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        goal, pose = self._home.copy(), POSES[named_pose(task)]
        high = objects['pelvis'][2] > pose.bounds.get('pelvis', ANY)[1] + self.NEAR
        for name, position in (pose.first if high and pose.first else pose.joints).items():
            goal[self._index[name]] = position
        ahead, left = self.LEAN * objects['pelvis'][:2]
        goal[self._index['waist_pitch']] -= ahead
        goal[self._index['waist_roll']] += left
        goal = np.clip(goal, self._lower, self._upper)
        slowest = float(np.max(np.abs(goal - state) / self._stride))
        return state + (goal - state) / max(slowest, 1.0)


TASK = Pose
