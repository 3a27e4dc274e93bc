# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Behaviour cloning: a policy from demonstrations, on one device or many, resumable, with a metrics file."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apprentice.learning import snapshot
from apprentice.learning.clone_config import CloneConfig
from apprentice.learning.dataset import Samples, specify
from apprentice.learning.distributed import Ranks
from apprentice.learning.frame_store import downsampled
from apprentice.learning.loader import Loaded, Loader
from apprentice.learning.loss_plot import draw_losses
from apprentice.learning.metrics_file import MetricsFile, read_metrics
from apprentice.learning.run_lock import lock_run
from apprentice.learning.settings_file import write_settings
from apprentice.learning.trainer import Trainer
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode

log = logging.getLogger(__name__)

Progress = Callable[[int, dict[str, float]], None]


def learning_rate(step: int, steps: int, warm_up: int = 100) -> float:
    """Factor of the peak learning rate at ``step``: linear warm-up, cosine decay."""
    return min(1.0, (step + 1) / warm_up) * 0.5 * (1 + float(np.cos(np.pi * step / steps)))


def training_folder(out: str | Path) -> Path:
    """Where a training keeps snapshots, metrics, settings and the loss plot: beside its result."""
    out = Path(out)
    return out.with_name(f'{out.name}.training')


def clone(
    episodes: Sequence[Episode] | Samples,
    robot: RobotSpec,
    out: str | Path,
    config: CloneConfig | None = None,
    progress: Progress = lambda step, metrics: None,
    about: dict | None = None,
    ranks: Ranks | None = None,
    command: str = '',
) -> FlowPolicy:
    """Train on ``episodes`` and save the averaged policy in ``out``; returns it (with FSDP: unfit for use).

    Calling again with the same arguments after a kill goes on from the newest snapshot and follows the
    same loss curve: batches, noise and augmentation come from restored random states. Each step is in
    ``metrics.jsonl`` of :func:`training_folder` once.

    Args:
        progress: called with the number of steps done and their metrics, in the first process.
        about: kept in the policy's manifest.
        ranks: processes that train together, all of which call this.
        command: what the user typed, a comment in ``train.yaml``.

    Raises StatisticsError for degenerate data, ValueError for none, for settings that do not fit and for a
    training folder of another run, OSError while another process trains there.
    """
    config, out, ranks = config or CloneConfig(), Path(out), ranks or Ranks()
    if isinstance(episodes, Samples):
        samples = episodes
    else:
        samples = Samples.of([downsampled(one, config.policy.downsample) for one in episodes], config.horizon)
    rows, held_out = samples.split(config.validation, config.seed)
    trainer = _trainer(samples, rows, robot, config, ranks)
    rng = np.random.default_rng(config.seed)
    work = training_folder(out)
    with contextlib.ExitStack() as stack:
        if ranks.first:
            stack.enter_context(lock_run(work))
        settings = {
            'config': config.to_dict(),
            'data': samples.digest(),
            'base': getattr(trainer.algorithm.policy.backbone, 'base', {}),
        }
        begin = _resume(trainer, work, settings, config, rng)
        metrics_file = None
        if ranks.first:
            write_settings(config, work / 'train.yaml', command)
            metrics_file = stack.enter_context(contextlib.closing(MetricsFile(work / 'metrics.jsonl', begin)))
        loader = stack.enter_context(
            Loader(
                samples.chunks,
                rows,
                config.algorithm.batch,
                rng,
                ranks.share,
                config.workers,
                pin=ranks.device.type == 'cuda',
            )
        )
        for step in range(begin, config.steps):
            metrics, loaded = _step(trainer, loader, step, config)
            if len(held_out) and ((step + 1) % config.validate_every == 0 or step + 1 == config.steps):
                metrics |= trainer.validate(samples.chunks, held_out)
            if metrics_file is not None:
                progress(step + 1, metrics)
                metrics_file.write(step + 1, metrics)
            if (step + 1) % config.snapshot_every == 0:
                state = {'settings': settings, 'rng': loaded.state, 'step': step + 1}
                _snapshot(trainer, work, state, metrics_file)
        policy = trainer.result()
        if ranks.first:
            steps = trainer.algorithm.steps
            checkpoint.save(policy, out, {'name': 'behaviour cloning', 'train_steps': steps, **(about or {})})
            write_settings(config, out / 'train.yaml', command)
            draw_losses(read_metrics(work / 'metrics.jsonl'), work / 'loss.png')
    return policy


def _trainer(
    samples: Samples, rows: np.ndarray, robot: RobotSpec, config: CloneConfig, ranks: Ranks
) -> Trainer:
    chunks = samples.chunks
    state, actions, valid = chunks.state[rows], chunks.actions[rows], chunks.valid[rows]
    spec = specify(state, actions, valid, robot)
    torch.manual_seed(config.seed)
    policy = FlowPolicy(spec, config.policy).train()
    policy.fit_tokenizer(actions, state, valid)
    return Trainer(
        policy,
        config.algorithm,
        config.seed,
        ranks,
        config.parallel,
        config.precision,
        config.accumulate,
    )


def _resume(
    trainer: Trainer, work: Path, settings: dict[str, Any], config: CloneConfig, rng: np.random.Generator
) -> int:
    """Steps that are done. Raises ValueError for the snapshot of another run."""

    def check(state: dict[str, Any]) -> None:
        theirs = state.get('settings', {})
        differing = config.differences(theirs.get('config', {}))
        differing += [name for name in ('data', 'base') if theirs.get(name) != settings[name]]
        if differing:
            raise ValueError(
                f'{work} belongs to a run with other data or settings ({", ".join(differing)} differ); '
                'remove it or pass another --out'
            )

    state = snapshot.restore(trainer.algorithm, work / 'snapshot', check)
    if state is None:
        return 0
    rng.bit_generator.state = state['rng']
    log.info('resuming at step %d', state['step'])
    return int(state['step'])


def _step(
    trainer: Trainer, loader: Loader, step: int, config: CloneConfig
) -> tuple[dict[str, float], Loaded]:
    began = time.perf_counter()
    loaded = loader.next()
    waited = time.perf_counter() - began
    metrics = trainer.step(loaded, step, learning_rate(step, config.steps, config.warm_up))
    seconds = time.perf_counter() - began
    return {**metrics, 'samples_per_second': loaded.size / seconds, 'data_wait': waited / seconds}, loaded


def _snapshot(trainer: Trainer, work: Path, state: dict[str, Any], metrics_file: MetricsFile | None) -> None:
    first, algorithm = trainer.ranks.first, trainer.algorithm
    tensors = snapshot.tensors_of(algorithm, keep=first)
    if metrics_file is not None:
        metrics_file.sync()
        snapshot.write(tensors, work / 'snapshot', {**state, 'steps': algorithm.steps})
