# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Train the progress critic from demonstrations and failed attempts, with labels a real robot has.

Labels come from time on successful episodes (progress i / T), as in VLAC. Negatives: reversed pairs
(the network is symmetric), still pairs, instructions that do not match (progress 0, not done). Done is
0 before 80 % of a success and 1 in its last 5 %; every frame of a failed episode is 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import nn

from apprentice.reward_models.base import Episodes, RewardModelError
from apprentice.reward_models.clip import ClipReward
from apprentice.reward_models.critic import CONFIG, WEIGHTS, Member
from apprentice.reward_models.files import write_half, write_json

MISMATCH = 0.2  # share of pairs with a wrong instruction
DONE_FROM, NOT_DONE_UNTIL = 0.95, 0.8


def train_critic(
    episodes: Episodes,
    clip: ClipReward,
    encoder: str,
    folder: Path,
    seed: int = 0,
    steps: int = 1000,
    batch: int = 256,
    members: int = 3,
    width: int = 96,
    learning_rate: float = 1e-3,
    progress: Callable[[int, float], None] | None = None,
) -> dict[str, float]:
    """Train and write a folder that :class:`ProgressCritic` loads.

    Args:
        episodes: successes end at the moment of success; failures only teach what is not done.
        clip: the frozen encoder.
        encoder: where the critic will find it again: a path relative to ``folder``, or a name.
        folder: is made; existing files of the same names are replaced.
        progress: called with (step, loss).
    """

    if not any(episodes.success):
        raise RewardModelError('no successful episode: the critic learns progress from demonstrations')
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    began = time.monotonic()
    data = _Frames(episodes, clip)
    dim, views = data.emb.shape[-1], len(episodes.cameras)
    ensemble = nn.ModuleList(Member(views, dim, width) for _ in range(members))
    optimizer = torch.optim.AdamW(ensemble.parameters(), lr=learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    loss_value = float('nan')
    for step in range(steps):
        # each member draws its own batches: with its own start, that is what makes them differ
        loss = sum(_loss(member, data, rng, batch) for member in ensemble)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(ensemble.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        loss_value = float(loss.detach()) / members  # type: ignore[union-attr]
        if progress is not None:
            progress(step + 1, loss_value)
    folder.mkdir(parents=True, exist_ok=True)
    write_half(ensemble, folder / WEIGHTS)
    config = {
        'encoder': encoder,
        'encoder_version': clip.version,
        'cameras': list(episodes.cameras),
        'dim': dim,
        'width': width,
        'members': members,
        'version': f'{clip.version}-{seed}-{steps}',
    }
    write_json(folder / CONFIG, config)
    return {
        'loss': loss_value,
        'seconds': time.monotonic() - began,
        'parameters': float(sum(p.numel() for p in ensemble.parameters())),
    }


class _Frames:
    """All frames of all episodes as embeddings, with labels from time."""

    def __init__(self, episodes: Episodes, clip: ClipReward):
        self.emb = np.concatenate([clip.encode(frames) for frames in episodes.frames])  # [N, V, D]
        lengths = [len(frames) for frames in episodes.frames]
        self.start = np.cumsum([0, *lengths[:-1]])
        self.length = np.array(lengths)
        self.success = np.array(episodes.success)
        self.demos = np.flatnonzero(self.success & (self.length > 1))
        shares = [np.linspace(0, 1, n) for n in lengths]
        self.progress = np.concatenate(shares).astype(np.float32)
        done = [
            np.where(s >= DONE_FROM, 1.0, np.where(s < NOT_DONE_UNTIL, 0.0, np.nan))
            if ok
            else np.zeros(len(s))
            for s, ok in zip(shares, episodes.success)
        ]
        self.done = np.concatenate(done).astype(np.float32)
        self.last = self.start + self.length - 1
        self.texts = sorted(set(episodes.text) | {n for text in episodes.text for n in clip.negatives(text)})
        self.words = torch.from_numpy(clip.encoder.text(self.texts))
        self.text = np.array([self.texts.index(text) for text in episodes.text])
        self.episode = np.repeat(np.arange(len(lengths)), lengths)

    def views(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.emb[rows].reshape(len(rows), -1))


def _loss(member: Member, data: _Frames, rng: np.random.Generator, batch: int) -> torch.Tensor:
    episode = rng.choice(data.demos, batch)
    a = data.start[episode] + rng.integers(0, data.length[episode])
    b = data.start[episode] + rng.integers(0, data.length[episode])
    near = rng.random(batch) < 0.5  # half of the pairs are short, as they are in use
    hop = np.minimum(a + rng.integers(1, 11, batch), data.last[episode])
    b = np.where(near, hop, b)
    text = data.text[episode]
    wrong = rng.random(batch) < MISMATCH
    other = (text + rng.integers(1, max(2, len(data.texts)), batch)) % len(data.texts)
    text = np.where(wrong, other, text)
    words = data.words[text]
    first, second = member.features(data.views(a), words), member.features(data.views(b), words)
    p_first = member.progress(first, second).sigmoid()
    p_second = member.progress(second, first).sigmoid()
    scale = torch.from_numpy(np.where(wrong, 0.0, 1.0).astype(np.float32))
    t_first = torch.from_numpy(data.progress[a]) * scale
    t_second = torch.from_numpy(data.progress[b]) * scale
    absolute = functional.mse_loss(p_first, t_first) + functional.mse_loss(p_second, t_second)
    difference = functional.mse_loss(p_second - p_first, t_second - t_first)
    return 4.0 * absolute + 8.0 * difference + _done_loss(member, data, rng, batch)


def _done_loss(member: Member, data: _Frames, rng: np.random.Generator, batch: int) -> torch.Tensor:
    """Half ends of successes, half anything; a wrong instruction is never done."""
    ends = data.last[rng.choice(data.demos, batch // 2)]
    rows = np.concatenate([ends, rng.integers(0, len(data.emb), batch - len(ends))])
    text = data.text[data.episode[rows]]
    wrong = rng.random(batch) < MISMATCH
    # of a failed attempt it is not known what else it achieved: its text stays
    wrong &= data.success[data.episode[rows]]
    other = (text + rng.integers(1, max(2, len(data.texts)), batch)) % len(data.texts)
    label = np.where(wrong, 0.0, data.done[rows]).astype(np.float32)
    known = torch.from_numpy(np.isfinite(label))
    words = data.words[np.where(wrong, other, text)]
    logit = member.done(member.features(data.views(rows), words)).squeeze(1)
    return functional.binary_cross_entropy_with_logits(logit[known], torch.from_numpy(label)[known])
