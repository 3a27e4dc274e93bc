# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The action-token head: a causal transformer over FAST tokens, which reads the backbone as the expert does.

Trained by cross-entropy beside the flow expert, as in NORA-1.5; with knowledge insulation (arXiv 2505.23705)
it is what trains the backbone. Tokens: see :mod:`.fast` (arXiv 2501.09747).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from apprentice.policies.fast import FastTokenizer, hold
from apprentice.policies.layers import PrefixBlock, layers_read, query_heads, rotation_after
from apprentice.policies.noise import Noise, draw
from apprentice.policies.prefix import Prefix


@dataclass(frozen=True)
class TokenConfig:
    """Settings of :class:`TokenHead` and of the tokenizer that is fitted for it.

    Attributes:
        vocabulary, min_frequency, scale, margin: see :meth:`.fast.FastTokenizer.fit`.
        width, layers, heads, rope_theta: as those of :class:`.expert.ExpertConfig`.
        temperature: of sampling; 0 takes the likeliest token each time, so that all candidates are one.
    """

    vocabulary: int = 1024
    min_frequency: int = 10
    scale: float = 10.0
    margin: float = 1.5
    width: int = 128
    layers: int = 2
    heads: int = 0
    rope_theta: float = 0.0
    temperature: float = 0.0


class TokenBlock(PrefixBlock):
    """Causal attention over prefix and earlier tokens; also returns the keys and values of all."""

    def __init__(self, width: int, heads: int, key_heads: int, head_dim: int):
        super().__init__(width, heads, key_heads, head_dim, affine=True)

    def forward(
        self,
        x: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mixed, k, v = self.attend(self.norm_attention(x), keys, values, mask, rotation)
        x = x + mixed
        return x + self.mlp(self.norm_mlp(x)), k, v


class Context:
    """What the next token may see: keys and values [B, heads, K, head_dim] for each layer of the head."""

    def __init__(self, prefix: Prefix, reads: Sequence[int]):
        self.keys, self.values = [prefix.keys[i] for i in reads], [prefix.values[i] for i in reads]
        self.mask, self.tokens = prefix.mask, 0  # tokens: how many of the head's own are among them


class TokenHead(nn.Module):
    """Distribution over token sequences, given a prefix.

    Ids below ``config.vocabulary`` are the tokenizer's; ``end``, the next one, begins and ends a sequence.

    Args:
        horizon, action_dim: rows and columns of a chunk.
        layout: (layers, heads, head_dim) of the backbone's keys and values.
    """

    def __init__(self, action_dim: int, horizon: int, layout: tuple[int, int, int], config: TokenConfig):
        super().__init__()
        self.config = config
        self.tokenizer: FastTokenizer | None = None
        self.shape, self.longest, self.end = (horizon, action_dim), horizon * action_dim, config.vocabulary
        backbone_layers, key_heads, self.head_dim = layout
        heads = query_heads(config.heads, key_heads, 'tokens.heads')
        self.reads = layers_read(config.layers, backbone_layers)
        self.embed = nn.Embedding(config.vocabulary + 1, config.width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.position = nn.Parameter(torch.randn(self.longest + 1, config.width) * 0.02)
        self.blocks = nn.ModuleList(
            TokenBlock(config.width, heads, key_heads, self.head_dim) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.leave = nn.Linear(config.width, config.vocabulary + 1)

    def forward(self, tokens: torch.Tensor, context: Context) -> torch.Tensor:
        """Logits [B, T, vocabulary + 1] of what follows ``tokens`` [B, T], which ``context`` then holds."""
        begin, count = context.tokens, tokens.shape[1]
        own = torch.ones(count, begin + count, dtype=torch.bool, device=tokens.device).tril(begin)
        seen = context.mask[:, None].expand(-1, count, -1)
        mask = torch.cat([seen, own.expand(len(tokens), -1, -1)], 2)[:, None]
        rotation = rotation_after(context.mask, begin, count, self.head_dim, self.config.rope_theta)
        h = self.embed(tokens) + self.position[begin : begin + count]
        for i, block in enumerate(self.blocks):
            h, context.keys[i], context.values[i] = block(
                h, context.keys[i], context.values[i], mask, rotation
            )
        context.tokens += count
        return self.leave(self.norm(h))

    def loss(self, prefix: Prefix, tokens: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Cross-entropy per token, averaged over the valid ones of each item, [B].

        Args:
            tokens: [B, T], each with ``end`` behind it; see :meth:`pad`.
            valid: bool [B, T], tokens that count; those come first.
        """
        begin = torch.full_like(tokens[:, :1], self.end)
        logits = self(torch.cat([begin, tokens[:, :-1]], 1), Context(prefix, self.reads))
        entropy = functional.cross_entropy(logits.transpose(1, 2).float(), tokens, reduction='none')
        return (entropy * valid).sum(1) / valid.sum(1).clamp(min=1)

    def pad(self, sequences: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Sequences as a batch: tokens [B, T] filled with ``end``; bool [B, T], true to the first ``end``."""
        width = max(len(sequence) for sequence in sequences) + 1
        tokens = np.full((len(sequences), width), self.end)
        for row, sequence in zip(tokens, sequences):
            row[: len(sequence)] = sequence
        counts = np.array([len(sequence) + 1 for sequence in sequences])
        valid, device = np.arange(width) < counts[:, None], self.embed.weight.device
        return torch.from_numpy(tokens).to(device), torch.from_numpy(valid).to(device)

    @torch.no_grad()
    def sample(
        self,
        prefix: Prefix,
        generator: Noise = None,
        temperature: float = 0.0,
        lengths: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Sequences [B, at most H * A], filled with ``end``. Keys and values of earlier tokens are kept.

        Args:
            temperature: 0 takes the likeliest token.
            lengths: coefficients of each token, int [vocabulary + 1]; 0: never chosen. With it a sequence can
                only be one of exactly H * A coefficients, which always decodes; without it the model decides.

        Raises ValueError for logits that are not finite.
        """
        batch, device = len(prefix.mask), prefix.mask.device
        context = Context(prefix, self.reads)
        tokens = torch.full((batch, self.longest), self.end, device=device)
        current, left = tokens[:, :1], torch.full((batch, 1), self.longest, device=device)
        done = torch.zeros(batch, dtype=torch.bool, device=device)
        for i in range(self.longest):
            logits = self(current, context)[:, -1].float()
            if not torch.isfinite(logits).all():
                raise ValueError('the token head made a number that is not finite; the weights are damaged')
            if lengths is not None:
                logits = logits.masked_fill((lengths == 0) | (lengths > left), -torch.inf)
            if temperature > 0:  # the largest of logits with Gumbel noise is a sample of their softmax
                uniform = draw(torch.rand, batch, logits.shape[1:], generator).to(device)
                logits = logits / temperature - torch.log(-torch.log(uniform))
            chosen = logits.argmax(-1).masked_fill(done, self.end)
            tokens[:, i], current = chosen, chosen[:, None]
            done = done | (chosen == self.end)
            if lengths is not None:
                left = left - lengths[current]
                done = done | (left[:, 0] == 0)
            if done.all():
                return tokens[:, : i + 1]
        return tokens

    def fit(self, chunks: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        """Fit the tokenizer to chunks [N, H, A]; see :meth:`.fast.FastTokenizer.fit`."""
        config = self.config
        self.tokenizer = FastTokenizer.fit(
            chunks, low, high, config.vocabulary, config.min_frequency, config.scale, config.margin
        )

    def tokens_to_dict(self) -> dict[str, Any]:
        """The tokenizer for JSON. Raises ValueError before it is fitted."""
        return self._fitted().to_dict()

    def tokens_from_dict(self, data: dict[str, Any]) -> None:
        """Take over a tokenizer. Raises ValueError for a damaged one and for one of other chunks."""
        tokenizer = FastTokenizer.from_dict(data)
        shape = tokenizer.horizon, tokenizer.dim
        if shape != self.shape or tokenizer.size > self.end:
            raise ValueError(
                f'the tokenizer has {tokenizer.size} tokens for chunks of {shape}, the head takes {self.end} '
                f'for {self.shape}; copy the checkpoint again'
            )
        self.tokenizer = tokenizer

    def chunk_loss(self, prefix: Prefix, chunks: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
        """:meth:`loss` [B] of chunks [B, H, A] in the tokenizer's units.

        Args:
            valid: bool [B, H], the rows that count; they come first. The others are tokenised as a repetition
                of the last of these (:func:`.fast.hold`), and the loss is scaled by the share that counts.
        """
        rows = chunks.detach().double().cpu().numpy()
        if valid is not None:
            rows = hold(rows, valid.cpu().numpy())
        loss = self.loss(prefix, *self.pad(self._fitted().encode(rows)))
        return loss if valid is None else loss * valid.to(loss.dtype).mean(-1)

    def chunks(self, prefix: Prefix, generator: Noise = None, temperature: float = 0.0) -> torch.Tensor:
        """Sampled chunks [B, H, A] in the tokenizer's units, float32. Every one of them decodes."""
        tokenizer = self._fitted()
        lengths = torch.zeros(self.end + 1, dtype=torch.long)
        lengths[: tokenizer.size] = torch.from_numpy(tokenizer.lengths)
        tokens = self.sample(prefix, generator, temperature, lengths.to(prefix.mask.device))
        decoded = [tokenizer.decode([t for t in row if t != self.end]) for row in tokens.tolist()]
        return torch.from_numpy(np.stack(decoded)).float().to(prefix.mask.device)

    def _fitted(self) -> FastTokenizer:
        if self.tokenizer is None:
            raise ValueError('the action tokenizer is not fitted; call fit_tokenizer with training data')
        return self.tokenizer
