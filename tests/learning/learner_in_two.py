# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Updates of the learner in two processes, started by torchrun from test_learner_ranks.py."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from test_learner_ranks import ALGORITHMS, joined, trained, updated

from apprentice.learning import distributed


def same(tensors: dict[str, torch.Tensor], ranks: distributed.Ranks) -> None:
    """Both processes have them, to the bit."""
    for name, tensor in tensors.items():
        mine = tensor.double().flatten()
        assert torch.equal(ranks.total(mine.clone()), 2 * mine), name


def main(folder: Path) -> None:
    with distributed.join('cpu') as ranks:
        assert ranks.world == 2
        for name, _ in ALGORITHMS:
            state = trained(name, ranks)
            same(state, ranks)
            if ranks.first:
                save_file(state, folder / f'{name.partition(":")[0]}.safetensors')
        learner = joined(folder, ranks)
        updated(learner, 3)
        if ranks.first:  # alone, while the other one waits
            learner.save()
        ranks.wait()
        state = updated(learner, 3)
        same(state, ranks)
        again = joined(folder, ranks)
        assert again.algorithm.steps == 3
        resumed = updated(again, 3)
        assert all(torch.equal(resumed[key], value) for key, value in state.items())
        if ranks.first:
            save_file(state, folder / 'learner.safetensors')


if __name__ == '__main__':
    main(Path(sys.argv[1]))
