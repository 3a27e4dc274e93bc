# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Alarms that stop learning until a person has looked, also over a restart."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from apprentice.episodes.files import sync_folder


class Alarms:
    """Raised and cleared alarms in one append-only file of JSON lines.

    What a person has looked at does not alarm again: an episode is read from the log at every start.
    A line that a crash left unfinished is ignored.

    Args:
        path: the file; it is made with the first alarm.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._active: dict[str, str] = {}
        self._seen: set[str] = set()
        if self.path.is_file():
            for line in self.path.read_bytes().splitlines():
                self._read(line)

    def _read(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            key, reason = str(record['key']), record.get('reason')
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        if reason is None:
            self._active.pop(key, None)
        else:
            self._active[key] = str(reason)
        self._seen.add(key)

    def __bool__(self) -> bool:
        return bool(self._active)

    @property
    def text(self) -> str:
        """Why learning stands still; empty: it does not."""
        return '; '.join(self._active.values())

    def sound(self, key: str, reason: str) -> bool:
        """Raise an alarm about ``key``, such as an episode; once. Returns whether it is a new one.

        Raises OSError when it cannot be written; it is active all the same.
        """
        if key in self._seen:
            return False
        self._seen.add(key)
        self._active[key] = reason
        self._append([{'key': key, 'reason': reason}])
        return True

    def clear(self) -> list[str]:
        """A person has looked: end all alarms; returns what they were about. Raises OSError."""
        cleared = list(self._active)
        if cleared:
            self._append([{'key': key} for key in cleared])
        self._active.clear()
        return cleared

    def _append(self, records: list[dict[str, str]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        made = not self.path.exists()
        with open(self.path, 'ab') as file:
            if file.tell() and not _ends_with_newline(self.path):
                file.write(b'\n')
            for record in records:
                file.write(json.dumps({**record, 'time': time.time()}).encode() + b'\n')
            file.flush()
            os.fsync(file.fileno())
        if made:
            sync_folder(self.path.parent)


def _ends_with_newline(path: Path) -> bool:
    with open(path, 'rb') as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b'\n'
