# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A DPO training that is killed (SIGKILL) again and again; run by test_train_dpo.py."""

import os
import signal
import sys
import time
from pathlib import Path

from preference_rig import TRAINING, make_pairs

from apprentice.learning.clone import training_folder
from apprentice.learning.preference.train import train_dpo


def lines(path: Path) -> int:
    return path.read_bytes().count(b'\n') if path.exists() else 0


def main(starter: Path, out: Path, kills: int) -> None:
    metrics = training_folder(out) / 'metrics.jsonl'
    for number in range(kills):
        child = os.fork()
        if child == 0:
            train_dpo(starter, make_pairs(), out, TRAINING, lambda step, m: time.sleep(0.05))
            os._exit(0)
        begun = time.time()
        while not metrics.exists() or metrics.stat().st_mtime < begun or lines(metrics) < 2 + number:
            assert os.waitpid(child, os.WNOHANG) == (0, 0), 'it ended by itself'
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), 'it ended by itself'


if __name__ == '__main__':
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
