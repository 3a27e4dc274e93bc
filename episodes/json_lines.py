# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Files of JSON lines that are only ever appended to, safe against crashes and shared by processes."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from pathlib import Path
from typing import Any

from apprentice.episodes.files import EpisodeFileError, sync_folder

log = logging.getLogger(__name__)


def append_line(path: Path, content: dict[str, Any]) -> None:
    """Append one mapping; it is on the disk when this returns. After a torn line a new one begins.

    Raises OSError, e.g. for a full disk; nothing that was there is lost.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    made = not path.exists()
    with open(path, 'ab+') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = file.seek(0, os.SEEK_END)
        torn = False
        if end:
            file.seek(end - 1)
            torn = file.read(1) != b'\n'
        file.write((b'\n' if torn else b'') + json.dumps(content, allow_nan=False).encode() + b'\n')
        file.flush()
        os.fsync(file.fileno())
    if made:
        sync_folder(path.parent)


def read_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """(number, content) of every line; a file that does not exist has none.

    A line that a crash cut off is skipped with a warning. Raises EpisodeFileError for a whole line that is no
    mapping.
    """
    try:
        lines = path.read_bytes().split(b'\n')
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError:  # not JSON, or not even text
            log.warning('%s line %d was cut off by a crash and is skipped', path, number)
            continue
        if not isinstance(content, dict):
            raise EpisodeFileError(f'{path} line {number} is no mapping; correct or remove it')
        found.append((number, content))
    return found
