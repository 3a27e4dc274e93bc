# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""DPO on action tokens: probabilities of whole sequences, their length, what is left alone."""

from __future__ import annotations

import pytest
import torch
from preference_rig import JOINT, make_pairs, make_policy, moved, quiet

from apprentice.learning.preference.dpo import prefix_twice
from apprentice.learning.preference.token_dpo import TokenDpo, log_probabilities
from apprentice.policies.token_head import Context
from apprentice.robot.settings import SettingsError


def token_batch(dpo, pairs):
    draws = dpo.draw(len(pairs))
    return dpo._tensors(pairs, draws)


def test_the_probability_of_a_sequence_is_the_product_over_its_tokens():
    policy = make_policy(JOINT)
    dpo, pairs = TokenDpo(policy, quiet()), make_pairs().select([0, 1])
    batch = token_batch(dpo, pairs)
    tokens, valid = dpo._tokens(batch)
    with torch.no_grad():
        prefix = policy.encode(batch.inputs)
        twice = prefix_twice(prefix)
        found = log_probabilities(policy, twice, tokens, valid)
        # one token after the other
        head = policy.token_head
        begin = torch.full_like(tokens[:, :1], head.end)
        logits = head(torch.cat([begin, tokens[:, :-1]], 1), Context(twice, head.reads)).log_softmax(-1)
        by_hand = torch.zeros(4)
        for b in range(4):
            for t in range(int(valid[b].sum())):
                by_hand[b] += logits[b, t, tokens[b, t]]
        torch.testing.assert_close(found, by_hand, rtol=1e-4, atol=1e-4)
        # padding does not count: more of it changes nothing
        more = torch.full((4, 3), head.end)
        padded = torch.cat([tokens, more], 1), torch.cat([valid, torch.zeros(4, 3, dtype=torch.bool)], 1)
        torch.testing.assert_close(log_probabilities(policy, twice, *padded), found, rtol=1e-4, atol=1e-4)
    # the sequences differ in length, and each ends once
    assert len(set(valid.sum(1).tolist())) > 1
    assert (tokens.gather(1, valid.sum(1, keepdim=True) - 1) == head.end).all()


def test_length_is_summed_or_averaged():
    pairs = make_pairs()
    found = {}
    for length in ('sum', 'mean'):
        dpo = TokenDpo(make_policy(JOINT), quiet(length=length, beta=0.1, anchor=0.0))
        moved(dpo.policy)
        found[length] = dpo.step(pairs)
        counts = dpo._tokens(token_batch(dpo, pairs))[1].sum(1).float()
    assert abs(found['sum']['winner_gain']) > 3 * abs(found['mean']['winner_gain'])
    assert counts.min() > 3


def test_a_policy_without_tokens_is_refused():
    with pytest.raises(ValueError, match='--heads joint'):
        TokenDpo(make_policy(), quiet())
    with pytest.raises(SettingsError, match='head=flow'):
        TokenDpo(make_policy(JOINT), quiet(guidance='treg'))


def test_the_flow_is_left_alone_by_tokens():
    dpo = TokenDpo(make_policy(JOINT), quiet(beta=0.1))
    before = [p.clone() for p in dpo.policy.expert.parameters()]
    dpo.step(make_pairs())
    assert all(torch.equal(a, b) for a, b in zip(before, dpo.policy.expert.parameters()))
