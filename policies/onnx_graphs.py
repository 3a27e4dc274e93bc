# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A flow policy as the three graphs that are exported: its prefix, one velocity, and whole chunks.

The graphs are written for what runs them. Flow times are known in advance, so all they do to the expert is a
table of constants. The candidates of one observation read the same prefix, so their queries are rows of one
matrix product instead of copies of the prefix. Only the number of candidates is dynamic.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from apprentice.policies.expert import ExpertBlock
from apprentice.policies.layers import rotate, rotation_after, sinusoidal
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Prefix


class PrefixGraph(nn.Module):
    """Raw state [B, A], token ids [B, T] and uint8 images [B, H, W, 3] in the order of the specification's
    cameras, to keys, values [L, B, heads, P, head_dim] and mask [B, P]."""

    def __init__(self, policy: FlowPolicy):
        super().__init__()
        self.policy = policy

    def forward(
        self, state: torch.Tensor, tokens: torch.Tensor, *images: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        policy = self.policy
        normalized = (state - policy.state_mean) / policy.state_std
        prefix = policy.backbone.encode_tokens(dict(zip(policy.spec.cameras, images)), normalized, tokens)
        return prefix.keys, prefix.values, prefix.mask


class VelocityGraph(nn.Module):
    """Noisy chunks [B, H, A], times [B, H] and a prefix, to the velocity [B, H, A]."""

    def __init__(self, policy: FlowPolicy):
        super().__init__()
        self.expert = policy.expert

    def forward(
        self,
        x: torch.Tensor,
        time: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        return self.expert(x, time, Prefix(keys, values, mask, keys))


class ChunkGraph(nn.Module):
    """One observation, noise and guidance, to n chunks in raw units: encoding and all Euler steps.

    What :func:`flow.integrate` computes, with guidance that is the same for all candidates; weights of 0
    guide nothing. Policies trained with clean leading rows (``max_delay``) also take which rows are given.
    """

    table: torch.Tensor
    groups: torch.Tensor

    def __init__(self, policy: FlowPolicy):
        super().__init__()
        expert, steps = policy.expert, policy.config.denoise_steps
        self.policy, self.expert, self.prefix = policy, expert, PrefixGraph(policy)
        self.rows, self.width = policy.spec.horizon, expert.config.width
        self.clean_rows = policy.config.max_delay > 0
        self.times = [1 - i / steps for i in range(steps)]
        with torch.no_grad():
            embedded = expert.time(sinusoidal(torch.tensor([*self.times, 0.0]), self.width))
            table = torch.stack(
                [block.modulation(embedded).unflatten(-1, (6, -1)) for block in expert.blocks]
            )
            table[:, :, 1::3] += 1  # the scales
        # [layers, steps + 1, 6, width], the last for rows given clean, at time 0
        self.register_buffer('table', table)
        heads, key_heads = expert.blocks[0].heads, expert.blocks[0].key_heads
        self.register_buffer('groups', torch.arange(heads) // (heads // key_heads))

    def forward(
        self,
        state: torch.Tensor,
        tokens: torch.Tensor,
        noise: torch.Tensor,
        target: torch.Tensor,
        weights: torch.Tensor,
        max_weight: torch.Tensor,
        *rest: torch.Tensor,
    ) -> torch.Tensor:
        """Chunks [n, H, A].

        Args:
            state: [1, A], raw.
            tokens: [1, T].
            noise: [n, H, A].
            target: [H, A], as in :class:`~apprentice.policies.rtc.Guidance`, as the next two.
            weights: [H].
            max_weight: [1].
            rest: ``fixed``, bool [H], if ``clean_rows``; then the images, uint8 [1, h, w, 3].
        """
        fixed, images = (rest[0][:, None], rest[1:]) if self.clean_rows else (None, rest)
        keys, values, mask = self.prefix(state, tokens, *images)
        hidden = torch.zeros(mask.shape).masked_fill(~mask, -math.inf)
        rotation = rotation_after(mask, 0, self.rows, self.expert.head_dim, self.expert.config.rope_theta)
        seen = [
            (keys[layer, 0][self.groups].transpose(1, 2), values[layer, 0][self.groups])
            for layer in self.expert.reads
        ]
        x = noise
        for step, t in enumerate(self.times):
            if fixed is not None:
                x = torch.where(fixed, target, x)
            velocity = self._velocity(x, step, fixed, seen, hidden, rotation)
            strength = max_weight
            if t < 1:
                strength = max_weight.clamp(max=((1 - t) ** 2 + t**2) / (t * (1 - t)))
            error = (target - (x - t * velocity)) * weights[:, None]
            x = x - (velocity - strength * error) / len(self.times)
        if fixed is not None:
            x = torch.where(fixed, target, x)
        return self.policy.denormalize_actions(x, state)

    def _velocity(
        self,
        x: torch.Tensor,
        step: int,
        fixed: torch.Tensor | None,
        seen: list[tuple[torch.Tensor, torch.Tensor]],
        hidden: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> torch.Tensor:
        """What the expert computes, with rows of all chunks as rows of one matrix [n * H, width]."""
        h = (self.expert.enter(x) + self.expert.position).reshape(-1, self.width)
        for block, table, (keys, values) in zip(self.expert.blocks, self.table, seen):
            modulation = table[step]
            if fixed is not None:
                modulation = torch.where(fixed[..., None], table[-1], modulation)
            shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation.unbind(-2)
            mixed = self._attend(block, self._norm(h, scale_a, shift_a), keys, values, hidden, rotation)
            h = h + self._times(mixed, gate_a)
            h = h + self._times(block.mlp(self._norm(h, scale_m, shift_m)), gate_m)
        return self.expert.leave(self.expert.norm(h)).reshape(-1, self.rows, x.shape[2])

    def _norm(self, h: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        """Layer norm of [n * H, width], scaled and shifted by [width] or, for each row, [H, width]."""
        if scale.dim() == 1:
            return functional.layer_norm(h, (self.width,), scale, shift)
        normed = self._times(functional.layer_norm(h, (self.width,)), scale)
        return (normed.reshape(-1, self.rows, self.width) + shift).reshape(-1, self.width)

    def _times(self, h: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        if factor.dim() == 1:
            return h * factor
        return (h.reshape(-1, self.rows, self.width) * factor).reshape(-1, self.width)

    def _attend(
        self,
        block: ExpertBlock,
        h: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        hidden: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> torch.Tensor:
        """What :meth:`~apprentice.policies.layers.PrefixBlock.attend` adds, [n * H, width].

        Args:
            keys, values: [heads, head_dim, P] and [heads, P, head_dim] of the prefix that all share.
            hidden: [1, P], added to the scores of the prefix.
        """
        rows, size, places = self.rows, self.expert.head_dim, int(keys.shape[2])
        counts = [block.heads, block.key_heads, block.key_heads]
        projected = block.qkv(h).reshape(-1, sum(counts), size).transpose(0, 1)
        # [heads, n * H, head_dim], or [heads, n, H, head_dim]: the same numbers in the same order
        q, k, v = projected.split(counts)
        own_q, own_k, own_v = (x.reshape(c, -1, rows, size) for x, c in zip((q, k, v), counts))
        if rotation is not None:
            own_q, own_k = (rotate(x, rotation[0][0], rotation[1][0]) for x in (own_q, own_k))
            q = own_q.reshape(block.heads, -1, size)
        if block.heads != block.key_heads:
            own_k, own_v = own_k[self.groups], own_v[self.groups]
        scale = 1 / math.sqrt(size)
        own = ((own_q @ own_k.transpose(2, 3)) * scale).reshape(block.heads, -1, rows)
        shares = functional.softmax(torch.cat([(q @ keys) * scale + hidden, own], -1), -1)
        of_own = shares[..., places:].reshape(block.heads, -1, rows, rows)
        mixed = shares[..., :places] @ values + (of_own @ own_v).reshape(block.heads, -1, size)
        return block.out(mixed.transpose(0, 1).reshape(-1, block.heads * size))
