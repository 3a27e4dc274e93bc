# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The metrics of a training: a line of JSON for each step, once, however often it was killed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class MetricsFile:
    """Appends to ``path`` after dropping every line behind step ``done``, torn ones too."""

    def __init__(self, path: Path, done: int = 0):
        self._file = open(path, 'a')  # noqa: SIM115 - closed by close
        self._file.truncate(_end_of(path, done))

    def write(self, step: int, values: dict[str, float]) -> None:
        """One line, readable by others at once."""
        self._file.write(json.dumps({'step': step, **values}) + '\n')
        self._file.flush()

    def sync(self) -> None:
        """To the disk: before a snapshot that says these steps are done."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a file, up to the first that is torn."""
    with open(path, 'rb') as file:
        return [record for record, _ in _records(file)]


def _end_of(path: Path, done: int) -> int:
    last = 0
    with open(path, 'rb') as file:
        for _, end in _records(file, done):
            last = end
    return last


def _records(file: Any, done: float = float('inf')) -> Any:
    """(record, offset of its end) of the lines up to step ``done``."""
    end = 0
    for line in file:
        end += len(line)
        try:
            record = json.loads(line)
            if not line.endswith(b'\n') or record['step'] > done:
                return
        except (ValueError, KeyError, TypeError):
            return
        yield record, end
