# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Simulated tasks, one file each. A module's ``TASK`` is its task; a file put here is found by its name."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from typing import TYPE_CHECKING

from apprentice.robot.parts import load_part

if TYPE_CHECKING:
    from apprentice.sim.task import Task


def task_names() -> list[str]:
    """Names of all tasks in this folder."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return sorted(name for name in names if hasattr(importlib.import_module(f'{__name__}.{name}'), 'TASK'))


def load_task(reference: str) -> Task:
    """The task ``pick`` of this folder, or ``package.module:Class``. Raises ValueError or ImportError."""
    if ':' in reference:
        return load_part(reference)()
    names = task_names()
    if reference not in names:
        close = difflib.get_close_matches(reference, names, n=1)
        hint = f'did you mean {close[0]!r}?' if close else f'use one of {names}, or package.module:Class'
        raise ValueError(f'there is no task {reference!r}; {hint}')
    return importlib.import_module(f'{__name__}.{reference}').TASK()
