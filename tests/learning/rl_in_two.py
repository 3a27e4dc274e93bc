# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One update of each algorithm in two processes, started by torchrun from test_rl_scale.py."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from test_rl_scale import UPDATES, gradients

from apprentice.learning import distributed


def main(folder: Path) -> None:
    with distributed.join('cpu') as ranks:
        assert ranks.world == 2
        for name in UPDATES:
            found = gradients(name, ranks)
            mine = torch.cat([tensor.flatten() for tensor in found.values()])
            assert torch.allclose(ranks.total(mine.clone()), 2 * mine)  # both have the same
            if ranks.first:
                save_file(found, folder / f'{name}.safetensors')


if __name__ == '__main__':
    main(Path(sys.argv[1]))
    distributed.leave()
