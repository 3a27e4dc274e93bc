# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""reinforcement learning in simulation: ``apprentice train rl``, its options and ``key=value`` settings"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Any

EXAMPLES = """
A policy that already succeeds sometimes is rolled out in many simulations and updated, again and again.
The backbone stays as it is; the flow expert learns. Success comes from the simulator's predicate. On the
robot itself the learner node trains, not this.

algorithms:
  flow_ppo   one stochastic step of the sampler a chunk, exact likelihood, critic, GAE, PPO (default)
  grpo       several tries of each start, compared with each other, no critic;
             algorithm.baseline=leave_one_out is RLOO
  fpo        PPO with ratios of flow losses; no stochastic step
  recap      slow outer loop: value distribution, advantage conditioning; each round begins with the
             first policy
  package.module:Class   one of your own, see docs/extending.md

settings, as key=value words after the options or as YAML in a file for --config; words win:
  algorithm=NAME                      see above
  algorithm.learning_rate=3e-5  algorithm.epochs=3  algorithm.minibatches=8  algorithm.clip=0.2
  algorithm.noise=0.5                 of the stochastic step: how much it explores
  algorithm.group=8                   tries of each start (grpo)
  algorithm.decay=0.95  algorithm.warm_up=2          of GAE; updates of the critic alone (flow_ppo, fpo)
  rewards.success=1  rewards.progress=0  rewards.gamma=0.99      progress: as a potential, so the goal stays
  iterations=50  minutes=0            when it ends; minutes=0: no limit
  starts=32  seed=0  first_seed=60000000             starts of each iteration, drawn once and never again
  together=8  execute_steps=4         simulations of a worker; rows of a chunk that are followed
  sim_task=  task=  randomization=none               see docs/simulation.md
  device=auto  snapshot_every=1       a killed training goes on when it is started again like before

engines:
  local   --workers lanes, several in processes of their own, each with a simulator process
  ray     the same lanes as actors of Ray (pip install 'apprentice[ray]'): started on this machine, on the
          loopback alone, or on a cluster that you run, with --address; the policy's folder must be there too

examples:
  apprentice train rl --out runs/rl iterations=20 rewards.progress=0.5
  apprentice train rl --policy my_policy algorithm=grpo algorithm.group=8 starts=16
  apprentice train rl --engine ray --workers 16 starts=256
  apprentice train rl --sweep algorithm.learning_rate=3e-5,1e-4 --sweep seed=0,1,2 --engine ray iterations=20
  torchrun --nproc-per-node 4 --no-python apprentice train rl starts=256

beside the policy, in OUT.training: metrics.jsonl (a line an iteration), train.yaml (all settings), snapshots.
Evaluate on held-out starts with: apprentice eval OUT
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train rl``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument(
        '--policy',
        default='',
        help='folder of the policy to begin with (default: the shipped starter policy)',
    )
    parser.add_argument('--out', type=Path, default=Path('runs/rl'), help='folder of the policy')
    parser.add_argument('--robot', default='', help='name of a shipped robot or a file (default sim_arm)')
    parser.add_argument('--engine', choices=('local', 'ray'), default='local', help='who rolls out')
    parser.add_argument('--workers', type=int, default=0, help='lanes (default: one a processor)')
    parser.add_argument('--address', default='', help='of a running Ray cluster: auto, or host:port')
    parser.add_argument('--config', type=Path, help='YAML file of settings')
    parser.add_argument(
        '--sweep', action='append', default=[], metavar='key=a,b,c',
        help='train once for each value; several: for all combinations, each in a folder of OUT',
    )  # fmt: skip
    parser.add_argument('--iterations', type=int, help='(default 50)')
    parser.add_argument('--seed', type=int, help='(default 0)')
    parser.add_argument('words', nargs='*', default=[], metavar='key=value', help='settings, see below')


def run(args: argparse.Namespace) -> int:
    """Train, or sweep; with torchrun in every process that it starts."""
    from tqdm import tqdm

    from apprentice.learning.distributed import join, leave
    from apprentice.learning.rl.engine import LocalEngine
    from apprentice.learning.rl.rl_config import read_rl_config
    from apprentice.learning.rl.train import train
    from apprentice.robot.parts import find_robot, find_weights, share
    from apprentice.robot.spec import RobotSpec

    if args.workers < 0:
        raise ValueError(f'{args.workers} workers; use 1 or more, or 0 for one a processor')
    if args.address and args.engine != 'ray':
        raise ValueError('--address is of a Ray cluster; add --engine ray')
    os.environ.setdefault('MUJOCO_GL', 'egl')
    robot = RobotSpec.load(find_robot(args.robot or 'sim_arm'))
    policy = find_weights(args.policy) if args.policy else share('weights', 'policy')
    flags = {name: getattr(args, name) for name in ('iterations', 'seed') if getattr(args, name) is not None}
    if args.sweep:
        return _sweep(args, robot, policy, flags)
    config = read_rl_config(args.words, args.config, flags)
    with join(config.device) as ranks:
        level = logging.INFO if ranks.first else logging.WARNING
        logging.basicConfig(level=level, format='%(message)s', stream=sys.stderr)
        cores = len(os.sched_getaffinity(0))
        workers = args.workers or max(1, cores // ranks.world)
        if args.engine == 'ray' and ranks.world > 1 and not args.address:
            raise ValueError('several processes cannot each start Ray here; start a cluster, give --address')
        if args.engine == 'ray':
            from apprentice.learning.rl.ray_engine import require_ray

            require_ray()

        def make_engine(setup: Any, algorithm: Any) -> Any:
            if args.engine == 'local':
                return LocalEngine(setup, algorithm.policy, algorithm.actor, workers)
            from apprentice.learning.rl.ray_engine import RayEngine

            return RayEngine(setup, workers, args.address)

        with tqdm(total=config.iterations, desc='learning', unit='iteration', disable=not ranks.first) as bar:

            def progress(iteration: int, metrics: dict[str, float]) -> None:
                bar.update(iteration - bar.n)
                shown = {
                    'success': f'{metrics["success"]:.0%}',
                    'steps/s': f'{metrics["steps_per_second"]:.0f}',
                }
                bar.set_postfix(shown, refresh=False)

            train(policy, robot, args.out, config, make_engine, progress, ranks, _command(args, ranks.world))
        if ranks.first:
            print(f'policy in {args.out}; evaluate it with: apprentice eval {args.out}')
    if ranks.world > 1:
        leave()
    return 0


def _sweep(args: argparse.Namespace, robot: Any, policy: Path, flags: dict[str, Any]) -> int:
    from apprentice.learning.rl.rl_config import read_rl_config
    from apprentice.learning.rl.sweep import SweepRun, combinations, folder_name, run_one
    from apprentice.robot.files import write_text

    runs = []
    for words in combinations(args.sweep):
        config = read_rl_config([*args.words, *words], args.config, flags)
        out = args.out / folder_name(words)
        runs.append(SweepRun(words, str(policy.resolve()), robot, str(out.resolve()), config))
    args.out.mkdir(parents=True, exist_ok=True)
    workers = args.workers or len(os.sched_getaffinity(0))
    print(f'{len(runs)} trainings')
    if args.engine == 'ray':
        from apprentice.learning.rl.ray_engine import sweep

        results = sweep(run_one, runs, workers, args.address)
    else:
        results = [run_one(run) for run in runs]
    found: list[dict[str, Any]] = [
        {'words': list(run.words), 'error': str(result)} if isinstance(result, Exception) else result
        for run, result in zip(runs, results, strict=True)
    ]
    write_text(args.out / 'sweep.json', json.dumps(found, indent=1) + '\n')
    for each in sorted(found, key=lambda one: -one.get('success', -1.0)):
        said = f'failed: {each["error"].splitlines()[-1]}' if 'error' in each else f'{each["success"]:.1%}'
        print(f'{" ".join(each["words"])}: {said}')
    print(f'success in the last training iterations; all of it in {args.out / "sweep.json"}')
    return 1 if any('error' in each for each in found) else 0


def _command(args: argparse.Namespace, world: int) -> str:
    """How to repeat this training with the file of its settings."""
    words = ['apprentice', 'train', 'rl']
    words += ['--policy', args.policy] if args.policy else []
    words += ['--robot', args.robot] if args.robot else []
    words += ['--engine', args.engine, '--config', 'train.yaml', '--out', 'FOLDER']
    several = ['torchrun', '--nproc-per-node', str(world), '--no-python'] if world > 1 else []
    return f'repeat: {shlex.join([*several, *words])}'
