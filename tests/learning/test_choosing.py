# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What critics are asked about while the robot follows the chunk before: exactly what will be executed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clone_rig import ROBOT, SMALL, make_episode
from test_online_recipe import observation

from apprentice.learning.dataset import policy_spec
from apprentice.learning.rl.features import FeatureConfig
from apprentice.learning.rl.online import OnlineConfig, OnlineCritics
from apprentice.learning.rl.windows import WindowConfig
from apprentice.policies.policy import FlowPolicy, inputs_of
from apprentice.policies.rtc import PreviousChunk, RtcConfig

CRITIC = {'members': 2, 'hidden': [16]}
PARTS = {
    'flow_edit:FlowEdit': {'critic': CRITIC, 'hidden': [16], 'warm_up': 0, 'scale': 0.5},
    'q_chunking:QChunking': {'critic': CRITIC},
    'rlpd_sac:RlpdSac': {'critic': CRITIC, 'hidden': [16]},
}
ROWS, CANDIDATES = 4, 3


def choosing(part: str = 'flow_edit:FlowEdit', max_delay: int = 0):
    torch.manual_seed(0)
    config = type(SMALL)(**{**vars(SMALL), 'max_delay': max_delay})
    policy = FlowPolicy(policy_spec([make_episode(i) for i in range(4)], ROBOT, 8), config)
    torch.nn.init.normal_(policy.expert.leave.weight, std=0.05)
    features = FeatureConfig(candidates=CANDIDATES, rows=ROWS, potential=False)
    online = OnlineConfig(f'apprentice.learning.rl.{part}', PARTS[part], features, WindowConfig(rows=ROWS))
    critics = OnlineCritics(policy, online)
    algorithm = critics.algorithm
    algorithm.steps = 1
    if part.startswith('flow_edit'):  # edits that matter
        torch.nn.init.normal_(algorithm.editor.weights[-1], std=1.0)
    return critics.choosing(policy)


def before(delay: int, rows: int = 6) -> PreviousChunk:
    drawn = np.random.default_rng(3).normal(0, 0.1, (rows, 7))
    return PreviousChunk(ROBOT.vector('home') + drawn, delay)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def expected(made, seen, previous, followed, rtc) -> tuple[np.ndarray, bool]:
    """By hand: candidates, the rows that are followed in all of them, edits of the rest, the best of these.

    And whether that is an edit.
    """
    policy, algorithm = made.policy, made._algorithm
    inputs = inputs_of([seen], policy.spec)
    planned = policy.candidates(inputs, CANDIDATES, seeded(), [previous], rtc)[0]
    kept = followed or previous
    delay = kept.delay if kept else 0
    if kept:
        planned[:, :delay] = torch.as_tensor(kept.actions[:delay], dtype=torch.float32)
    chunks = policy.normalize_actions(planned, inputs.state.expand(CANDIDATES, -1))
    feature = made._see(inputs, [0.0])
    edited = algorithm.edit(feature, chunks[None, :, :ROWS])[0]
    edited[:, :delay] = chunks[:, :delay][:, :ROWS]
    both = torch.cat([chunks[:, :ROWS], edited])
    best = int(algorithm.critics.values(feature, both[None]).mean(0)[0].argmax())
    own = chunks[(chunks[:, :ROWS] - both[best]).square().sum((1, 2)).argmin()].clone()
    own[:ROWS] = both[best]
    return policy.denormalize_actions(own[None], inputs.state)[0].numpy(), best >= CANDIDATES


@pytest.mark.parametrize('delay', [0, 1, 2, 5])
@pytest.mark.parametrize('mode', ['none', 'hard', 'soft', 'trained'])
def test_what_is_judged_is_what_will_be_executed(mode, delay):
    made, rtc, edits = choosing(max_delay=5), RtcConfig(mode), 0
    previous, followed = (None, before(delay)) if mode == 'none' else (before(delay), None)
    for seed in range(9, 15):
        seen = observation(make_episode(seed))
        with torch.no_grad():
            made._algorithm.editor.weights[-1].normal_()  # now a candidate is best, now an edit
            wanted, edited = expected(made, seen, previous, followed, rtc)
        found = made.act(seen, seeded(), previous, rtc, followed)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        np.testing.assert_allclose(found[:delay], before(delay).actions[:delay], atol=1e-5)
        edits += edited
    assert edits or delay >= ROWS


def test_what_is_followed_changes_the_choice_of_the_rest():
    """Else the critics were not asked about it."""
    made, seen = choosing('q_chunking:QChunking'), observation(make_episode(9))
    free = made.act(seen, seeded())
    chosen = []
    for seed in range(20):
        rows = ROBOT.vector('home') + np.random.default_rng(seed).normal(0, 0.5, (6, 7))
        chosen.append(made.act(seen, seeded(), rtc=RtcConfig('none'), followed=PreviousChunk(rows, 2))[2:])
    assert any(np.allclose(one, free[2:], atol=1e-5) for one in chosen)
    assert any(np.abs(one - free[2:]).max() > 1e-4 for one in chosen)


@pytest.mark.parametrize('part', PARTS)
def test_each_robot_of_a_batch_has_a_delay_of_its_own(part):
    made, explored = choosing(part), observation(make_episode(9))
    made.explore = True
    followed = [before(2), None, before(0), before(3)]
    generators = [torch.Generator().manual_seed(i) for i in range(4)]
    found = made.act_batch([explored] * 4, generators, None, RtcConfig('none'), None, followed)
    generators = [torch.Generator().manual_seed(i) for i in range(4)]
    free = made.act_batch([explored] * 4, generators)
    for row, one in enumerate(followed):
        delay = one.delay if one else 0
        if delay:
            np.testing.assert_allclose(found[row, :delay], one.actions[:delay], atol=1e-5)
        assert np.abs(found[row, delay] - before(5).actions[delay]).max() > 1e-3
    for row in (1, 2):  # nothing is past: as without real-time chunks
        np.testing.assert_array_equal(found[row], free[row])
