# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Faults on purpose, at set times: what a robot must survive, told as data and repeatable.

A plan is YAML, a list of faults or ``{seed: 0, faults: [...]}``::

    - {kind: camera_drop, at_s: 2.0, for_s: 1.5, target: front}
    - {kind: joint_stuck, at_s: 5.0, target: joint2}

The simulated robot's node applies those of its devices, the policy's node ``slow_model``, either of them
``dead_node``; :class:`FaultyRobot` applies the first ones to a robot without a graph.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

# kind -> (what the target names, unit of the amount or '', default amount)
KINDS: dict[str, tuple[str, str, float]] = {
    'camera_drop': ('camera', 'share of frames lost', 1.0),
    'camera_delay': ('camera', 's', 0.2),
    'camera_freeze': ('camera', '', 0.0),
    'joint_stuck': ('joint', '', 0.0),
    'joints_silent': ('', '', 0.0),
    'clock_jump': ('', 's, may be negative', 1.0),
    'slow_model': ('', 's', 1.0),
    'dead_node': ('node', '', 0.0),
}

LONGEST_S = 1e8  # of times and delays; stamps and sleeps hold no more


class FaultPlanError(ValueError):
    """A plan that cannot be carried out; the message names the fault, the field and the remedy."""


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:  # YAML's integers have no end
        return None


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: one of KINDS.
        at_s: when it begins, in seconds since the plan was given.
        for_s: how long it lasts.
        target: camera, joint or node; empty: all of them, of joints and nodes none.
        amount: in the unit of KINDS; NaN takes its default.
    """

    kind: str
    at_s: float = 0.0
    for_s: float = math.inf
    target: str = ''
    amount: float = math.nan

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            raise FaultPlanError(f'no fault {self.kind!r}; use one of {sorted(KINDS)}')
        of, unit, default = KINDS[self.kind]
        if not isinstance(self.target, str):
            raise FaultPlanError(f'{self.kind}: target is {self.target!r}; give a name')
        for name, low, high, empty in (
            ('at_s', 0.0, LONGEST_S, False),
            ('for_s', 0.0, math.inf, False),
            ('amount', -LONGEST_S, LONGEST_S, True),
        ):
            value = getattr(self, name)
            number = _number(value)
            if number is None or not (low <= number <= high or (empty and math.isnan(number))):
                raise FaultPlanError(
                    f'{self.kind}: {name} is {value!r}; give a number within {low:g} to {high:g}'
                )
        if of in ('joint', 'node') and not self.target:
            raise FaultPlanError(f'{self.kind}: target is missing; name a {of}')
        if self.target and not of:
            raise FaultPlanError(f'{self.kind}: has no target, got {self.target!r}; remove it')
        if math.isnan(self.amount):
            object.__setattr__(self, 'amount', default)
        elif not unit:
            raise FaultPlanError(f'{self.kind}: has no amount; remove it')
        if self.kind == 'camera_drop' and not 0 <= self.amount <= 1:
            raise FaultPlanError(f'camera_drop: amount is {self.amount}; give a {unit}, within 0 to 1')
        if self.kind in ('camera_delay', 'slow_model') and self.amount < 0:
            raise FaultPlanError(f'{self.kind}: amount is {self.amount}; give a number of 0 or more')

    def active(self, now: float) -> bool:
        """Whether it lasts at ``now`` [s since the plan was given]."""
        return self.at_s <= now < self.at_s + self.for_s


@dataclass(frozen=True)
class FaultPlan:
    """Faults in the order they were written; the first active one of a kind and target counts."""

    faults: tuple[Fault, ...] = ()
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> FaultPlan:
        """A plan from YAML text or from the file of that name; empty text is no fault."""
        path = Path(os.path.expanduser(text))
        if text and '\n' not in text and path.suffix in ('.yaml', '.yml'):
            try:
                text = path.read_text(encoding='utf-8')
            except OSError as error:
                raise FaultPlanError(f'fault plan {path}: {error.strerror}') from error
            except ValueError as error:
                raise FaultPlanError(f'fault plan {path} is not UTF-8 text: {error}') from error
        try:
            data = yaml.safe_load(text) or []
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no such date, ...
            raise FaultPlanError(f'the fault plan is not YAML: {error}') from error
        return cls.from_data(data)

    @classmethod
    def from_data(cls, data: Any) -> FaultPlan:
        """A plan from parsed YAML."""
        seed = 0
        if isinstance(data, dict):
            unknown = set(data) - {'seed', 'faults'}
            if unknown:
                raise FaultPlanError(f'a fault plan has seed and faults, not {sorted(map(str, unknown))}')
            seed, data = data.get('seed', 0), data.get('faults') or []
            if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
                raise FaultPlanError(f'seed of the fault plan is {seed!r}; give a whole number of 0 or more')
        if not isinstance(data, list):
            raise FaultPlanError(f'a fault plan is a list of faults, not {data!r}')
        known = [entry.name for entry in dataclasses.fields(Fault)]
        faults = []
        for number, entry in enumerate(data):
            if not isinstance(entry, dict) or 'kind' not in entry or set(entry) - set(known):
                raise FaultPlanError(f'fault {number} is {entry!r}; it needs kind and may have {known[1:]}')
            try:
                faults.append(Fault(**entry))
            except FaultPlanError as error:
                raise FaultPlanError(f'fault {number}: {error}') from None
        return cls(tuple(faults), seed)

    def check(self, cameras: Sequence[str], joints: Sequence[str]) -> FaultPlan:
        """Raise FaultPlanError for a camera or joint that the robot does not have; returns itself."""
        there = {'camera': cameras, 'joint': joints}
        for fault in self.faults:
            of = KINDS[fault.kind][0]
            if fault.target and of in there and fault.target not in there[of]:
                raise FaultPlanError(
                    f'{fault.kind}: the robot has no {of} {fault.target!r}; it has {list(there[of])}'
                )
        return self

    def find(self, kind: str, now: float, target: str = '') -> Fault | None:
        """The fault of a kind that hits ``target`` at ``now`` [s since the plan was given], if any."""
        for fault in self.faults:
            if fault.kind == kind and fault.active(now) and fault.target in ('', target):
                return fault
        return None

    def chance(self, fault: Fault, now: float) -> float:
        """A number in [0, 1) that is the same whenever the same plan comes to the same time."""
        key = (self.seed, self.faults.index(fault), round(now * 1e6))
        return float(np.random.default_rng(key).random())


class FaultyRobot:
    """Devices of one robot with the faults of a plan between them and the world.

    Give it what is measured and commanded, with times in seconds since the plan was given; it answers with
    what arrives.
    """

    def __init__(self, plan: FaultPlan, joints: Sequence[str]):
        self.plan, self._joints = plan, list(joints)
        self._frozen: dict[str, np.ndarray] = {}
        self._late: dict[str, deque[tuple[float, float, np.ndarray]]] = {}
        self._stuck: dict[str, float] = {}

    def capture(self, camera: str, frame: np.ndarray, now: float) -> np.ndarray:
        """What the camera sees when ``frame`` [H, W, 3] is there to see: the same as before if frozen."""
        if self.plan.find('camera_freeze', now, camera) is None:
            self._frozen.pop(camera, None)
            return frame
        return self._frozen.setdefault(camera, frame.copy())

    def send(self, camera: str, frame: np.ndarray, stamp: float, now: float) -> None:
        """A frame leaves the camera: it may be lost, or be late."""
        drop = self.plan.find('camera_drop', now, camera)
        if drop is not None and self.plan.chance(drop, now) < drop.amount:
            return
        delay = self.plan.find('camera_delay', now, camera)
        due = now + (delay.amount if delay is not None else 0.0)
        self._late.setdefault(camera, deque()).append((due, stamp, frame))

    def arriving(self, camera: str, now: float) -> list[tuple[np.ndarray, float]]:
        """Frames that arrive now, with the stamps of their capture; in the order they were sent."""
        line = self._late.get(camera, deque())
        arrived = []
        while line and line[0][0] <= now + 1e-6:
            _, stamp, frame = line.popleft()
            arrived.append((frame, stamp))
        return arrived

    def obey(self, target: np.ndarray, measured: np.ndarray, now: float) -> np.ndarray:
        """The joint target [dim] that the drives really follow; a stuck joint stays where it was."""
        target = np.array(target, np.float64)
        for index, name in enumerate(self._joints):
            fault = self.plan.find('joint_stuck', now, name)
            if fault is None:
                self._stuck.pop(name, None)
            else:
                target[index] = self._stuck.setdefault(name, float(measured[index]))
        return target

    def silent(self, now: float) -> bool:
        """Whether no joint states are sent."""
        return self.plan.find('joints_silent', now) is not None

    def clock_error(self, now: float) -> float:
        """How far the robot's clock is off, s."""
        fault = self.plan.find('clock_jump', now)
        return fault.amount if fault is not None else 0.0
