# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The scripted demonstrations of a demo: made once, and measured as its episodes are."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from apprentice.episodes.labels import iter_sealed
from apprentice.learning.rescore import ledger_path
from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.ledger import Ledger

_log = logging.getLogger(__name__)
# each in a child process: rendering and the training libraries do not share one well
_DEMONSTRATE = """
import json, sys
from argparse import Namespace
from apprentice.cli import demonstrate
sys.exit(demonstrate.run(Namespace(**json.loads(sys.argv[1]))))
"""
_SCORE = """
import json, sys
from apprentice.cli import main
sys.exit(main.main(['reward', 'score', json.loads(sys.argv[1])['out']]))
"""
_MODEL = 'critic'  # what that measures with; the simulator's truth, or another model's scores, are none of it


def ensure_demonstrations(args: argparse.Namespace, interrupted: threading.Event) -> bool:
    """Make the demonstrations once; False if that failed or was interrupted.

    They are made beside their place and renamed, so a folder that exists is complete. Those that no reward
    model has measured are measured; the demo goes on where that fails.
    """
    folder: Path = args.demonstrations
    there = folder.is_dir() and any(folder.iterdir())
    if not there and not _make(args, folder, interrupted):
        return False
    if not _measured(folder):
        code = _child(_SCORE, {'out': str(folder)}, interrupted)
        if code and not interrupted.is_set():
            _log.warning('demonstrations are not measured (exit code %d, see above); critics see that', code)
    return not interrupted.is_set()


def _make(args: argparse.Namespace, folder: Path, interrupted: threading.Event) -> bool:
    part = folder.with_name(f'{folder.name}.part')
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    print(f'making {args.demonstration_episodes} scripted demonstrations in {folder} (once)', flush=True)
    # seed 0 whatever the demo's: these are what the starter policy was cloned from
    options = {'out': str(part), 'episodes': args.demonstration_episodes, 'seed': 0, 'robot': args.robot}
    code = _child(_DEMONSTRATE, options, interrupted)
    if interrupted.is_set() or code != 0 or not part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
        if not interrupted.is_set():
            _log.error('making demonstrations failed with exit code %s; see above', code)
        return False
    part.rename(folder)
    return True


def _measured(folder: Path) -> bool:
    """Whether the critic has scored each demonstration; a file that cannot be read is for the learner to
    complain of."""
    try:
        ledger = Ledger(ledger_path(folder))
    except RewardModelError:
        return True
    return all(ledger.scored(path.stem, _MODEL) for path in iter_sealed(folder))


def _child(code: str, options: dict[str, Any], interrupted: threading.Event) -> int | None:
    """Exit code of a Python process; None where it was ended because of an interrupt."""
    child = subprocess.Popen([sys.executable, '-c', code, json.dumps(options)], start_new_session=True)
    try:
        while child.poll() is None and not interrupted.wait(0.1):
            pass
        return child.poll()
    finally:
        _end(child)


def _end(child: subprocess.Popen) -> None:
    """End a child and whatever it started; it has a process group of its own."""
    if child.poll() is None:
        for number, patience in ((signal.SIGINT, 5.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(patience)
                break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
