# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Trainings in two processes, started by torchrun from test_distributed.py."""

import dataclasses
import shutil
import sys
from pathlib import Path

import torch.distributed as dist
from clone_rig import CONFIG, ROBOT, make_episodes, vision_language_config

from apprentice.learning import distributed
from apprentice.learning.clone import clone, training_folder

RUNS = {
    'ddp': {'accumulate': 2},
    'fsdp': {'parallel': 'fsdp', 'accumulate': 2, 'validation': 0.3},
    'fsdp_bf16': {'parallel': 'fsdp', 'precision': 'bf16'},
}


def main(folder: Path, model: str) -> None:
    with distributed.join() as ranks:
        assert (dist.get_world_size(), ranks.world) == (2, 2)
        if model:
            config = dataclasses.replace(vision_language_config(Path(model)), parallel='fsdp')
            clone(make_episodes(), ROBOT, folder / 'fsdp_vision_language', config, ranks=ranks)
        for name, changes in RUNS.items():
            config = dataclasses.replace(CONFIG, **changes)
            clone(make_episodes(), ROBOT, folder / name, config, ranks=ranks)
            if config.precision == 'bf16':
                continue
            # as if it had been killed after the snapshot of step 3
            again = folder / f'{name}_resumed'
            if ranks.first:
                shutil.copytree(training_folder(folder / name), training_folder(again))
                shutil.rmtree(training_folder(again) / 'snapshot')
            ranks.wait()
            clone(make_episodes(), ROBOT, again, config, ranks=ranks)


if __name__ == '__main__':
    main(Path(sys.argv[1]), sys.argv[2])
    distributed.leave()
