# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Runs a bench: every contestant in a process of its own, in turns, as often as asked.

A bench is a module of this folder with ``cases(args) -> list[Case]`` and, for options of its own,
``add_arguments(parser)``; ``apprentice bench sim-state`` finds ``sim_state.py``. Contestants of a case take
turns (A, B, A, B), so that a machine that slows down slows all of them; a ratio is the median of the ratios
of the rounds. One that fails is a row that says why.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from apprentice.bench import environments
from apprentice.bench.environments import PeerError

LIMIT, SHIPPED, TUNED, OURS = 'limit', 'peer as shipped', 'peer, our settings', 'ours'
_START = 'from apprentice.bench.measure import main; main()'


@dataclass(frozen=True)
class Contestant:
    """One row of a case.

    Attributes:
        kind: LIMIT (nothing can be faster), SHIPPED, TUNED or OURS.
        function: ``package.module:name`` of what measures it here, see :mod:`.measure`; or
        peer: the peer whose script measures it in its own environment.
        script: of ``peers``, where it is not the one named like the peer.
        parameters: given to either.
        environment: variables to set, e.g. LP_NUM_THREADS, before any library is loaded.
        part: contestants that differ in nothing else but name and kind share one process in every round;
            its answer holds the numbers of each under ``parts``. For those that start slowly and take turns
            there.
    """

    name: str
    kind: str
    function: str = ''
    peer: str = ''
    script: str = ''
    parameters: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    part: str = ''


@dataclass(frozen=True)
class Ratio:
    """Ours over a peer, by the names of their rows; ``target`` is what we want to reach."""

    ours: str
    peer: str
    target: float | None = None


@dataclass(frozen=True)
class Case:
    """Contestants that do the same work.

    Attributes:
        unit: of the measured value, e.g. ``frames/s``.
        lower_is_better: for times; a ratio is then the peer's value over ours.
        exact: what is measured is no time and repeats exactly: one round is enough.
    """

    title: str
    unit: str
    contestants: Sequence[Contestant]
    ratios: Sequence[Ratio] = ()
    lower_is_better: bool = False
    note: str = ''
    exact: bool = False


@dataclass
class Row:
    """What the rounds of one contestant gave; ``error`` if it did not run.

    ``also`` holds the median of each further column, ``also_rounds`` its values.
    """

    name: str
    kind: str
    values: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    counts: list[float] = field(default_factory=list)
    also: dict[str, float] = field(default_factory=dict)
    also_rounds: dict[str, list[float]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    error: str = ''

    @property
    def value(self) -> float | None:
        """Median of the rounds."""
        return None if self.error or not self.values else statistics.median(self.values)

    def add(self, measured: dict[str, Any]) -> None:
        self.values.append(float(measured['value']))
        self.cpu_s.append(float(measured['cpu_s']))
        self.counts.append(float(measured['count']))
        for name, value in measured.get('also', {}).items():
            self.also_rounds.setdefault(name, []).append(value)
        self.also = {name: statistics.median(values) for name, values in self.also_rounds.items()}
        self.versions = dict(measured.get('versions', {}))

    def result(self) -> dict[str, Any]:
        """For the JSON line; CPU seconds of all rounds, and of a thousand units."""
        cpu, count = sum(self.cpu_s), sum(self.counts)
        return {
            **asdict(self),
            'value': self.value,
            'cpu_s': cpu,
            'cpu_s_per_1000': 1000 * cpu / count if count else None,
        }


def run_case(
    case: Case,
    repeats: int,
    say: Callable[[str], object],
    peers: bool = True,
    limit_s: float = 600.0,
) -> dict[str, Any]:
    """Measure a case; its part of the JSON line.

    Args:
        say: told what is being done, a line at a time.
        peers: False leaves out contestants that need an environment of their own.
        limit_s: a contestant that takes longer in one round has failed.
    """
    rows = [Row(contestant.name, contestant.kind) for contestant in case.contestants]
    prepared: dict[str, str] = {}
    for row, contestant in zip(rows, case.contestants, strict=True):
        if not contestant.peer:
            continue
        if not peers:
            row.error = 'left out (--no-peers)'
            continue
        try:
            prepared[contestant.peer] = str(environments.prepare(contestant.peer, say))
        except (PeerError, OSError) as error:
            row.error = str(error)
    repeats = 1 if case.exact else repeats
    for turn in range(repeats):
        answers: dict[str, dict[str, Any]] = {}
        for row, contestant in zip(rows, case.contestants, strict=True):
            if row.error:
                continue
            python = prepared.get(contestant.peer, sys.executable)
            try:
                row.add(_measured(contestant, python, limit_s, answers))
            except (PeerError, OSError, ValueError, KeyError, TypeError) as error:
                row.error = str(error)
            shown = row.error if row.error else f'{row.values[-1]:.4g} {case.unit}'
            say(f'{case.title}, {turn + 1} of {repeats}: {row.name}: {shown}')
    return {
        'case': case.title,
        'unit': case.unit,
        'note': '; '.join(part for part in (case.note, 'one round: it repeats exactly' * case.exact) if part),
        'rows': [row.result() for row in rows],
        'ratios': [_ratio(case, ratio, {row.name: row for row in rows}) for ratio in case.ratios],
    }


def _ratio(case: Case, ratio: Ratio, rows: dict[str, Row]) -> dict[str, Any]:
    ours, peer = rows[ratio.ours], rows[ratio.peer]
    result: dict[str, Any] = {**asdict(ratio), 'ratio': None, 'low': None, 'high': None, 'met': None}
    if ours.value is None or peer.value is None:
        return result
    pairs = zip(ours.values, peer.values, strict=True)
    found = [b / a if case.lower_is_better else a / b for a, b in pairs]
    result |= {'ratio': statistics.median(found), 'low': min(found), 'high': max(found)}
    result['met'] = None if ratio.target is None else result['ratio'] >= ratio.target
    return result


def _measured(
    contestant: Contestant, python: str, limit_s: float, answers: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """A round of a contestant, or its part of ``answers`` that one process gave to several."""
    if not contestant.part:
        return measure(contestant, python, limit_s)
    same = json.dumps({**asdict(contestant), 'name': '', 'kind': '', 'part': ''}, sort_keys=True)
    if same not in answers:
        answers[same] = measure(contestant, python, limit_s)
    return answers[same]['parts'][contestant.part]


def measure(contestant: Contestant, python: str, limit_s: float) -> dict[str, Any]:
    """One round of one contestant. Raises PeerError if it fails, takes too long or prints no number."""
    parameters = json.dumps(contestant.parameters)
    if contestant.peer:
        # -I: neither our PYTHONPATH nor the script's own folder, whose files are named like the peers
        script = environments.PEERS / f'{contestant.script or contestant.peer}.py'
        command = [python, '-I', str(script), parameters]
        variables = environments.peer_environment(environments.location(contestant.peer))
        variables['MUJOCO_GL'] = os.environ.get('MUJOCO_GL', 'egl')
    else:
        command = [python, '-c', _START, contestant.function, parameters]
        variables = {'MUJOCO_GL': 'egl', **os.environ}
    variables |= contestant.environment
    with tempfile.TemporaryDirectory() as folder:  # for the logs that libraries leave where they run
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=variables,
            cwd=folder,
            start_new_session=True,
        )
        try:
            out, complaints = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise PeerError(f'did not end within {limit_s:g} s') from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # with the processes it started
                process.communicate()
    answer = next((line for line in reversed(out.splitlines()) if line.startswith('{')), '')
    if process.returncode or not answer:
        last = [line.strip() for line in complaints.splitlines() if line.strip()][-1:] or ['no reason given']
        raise PeerError(f'ended with code {process.returncode}: {last[0][:300]}')
    return json.loads(answer)
