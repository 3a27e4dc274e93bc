# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a slow policy costs: success and jerk of the simulated pick task under injected delays.

    apprentice demonstrate --episodes 400 --out runs/rtc/demonstrations
    apprentice train bc --data runs/rtc/demonstrations --out runs/rtc/policy --steps 8000 policy.max_delay=3
    apprentice bench rtc runs/rtc/policy --trials 400

Four ways to live with the delay, with the same weights from the same starts with the same noise:

    synchronous   the arm stands still while the policy plans
    naive         it follows the chunk before, then jumps to the new one, whose past rows are skipped
    soft          as naive, but the new chunk is steered to continue the one before (arXiv 2506.07339)
    trained       as naive, but the rows that will be past are given to the policy (arXiv 2512.05964)

Delays are counted in control steps of the robot file. Jerk is the root mean square of the third difference
of the commanded joint positions (gripper left out), in rad/s^3.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # before the first GL context, see docs/architecture.md
from tqdm import tqdm

from apprentice.bench.report import keep, machine
from apprentice.learning.statistics import wilson
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.rtc import PreviousChunk, RtcConfig
from apprentice.robot.chunk import next_setpoint, row_at
from apprentice.robot.parts import find_robot, find_weights
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import ActionChunk, Observation
from apprentice.sim.pool import WorldPool

METHODS = {'synchronous': 'none', 'naive': 'none', 'soft': 'soft', 'trained': 'trained'}
TOGETHER = 40  # trials at once


@dataclass
class Trial:
    """One attempt: what it follows, what is being planned, what was commanded."""

    seed: int
    instruction: str
    setpoint: np.ndarray
    chunk: ActionChunk | None = None
    planned: ActionChunk | None = None
    ready: int = 0  # control step at which ``planned`` arrives
    due: int = 0  # control step of the next plan
    plans: int = 0
    success: bool = False
    over: bool = False
    steps: int = 0
    commands: list[np.ndarray] = field(default_factory=list)


class Experiment:
    """Trials of one method at one delay, many at a time, on the control grid of the robot file."""

    def __init__(self, spec: RobotSpec, policy: FlowPolicy, method: str, delay: int, execute_steps: int):
        self.spec, self.policy, self.method, self.delay = spec, policy, method, delay
        self.period = 1 / spec.control_hz
        self.per_row = round(spec.action_dt * spec.control_hz)
        self.every = execute_steps * self.per_row
        self.rtc = RtcConfig(METHODS[method])
        self.late_rows = -(-delay // self.per_row)  # rows that are past when a chunk arrives

    def run(self, worlds: WorldPool, seeds: list[int]) -> list[Trial]:
        sims = list(range(len(seeds)))
        instructions = worlds.reset(sims, seeds)
        joints = worlds.joints
        trials = [Trial(seed, text, joints[sim].copy()) for sim, seed, text in zip(sims, seeds, instructions)]
        targets = joints[: len(sims)].copy()
        for step in range(round(worlds.max_duration_s * self.spec.control_hz)):
            running = [sim for sim in sims if not trials[sim].over]
            if not running:
                break
            self._plan(worlds, trials, [sim for sim in running if step >= trials[sim].due], step)
            for sim in running:
                targets[sim] = self._follow(trials[sim], step)
            worlds.step(targets[running], self.period, running)
            success, failed = worlds.success(), worlds.failed
            for sim in running:
                trials[sim].steps = step + 1
                trials[sim].success = bool(success[sim])
                trials[sim].over = bool(success[sim] or failed[sim])
        return trials

    def _plan(self, worlds: WorldPool, trials: list[Trial], due: list[int], step: int) -> None:
        if not due:
            return
        now, frames, joints = step * self.period, worlds.render(due), worlds.joints
        observations, previous, noise = [], [], []
        for row, sim in enumerate(due):
            trial = trials[sim]
            images = {name: stack[row] for name, stack in frames.items()}
            observations.append(Observation(now, images, joints[sim].copy(), trial.instruction))
            previous.append(self._previous(trial, now))
            mixed = np.random.SeedSequence((trial.seed, trial.plans)).generate_state(1, np.uint64)[0]
            noise.append(torch.Generator().manual_seed(int(mixed)))
        chunks = self.policy.act_batch(observations, noise, previous, self.rtc)
        waits = self.method == 'synchronous'
        for sim, actions in zip(due, chunks, strict=True):
            trial = trials[sim]
            # who stands still meanwhile follows the chunk from its first row
            stamp = now + self.delay * self.period if waits else now
            trial.planned = ActionChunk(stamp, actions, self.spec.action_dt)
            trial.ready = step + self.delay
            trial.due = step + self.every + (self.delay if waits else 0)
            trial.plans += 1
            if waits:
                trial.chunk = None

    def _previous(self, trial: Trial, now: float) -> PreviousChunk | None:
        row = None if trial.chunk is None else row_at(trial.chunk, now)
        if row is None or trial.chunk is None:
            return None
        rows = trial.chunk.actions[row:]
        return PreviousChunk(rows, min(self.late_rows, len(rows)))

    def _follow(self, trial: Trial, step: int) -> np.ndarray:
        """The command [dim] of this control step, with the robot's limits."""
        spec = self.spec
        if trial.planned is not None and step >= trial.ready:
            trial.chunk, trial.planned = trial.planned, None
        if trial.chunk is not None:
            followed = next_setpoint(trial.chunk, trial.setpoint, step * self.period, self.period)
            if followed is not None:
                reach = spec.vector('velocity') * self.period
                setpoint = trial.setpoint + np.clip(followed[0] - trial.setpoint, -reach, reach)
                trial.setpoint = np.clip(setpoint, spec.vector('lower'), spec.vector('upper'))
        trial.commands.append(trial.setpoint)
        return trial.setpoint

    def jerk(self, trials: list[Trial]) -> float:
        """Root mean square [rad/s^3], all trials together."""
        arm = ~self.spec.gripper_mask
        thirds = [np.diff(np.stack(t.commands)[:, arm], 3, axis=0) / self.period**3 for t in trials]
        return float(np.sqrt(np.mean(np.concatenate(thirds) ** 2)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='apprentice bench rtc',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('weights', help='policy folder, trained with policy.max_delay for the method trained')
    parser.add_argument('--robot', default='sim_arm', help='name of a shipped robot or a file')
    parser.add_argument('--delays', default='0,2,4,6', help='control steps (default 0,2,4,6)')
    parser.add_argument('--methods', default=','.join(METHODS), help='default: all four')
    parser.add_argument('--trials', type=int, default=200, help='starts of each cell (default 200)')
    parser.add_argument('--first-seed', type=int, default=600_000, help='of the starts (default 600000)')
    parser.add_argument('--execute-steps', type=int, default=4, help='rows between plans (default 4)')
    parser.add_argument('--json', type=Path, metavar='FILE')
    args = parser.parse_args()
    unknown = set(args.methods.split(',')) - set(METHODS)
    if unknown or args.trials < 1:
        parser.error(f'methods are {list(METHODS)}, trials 1 or more')
    return args


def main() -> int:
    args = parse()
    spec = RobotSpec.load(find_robot(args.robot))
    policy, manifest = checkpoint.load(find_weights(args.weights))
    policy.spec.require(spec)
    delays, methods = [int(d) for d in args.delays.split(',')], args.methods.split(',')
    longest = max(delays) * 1 / spec.control_hz / spec.action_dt
    if 'trained' in methods and policy.config.max_delay < longest:
        print(
            f'error: the longest delay is {longest:g} rows, the policy was trained with at most '
            f'{policy.config.max_delay}: train with policy.max_delay={int(np.ceil(longest))}',
            file=sys.stderr,
        )
        return 2
    seeds = list(range(args.first_seed, args.first_seed + args.trials))
    rows: list[dict[str, Any]] = []
    total = len(delays) * len(methods) * len(seeds)
    together = min(TOGETHER, len(seeds))
    with WorldPool(spec, together) as worlds, tqdm(total=total, unit='trial') as bar:
        for delay in delays:
            for method in methods:
                experiment = Experiment(spec, policy, method, delay, args.execute_steps)
                trials: list[Trial] = []
                for first in range(0, len(seeds), together):
                    trials += experiment.run(worlds, seeds[first : first + together])
                    bar.update(len(seeds[first : first + together]))
                rows.append(summary(experiment, trials))
    result = {'bench': 'rtc', 'machine': machine(), 'load': os.getloadavg()[0], 'about': manifest['about']}
    print('\n'.join(table(rows)))
    if args.json:
        keep(args.json, {**result, 'rows': rows})
    return 0


def summary(experiment: Experiment, trials: list[Trial]) -> dict[str, Any]:
    won = [trial for trial in trials if trial.success]
    low, high = wilson(len(won), len(trials))
    return {
        'delay': experiment.delay,
        'method': experiment.method,
        'successes': len(won),
        'trials': len(trials),
        'wilson': [low, high],
        'seconds': float(np.mean([t.steps for t in won]) * experiment.period) if won else None,
        'jerk': experiment.jerk(trials),
    }


def table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        '| delay | method | success | 95 % interval | s to success | jerk, rad/s^3 |',
        '|---|---|---|---|---|---|',
    ]
    for row in rows:
        low, high = row['wilson']
        seconds = '' if row['seconds'] is None else f'{row["seconds"]:.2f}'
        rate = f'{row["successes"]}/{row["trials"]} = {row["successes"] / row["trials"]:.1%}'
        lines.append(
            f'| {row["delay"]} | {row["method"]} | {rate} | {low:.0%} to {high:.0%} '
            f'| {seconds} | {row["jerk"]:.0f} |'
        )
    return lines


if __name__ == '__main__':
    sys.exit(main())
