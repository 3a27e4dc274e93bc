# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One learner a run folder: two would overwrite each other's snapshots and versions."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO


def lock_run(run_dir: str | Path) -> IO[str]:
    """Claim a run folder until the returned file is closed or the process ends, however it ends.

    Raises OSError naming the process that has it.
    """
    folder = Path(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / 'learner.lock', 'a+')  # noqa: SIM115 - held open on purpose
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or 'unknown'
        file.close()
        raise OSError(
            f'{folder} belongs to another learner or training (process {holder}); end it or pass '
            'another run_dir (--out of a training)'
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
