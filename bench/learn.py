# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Learning with demonstrations: episodes and time until 90 % success, beside Stable-Baselines3's SAC.

    apprentice bench learn                                   # everything; may be killed and started again
    apprentice bench learn --contestants flow_edit,sb3 --seeds 0 --cpu-s 60
    apprentice bench learn --work runs/try rlpd_sac.updates=4 flow_edit.candidates=8

Every contestant gets the same environment object (a task of the simulator with its state in place of the
cameras), the same reward, discount and demonstrations, and the same processor time on one thread:

    flow_edit    the default recipe in small: a cloned flow plans, critics choose and edit
    rlpd_sac     RLPD-SAC of the library
    sb3          Stable-Baselines3's SAC as shipped, the demonstrations in its replay buffer
    sb3_tuned    the same with what rlpd_sac takes: updates a step, batch, temperature, wanted entropy

After every 10 episodes what acts is tried, without exploring, from 50 held-out starts; the time of that does
not count. A contestant has got there at the first of two such evaluations in a row of at least 90 %, and then
ends. One process runs after the other. A result is kept in --work and not measured again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import statistics
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from apprentice.bench import environments, runner
from apprentice.bench.learn_ours import OURS
from apprentice.bench.learn_world import TASKS, TrialConfig
from apprentice.bench.report import deliver, keep, machine, number

TARGET = 0.5  # ours over the peer's, episodes and time
PATIENCE = 30  # times its processor time a trial may take on a busy machine
PEERS: dict[str, dict[str, Any]] = {
    'sb3': {},
    'sb3_tuned': {
        'gradient_steps': 2, 'batch_size': 128, 'ent_coef': 'auto_0.01', 'target_entropy': -3.5,
        'learning_starts': 0,
    },
}  # fmt: skip
PEER = 'stable_baselines3'


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    default = TrialConfig()
    parser = argparse.ArgumentParser(
        prog='apprentice bench learn',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--contestants', default='flow_edit,rlpd_sac,sb3', help='(default %(default)s)')
    parser.add_argument('--seeds', default='0,1,2', help='(default 0,1,2)')
    parser.add_argument('--task', choices=TASKS, default=default.task, help='(default %(default)s)')
    parser.add_argument('--level', type=float, default=default.level, help='of the starts (default 1)')
    parser.add_argument(
        '--shaping', type=float, default=default.shaping,
        help='reward for the gain of progress beside 1 for success (default %(default)g; 0: success alone)',
    )  # fmt: skip
    parser.add_argument('--demonstrations', type=int, default=default.demonstrations, help='(default 10)')
    parser.add_argument('--cpu-s', type=float, default=default.cpu_s, help='processor time of a trial, s')
    parser.add_argument('--every', type=int, default=default.every, help='episodes between evaluations')
    parser.add_argument('--starts', type=int, default=default.starts, help='of an evaluation (default 50)')
    parser.add_argument('--episodes', type=int, default=default.episodes, help='most of a trial')
    parser.add_argument('--no-peers', dest='peers', action='store_false', help='only what needs no download')
    parser.add_argument('--work', type=Path, default=Path('runs/bench_learn'), help='folder of results')
    parser.add_argument('--json', type=Path, metavar='FILE')
    parser.add_argument('--write', type=Path, metavar='FILE', help='put the table into a document')
    parser.add_argument('words', nargs='*', default=[], metavar='contestant.field=value', help='of ours')
    args = parser.parse_args(words)
    args.contestants = args.contestants.split(',')
    args.changes = {}
    for word in args.words:
        name, _, rest = word.partition('.')
        key, equals, value = rest.partition('=')
        if name not in OURS or not equals or key not in asdict(OURS[name]):
            parser.error(f'{word!r} is not contestant.field=value; fields are those of bench/learn_ours.py')
        args.changes.setdefault(name, {})[key] = json.loads(value)
    if set(args.contestants) - {*OURS, *PEERS}:
        parser.error(f'contestants are {", ".join([*OURS, *PEERS])}')
    if min(args.demonstrations, args.every, args.starts, args.episodes) < 1 or args.cpu_s <= 0:
        parser.error('give 1 or more demonstrations, episodes and starts, and some processor time')
    if not args.peers:
        args.contestants = [name for name in args.contestants if name not in PEERS]
    return args


def trial(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """What every contestant is told."""
    names = ('task', 'level', 'shaping', 'demonstrations', 'cpu_s', 'every', 'starts', 'episodes')
    return asdict(TrialConfig(**{name: getattr(args, name) for name in names}, seed=seed))


def contestant(name: str, about: dict[str, Any], changes: dict[str, Any]) -> runner.Contestant:
    one_thread = {'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
    if name in PEERS:
        packages = list(dict.fromkeys(sysconfig.get_path(each) for each in ('purelib', 'platlib')))
        parameters = {'packages': packages, 'trial': about, 'settings': PEERS[name]}
        kind = runner.TUNED if PEERS[name] else runner.SHIPPED
        return runner.Contestant(
            name, kind, peer=PEER, script=f'{PEER}_learn', parameters=parameters,
            environment=one_thread,
        )  # fmt: skip
    parameters = {'name': name, 'trial': about, 'changes': changes}
    function = 'apprentice.bench.learn_ours:learn'
    return runner.Contestant(name, runner.OURS, function, parameters=parameters, environment=one_thread)


def measure(made: runner.Contestant, work: Path, limit_s: float) -> dict[str, Any]:
    """The result of a trial: kept from before, or made now. Raises PeerError where it fails."""
    own = f'peers/{made.script}.py' if made.peer else 'learn_ours.py'
    decides = [
        made.parameters,
        *((Path(__file__).parent / name).read_text() for name in ('learn_world.py', own)),
    ]
    key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]
    path = work / f'{made.name}_{made.parameters["trial"]["seed"]}_{key}.json'
    if path.is_file():
        return json.loads(path.read_text())
    python = str(environments.prepare(PEER)) if made.peer else sys.executable
    found = {'contestant': made.name, **runner.measure(made, python, limit_s)}
    keep(path, found)
    return found


def summary(name: str, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A row of the table: medians over seeds; infinite where it was not reached."""
    reached = [result['reached'] for result in results]
    median = {
        key: statistics.median(each[key] if each else math.inf for each in reached)
        for key in ('episodes', 'steps', 'wall_s', 'cpu_s')
    }
    ends = [result['evaluations'][-1] for result in results]
    return {
        'name': name,
        'median': median,
        'all': [each['episodes'] if each else None for each in reached],
        'all_wall_s': [each['wall_s'] if each else None for each in reached],
        'first': [result['evaluations'][0]['success'] for result in results],
        'last': [end['success'] for end in ends],
        'best': [max(each['success'] for each in result['evaluations']) for result in results],
        'done': {key: statistics.median(end[key] for end in ends) for key in median},
        'versions': results[0]['versions'],
        'loads': [each for result in results for each in result['load'].values()],
    }


def ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ours over the peers' medians; a peer that did not get there is counted at its end, ``bound``."""
    found = []
    for ours in (row for row in rows if row['name'] in OURS):
        for peer in (row for row in rows if row['name'] in PEERS):
            for key in ('episodes', 'wall_s', 'cpu_s'):
                bound = math.isinf(peer['median'][key])
                theirs = peer['done'][key] if bound else peer['median'][key]
                ratio = ours['median'][key] / theirs
                if bound and math.isinf(ours['median'][key]):
                    ratio = math.nan
                found.append(
                    {'ours': ours['name'], 'peer': peer['name'], 'of': key, 'ratio': ratio, 'bound': bound}
                )
    return found


def table(result: dict[str, Any]) -> list[str]:
    """Markdown."""
    computer, about, rows = result['machine'], result['trial'], result['rows']
    versions = ', '.join(f'{key} {value}' for row in rows for key, value in row['versions'].items())
    loads = [load for row in rows for load in row['loads']]
    versions = ', '.join(dict.fromkeys(versions.split(', ')))
    lines = [
        f'{computer["processor"]}, {computer["cores"]} cores, one thread; {versions}; load average '
        f'{min(loads):.1f} to {max(loads):.1f}. Task {about["task"]}, level {about["level"]:g}, '
        f'{about["demonstrations"]} demonstrations, reward 1 for success, '
        f'{about["shaping"]:g} for progress; {about["cpu_s"]:g} s of processor time a trial; seeds '
        f'{", ".join(map(str, result["seeds"]))}.',
        '',
        '| contestant | episodes to 90 % | each seed | wall s to 90 % | CPU s | steps '
        '| success before, at the end, best |',
        '|---|---|---|---|---|---|---|',
    ]
    for row in rows:
        median = row['median']
        each = ', '.join('not' if value is None else f'{value}' for value in row['all'])
        rates = '; '.join(
            f'{first:.0%}, {last:.0%}, {best:.0%}'
            for first, last, best in zip(row['first'], row['last'], row['best'])
        )
        cells = [_cell(median[key], row['done'][key]) for key in ('episodes', 'wall_s', 'cpu_s', 'steps')]
        lines.append(f'| {row["name"]} | {cells[0]} | {each} | {" | ".join(cells[1:])} | {rates} |')
    lines += ['', '| ours | peer | of | ratio | target |', '|---|---|---|---|---|']
    names = {'episodes': 'episodes', 'wall_s': 'wall clock', 'cpu_s': 'CPU time'}
    for found in result['ratios']:
        ratio = found['ratio']
        if math.isnan(ratio):
            shown, verdict = 'neither got there', 'missed'
        elif math.isinf(ratio):
            shown, verdict = 'ours did not get there', 'missed'
        else:
            shown = f'{"at most " if found["bound"] else ""}{ratio:.2f}'
            verdict = 'reached' if ratio <= TARGET else 'missed'
        target = f'<= {TARGET:g}, {verdict}'
        lines.append(f'| {found["ours"]} | {found["peer"]} | {names[found["of"]]} | {shown} | {target} |')
    failed = [f'{name} did not run: {reason}' for name, reason in result['failed'].items()]
    return [*lines, *(['', *failed] if failed else [])]


def _cell(value: float, done: float) -> str:
    return f'not in {number(done)}' if math.isinf(value) else number(value)


def main(words: Sequence[str] | None = None) -> int:
    args = parse(words)
    args.work.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in args.seeds.split(',')]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in args.contestants}
    failed: dict[str, str] = {}
    turns = [(seed, name) for seed in seeds for name in args.contestants]  # they take turns
    for seed, name in tqdm(turns, desc='trials', unit='trial'):
        made = contestant(name, trial(args, seed), args.changes.get(name, {}))
        try:
            results[name].append(measure(made, args.work, PATIENCE * (10 + args.cpu_s)))
        except (environments.PeerError, OSError) as error:
            failed[name] = str(error)
    rows = [summary(name, found) for name, found in results.items() if found and name not in failed]
    result = {
        'bench': 'learn',
        'machine': machine(),
        'load': os.getloadavg()[0],
        'trial': trial(args, seeds[0]),
        'seeds': seeds,
        'rows': rows,
        'ratios': ratios(rows),
        'failed': failed,
        'results': results,
    }
    lines = table(result)
    print('\n'.join(lines))
    deliver(result, lines, args.json, args.write)
    return 1 if failed else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f'apprentice bench learn: {error}')
