# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Episode files: their names, how writing them is made durable, and what can be wrong with them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from apprentice.robot.files import replacing

METADATA = 'apprentice'  # name of the MCAP metadata record that describes the episode
SCHEMA_VERSION = 1
LIBRARY = 'apprentice'
SUFFIX, PART_SUFFIX = '.mcap', '.mcap.part'
_REMEDIES = {
    errno.ENOSPC: 'the disk is full: free some space, or record to another disk (parameter run_dir)',
    errno.EDQUOT: 'the disk quota is used up: free some space, or record to another disk (parameter run_dir)',
    errno.EFBIG: 'the file size limit is reached: raise it (ulimit -f)',
    errno.EROFS: 'the disk is read-only: remount it, or record to another disk (parameter run_dir)',
    errno.EACCES: 'permission denied: make the folder writable, or choose another one (parameter run_dir)',
}


class EpisodeFileError(ValueError):
    """An episode file cannot be used; the text names the file, the cause and the remedy."""


class LogWriteError(OSError):
    """The log cannot be written; the text names cause and remedy. What was written stays readable."""

    def __init__(self, path: Path, error: OSError, kept: str):
        remedy = _REMEDIES.get(error.errno or 0, f'{error.strerror or error}: check the disk')
        super().__init__(f'cannot write {path}: {remedy}; {kept}')
        self.errno = error.errno


def file_stem(episode_id: str) -> str:
    """The episode id as the stem of a file name."""
    return re.sub(r'[^\w.-]', '_', episode_id) or 'episode'


def free_stem(folder: Path, stem: str) -> str:
    """``stem``, or ``stem.2`` and so on when that episode was begun before (a recorder that restarted)."""
    candidate, number = stem, 1
    while (folder / (candidate + SUFFIX)).exists() or (folder / (candidate + PART_SUFFIX)).exists():
        number += 1
        candidate = f'{stem}.{number}'
    return candidate


@contextlib.contextmanager
def replacing_durably(path: Path) -> Iterator[Path]:
    """As :func:`replacing`, and on the disk when the block has ended; makes the folder of ``path``."""
    _make_durably(path.parent)
    with replacing(path) as temporary:
        yield temporary
        with open(temporary, 'rb') as stream:
            os.fsync(stream.fileno())
    sync_folder(path.parent)


def _make_durably(folder: Path) -> None:
    if not folder.is_dir():
        _make_durably(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
