# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""record demonstrations with a person: reset, countdown, record, keep or discard, until enough are kept

Starts launch/record.launch.yaml and guides through it. Again with the same --run-dir it goes on where it was.
Ctrl-C keeps everything that was recorded; the episode that was running counts as aborted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import threading
from pathlib import Path

from apprentice.cli import environment
from apprentice.cli.demo import Logs, free_port, interruptible, prepare_environment
from apprentice.cli.launch_file import load
from apprentice.cli.launch_node import find_executable
from apprentice.cli.process import Process
from apprentice.cli.supervisor import Supervisor
from apprentice.robot.parts import find_robot, share
from apprentice.robot.spec import RobotSpec

_log = logging.getLogger(__name__)
_FLOW = 'record_flow'
_PERSON = 'apprentice.sim.people:ScriptedPerson'
SEED0 = 700_000  # apart from those of demonstrate, of learning and of held-out evaluation (900000 and up)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice record``."""
    parser.add_argument('--task', default='', help='instruction (default: each start in simulation chooses)')
    parser.add_argument('--episodes', type=int, default=50, help='successes to keep (default 50)')
    parser.add_argument(
        '--run-dir', type=Path, default=Path('runs/record'), help='run folder; what is in it counts'
    )
    parser.add_argument('--robot', default='', help='name of a shipped robot or a file (default sim_arm)')
    parser.add_argument('--real', action='store_true', help='a real robot, whose drivers run already')
    parser.add_argument(
        '--person', nargs='?', const=_PERSON, default='', metavar='PACKAGE.MODULE:CLASS',
        help='a scripted person in simulation drives, and no key is needed',
    )  # fmt: skip
    parser.add_argument(
        '--device', default='browser', help='what a person drives with, see docs (default browser)'
    )
    parser.add_argument('--countdown', type=float, default=3.0, metavar='S', help='seconds (default 3)')
    parser.add_argument(
        '--review', type=float, default=0.0, metavar='S', help='seconds to discard; 0: until a key (default)'
    )
    parser.add_argument(
        '--max-duration', type=float, default=60.0, metavar='S', help='of an episode (default 60)'
    )
    parser.add_argument('--seed', type=int, default=0, help='shifts the starts in simulation')
    parser.add_argument('--sim-task', default='', help="task in simulation (default: the robot file's)")
    parser.add_argument('--port', type=int, default=8765, help='TCP port of the page; 0 takes a free one')
    parser.add_argument('--no-page', action='store_true', help='without the web page')


def run(args: argparse.Namespace) -> int:
    """Exit codes: 0 all episodes are kept, or q was pressed; 1 a process failed; 130 Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format='[record] %(message)s', stream=sys.stderr)
    if args.episodes < 1:
        raise ValueError(f'{args.episodes} episodes; use 1 or more')
    if args.real and args.person:
        raise ValueError('--person drives in simulation only; leave it out, or leave out --real')
    if args.real and not args.task:
        raise ValueError('--real needs --task "what the robot shall do"')
    robot = find_robot(args.robot or 'sim_arm')
    RobotSpec.load(robot)  # a wrong one ends here
    run_dir = args.run_dir.resolve()
    with interruptible() as interrupted:
        prepare_environment()
        (run_dir / 'log').mkdir(parents=True, exist_ok=True)
        port = 0 if args.no_page else free_port(args.port)
        code = _run_graph(args, robot, run_dir, port, interrupted)
    sealed = sorted((run_dir / 'episodes').glob('*.mcap'))
    print(f'log         {run_dir / "episodes"}  ({len(sealed)} episodes as MCAP)')
    print(f'next        apprentice dataset export {args.run_dir} --out DIR')
    if code == 1:
        print(f'node logs   {run_dir / "log"}')
    return code


def _run_graph(
    args: argparse.Namespace, robot: Path, run_dir: Path, port: int, interrupted: threading.Event
) -> int:
    simulated = not args.real
    values = {
        'robot': str(robot),
        'run_dir': str(run_dir),
        'sim': str(simulated).lower(),
        'lockstep': str(bool(args.person)).lower(),  # nobody waits for a scripted person
        'person': args.person,
        'device': 'none' if args.person else args.device,
        'sim_task': args.sim_task,
        'reset': 'simulator' if simulated else 'none',
        'success_topic': 'sim/truth' if simulated else '',
        'auto_arm': str(simulated).lower(),
        'stale_s': '0.3' if simulated else '0.1',
        'max_duration_s': str(0.0 if args.person else args.max_duration),
        'flow': 'false',
        'dashboard': str(not args.no_page).lower(),
        'dashboard_port': str(port),
        'seed': str(args.seed),
    }
    file = share('launch', 'record.launch.yaml')
    declared = load(file, {}, tolerant=True).arguments
    plan = load(file, {name: value for name, value in values.items() if name in declared})
    if not args.no_page:
        print(f'page        http://127.0.0.1:{port}', flush=True)
    print(f'run folder  {run_dir}  (logs of the nodes in log/)', flush=True)
    logs = Logs(run_dir / 'log', shown=_FLOW)
    with contextlib.closing(logs), Supervisor(on_line=logs.line) as supervisor:
        for process in plan.processes:
            supervisor.start(process, process.name)
        supervisor.start(_flow(args, robot, run_dir), _FLOW)
        while not interrupted.is_set():
            for item in supervisor.poll(0.2):
                tail = '\n'.join(f'    {line}' for line in item.last_lines)
                if item.label == _FLOW:
                    return 1 if item.failed else 0
                _log.error('%s\n%s', item, tail)
                if item.process.required or item.label in ('recorder', 'episode'):
                    _log.error('%s is required: ending; what was recorded is kept', item.label)
                    return 1
    return 130


def _flow(args: argparse.Namespace, robot: Path, run_dir: Path) -> Process:
    scripted = bool(args.person)
    parameters = {
        'robot': str(robot),
        'run_dir': str(run_dir),
        'task': args.task,
        'episodes': args.episodes,
        'seed': SEED0 + 1_000_000 * args.seed,
        'countdown_s': 0.0 if scripted else args.countdown,
        'review_s': args.review,
        'automatic': scripted,
        'take': scripted,
        'simulator': not args.real,
        'use_sim_time': scripted,
        'terminal': os.ttyname(0) if sys.stdin.isatty() and not scripted else '',
    }
    command = [*find_executable('apprentice', f'{_FLOW}_node', environment.ament_prefixes()), '--ros-args']
    for name, value in parameters.items():
        command += ['-p', f'{name}:={json.dumps(value)}']
    return Process(_FLOW, tuple(command))
