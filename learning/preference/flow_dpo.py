# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""DPO on the flow head (NORA-1.5, arXiv 2511.14659, equation 9; Diffusion-DPO, arXiv 2311.12908).

    E(a) = |v(x_t, t, o) - (noise - a)|^2, mean over rows and joints
    L    = -log sigmoid(-beta [(E(a+) - E_ref(a+)) - (E(a-) - E_ref(a-))]) + anchor * E(a+)

Noise and time are the same for winner and loser and for policy and reference: what they have in common then
cancels. Several draws are averaged before the sigmoid. This is written from the equations; the released code
of NORA-1.5 draws noise apart for winner and loser, copies a part of the reference only, and has no anchor.
"""

from __future__ import annotations

import torch

from apprentice.learning.preference.dpo import Compared, Dpo, PairBatch
from apprentice.learning.preference.guidance import row_errors, row_mean, tgdpo_scores, treg_loss
from apprentice.learning.weighted_flow import Draws
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Prefix


class FlowDpo(Dpo):
    """DPO of the flow expert and, unless it is frozen, of the backbone."""

    def compare(
        self,
        policy: FlowPolicy,
        prefix: Prefix,
        expected: Prefix,
        batch: PairBatch,
        draws: Draws,
        generator: torch.Generator,
    ) -> Compared:
        config, horizon = self.config, batch.winner.shape[1]
        time = draws.time.expand(*draws.time.shape[:2], horizon)
        valid = batch.valid[:, None].expand_as(time)
        if draws.delay is not None:  # rows that will be past are given clean: trained real-time chunking
            clean = torch.arange(horizon, device=time.device) < draws.delay
            time, valid = time.masked_fill(clean, 0.0), valid & ~clean
        noises, times, masks = [draws.noise] * 2, [time] * 2, [valid] * 2
        if not config.share_noise:
            apart = self.draw(len(batch.winner), (), generator).each(lambda x: x.to(time.device))
            noises[1], times[1] = apart.noise, apart.time.expand_as(time)
        chunks = torch.cat([batch.winner, batch.loser])  # in one pass
        noise, when = torch.cat(noises), torch.cat(times)
        error, velocity = row_errors(policy, prefix, chunks, noise, when)
        with torch.no_grad():
            reference, still = row_errors(self.reference, expected, chunks, noise, when)
        counts = torch.cat(masks)
        ratio = row_ratio(reference - error, counts)
        winner, loser = ratio.chunk(2)  # log-ratios [B, H], mean over draws
        rows = batch.valid
        supervised = row_mean(error.flatten(0, 1), counts.flatten(0, 1)).unflatten(0, error.shape[:2]).mean(1)
        scores = row_mean(winner, rows) - row_mean(loser, rows)
        regulariser = None
        if config.guidance == 'tgdpo':
            steps = batch.winner_steps, batch.loser_steps
            scores = tgdpo_scores(winner, loser, rows, *steps, config.guidance_weight)
        elif config.guidance == 'treg':
            steps = batch.winner_steps, batch.loser_steps
            regulariser = treg_loss(winner, loser, rows, *steps, scores, config.beta)
        return Compared(
            scores,
            supervised.chunk(2)[0],
            row_mean(winner, rows),
            row_mean(loser, rows),
            (velocity - still).detach().square().mean(),
            regulariser,
        )


def row_ratio(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean [B, H] over those draws [B, draws, H] in which a row is valid; 0 where it is in none."""
    weight = valid.to(values.dtype)
    return (values * weight).sum(1) / weight.sum(1).clamp(min=1)
