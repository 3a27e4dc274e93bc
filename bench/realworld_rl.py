# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Real-world RL in simulation: from camera images, with simulated people, to a policy that succeeds alone.

    apprentice bench realworld-rl                            # everything; may be killed and started again
    apprentice bench realworld-rl --tasks pick --seeds 0 --arms full,hg-dagger
    apprentice bench realworld-rl --jobs 1 --episodes 120
    apprentice bench realworld-rl --tasks pick --policy runs/start

Every run begins with a policy cloned from a few demonstrations that succeeds in about a fifth of the trials.
The reward is the true progress with noise of 0.1, half a second late, and 5 % false successes; people take
over late, and in a tenth of the cases drive wrongly at first. Evaluations are autonomous, on held-out starts;
the last one of a run is on other starts than those before.

    full          critics, edits, consolidation, preferences, people by the graded protocol
    alone         the same without people
    hg-dagger     the same people; demonstrations and what people did are imitated, nothing else (HG-DAgger)
    weighted      without critics and preferences: what succeeded is imitated, weighed by progress
    rlpd          RLPD-SAC (HIL-SERL) on the same features, with the same people
    no-edit, no-preference, raw-progress     full without one part
    own-success   full, but the flow imitates whatever succeeded, and no help in an episode that failed
    full-left, hg-dagger-left        people help in the first 20 episodes, nobody after them
    full-clumsy, hg-dagger-clumsy    every other takeover begins with wrong driving, and hands tremble more
    killed        full; every 20 episodes the learner is thrown away and made again from its run folder
    dead-reward   full; for 60 s nobody measures progress; how episodes end is known

A result is kept in --work and not measured again. One run takes 10 to 20 minutes on one quiet core.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from apprentice.bench.realworld_arms import ARMS, Run, practise, starter
from apprentice.bench.realworld_report import plot, table
from apprentice.bench.report import deliver, keep, machine
from apprentice.policies.checkpoint import MANIFEST


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='apprentice bench realworld-rl',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--tasks', default='pick,drawer', help='default: pick,drawer')
    parser.add_argument(
        '--arms', default=','.join(ARMS), help='default: all; ablations run on the first task'
    )
    parser.add_argument('--seeds', default='0,1,2', help='default: 0,1,2')
    parser.add_argument('--episodes', type=int, default=200, help='to learn from (default 200)')
    parser.add_argument('--trials', type=int, default=50, help='of an evaluation (default 50)')
    parser.add_argument('--every', type=int, default=20, help='episodes between evaluations (default 20)')
    parser.add_argument(
        '--policy', default='', metavar='FOLDER', help='begin with this policy instead; with a single task'
    )
    parser.add_argument('--until', type=float, default=0.9, help='a run ends at this success, twice in a row')
    parser.add_argument('--jobs', type=int, default=1, help='runs at the same time (default 1)')
    parser.add_argument('--work', type=Path, default=Path('runs/bench_realworld_rl'))
    parser.add_argument('--json', type=Path, metavar='FILE')
    parser.add_argument('--plot', type=Path, metavar='FILE', help='learning curves, .svg or .png')
    parser.add_argument('--write', type=Path, metavar='FILE', help='put the table into a document')
    args = parser.parse_args()
    unknown = set(args.arms.split(',')) - set(ARMS)
    if unknown or min(args.episodes, args.trials, args.every, args.jobs) < 1:
        parser.error(f'arms are {", ".join(ARMS)}; episodes, trials, every and jobs 1 or more')
    if args.policy:
        if ',' in args.tasks or not (Path(args.policy) / MANIFEST).is_file():
            parser.error('--policy needs one of --tasks, and a folder that apprentice train bc made')
        args.policy = str(Path(args.policy).resolve())
    return args


def wanted(args: argparse.Namespace) -> list[Run]:
    """Every run; arms that are ablations on the first task alone."""
    tasks = args.tasks.split(',')
    common = args.episodes, args.trials, args.every, args.until, str(args.work)
    return [
        Run(task, arm, int(seed), *common, policy=args.policy)
        for arm in args.arms.split(',')
        for task in (tasks if ARMS[arm].everywhere else tasks[:1])
        for seed in args.seeds.split(',')
    ]


def one(run: Run) -> dict[str, Any]:
    """The result of a run: kept from before, or made now."""
    path = run.folder / 'result.json'
    if path.is_file():
        return json.loads(path.read_text())
    path.parent.mkdir(parents=True, exist_ok=True)
    began, used = time.monotonic(), time.process_time()
    result = practise(run)
    result |= {
        **{name: value for name, value in asdict(run).items() if name != 'work'},
        'wall_s': time.monotonic() - began,
        'cpu_s': time.process_time() - used,
        'load': os.getloadavg()[0],
    }
    keep(path, result)
    return result


def main() -> int:
    args = parse()
    args.work.mkdir(parents=True, exist_ok=True)
    runs = wanted(args)
    for task in dict.fromkeys(run.task for run in runs):
        if not args.policy:
            starter(task, args.work, lambda text: print(text, flush=True))
    results = []
    with ProcessPoolExecutor(args.jobs, mp_context=get_context('spawn')) as pool:
        waiting = {pool.submit(one, replace(run, position=i)): run for i, run in enumerate(runs)}
        for future in tqdm(as_completed(waiting), total=len(runs), desc='runs', unit='run'):
            results.append(future.result())
    results.sort(key=lambda result: (result['task'], list(ARMS).index(result['arm']), result['seed']))
    lines = table(results)
    print('\n'.join(lines))
    if args.plot:
        plot(results, args.plot)
    found = {'bench': 'realworld-rl', 'machine': machine(), 'results': results}
    deliver(found, lines, args.json, args.write)
    return 0


if __name__ == '__main__':
    sys.exit(main())
