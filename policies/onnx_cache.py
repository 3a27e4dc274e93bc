# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The ONNX files of a torch checkpoint, made when it is first loaded and kept for the next time.

So the runtime ``onnx`` takes the same folders as ``torch``: shipped weights, and what a learner publishes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from apprentice.policies import checkpoint
from apprentice.policies.checkpoint import CheckpointError
from apprentice.robot.files import cache_folder, sha256

_KEPT = 8  # exports; a learner publishes weights every few minutes
_LONGEST_S = 600.0
_log = logging.getLogger(__name__)


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds torch weights as :func:`.checkpoint.save` writes them."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return json.loads((folder / checkpoint.MANIFEST).read_text())['format'] == checkpoint.FORMAT
    return False


def exported(weights: Path, expected_sha256: str = '', int8: bool = False) -> Path:
    """Folder of the ONNX files of a checkpoint.

    Made in a process of its own at low priority, so that a policy that acts meanwhile is not held up. The
    oldest beyond eight are removed.

    Args:
        expected_sha256: of the checkpoint's manifest; empty: not known.

    Raises CheckpointError for damaged weights and for a policy that cannot be exported, with the reason.
    """
    digest = sha256(weights / checkpoint.MANIFEST)
    if expected_sha256 and digest != expected_sha256:
        raise CheckpointError(
            f'{weights / checkpoint.MANIFEST} is not the file that was announced (sha256 differs); '
            'copy it again'
        )
    # another torch or onnxruntime may compute otherwise
    made_with = '-'.join(_version(name) for name in ('torch', 'onnxruntime'))
    folder = cache_folder() / 'onnx' / f'{digest[:16]}-{made_with}{"-int8" if int8 else ""}'
    if (folder / checkpoint.MANIFEST).is_file():
        os.utime(folder)
        return folder
    began = time.monotonic()
    words = [sys.executable, '-m', 'apprentice.policies.onnx_export', str(weights.resolve()), str(folder)]
    try:
        done = subprocess.run(
            [*words, *(['--int8'] if int8 else [])],
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
        )
    except subprocess.TimeoutExpired:
        raise CheckpointError(
            f'exporting {weights} took longer than {_LONGEST_S:.0f} s; run `apprentice export onnx {weights} '
            '--out FOLDER` and give that folder, or use runtime torch'
        ) from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ['no message'])[-1]
        raise CheckpointError(f'{weights} cannot be run by onnxruntime: {reason}')
    _log.info('exported %s to %s in %.0f s', weights, folder, time.monotonic() - began)
    _remove_old(folder.parent)
    return folder


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return 'none'


def _remove_old(root: Path) -> None:
    found = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith('.')]
    for path in sorted(found, key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        shutil.rmtree(path, ignore_errors=True)
