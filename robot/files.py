# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
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
