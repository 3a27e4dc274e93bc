# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Watch a simulated robot learn: evaluate, learn with a scripted person's help, evaluate again.

Starts launch/sim.launch.yaml in lock-step as separate processes on DDS, runs the session node against it and
ends everything. Ctrl-C at any moment leaves no process behind and no torn file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from apprentice.cli import environment
from apprentice.cli.demo_demonstrations import ensure_demonstrations
from apprentice.cli.launch_file import load
from apprentice.cli.launch_node import find_executable
from apprentice.cli.process import Exit, Process
from apprentice.cli.supervisor import Supervisor
from apprentice.robot.parts import find_robot, share
from apprentice.robot.spec import RobotSpec

_log = logging.getLogger(__name__)
_SESSION = 'session'
_SHOWN = ('[WARN]', '[ERROR]', '[FATAL]', 'error:', 'Traceback')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--trials', type=int, default=25, help='held-out evaluation episodes (default 25)')
    parser.add_argument('--episodes', type=int, default=30, help='learning episodes (default 30)')
    parser.add_argument('--seed', type=int, default=0, help='seed of everything (default 0)')
    parser.add_argument('--run-dir', type=Path, help='run folder (default runs/demo-<time>)')
    parser.add_argument(
        '--port', type=int, default=8765, help='TCP port of the dashboard; 0 takes a free one'
    )
    parser.add_argument('--keep', action='store_true', help='keep the graph running after the report')
    parser.add_argument('--no-person', action='store_true', help='nobody intervenes')
    parser.add_argument('--robot', default='', help='name of a shipped robot or a file (default sim_arm)')
    parser.add_argument(
        '--demonstrations', type=Path, default=Path('runs/demonstrations'), help='their cache'
    )
    parser.add_argument(
        '--demonstration-episodes', type=int, default=60, help='how many to make (default 60)'
    )
    parser.add_argument(
        '--recipe',
        default='flow_edit',
        help='how it learns: a file or a name of recipes/ (default flow_edit)',
    )
    parser.add_argument(
        '--updates-per-episode', type=int, default=50, help='gradient steps per learning episode (default 50)'
    )


def run(args: argparse.Namespace) -> int:
    """Returns 0 when the report is complete, 1 when a process failed, 130 after Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format='[demo] %(message)s', stream=sys.stderr)
    if args.trials < 0 or args.episodes < 0:
        raise ValueError('--trials and --episodes must not be negative')
    if args.robot:
        RobotSpec.load(find_robot(args.robot))  # a wrong one ends here, not when demonstrations are made
    run_dir = (args.run_dir or Path('runs') / time.strftime('demo-%Y%m%d-%H%M%S')).resolve()
    if (run_dir / 'episodes').exists():
        raise ValueError(f'{run_dir} holds an earlier run; choose another --run-dir or remove it')
    with interruptible() as interrupted:
        prepare_environment()
        if args.episodes and not ensure_demonstrations(args, interrupted):
            return 130 if interrupted.is_set() else 1
        port = free_port(args.port)
        if port != args.port:
            print(f'port {args.port} is taken: the dashboard uses {port}', flush=True)
        (run_dir / 'log').mkdir(parents=True, exist_ok=True)
        code = _run_graph(args, run_dir, port, interrupted)
    _farewell(run_dir, code)
    return code


def _run_graph(args: argparse.Namespace, run_dir: Path, port: int, interrupted: threading.Event) -> int:
    plan = load(share('launch', 'sim.launch.yaml'), _launch_arguments(args, run_dir, port))
    print(f'dashboard   http://127.0.0.1:{port}', flush=True)
    print(f'run folder  {run_dir}  (logs of the nodes in log/)', flush=True)
    logs = Logs(run_dir / 'log')
    with contextlib.closing(logs), Supervisor(on_line=logs.line) as supervisor:
        for process in plan.processes:
            supervisor.start(process, process.name)
        rewards = [process.name for process in plan.processes if _executable(process) == 'reward_node']
        supervisor.start(_session_process(args, run_dir, rewards), _SESSION)
        code = _watch(supervisor, interrupted)
        if code == 0 and args.keep:
            print('the graph stays up (--keep); Ctrl-C ends it', flush=True)
            while not interrupted.is_set() and supervisor.labels:
                supervisor.poll(0.5)
    return code


def _watch(supervisor: Supervisor, interrupted: threading.Event) -> int:
    """Until the session ends (its exit code), a process that matters dies (1), or Ctrl-C (130)."""
    while not interrupted.is_set():
        for item in supervisor.poll(0.2):
            if item.label == _SESSION:
                if item.failed:
                    _explain(item)
                return 1 if item.failed else 0
            _explain(item)
            if item.process.required:
                _log.error('%s is required: ending the demo; what was recorded is kept', item.label)
                return 1
    _log.info('interrupted: ending the nodes')
    return 130


def _explain(item: Exit) -> None:
    tail = '\n'.join(f'    {line}' for line in item.last_lines) or '    (no output)'
    _log.error('%s\n%s', item, tail)


def _launch_arguments(args: argparse.Namespace, run_dir: Path, port: int) -> dict[str, str]:
    wanted = {
        'lockstep': 'true',
        'run_dir': str(run_dir),
        'seed': str(args.seed),
        'dashboard_port': str(port),
        'learn': str(args.episodes > 0).lower(),
        'demonstrations': str(args.demonstrations.resolve()),
        'updates_per_episode': str(args.updates_per_episode),
        'recipe': args.recipe,
    }
    if args.robot:
        wanted['robot'] = args.robot
    if args.no_person:
        wanted['person'] = ''
    declared = load(share('launch', 'sim.launch.yaml'), {}, tolerant=True).arguments
    return {name: value for name, value in wanted.items() if name in declared}


def _executable(process: Process) -> str:
    return Path(process.command[0]).name


def _session_process(args: argparse.Namespace, run_dir: Path, rewards: list[str]) -> Process:
    parameters: dict[str, Any] = {
        'trials': args.trials,
        'episodes': args.episodes,
        'seed': args.seed,
        'run_dir': str(run_dir),
        'use_sim_time': True,
        'wait_for_learner_s': 180.0,
        'terminal': os.ttyname(2) if sys.stderr.isatty() else '',
        'reward_nodes': rewards or [''],
    }
    if args.robot:
        parameters['robot'] = args.robot
    command = [*find_executable('apprentice', 'session_node', environment.ament_prefixes()), '--ros-args']
    for name, value in parameters.items():
        command += ['-p', f'{name}:={json.dumps(value)}']
    return Process(_SESSION, tuple(command))


class Logs:
    """Node output: to one file a node, warnings and errors also shown, that of ``shown`` as it is."""

    def __init__(self, folder: Path, shown: str = _SESSION):
        self._folder, self._shown = folder, shown
        self._files: dict[str, TextIO] = {}

    def line(self, label: str, line: str) -> None:
        if label not in self._files:
            self._files[label] = open(self._folder / f'{label}.log', 'a', buffering=1)  # noqa: SIM115
        self._files[label].write(line + '\n')
        if label == self._shown:
            print(line, flush=True)
        elif any(mark in line for mark in _SHOWN):
            print(f'[{label}] {line}', file=sys.stderr, flush=True)

    def close(self) -> None:
        for file in self._files.values():
            file.close()


def prepare_environment() -> None:
    """A ROS domain of our own on this machine only, unless the user chose one."""
    environment.prepare()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    if 'ROS_DOMAIN_ID' not in os.environ:
        start = os.getpid()
        domain = environment.free_domain(1 + (start + offset) % 100 for offset in range(100))
        if domain is None:
            raise OSError('all ROS domains from 1 to 100 are in use on this machine; set ROS_DOMAIN_ID')
        os.environ['ROS_DOMAIN_ID'] = str(domain)


def free_port(port: int) -> int:
    """``port``, or the next free TCP port after it; 0 takes any free one."""
    for candidate in range(port, min(port + 50, 65536)) if port else (0,):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('127.0.0.1', candidate))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise OSError(f'ports {port} to {port + 49} are all taken; choose another with --port')


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """SIGINT, SIGTERM and SIGHUP set the event instead of ending us, however often they come."""
    event = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.signal(number, lambda n, f: event.set()) for number in numbers}
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _farewell(run_dir: Path, code: int) -> None:
    report, episodes = run_dir / 'report', run_dir / 'episodes'
    logs = sorted(episodes.glob('*.mcap'))
    if (report / 'result.json').exists():
        partial = '' if code == 0 else '  (partial)'
        print(f'report      {report / "table.txt"}, result.json{partial}')
    if (report / 'plot.png').exists():
        print(f'plot        {report / "plot.png"}')
    if logs:
        print(f'log         {episodes}  ({len(logs)} episodes as MCAP; opens in Foxglove)')
        print(f'replay      apprentice replay {logs[-1]}')
    if code == 1:
        print(f'node logs   {run_dir / "log"}')
