# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Training by DPO: from a policy and pairs to a policy, resumable, with a metrics file and a model card."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apprentice.learning import snapshot
from apprentice.learning.clone import learning_rate, training_folder
from apprentice.learning.loss_plot import draw_losses
from apprentice.learning.metrics_file import MetricsFile, read_metrics
from apprentice.learning.preference.dpo import Dpo
from apprentice.learning.preference.flow_dpo import FlowDpo
from apprentice.learning.preference.pairs import PairError, Pairs
from apprentice.learning.preference.token_dpo import TokenDpo
from apprentice.learning.preference.train_config import DpoTraining
from apprentice.learning.run_lock import lock_run
from apprentice.learning.settings_file import write_settings
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.robot.files import write_text

log = logging.getLogger(__name__)

Progress = Callable[[int, dict[str, float]], None]


def make_dpo(policy: FlowPolicy, config: DpoTraining) -> Dpo:
    """The algorithm of a head. Raises ValueError where the policy has no such head."""
    kind = FlowDpo if config.head == 'flow' else TokenDpo
    return kind(policy, config.algorithm, config.seed)


def train_dpo(
    starter: str | Path,
    pairs: Pairs,
    out: str | Path,
    config: DpoTraining | None = None,
    progress: Progress = lambda step, metrics: None,
    about: dict[str, Any] | None = None,
    command: str = '',
) -> FlowPolicy:
    """Train the policy in ``starter`` on ``pairs`` and save the averaged one in ``out``; returns it.

    The head that was trained acts: the other one was not trained with the backbone.

    Calling again with the same arguments after a kill goes on from the newest snapshot and follows the same
    loss curve. Metrics, settings, plot and snapshots lie in ``OUT.training``.

    Args:
        progress: called with the number of steps done and their metrics.
        about: kept in the policy's manifest.
        command: what the user typed, a comment in ``train.yaml``.

    Raises PairError for pairs that do not fit the policy, CheckpointError for a damaged policy, ValueError
    for a training folder of another run, OSError while another process trains there.
    """
    config, out = config or DpoTraining(), Path(out)
    starter = Path(starter)
    policy, manifest = checkpoint.load(starter)
    _require(pairs, policy)
    policy.to(_device(config.device))
    algorithm = make_dpo(policy, config)
    before = algorithm.reference_sha256()
    training, held_out = pairs.split(config.validation, config.seed)
    rng, work = np.random.default_rng(config.seed), training_folder(out)
    identity = checkpoint.sha256(starter / checkpoint.MANIFEST)
    settings = {'config': config.to_dict(), 'pairs': pairs.digest(), 'starter': identity}
    with lock_run(work):
        begin = _resume(algorithm, work, settings, config, rng)
        write_settings(config, work / 'train.yaml', command)
        with contextlib.closing(MetricsFile(work / 'metrics.jsonl', begin)) as metrics_file:
            for step in range(begin, config.steps):
                rows = rng.integers(0, len(training), config.algorithm.batch)
                metrics = algorithm.step(
                    training.select(rows), learning_rate(step, config.steps, config.warm_up)
                )
                done = step + 1
                if len(held_out) and (done % config.validate_every == 0 or done == config.steps):
                    measured = algorithm.measure(held_out)
                    metrics |= {f'validation_{name}': value for name, value in measured.items()}
                progress(done, metrics)
                metrics_file.write(done, metrics)
                if done % config.snapshot_every == 0:
                    metrics_file.sync()
                    state = {'settings': settings, 'rng': rng.bit_generator.state, 'step': done}
                    snapshot.save(algorithm, work / 'snapshot', state)
        if algorithm.reference_sha256() != before:
            raise RuntimeError('the reference moved during training; report this, the policy is not saved')
        lines = read_metrics(work / 'metrics.jsonl')
        facts = {
            'name': f'DPO on the {config.head} head',
            'train_steps': algorithm.steps,
            'pairs': len(training),
            'reference': identity,
            **(about or {}),
        }
        algorithm.averaged.config = replace(algorithm.averaged.config, head=config.head)
        checkpoint.save(algorithm.averaged, out, facts)
        write_settings(config, out / 'train.yaml', command)
        draw_losses(lines, work / 'loss.png')
        card = _card(config, pairs, lines, identity, manifest.get('about', {}), command)
        write_text(out / 'README.md', card)
    return algorithm.averaged


def _require(pairs: Pairs, policy: FlowPolicy) -> None:
    """Raise PairError where the pairs are not for this policy."""
    pairs.check()
    spec = policy.spec
    if not len(pairs):
        raise PairError('there are no pairs to train on; build some, or lower the margin')
    if pairs.winner.shape[1:] != (spec.horizon, spec.dim):
        raise PairError(
            f'the pairs have chunks {pairs.winner.shape[1:]}, the policy {(spec.horizon, spec.dim)} (rows, '
            'joints); build pairs for this policy'
        )
    found = {name: stack.shape[1:3] for name, stack in pairs.images.items()}
    wrong = [name for name, size in spec.cameras.items() if found.get(name) != tuple(size)]
    if wrong:
        raise PairError(
            f'cameras {wrong} of the pairs are missing or of another size than {spec.cameras}; build pairs '
            'from episodes of this robot'
        )


def _device(name: str) -> torch.device:
    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    return torch.device(name)


def _resume(
    algorithm: Dpo, work: Path, settings: dict[str, Any], config: DpoTraining, rng: np.random.Generator
) -> int:
    """Steps that are done. Raises ValueError for the snapshot of another run."""

    def check(state: dict[str, Any]) -> None:
        theirs = state.get('settings', {})
        differing = config.differences(theirs.get('config', {}))
        differing += [name for name in ('pairs', 'starter') if theirs.get(name) != settings[name]]
        if differing:
            raise ValueError(
                f'{work} belongs to a run with other pairs or settings ({", ".join(differing)} differ); '
                'remove it or pass another --out'
            )

    state = snapshot.restore(algorithm, work / 'snapshot', check)
    if state is None:
        return 0
    rng.bit_generator.state = state['rng']
    log.info('resuming at step %d', state['step'])
    return int(state['step'])


def _card(
    config: DpoTraining,
    pairs: Pairs,
    lines: list[dict[str, Any]],
    identity: str,
    starter: Any,
    command: str,
) -> str:
    last = lines[-1] if lines else {}
    held = {name: last[name] for name in sorted(last) if name.startswith('validation_')}
    sources = ', '.join(f'{count} by {name}' for name, count in Counter(pairs.source).most_common())
    algorithm = config.algorithm
    rows = [f'| {name.removeprefix("validation_")} | {value:.4g} |' for name, value in held.items()]
    measured = ['| on held-out episodes | |', '|---|---|', *rows] if rows else ['Nothing was held out.']
    return '\n'.join(
        [
            '# Policy after preference optimisation',
            '',
            f'DPO (arXiv 2305.18290) on the {config.head} head, which acts, {last.get("step", 0)} steps,',
            f'from the policy {identity[:12]} ({starter}). {len(pairs)} pairs over {len(pairs.state)} '
            f'observations of {len(set(pairs.episode))} episodes: {sources}.',
            f'beta {algorithm.beta:g}, anchor {algorithm.anchor:g}, learning rate '
            f'{algorithm.learning_rate:g}, '
            f'seed {config.seed}; all settings are in train.yaml.',
            '',
            *measured,
            '',
            'accuracy: share of pairs in which the policy prefers the winner more than its reference does. '
            'drift: mean squared difference from the reference. Neither says whether the robot succeeds more '
            'often: run `apprentice eval` on starts that were used for nothing else.',
            *(['', f'    {command}'] if command else []),
            '',
        ]
    )
