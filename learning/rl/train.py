# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reinforcement learning in simulation: roll out, update, and again; resumable, with a metrics file."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apprentice.learning import snapshot
from apprentice.learning.clone import training_folder
from apprentice.learning.distributed import Ranks
from apprentice.learning.metrics_file import MetricsFile
from apprentice.learning.rl.engine import Engine, LaneSetup, LocalEngine
from apprentice.learning.rl.episodes import MacroEpisode
from apprentice.learning.rl.rl_config import RlConfig, find_algorithm
from apprentice.learning.run_lock import lock_run
from apprentice.learning.settings_file import write_settings
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.robot.spec import RobotSpec
from apprentice.sim.rollout import RolloutConfig

log = logging.getLogger(__name__)

Progress = Callable[[int, dict[str, float]], None]
MakeEngine = Callable[[LaneSetup, Any], Engine]


def lane_setup(policy: str | Path, robot: RobotSpec, config: RlConfig) -> LaneSetup:
    """What lanes are made of for these settings."""
    return LaneSetup(
        robot=robot.with_task(config.sim_task),
        policy=str(Path(policy).resolve()),
        algorithm=config.part,
        settings=config.algorithm,
        rollout=RolloutConfig(config.task, config.max_duration_s, config.execute_steps),
        rewards=config.rewards,
        together=config.together,
        worlds={'randomization': config.randomization},
    )


def train(
    folder: str | Path,
    robot: RobotSpec,
    out: str | Path,
    config: RlConfig | None = None,
    make_engine: MakeEngine | None = None,
    progress: Progress = lambda iteration, metrics: None,
    ranks: Ranks | None = None,
    command: str = '',
) -> FlowPolicy:
    """Train the policy in ``folder`` and save it in ``out``; returns it.

    Calling again with the same arguments after a kill goes on from the newest snapshot. Each iteration is in
    ``metrics.jsonl`` of the training folder once.

    Args:
        make_engine: of the rollouts, given the setup and the algorithm; default one lane in this process.
        progress: called with the number of iterations done and their metrics, in the first process.
        ranks: processes that train together; each rolls out its share of the starts.
        command: what the user typed, a comment in ``train.yaml``.

    Raises CheckpointError and PolicyMismatch for a policy that does not fit, ValueError for a training folder
    of another run, OSError while another process trains there.
    """
    config, out, ranks = config or RlConfig(), Path(out), ranks or Ranks()
    policy, manifest = checkpoint.load(folder)
    policy.spec.require(robot)
    algorithm = find_algorithm(config.part)(
        policy, config.algorithm, config.execute_steps, config.seed, ranks
    )
    work, began = training_folder(out), time.monotonic()
    settings = {
        'config': config.to_dict(),
        'policy': checkpoint.sha256(Path(folder) / checkpoint.MANIFEST),
        'robot': robot.name,
    }
    about = {
        'name': config.part.partition(':')[0].rpartition('.')[2],
        'from': settings['policy'],
        'parent': manifest.get('about', {}),
    }
    with contextlib.ExitStack() as stack:
        metrics_file = None
        if ranks.first:
            stack.enter_context(lock_run(work))
        begin = _resume(algorithm, work, settings, config)
        if ranks.first:
            write_settings(config, work / 'train.yaml', command)
            metrics_file = stack.enter_context(contextlib.closing(MetricsFile(work / 'metrics.jsonl', begin)))
        setup = lane_setup(folder, robot, config)
        if begin < config.iterations:
            make = make_engine or (lambda setup, algorithm: LocalEngine(setup, policy, algorithm.actor))
            engine = make(setup, algorithm)
            stack.callback(engine.close)
        for iteration in range(begin, config.iterations):
            metrics = _iterate(algorithm, engine, iteration, config, ranks)
            if metrics_file is not None:
                progress(iteration + 1, metrics)
                metrics_file.write(iteration + 1, metrics)
            late = bool(config.minutes) and time.monotonic() - began > 60 * config.minutes
            over = bool(ranks.total(torch.tensor(float(late))) > 0)  # all must end together
            last = over or iteration + 1 == config.iterations
            if metrics_file is not None and (last or (iteration + 1) % config.snapshot_every == 0):
                metrics_file.sync()
                state = {'settings': settings, 'iteration': iteration + 1}
                snapshot.write(algorithm.state_dict(), work / 'snapshot', state)
                checkpoint.save(algorithm.result(), out, {**about, 'iterations': iteration + 1})
            if over:
                log.info('%g minutes are over after iteration %d', config.minutes, iteration + 1)
                break
        if ranks.first and not (out / checkpoint.MANIFEST).exists():
            checkpoint.save(algorithm.result(), out, {**about, 'iterations': begin})
    return algorithm.result()


def _resume(algorithm: Any, work: Path, settings: dict[str, Any], config: RlConfig) -> int:
    """Iterations that are done. Raises ValueError for the snapshot of another run."""

    def check(state: dict[str, Any]) -> None:
        theirs = state.get('settings', {})
        differing = config.differences(theirs.get('config', {}))
        differing += [name for name in ('policy', 'robot') if theirs.get(name) != settings[name]]
        if differing:
            raise ValueError(
                f'{work} belongs to a run with another policy or other settings ({", ".join(differing)} '
                'differ); remove it or pass another --out'
            )

    found = snapshot.newest(work / 'snapshot', check)
    if found is None:
        return 0
    tensors, state, _ = found
    algorithm.load_state_dict(tensors)
    log.info('resuming at iteration %d', state['iteration'])
    return int(state['iteration'])


def starts_of(iteration: int, config: RlConfig, group: int, ranks: Ranks) -> list[int]:
    """Seeds of this process in an iteration, each as often as it is to be tried."""
    seeds = range(config.starts)[ranks.share(config.starts)]
    first = config.first_seed + iteration * config.starts
    return list(itertools.chain.from_iterable([first + seed] * group for seed in seeds))


def _iterate(
    algorithm: Any, engine: Engine, iteration: int, config: RlConfig, ranks: Ranks
) -> dict[str, float]:
    began = time.perf_counter()
    seeds = starts_of(iteration, config, algorithm.group, ranks)
    noise = int(np.random.SeedSequence((config.seed, iteration)).generate_state(1, np.uint32)[0])
    episodes = engine.collect(algorithm.actor, seeds, noise)
    if not episodes:
        raise ValueError('no episode came to an end: every simulation diverged; check the robot model')
    rolled = time.perf_counter()
    metrics = algorithm.update(episodes)
    rows = sum(int(episode.rows.sum()) for episode in episodes)
    return {
        **summary(episodes, ranks),
        'steps_per_second': rows / (rolled - began),
        'rollout_s': rolled - began,
        'update_s': time.perf_counter() - rolled,
        **metrics,
    }


def summary(episodes: Sequence[MacroEpisode], ranks: Ranks | None = None) -> dict[str, float]:
    """Means over the episodes of all processes."""
    sums = torch.tensor(
        [
            float(len(episodes)),
            float(sum(e.success for e in episodes)),
            sum(e.progress for e in episodes),
            sum(e.score for e in episodes),
            float(sum(int(e.rows.sum()) for e in episodes)),
        ],
        dtype=torch.float64,
    )
    count, success, progress, score, rows = (ranks or Ranks()).total(sums).tolist()
    return {
        'episodes': count,
        'success': success / count,
        'progress': progress / count,
        'score': score / count,
        'rows': rows / count,
    }
