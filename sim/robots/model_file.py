# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A robot's model as its file names it: MJCF or URDF anywhere on disk, in a Python package, or a part."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from pathlib import Path

import mujoco

from apprentice.robot.parts import load_part
from apprentice.robot.spec import RobotFileError, RobotSpec
from apprentice.sim.robots.urdf import mjcf_compatible

_PART = re.compile(r'[\w.]+:\w+')
_IN_PACKAGE = re.compile(r'([A-Za-z_]\w*(?:\.\w+)*):(.+)')


def read_model(spec: RobotSpec) -> mujoco.MjSpec:
    """The editable model that ``simulator.model`` names.

    ``package.module:Class`` is a part whose ``load()`` returns it. Anything else is a file, its ending tells
    MJCF (``.xml``, ``.mjcf``) from URDF (``.urdf``): a path (relative ones start at the robot file's folder;
    ``~`` and ``$VARIABLE`` are filled in), or ``package:path/in/package.xml`` for the assets of an installed
    Python package, which is not imported. Raises RobotFileError with cause and remedy.
    """
    reference = str(spec.simulator['model'])
    if _PART.fullmatch(reference):
        return load_part(reference)().load()
    where = f'robot {spec.name!r}: simulator.model {reference}'
    packages = spec.simulator.get('packages', {})
    if not isinstance(packages, Mapping):
        raise RobotFileError(f'{where}: simulator.packages maps names to folders, got {packages!r}')
    try:
        path = model_path(reference, spec.folder)
        if path.suffix.lower() == '.urdf':
            folders = {name: model_path(str(folder), spec.folder) for name, folder in packages.items()}
            return mujoco.MjSpec.from_string(mjcf_compatible(path, folders))
        return mujoco.MjSpec.from_file(str(path))
    except RobotFileError as error:
        raise RobotFileError(f'{where}: {error}') from None
    except (ValueError, OSError) as error:
        raise RobotFileError(f'{where} cannot be read: {told(error)}') from None


def compile_model(specification: mujoco.MjSpec, what: str) -> mujoco.MjModel:
    """Compile; raises RobotFileError naming ``what`` instead of MuJoCo's bare ValueError."""
    try:
        return specification.compile()
    except (ValueError, OSError) as error:
        raise RobotFileError(f'{what} does not compile: {told(error)}') from None


def model_path(reference: str, folder: str) -> Path:
    """The file or folder that a robot file names, see :func:`read_model`; relative to ``folder``."""
    expanded = os.path.expandvars(os.path.expanduser(reference))
    missing = re.search(r'\$\{?(\w+)', expanded)
    if missing:
        raise RobotFileError(
            f'{reference!r}: the environment variable {missing[1]} is not set; export it before the start'
        )
    inside = _IN_PACKAGE.fullmatch(expanded)
    if inside and len(inside[1]) > 1:  # a single letter is a drive
        path = _package_folder(inside[1], reference) / inside[2]
    else:
        path = Path(folder, expanded)
    if not path.exists():
        near = sorted(p.name for p in path.parent.iterdir())[:20] if path.parent.is_dir() else []
        there = f'its folder has: {near}' if near else f'there is no folder {path.parent} either'
        raise RobotFileError(
            f'{reference!r}: no file {path}; {there}. Relative paths start at the folder of the robot file'
        )
    return path


def _package_folder(name: str, reference: str) -> Path:
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    if found is None or not (found.submodule_search_locations or found.origin):
        raise RobotFileError(f'{reference!r}: there is no Python package {name!r}; is it installed?')
    if found.submodule_search_locations:
        return Path(next(iter(found.submodule_search_locations)))
    return Path(str(found.origin)).parent


def told(error: Exception) -> str:
    """MuJoCo's message in one line, with a remedy where there is one."""
    text = ' '.join(str(error).split())
    if 'repeated name' in text:
        text += '; the robot and the task use the same name: rename it in the model, or list its body under '
        text += 'simulator.remove'
    elif 'opening file' in text or 'not found' in text:
        text += '; the file that is named belongs beside the model, see its compiler element'
    return text
