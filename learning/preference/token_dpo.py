# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""DPO on the FAST head: log-probabilities of token sequences (arXiv 2305.18290, as NORA-1.5 does on FAST+).

    L = -log sigmoid(beta [log pi(y+)/pi_ref(y+) - log pi(y-)/pi_ref(y-)]) + anchor * cross-entropy(y+)

A chunk's sequence ends where the tokens make a whole chunk, so padding never counts, and the end token does
once. Sequences of winner and loser differ in length: ``length`` sums or averages their log-probabilities.
Tokens stand for frequencies of a whole chunk, not for rows, so guidance by rows does not apply.
"""

from __future__ import annotations

import torch

from apprentice.learning.preference.dpo import Compared, Dpo, DpoConfig, PairBatch
from apprentice.learning.weighted_flow import Draws
from apprentice.policies.fast import hold
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Prefix
from apprentice.robot.settings import SettingsError


class TokenDpo(Dpo):
    """DPO of the token head and, unless it is frozen, of the backbone; the flow expert is left alone.

    Raises ValueError for a policy without a fitted token head, SettingsError for guidance.
    """

    def __init__(self, policy: FlowPolicy, config: DpoConfig | None = None, seed: int = 0):
        config = config or DpoConfig(beta=0.1)
        if policy.token_head is None or policy.token_head.tokenizer is None:
            raise ValueError(
                'the policy has no fitted token head; train one with `apprentice train bc --heads joint`, or '
                'use head=flow'
            )
        if config.guidance != 'none':
            raise SettingsError(
                f'guidance {config.guidance} is by rows, tokens are not; use head=flow or none'
            )
        policy.expert.requires_grad_(False)
        super().__init__(policy, config, seed)

    def compare(
        self,
        policy: FlowPolicy,
        prefix: Prefix,
        expected: Prefix,
        batch: PairBatch,
        draws: Draws,
        generator: torch.Generator,
    ) -> Compared:
        tokens, valid = self._tokens(batch)
        own = log_probabilities(policy, prefix, tokens, valid)
        with torch.no_grad():
            theirs = log_probabilities(self.reference, expected, tokens, valid)
        count = valid.sum(1)
        ratio = own - theirs
        scale = count if self.config.length == 'mean' else torch.ones_like(count)
        winner, loser = (ratio / scale).chunk(2)
        supervised = (-own / count).chunk(2)[0]
        # of the log-probability of a token
        drift = (ratio / count).detach().square().mean()
        return Compared(winner - loser, supervised, winner, loser, drift)

    def _tokens(self, batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Sequences int [2 * B, T] of winners and losers, and which of their tokens count."""
        head, policy = self.reference.token_head, self.reference
        assert head is not None
        assert head.tokenizer is not None
        chunks = torch.cat([batch.winner, batch.loser]) * policy.action_std + policy.action_mean
        valid = torch.cat([batch.valid] * 2).cpu().numpy()
        return head.pad(head.tokenizer.encode(hold(chunks.double().cpu().numpy(), valid)))


def log_probabilities(
    policy: FlowPolicy, prefix: Prefix, tokens: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """Log-probability [B] of whole sequences [B, T]; ``valid`` bool [B, T] are the tokens that count."""
    head = policy.token_head
    assert head is not None
    return -head.loss(prefix, tokens, valid) * valid.sum(1)
