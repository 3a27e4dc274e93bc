# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; the file replaces ``path`` when the block ends well.

    After an error the old file stays and the new one is removed.
    """
    temporary = path.with_name(f'.{path.name}.tmp')
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, in UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """An empty folder beside ``folder`` to write to; it replaces ``folder`` when the block ends well.

    An old folder goes only after every new file is safe on disk. After an error it stays, and the new one is
    removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
    try:
        made.chmod(0o755)
        yield made
        for path in made.iterdir():
            with open(path, 'rb') as file:
                os.fsync(file.fileno())
        old = None
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.old.', dir=folder.parent))
            os.rename(folder, old / 'was')
        os.rename(made, folder)
        if old is not None:
            shutil.rmtree(old)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def sha256(path: Path) -> str:
    """Hash of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where this package keeps what it can make again: ~/.cache/apprentice, or $APPRENTICE_CACHE."""
    root = os.environ.get('APPRENTICE_CACHE')
    return Path(root).expanduser() if root else Path.home() / '.cache' / 'apprentice'
