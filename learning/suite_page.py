# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The page and the JSON file of an evaluation suite."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from apprentice.learning.suite import Cell, Film, SuiteConfig, overall
from apprentice.robot.files import write_text
from apprentice.robot.parts import share


def summary(config: SuiteConfig, done: Sequence[Cell]) -> dict[str, Any]:
    """Everything on the page as plain data."""
    return {
        'config': asdict(config),
        'machine': f'{platform.machine()}, {platform.system()}, Python {platform.python_version()}',
        'date': datetime.date.today().isoformat(),
        'overall': [
            {'level': level, 'successes': successes, 'trials': trials}
            for level, successes, trials in overall(done)
        ],
        'cells': [
            {
                **asdict(cell),
                'successes': cell.successes,
                'interval': cell.interval,
                'progress': cell.progress,
                'seconds_to_success': cell.seconds,
            }
            for cell in done
        ],
    }


def write(config: SuiteConfig, done: Sequence[Cell], folder: Path) -> Path:
    """Write result.json and index.html, each at once; returns the page.

    ``done`` may lack cells: the page then says that the suite has not finished.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = summary(config, done)
    write_text(folder / 'result.json', json.dumps(data, indent=1))
    found = {(cell.task, cell.level): cell for cell in done}
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        share('web', 'suite.html').read_text()
    )
    page = template.render(
        **asdict(config),
        machine=data['machine'],
        date=data['date'],
        missing=len(config.tasks) * len(config.levels) - len(done),
        rows=[(task, [found.get((task, level)) for level in config.levels]) for task in config.tasks],
        totals=list(overall(done)),
        films=[(task, films) for task in config.tasks if (films := _films(done, task))],
    )
    write_text(folder / 'index.html', page)
    return folder / 'index.html'


def _films(done: Sequence[Cell], task: str) -> list[tuple[str, Film]]:
    """Level and film, of one task."""
    return [(cell.level, film) for cell in done if cell.task == task for film in cell.films]
