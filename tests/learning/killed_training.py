# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A training that is killed (SIGKILL) at random moments, again and again; run by test_clone.py.

The children are forked, so that torch is imported once.
"""

import dataclasses
import os
import random
import signal
import sys
import time
from pathlib import Path

from clone_rig import CONFIG, ROBOT, make_episodes

from apprentice.learning.clone import clone, training_folder

KILLED = dataclasses.replace(CONFIG, steps=60, snapshot_every=4)


def lines(path: Path) -> int:
    return path.read_bytes().count(b'\n') if path.exists() else 0


def main(out: Path, kills: int, seed: int) -> None:
    rng, episodes, metrics = random.Random(seed), make_episodes(), training_folder(out) / 'metrics.jsonl'
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            clone(episodes, ROBOT, out, KILLED)
            os._exit(0)
        # a resumed training first drops lines
        begun, wanted = time.time(), rng.randint(3, 12)
        while not metrics.exists() or metrics.stat().st_mtime < begun - 0.05 or lines(metrics) < wanted:
            assert os.waitpid(child, os.WNOHANG) == (0, 0), 'it ended by itself'
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), 'it ended by itself'


if __name__ == '__main__':
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
