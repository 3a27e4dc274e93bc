# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Domain randomisation as data: how far looks, dynamics and senses of a simulation may stray.

A level is a YAML file with the sections below; ``none``, ``mild`` and ``strong`` are shipped in
``sim/randomization``. Every simulation draws its own at each reset, see :mod:`.perturb`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

LEVELS = Path(__file__).parent / 'randomization'
Range = tuple[float, float]


class RandomizationError(ValueError):
    """A randomisation that cannot be used; the message names file, field, allowed values and remedy."""


def _amount(low: float, high: float, about: str) -> Any:
    return field(default=0.0, metadata={'low': low, 'high': high, 'about': about})


def _range(default: float, low: float, high: float, about: str) -> Any:
    return field(default=(default, default), metadata={'low': low, 'high': high, 'about': about})


@dataclass(frozen=True)
class Lights:
    """Lights of the model; the headlight is part of the camera and stays."""

    brightness: tuple[float, float] = _range(1.0, 0.0, 4.0, 'factor of the diffuse colour')
    tint: float = _amount(0.0, 0.9, 'each channel of the colour is scaled by 1 +- this')
    position_m: float = _amount(0.0, 3.0, 'shift along each axis, +- m')
    direction_rad: float = _amount(0.0, 1.5, 'tilt, at most, rad')


@dataclass(frozen=True)
class Looks:
    """Colours and textures. Objects keep their hue, because instructions name it."""

    surface_colour: float = _amount(0.0, 1.0, 'table, floor and walls: share of a random colour')
    robot_colour: float = _amount(0.0, 1.0, 'robot: share of a random colour')
    object_tint: float = _amount(0.0, 0.3, 'task objects: each channel is scaled by 1 +- this')
    texture: float = _amount(0.0, 1.0, 'probability of a texture, for each surface and robot part')
    clutter: float = _amount(0.0, 6.0, 'largest number of things that are seen on the table, not felt')


@dataclass(frozen=True)
class Cameras:
    """Pose and lens of the robot's cameras."""

    position_m: float = _amount(0.0, 0.3, 'shift along each axis, +- m')
    rotation_rad: float = _amount(0.0, 0.5, 'turn about a random axis, at most, rad')
    fovy_deg: float = _amount(0.0, 20.0, 'vertical field of view, +- degrees')


@dataclass(frozen=True)
class Dynamics:
    """Factors of masses, friction and drives, and how late a command takes effect."""

    mass: tuple[float, float] = _range(1.0, 0.1, 10.0, 'factor of mass and inertia of each task object')
    friction: tuple[float, float] = _range(1.0, 0.1, 10.0, 'factor of the friction of each task object')
    gain: tuple[float, float] = _range(1.0, 0.2, 5.0, 'factor of the gain of each drive')
    damping: tuple[float, float] = _range(1.0, 0.2, 5.0, 'factor of the damping of each drive and joint')
    delay_s: tuple[float, float] = _range(0.0, 0.0, 0.3, 'delay of commands, s, in steps of 10 ms')


@dataclass(frozen=True)
class Sensors:
    """Errors of measured joints and images. ``success`` and ``progress`` stay the truth."""

    joint_noise: float = _amount(
        0.0, 0.2, 'standard deviation of each reading, rad (grippers: share of their range)'
    )
    joint_offset: float = _amount(0.0, 0.2, 'constant error of each joint in an episode, +- rad; grippers: 0')
    image_noise: float = _amount(0.0, 0.5, 'standard deviation of each pixel value, share of full scale')
    image_brightness: float = _amount(0.0, 0.9, 'exposure: factor 1 +- this')
    image_contrast: float = _amount(0.0, 0.9, 'factor 1 +- this about mid-grey')
    blur_px: float = _amount(0.0, 3.0, 'standard deviation of the blur, at most, pixels')


@dataclass(frozen=True)
class Randomization:
    """A level of domain randomisation. Raises RandomizationError, naming the field, for values out of range.

    Ranges are (lowest, highest) of a uniform draw, log-uniform for factors; amounts are explained at
    their fields, in ``metadata['about']``.
    """

    name: str = 'none'
    lights: Lights = Lights()
    looks: Looks = Looks()
    cameras: Cameras = Cameras()
    dynamics: Dynamics = Dynamics()
    sensors: Sensors = Sensors()

    def __post_init__(self) -> None:
        for section in _sections():
            part = getattr(self, section)
            for entry in dataclasses.fields(part):
                _check(f'{self.name}: {section}.{entry.name}', getattr(part, entry.name), entry)

    @property
    def active(self) -> bool:
        """Whether anything differs from a plain simulation."""
        return any(getattr(self, name) != kind() for name, kind in _sections().items())

    @classmethod
    def of(cls, level: Randomization | str | Path | None) -> Randomization:
        """A level as callers give it: itself, a name or file, or None for none."""
        if isinstance(level, Randomization):
            return level
        return cls() if level is None else cls.load(level)

    @classmethod
    def load(cls, level: str | Path) -> Randomization:
        """Read a YAML file; a bare name is one of the shipped levels."""
        path = Path(level).expanduser()
        if not path.exists() and len(path.parts) == 1 and not path.suffix:
            path = LEVELS / f'{level}.yaml'
        if not path.exists():
            shipped = sorted(p.stem for p in LEVELS.glob('*.yaml'))
            raise RandomizationError(f'no randomization {str(level)!r}; give a YAML file or one of {shipped}')
        try:
            data = yaml.safe_load(path.read_text())
        except yaml.YAMLError as error:
            raise RandomizationError(f'{path} is not YAML: {error}') from error
        return cls.from_dict(data or {}, path.stem)

    @classmethod
    def from_dict(cls, data: dict[str, Any], name: str = 'randomization') -> Randomization:
        """From parsed YAML: section -> field -> number or [low, high]."""
        if not isinstance(data, dict):
            raise RandomizationError(f'{name} is a {type(data).__name__}, not sections {list(_sections())}')
        kinds = _sections()
        _known(f'{name}: section', [key for key in data if key != 'name'], list(kinds))
        parts: dict[str, Any] = {}
        for section, values in data.items():
            if section == 'name':
                continue
            if not isinstance(values, dict):
                raise RandomizationError(f'{name}: {section} must hold fields, not {values!r}')
            _known(f'{name}: {section}', list(values), [f.name for f in dataclasses.fields(kinds[section])])
            parts[section] = kinds[section](
                **{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
            )
        return cls(name=str(data.get('name', name)), **parts)

    def to_dict(self) -> dict[str, Any]:
        """For YAML and JSON; the inverse of :meth:`from_dict`."""
        data = dataclasses.asdict(self)
        for section in _sections():
            data[section] = {k: list(v) if isinstance(v, tuple) else v for k, v in data[section].items()}
        return data


def _sections() -> dict[str, type]:
    return {'lights': Lights, 'looks': Looks, 'cameras': Cameras, 'dynamics': Dynamics, 'sensors': Sensors}


def _known(where: str, given: list[Any], allowed: list[str]) -> None:
    unknown = [key for key in given if key not in allowed]
    if unknown:
        raise RandomizationError(f'{where} has unknown {unknown}; known are {allowed}')


def _check(where: str, value: Any, entry: dataclasses.Field) -> None:
    low, high, about = entry.metadata['low'], entry.metadata['high'], entry.metadata['about']
    ranged = isinstance(entry.default, tuple)
    numbers = value if ranged and isinstance(value, tuple) else (value,)
    expected = 'a range [low, high]' if ranged else 'a number'
    valid = len(numbers) == (2 if ranged else 1) and all(
        isinstance(n, (int, float)) and not isinstance(n, bool) and math.isfinite(n) for n in numbers
    )
    if not (valid and all(low <= n <= high for n in numbers) and numbers[0] <= numbers[-1]):
        shown = list(value) if isinstance(value, tuple) else value
        raise RandomizationError(
            f'{where} ({about}) is {shown!r}; give {expected} within {low:g} to {high:g}'
        )
