# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A learner in two processes that says where it is and goes on until it or the other one is killed."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import psutil
from safetensors.torch import save_file
from test_learner_ranks import joined, updated

from apprentice.learning.follower_processes import started


def main(folder: Path) -> None:
    logging.basicConfig(level=logging.ERROR)
    with started(2) as ranks:
        learner = joined(folder, ranks)
        (other,) = psutil.Process().children()
        begin = learner.algorithm.steps
        state = updated(learner, 3)
        if begin == 0:
            learner.save()
        else:
            save_file(state, folder / 'resumed.safetensors')
        sys.stdout.write(f'{other.pid} {begin}\n')
        sys.stdout.flush()
        while True:
            learner.beat()
            time.sleep(0.05)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
