# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Train a world model from logged episodes.

The loss is that of V-JEPA 2-AC (arXiv 2506.09985): L1 between layer-normed features, of one step from every
true frame (teacher forcing) and of several steps from the first one, each from the prediction before. It ends
when episodes that are held out are predicted no better, and the best weights are kept.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.resuming import Snapshots, put_back, state_of, wind_on
from apprentice.reward_models.world_model.clips import Clips
from apprentice.reward_models.world_model.energy import EnergySettings, EnergyWeights, scales_of
from apprentice.reward_models.world_model.files import save
from apprentice.reward_models.world_model.predictor import Predictor, PredictorConfig, parameters

SMALLEST_STD = 1e-3  # rad or m, of a joint that hardly moves
VALIDATION, CALIBRATION = 512, 128  # starts at most
BASIS_FRAMES = 4000  # at most, for the principal components
CALIBRATION_CHUNKS = 8

Progress = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class WorldModelConfig:
    """How a world model is trained.

    Attributes:
        rows: of a chunk that one step of the predictor takes.
        unroll: steps that are predicted from predictions; rows * unroll is the chunk it is trained for.
        held_out: share of the episodes that early stopping watches.
        patience: evaluations without an improvement until training ends.
        state_weight: of the state's part in the loss.
        rank, width, layers, members: of the predictor, see PredictorConfig.
    """

    steps: int = 2000
    batch: int = 128
    learning_rate: float = 1e-3
    rows: int = 4
    unroll: int = 2
    rank: int = 64
    width: int = 256
    layers: int = 2
    members: int = 3
    held_out: float = 0.1
    evaluate_every: int = 100
    patience: int = 5
    state_weight: float = 0.2
    seed: int = 0

    @property
    def chunk(self) -> int:
        return self.rows * self.unroll


def train_world_model(
    clips: Clips,
    gripper: np.ndarray,
    features: dict[str, Any],
    folder: Path,
    config: WorldModelConfig | None = None,
    weights: EnergyWeights | None = None,
    progress: Progress = lambda step, metrics: None,
    snapshots: Snapshots | None = None,
) -> dict[str, float]:
    """Train, measure the energies' scales on held-out episodes, and write ``folder``.

    Args:
        gripper: bool [d]; a gripper's targets are absolute, the others relative to the measured position.
        features: see :func:`.files.save`.
        weights: of the energies.
        progress: called after each step with its metrics.
        snapshots: where the training goes on from, and leaves its state; None: it begins and ends here.

    Raises RewardModelError where there is too little to learn from, a loss is not finite, or the snapshots
    are of another training.
    """
    config, began = config or WorldModelConfig(), time.monotonic()
    torch.manual_seed(config.seed)
    train, held_out = clips.split(config.held_out, config.seed)
    starts, judged = clips.starts(config.chunk, train), clips.starts(config.chunk, held_out)
    if not len(starts) or not len(judged):
        raise RewardModelError(
            f'no episode is longer than the {config.chunk} steps of a chunk; record longer ones, or use '
            'fewer rows or unroll'
        )
    predictor = Predictor(_predictor_config(clips, starts, ~np.asarray(gripper, bool), config))
    data = _Batches(clips, predictor, config)
    rng = np.random.default_rng(config.seed)
    frames = rng.permutation(np.flatnonzero(np.isin(clips.episode, train)))[:BASIS_FRAMES]
    predictor.fit_basis(data.tokens(np.sort(frames)))
    if len(judged) > VALIDATION:
        judged = rng.choice(judged, VALIDATION, replace=False)
    optimizer = torch.optim.AdamW(predictor.parameters(), lr=config.learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps, pct_start=0.1
    )
    best, best_at, kept = data.error(judged), 0, copy.deepcopy(predictor.state_dict())
    step, of = 0, fingerprint(clips, gripper, features, config)
    state = None if snapshots is None else snapshots.read()
    if state is not None:
        step = put_back(state, predictor, optimizer, rng, of)
        wind_on(schedule, step)
        best, best_at = float(state[1]['best']), int(state[1]['best_at'])
        kept = {name: state[0][f'best.{name}'] for name in kept}
    ended = _patience_over(step, best_at, config)
    while step < config.steps and not ended:
        step += 1
        # each member draws its own batches: with its own start, that is what makes them differ
        losses = [data.loss(member, rng.choice(starts, config.batch)) for member in range(config.members)]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(predictor.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        metrics = {'loss': float(loss.detach()) / config.members}
        if not np.isfinite(metrics['loss']):
            raise RewardModelError(f'the loss is not finite at step {step}; lower learning_rate')
        if step % config.evaluate_every == 0 or step == config.steps:
            metrics['held_out'] = data.error(judged)
            if metrics['held_out'] < best:
                best, best_at = metrics['held_out'], step
                kept = copy.deepcopy(predictor.state_dict())
        progress(step, metrics)
        ended = _patience_over(step, best_at, config)
        if snapshots is not None and step % snapshots.every == 0:
            tensors, about = state_of(predictor, optimizer, rng, step, of)
            tensors |= {f'best.{name}': value.contiguous() for name, value in kept.items()}
            snapshots.write(tensors, {**about, 'best': best, 'best_at': best_at})
    predictor.load_state_dict(kept)
    data.familiarise(starts, rng)
    scales = scales_of(_calibration(clips, predictor, held_out, config, rng))
    report = {
        'steps': float(step),
        'best_step': float(best_at),
        'held_out_error': best,
        'standing_still_error': data.standing_still(judged),
        'parameters': float(parameters([predictor.members])),
        'episodes': float(clips.episodes),
        'frames': float(len(clips)),
        'seconds': time.monotonic() - began,
    }
    settings = EnergySettings(weights or EnergyWeights(), scales)
    save(folder, predictor, settings, features, clips.cameras, {**report, 'seed': config.seed})
    return report


def fingerprint(
    clips: Clips, gripper: np.ndarray, features: Mapping[str, Any], config: WorldModelConfig
) -> str:
    """What a training depends on besides its random numbers: a state of another one is not its state."""
    named = {name: value for name, value in features.items() if name != 'source'}
    digest = hashlib.sha256(json.dumps([asdict(config), named, list(clips.cameras)]).encode())
    for array in (clips.tokens, clips.state, clips.action, clips.episode, np.asarray(gripper, bool)):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _patience_over(step: int, best_at: int, config: WorldModelConfig) -> bool:
    return step - best_at >= config.patience * config.evaluate_every


class _Batches:
    """Losses over rows of ``clips`` from which a chunk fits into the episode."""

    def __init__(self, clips: Clips, predictor: Predictor, config: WorldModelConfig):
        self.clips, self.predictor, self.config = clips, predictor, config

    def tokens(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.clips.tokens[rows].astype(np.float32))

    def state(self, rows: np.ndarray) -> torch.Tensor:
        return self.predictor.normal_state(torch.from_numpy(self.clips.state[rows]))

    def targets(self, rows: np.ndarray) -> torch.Tensor:
        """Executed targets [N, rows, d] from each row on."""
        return torch.from_numpy(self.clips.action[rows[:, None] + np.arange(self.config.rows)])

    def loss(self, member: int, starts: np.ndarray) -> torch.Tensor:
        """Teacher-forced plus unrolled L1 of features, and the same of states; a scalar."""
        config, step = self.config, self.predictor.step
        at = [starts + k * config.rows for k in range(config.unroll + 1)]
        z, state = [self.tokens(rows) for rows in at], [self.state(rows) for rows in at]
        targets = [self.targets(rows) for rows in at[:-1]]
        forced_z, forced_state = step(member, torch.cat(z[:-1]), torch.cat(state[:-1]), torch.cat(targets))
        loss = (forced_z - torch.cat(z[1:])).abs().mean()
        motion = (forced_state - torch.cat(state[1:])).abs().mean()
        tokens, joints = forced_z[: len(starts)], forced_state[: len(starts)]
        count = max(1, config.unroll - 1)
        for k in range(1, config.unroll):
            tokens, joints = step(member, tokens, joints, targets[k])
            loss = loss + (tokens - z[k + 1]).abs().mean() / count
            motion = motion + (joints - state[k + 1]).abs().mean() / count
        return loss + config.state_weight * motion

    def error(self, starts: np.ndarray) -> float:
        """Mean L1 of the features after a whole chunk, mean of the members."""
        config = self.config
        chunks = self.clips.action[starts[:, None] + np.arange(config.chunk)]
        total = 0.0
        for part in np.array_split(np.arange(len(starts)), max(1, len(starts) // 128)):
            found = self.predictor.predict(
                self.tokens(starts[part]), self.clips.state[starts[part]], chunks[part]
            )
            total += float((found - self.tokens(starts[part] + config.chunk)).abs().mean()) * len(part)
        return total / len(starts)

    def standing_still(self, starts: np.ndarray) -> float:
        """The same error of saying that nothing changes."""
        return float((self.tokens(starts) - self.tokens(starts + self.config.chunk)).abs().mean())

    def familiarise(self, starts: np.ndarray, rng: np.random.Generator) -> None:
        rows = np.sort(rng.choice(starts, min(2000, len(starts)), replace=False))
        state = self.state(rows)
        targets = self.predictor.normal_rows(self.targets(rows), state)
        self.predictor.familiar.fit(self.tokens(rows), state, targets)


def _predictor_config(
    clips: Clips, starts: np.ndarray, relative: np.ndarray, config: WorldModelConfig
) -> PredictorConfig:
    """Units from the rows that are trained on."""
    rows = np.unique((starts[:, None] + np.arange(config.rows)).ravel())
    offsets = (clips.action[starts[:, None] + np.arange(config.rows)]
               - clips.state[starts][:, None] * relative).reshape(-1, len(relative))  # fmt: skip
    state = clips.state[rows]

    def numbers(values: np.ndarray) -> tuple[float, ...]:
        return tuple(float(value) for value in values)

    return PredictorConfig(
        views=len(clips.cameras),
        tokens=clips.tokens.shape[1],
        dim=clips.tokens.shape[2],
        relative=tuple(bool(value) for value in relative),
        state_mean=numbers(state.mean(0)),
        state_std=numbers(np.maximum(state.std(0), SMALLEST_STD)),
        action_mean=numbers(offsets.mean(0)),
        action_std=numbers(np.maximum(offsets.std(0), SMALLEST_STD)),
        rows=config.rows,
        rank=config.rank,
        width=config.width,
        layers=config.layers,
        members=config.members,
    )


def _calibration(
    clips: Clips,
    predictor: Predictor,
    episodes: np.ndarray,
    config: WorldModelConfig,
    rng: np.random.Generator,
) -> Mapping[str, np.ndarray]:
    """Energies [S, n] at held-out moments of the executed chunk and of chunks executed elsewhere."""
    starts = clips.starts(config.chunk, episodes)
    starts = starts[rng.permutation(len(starts))[:CALIBRATION]]
    last = np.searchsorted(clips.episode, clips.episode[starts], side='right') - 1
    relative = np.asarray(predictor.config.relative)
    span = np.arange(config.chunk)
    found: dict[str, list[np.ndarray]] = {'end': [], 'sub': [], 'deviation': []}
    for start, end in zip(starts, last, strict=True):
        own = clips.action[start + span]
        others = rng.choice(starts, CALIBRATION_CHUNKS - 1)
        offsets = clips.action[others[:, None] + span] - clips.state[others][:, None] * relative
        chunks = np.concatenate([own[None], offsets + clips.state[start] * relative])
        n = len(chunks)
        z = torch.from_numpy(clips.tokens[start].astype(np.float32)).expand(n, -1, -1)
        after = predictor.predict(z, np.repeat(clips.state[start][None], n, 0), chunks)
        for name, row in (('end', end), ('sub', start + config.chunk)):
            goal = torch.from_numpy(clips.tokens[row].astype(np.float32))
            found[name].append((after - goal).abs().mean(dim=(-1, -2)).mean(0).numpy())
        found['deviation'].append(predictor.deviation(chunks, own[None]))
    return {name: np.stack(values) for name, values in found.items()}
