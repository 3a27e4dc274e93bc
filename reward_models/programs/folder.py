# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The folder of a reward program: what it is, what it was tested with, and who approved it.

    program.json     form, instruction, state, bounds, further residuals
    terms.json or reward.py
    admission.json   hash of the two above, result of every test, approver

A program whose hash is not the admitted one, that failed a test or that nobody approved is not loaded.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.files import read_json, write_json
from apprentice.reward_models.programs.forms import FORMS
from apprentice.reward_models.programs.task import RewardTask
from apprentice.robot.files import write_text
from apprentice.robot.settings import SettingsError, from_dict

PROGRAM, ADMISSION = 'program.json', 'admission.json'
SOURCES = {'terms': 'terms.json', 'python': 'reward.py'}


@dataclass(frozen=True)
class Written:
    """A reward program as it is stored.

    Attributes:
        form: ``terms`` or ``python``.
        source: its text.
        task: what it was written for; the ranges in its state say where it may be used.
        bounds: smallest and largest value it may give.
    """

    form: str
    source: str
    task: RewardTask
    bounds: tuple[float, float] = (-1e6, 1e6)

    @property
    def sha256(self) -> str:
        """Of everything that decides what it computes."""
        text = json.dumps([self.form, self.source, asdict(self.task), list(self.bounds)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def write(folder: Path, program: Written) -> None:
    """Write the program; an admission that was there no longer counts, because its hash differs."""
    if program.form not in FORMS:
        raise RewardModelError(f'there is no form {program.form!r}; use one of {list(FORMS)}')
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / SOURCES[program.form], program.source)
    data = {'form': program.form, 'bounds': list(program.bounds), 'task': asdict(program.task)}
    write_json(folder / PROGRAM, data)


def read(folder: Path) -> Written:
    """The program of a folder, admitted or not. Raises RewardModelError naming the file."""
    data = read_json(folder / PROGRAM)
    try:
        form, bounds = data['form'], data['bounds']
        task = from_dict(RewardTask, {**data['task'], 'residuals': {}}, 'task')
        task = RewardTask(**{**task.__dict__, 'residuals': _texts(data['task'].get('residuals', {}))})
        source = (folder / SOURCES[form]).read_text()
        return Written(form, source, task, (float(bounds[0]), float(bounds[1])))
    except (KeyError, IndexError, TypeError, SettingsError, AttributeError) as error:
        raise RewardModelError(f'{folder / PROGRAM} is not a reward program: {error}') from None
    except FileNotFoundError as error:
        raise RewardModelError(f'{error.filename} does not exist; write the program again') from None


def _texts(data: Any) -> dict[str, str]:
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise TypeError('task.residuals must map names to package.module:function')
    return dict(data)


def write_admission(
    folder: Path, program: Written, checks: list[dict[str, Any]], locks: dict[str, bool]
) -> None:
    """Store the result of the admission tests; nobody has approved it yet."""
    data = {
        'sha256': program.sha256,
        'admitted': bool(checks) and all(check['passed'] for check in checks),
        'approver': '',
        'approved': '',
        'locks': locks,
        'checks': checks,
    }
    write_json(folder / ADMISSION, data)


def approve(folder: Path, approver: str) -> None:
    """A person takes responsibility for an admitted program. Raises RewardModelError for one that is not."""
    if not approver.strip():
        raise RewardModelError('give the name of the person who approves')
    data = _admitted(folder, read(folder))
    when = datetime.now(timezone.utc).isoformat(timespec='seconds')
    write_json(folder / ADMISSION, {**data, 'approver': approver.strip(), 'approved': when})


def read_approved(folder: Path) -> tuple[Written, dict[str, Any]]:
    """A program that may be used, and its admission. Raises RewardModelError saying what is missing."""
    program = read(folder)
    data = _admitted(folder, program)
    if not data.get('approver'):
        raise RewardModelError(
            f'{folder}: nobody approved this program; read it, then: '
            f'apprentice reward approve {folder} --by NAME'
        )
    return program, data


def _admitted(folder: Path, program: Written) -> dict[str, Any]:
    if not (folder / ADMISSION).exists():
        raise RewardModelError(f'{folder} was never tested; run: apprentice reward check {folder}')
    data = read_json(folder / ADMISSION)
    if data.get('sha256') != program.sha256:
        raise RewardModelError(f'{folder} was changed after its tests; run: apprentice reward check {folder}')
    if data.get('admitted') is not True:
        failed = [check.get('name') for check in data.get('checks', []) if not check.get('passed')]
        raise RewardModelError(f'{folder} failed its admission tests: {", ".join(map(str, failed))}')
    return data
