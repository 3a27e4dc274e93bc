# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""`apprentice bench reward-failures`: what counts as called a success, and from which seeds."""

import torch._dynamo  # isort: skip # noqa: F401 - before the first GL context of this process

import numpy as np

from apprentice.bench.reward_failures import FAILURES, FIRST, judge, table
from apprentice.bench.reward_truths import COLOURS, SEEDS, TASKS, held_out
from apprentice.learning.reward_attempts import plan
from apprentice.sim.acting import ActedAttempt


def attempt(seed, solved=False, behaviour='miss', length=6):
    frames = np.zeros((length, 1, 4, 4, 3), np.uint8)
    flags = np.arange(length) >= (length - 1 if solved else length)
    return ActedAttempt('pick', 'pick', behaviour, seed, np.arange(length) / 5, frames, flags * 1.0, flags)


def test_three_certain_samples_in_a_row_are_a_claim_and_solved_attempts_do_not_count():
    said = {
        1: [0.1, 0.96, 0.97, 0.96, 0.1, 0.1],
        2: [0.96, 0.96, 0.1, 0.96, 0.96, 0.1],  # never three
        3: [1.0] * 6,  # solved
        4: [0.2] * 6,
    }
    acted = [attempt(1), attempt(2), attempt(3, solved=True), attempt(4, behaviour='idle')]
    order = iter([1, 2, 4])

    def of(showing, text):
        done = np.array(said[next(order)])
        return np.zeros(6), done

    rows = judge(of, acted)
    assert [(row['seed'], row['called'], row['highest']) for row in rows] == [
        (1, True, 0.97),
        (2, False, 0.96),
        (4, False, 0.2),
    ]
    lines = table([{'group': SEEDS, **row} for row in rows])
    assert '| all | 1 of 3 | 6.15 to 79.23 % | 0.970 |' in lines
    assert any(line.startswith('| idle | 0 of 1 |') for line in lines)


def test_its_seeds_are_those_of_no_other_attempt():
    for group in (SEEDS, COLOURS, TASKS):
        names, first, colours = held_out(group)
        own = {one.seed for one in plan(names, first + FIRST, 60, FAILURES, colours)}
        judged = {one.seed for one in plan(names, first, 400, FAILURES, colours)}
        assert len(own) == 60 * len(names)
        assert not own & judged
