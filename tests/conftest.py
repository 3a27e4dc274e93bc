# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Shared by all tests: one ROS domain for each test file, real rclpy, and processes that always end.

The environment is set when this file is imported, before any test can import rclpy or MuJoCo.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
if not os.environ.get('AMENT_PREFIX_PATH'):
    os.environ['AMENT_PREFIX_PATH'] = sys.prefix
os.environ.setdefault('MUJOCO_GL', 'egl')
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('LP_NUM_THREADS', '0')

import torch._dynamo  # noqa: F401 - before any test renders, see learning/weighted_flow.py
from ros_graph import Ros, domains

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A live graph must keep real time, which a busy machine may not give: once more, and it is reported."""
    live = [ROOT / 'tests' / room for room in ('nodes', 'web', 'bench', 'cli')]
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in live):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope='session')
def root() -> Path:
    """The root of the checkout."""
    return ROOT


_domains = domains()


@pytest.fixture(scope='module', autouse=True)
def ros_domain() -> int:
    """A ROS domain that no other test file and nobody else here uses: graphs in one hear each other."""
    domain = next(_domains)
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    return domain


@pytest.fixture
def ros() -> Iterator[Ros]:
    """Initialised rclpy with ``node``, ``spin_until(predicate, timeout)`` and ``call(client, request)``."""
    ros = Ros()
    yield ros
    ros.close()


class NodeProcess:
    """A node in a process of its own, with its output in a file."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]):
        self.log = log
        with log.open('wb') as file:
            self.popen = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )

    def output(self) -> str:
        return self.log.read_text(errors='replace')

    def wait_for(self, text: str, timeout: float = 20.0) -> None:
        """Wait for a text in the output; fails the test with the output if it does not come."""
        end = time.monotonic() + timeout
        while text not in self.output():
            assert self.popen.poll() is None, f'ended with {self.popen.returncode}:\n{self.output()}'
            assert time.monotonic() < end, f'{text!r} did not appear in:\n{self.output()}'
            time.sleep(0.05)

    def stop(self, timeout: float = 10.0) -> int:
        """End it as Ctrl-C would, with SIGKILL after ``timeout``; returns the exit code."""
        for number, patience in ((signal.SIGINT, timeout), (signal.SIGKILL, 5.0)):
            try:
                os.killpg(self.popen.pid, number)
            except ProcessLookupError:
                break
            try:
                self.popen.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
        return self.popen.wait(5.0)


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """``start_node('gate', '-p', 'robot:=...')`` runs ``apprentice.nodes.gate``; all end with the test."""
    started: list[NodeProcess] = []

    def start(node: str, *ros_args: str, environment: dict[str, str] | None = None) -> NodeProcess:
        command = [sys.executable, '-c', f'from apprentice.nodes.{node} import main; main()']
        if ros_args:
            command += ['--ros-args', *ros_args]
        log = tmp_path / f'{node}-{len(started)}.log'
        process = NodeProcess(command, log, {**os.environ, **(environment or {})})
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()
