# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Train the progress critic from demonstrations and failed attempts, with labels a real robot has.

Labels come from time on successful episodes (progress i / T), as in VLAC (arXiv 2509.15937). Negatives:
reversed pairs (the network is symmetric), stagnation (frames that hardly differ, in failures too),
instructions that do not match (progress 0, not done; ReWiND, arXiv 2505.10911). Half of the episodes have
another demonstration of their task in context, the other half have not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as functional
from torch import nn

from apprentice.reward_models.base import Episodes, RewardModelError
from apprentice.reward_models.critic.batches import Batch, CriticTraining, LabelledFrames
from apprentice.reward_models.critic.critic import CONFIG, WEIGHTS, ProgressCritic
from apprentice.reward_models.critic.eyes import Eye
from apprentice.reward_models.critic.network import Member, Trunk
from apprentice.reward_models.critic.resuming import fingerprint
from apprentice.reward_models.critic.thumbnails import SIZE, WIDTH
from apprentice.reward_models.files import write_half, write_sealed
from apprentice.reward_models.resuming import Snapshots, put_back, state_of, wind_on

Progress = Callable[[int, float], None]


def train_critic(
    episodes: Episodes,
    eye: Eye,
    folder: Path,
    settings: CriticTraining | None = None,
    held_back: Episodes | None = None,
    progress: Progress | None = None,
    snapshots: Snapshots | None = None,
) -> dict[str, float]:
    """Train and write a folder that :class:`ProgressCritic` loads.

    Args:
        episodes: demonstrations and failures. A success is done from the frame
            ``extra['done_from']`` [1] on, or in its last frame.
        eye: its embeddings are not trained.
        folder: is made; existing files of the same names are replaced.
        held_back: attempts that ``done_prob`` is calibrated on; None: it stays as it comes.
        progress: called with (step, loss).
        snapshots: where the training goes on from, and leaves its state; None: it begins and ends here.

    Raises RewardModelError without a successful episode, and for snapshots of another training.
    """
    settings = settings or CriticTraining()
    if not any(episodes.success):
        raise RewardModelError('no successful episode: the critic learns progress from demonstrations')
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    began = time.monotonic()
    data = LabelledFrames(episodes, eye, settings.still)
    views = len(episodes.cameras)
    members = nn.ModuleList(
        Member(eye.trunk(views, settings.width), settings.width) for _ in range(settings.members)
    ).to(eye.device)
    optimizer = torch.optim.AdamW(members.parameters(), lr=settings.learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    loss_value, first, of = float('nan'), 0, ''
    if snapshots is not None:
        of = fingerprint(data, settings, {**eye.config(), 'cameras': list(episodes.cameras)})
        state = snapshots.read()
        first = put_back(state, members, optimizer, rng, of) if state is not None else 0
        wind_on(schedule, first)
    for step in range(first, settings.steps):
        batch = data.batch(settings, rng)
        with torch.no_grad():
            looked, said = _look(cast(Trunk, members[0].trunk), batch)
        # their own starts, and what they drop, are what makes members differ
        loss = sum(_loss(member, batch, looked, said, settings) for member in members)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(members.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        loss_value = float(loss.detach()) / settings.members  # type: ignore[union-attr]
        if progress is not None:
            progress(step + 1, loss_value)
        if snapshots is not None and (step + 1) % snapshots.every == 0:
            snapshots.write(*state_of(members, optimizer, rng, step + 1, of))
    # what is calibrated are the weights as they are stored
    members.load_state_dict({name: value.half().float() for name, value in members.state_dict().items()})
    critic = ProgressCritic(eye, members, episodes.cameras)
    calibration = critic.calibration if held_back is None else _platt(critic, held_back)
    folder.mkdir(parents=True, exist_ok=True)
    write_half(members, folder / WEIGHTS)
    config = {
        **eye.config(),
        'cameras': list(episodes.cameras),
        'width': settings.width,
        'members': settings.members,
        'calibration': list(calibration),
    }
    write_sealed(folder / CONFIG, config, folder / WEIGHTS)
    return {
        'loss': loss_value,
        'seconds': time.monotonic() - began,
        'parameters': float(sum(p.numel() for p in members.parameters())),
    }


def _look(trunk: Trunk, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """What all members see of a batch, frames [E * K] and then demonstrations [C * R], and the texts."""
    k, shown = batch.progress.shape[1], batch.reference.shape[1]
    across, down = (int(v) for v in torch.randint(-1, 2, (2,)))
    views = _shifted(_jittered(batch.views), across, down, trunk.views)
    text = batch.text[:, None].expand(-1, k, -1).flatten(0, 1)
    words = batch.reference_text[:, None].expand(-1, shown, -1).flatten(0, 1)
    both = torch.cat([views.flatten(0, 1), batch.reference.flatten(0, 1)])
    said = torch.cat([text, words])
    return trunk.look(both, said), said


def _loss(
    member: Member, batch: Batch, looked: torch.Tensor, said: torch.Tensor, settings: CriticTraining
) -> torch.Tensor:
    """Of one member.

    Args:
        looked: by :func:`_look`, of all frames [E * K], then of all demonstrations [C * R].
        said: the texts of both.
    """
    count, k = batch.progress.shape
    trunk = cast(Trunk, member.trunk)
    own, reference = trunk.of_look(looked, said).split([count * k, len(looked) - count * k])
    features, taught = own.unflatten(0, (count, k)), batch.in_context
    joined = torch.empty_like(features)
    joined[~taught] = member.in_context(features[~taught].flatten(0, 1), None).unflatten(0, (-1, k))
    if taught.any():
        context = reference.unflatten(0, (-1, batch.reference.shape[1])).repeat_interleave(k, dim=0)
        joined[taught] = member.in_context(features[taught].flatten(0, 1), context).unflatten(0, (-1, k))
    first = joined[:, :, None].expand(-1, -1, k, -1)
    second = joined[:, None].expand(-1, k, -1, -1)
    p = member.progress(first, second).sigmoid()  # [E, K, K]: of frame i beside frame j
    known = (batch.good | batch.wrong).float()
    target = (batch.progress * batch.good[:, None])[:, :, None].expand(-1, -1, k)
    gain, wanted = p - p.transpose(1, 2), target - target.transpose(1, 2)
    absolute = ((p - target) ** 2).mean(dim=(1, 2))
    difference = ((gain - wanted) ** 2).mean(dim=(1, 2))
    still = (gain**2 * batch.still).mean(dim=(1, 2))
    above = (functional.relu(p - settings.ceiling) ** 2).mean(dim=(1, 2)) * (1 - known)
    logit = member.done(joined).squeeze(-1)
    judged = torch.isfinite(batch.done)
    done = functional.binary_cross_entropy_with_logits(logit[judged], batch.done[judged])
    regression = (known * (4 * absolute + 4 * difference) + 8 * still + 4 * above).mean()
    return regression + done


def _jittered(views: torch.Tensor) -> torch.Tensor:
    """Exposure and sensor noise, the same exposure for all frames of an episode; embeddings [E, K, D]."""
    if views.min() < 0:  # not pictures
        return views + 0.02 * views.std() * torch.randn_like(views)
    gain = 1 + 0.3 * (torch.rand(len(views), 1, 1, device=views.device) - 0.5)
    return (views * gain + 0.012 * torch.randn_like(views)).clamp(0, 1)


def _shifted(views: torch.Tensor, across: int, down: int, count: int) -> torch.Tensor:
    """Thumbnails [..., D] of ``count`` cameras that look a little aside."""
    if views.shape[-1] != count * WIDTH:
        return views
    pictures = views.reshape(*views.shape[:-1], count, SIZE, SIZE, 3)
    return torch.roll(pictures, (down, across), dims=(-3, -2)).reshape(views.shape)


def _platt(critic: ProgressCritic, episodes: Episodes) -> tuple[float, float]:
    """Slope and offset of the done logit that fit the last frames of attempts (Platt 1999)."""
    from scipy.optimize import minimize

    from apprentice.reward_models.base import ScoreRequest

    logits, labels = [], []
    for frames, text, success in zip(episodes.frames, episodes.text, episodes.success, strict=True):
        emb = critic.encode(frames[[0, -1]])[None]
        probability = float(critic.score(ScoreRequest(text=[text], emb=emb)).done_prob[0])
        probability = min(max(probability, 1e-6), 1 - 1e-6)
        logits.append(np.log(probability / (1 - probability)))
        labels.append(float(success))
    x, y = np.array(logits), np.array(labels)
    # Platt's smoothed targets keep a separable sample from making the slope endless
    positive, negative = y.sum(), len(y) - y.sum()
    aim = np.where(y > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def cross_entropy(parameters: np.ndarray) -> float:
        z = parameters[0] * x + parameters[1]
        return float(np.mean(np.logaddexp(0, z) - aim * z))

    slope, offset = minimize(cross_entropy, np.array([1.0, 0.0]), method='BFGS').x
    return float(max(slope, 0.05)), float(offset)
