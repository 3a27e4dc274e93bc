# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Updates of the learner in two processes, started by torchrun from test_learner_ranks.py."""

import os
import sys
from pathlib import Path

import torch
from clone_rig import make_episode
from safetensors.torch import save_file
from test_learner_ranks import ALGORITHMS, joined, trained, updated

from apprentice.episodes.labels import iter_sealed, write_label
from apprentice.learning import distributed
from apprentice.learning.follower import follow
from apprentice.learning.health import Health
from apprentice.learning.intake import agreed
from apprentice.learning.leader import LeadingLearner
from apprentice.reward_models.monitor.detector import Level
from apprentice.robot.types import Episode, Outcome


def same(tensors: dict[str, torch.Tensor], ranks: distributed.Ranks) -> None:
    """Both processes have them, to the bit."""
    for name, tensor in tensors.items():
        mine = tensor.double().flatten()
        assert torch.equal(ranks.total(mine.clone()), 2 * mine), name


def learned(folder: Path, ranks: distributed.Ranks, saved_before: bool) -> dict[str, torch.Tensor]:
    """What the learner has after six updates, the same in both processes; after three it is saved."""
    if ranks.first:
        learner = joined(folder, ranks)
        assert isinstance(learner, LeadingLearner)
        if not saved_before:
            updated(learner, 3)
            learner.save()
        assert learner.algorithm.steps == 3
        updated(learner, 3)
        learner.beat()
        learner.stop()
    else:
        learner = follow(ranks)
    state = updated(learner, 0)
    same(state, ranks)
    return state


def corrected(folder: Path, ranks: distributed.Ranks) -> dict[str, torch.Tensor]:
    """What both have after a label, a report on a reward model, a version, a way back and an update."""
    if ranks.first:
        learner = joined(folder, ranks)
        write_label(next(iter_sealed(folder / 'run' / 'episodes')), Outcome.FAILURE, 'test')
        assert learner.ingest() == []  # none that is new
        learner.hear(Health('critic', '1', Level.SPARSE, 0.5))
        assert learner.publish() is not None
        updated(learner, 1)
        assert learner.rollback().version == 2
        updated(learner, 1)
        learner.stop()
    else:
        learner = follow(ranks)
        assert len(learner.obedience.models) == 1
    assert next(iter(learner.replay._online.values())).episode.outcome == Outcome.FAILURE
    return updated(learner, 0)


def read_late(ranks: distributed.Ranks) -> None:
    """The second process sees a label later than the first one: both read again."""
    outcomes = [Outcome.SUCCESS] if ranks.first else [Outcome.UNKNOWN, Outcome.SUCCESS]
    reads: list[Episode] = []

    def read() -> Episode:
        outcome = outcomes[min(len(reads), len(outcomes) - 1)]
        reads.append(make_episode(0, outcome=outcome))
        return reads[-1]

    assert agreed(read, ranks).outcome == Outcome.SUCCESS
    assert len(reads) == 2


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    device = 'cpu' if os.environ['RANK'] == '0' else None  # the other one is told
    with distributed.join(device) as ranks:
        assert ranks.world == 2
        for name, _ in ALGORITHMS:
            state = trained(name, ranks)
            same(state, ranks)
            if ranks.first:
                save_file(state, folder / f'{name.partition(":")[0]}.safetensors')
        state = learned(folder, ranks, saved_before=False)
        again = learned(folder, ranks, saved_before=True)  # from the snapshot: to the bit the same
        assert all(torch.equal(again[key], value) for key, value in state.items())
        if ranks.first:
            save_file(state, folder / 'learner.safetensors')
        read_late(ranks)
        same(corrected(folder, ranks), ranks)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
    distributed.leave()
