# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The session node: evaluate, learn, evaluate again on the same held-out starts, report.

The plan is sequential code in a thread of its own; everything that touches ROS runs in the executor's
thread. A report is written after every phase and on every way out, so that Ctrl-C costs nothing recorded.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from apprentice_interfaces.action import RunEpisode
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger
from tqdm import tqdm

from apprentice.learning.report import Report, Trial, table, write
from apprentice.nodes import convert
from apprentice.nodes.robot_file import load_robot
from apprentice.nodes.runtime import StartupError, parameter, run, wall_timer
from apprentice.nodes.session_collector import Collector
from apprentice.robot.episode_record import EndCause
from apprentice.robot.types import Outcome

_ATTEMPTS = 3  # of one episode that was aborted: an abort says something about the graph, not the policy


class Interrupted(Exception):
    """The session was asked to stop."""


class Progress:
    """One phase's progress: a bar on a terminal, else one line an episode."""

    def __init__(self, phase: str, total: int, stream: TextIO):
        self._phase, self._total, self._stream = phase, total, stream
        self._bar = tqdm(total=total, desc=phase, file=stream, unit='episode') if stream.isatty() else None

    def update(self, trials: list[Trial]) -> None:
        done, success = len(trials), sum(t.success for t in trials)
        text = f'success {success}, failure {done - success}'
        helped = sum(t.interventions > 0 for t in trials)
        if helped:
            text += f', with help {helped}'
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(1)
        else:
            last = trials[-1]
            detail = f'{last.outcome.lower()} by {last.end_cause.lower()} after {last.duration_s:.1f} s'
            self._stream.write(f'{self._phase} {done}/{self._total}: {text} (last: {detail})\n')
            self._stream.flush()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class SessionNode(Node):
    """Runs a whole session on a graph that is already there, then ends its process."""

    def __init__(self) -> None:
        super().__init__('session')
        seed = parameter(self, 'seed', 0, 'seed of the session', 0, 1_000_000)
        self._trials = parameter(self, 'trials', 25, 'held-out evaluation episodes, twice', 0, 100_000)
        self._episodes = parameter(self, 'episodes', 30, 'learning episodes', 0, 100_000)
        first = parameter(self, 'eval_seed0', 900_000, 'first held-out start; never learned from', 0, 2**31)
        run_dir = parameter(self, 'run_dir', 'runs/session', 'the report goes to its folder report')
        self._task = parameter(self, 'task', '', 'instruction; empty: each reset chooses')
        self._max_duration_s = self._seconds('max_duration_s', 0.0, "of an episode; 0: the episode node's")
        self._ready_limit_s = self._seconds('ready_limit_s', 180.0, 'of wall time for the graph to be ready')
        self._reward_wait_s = self._seconds('reward_wait_s', 60.0, 'of wall time for the reward models')
        names = parameter(
            self, 'reward_nodes', [''], 'reward nodes that must be active first; empty: one that publishes'
        )
        self._learner_limit_s = self._seconds('wait_for_learner_s', 60.0, 'of wall time for pending updates')
        self._episode_limit_s = self._seconds('episode_limit_s', 300.0, 'of wall time for one episode')
        terminal = parameter(self, 'terminal', '', 'terminal device for progress bars; empty: stderr')
        self._guided = parameter(self, 'guided', False, 'learning episodes begin where guide/state proposes')
        self._eval_seeds = [first + i for i in range(self._trials)]
        self._learn_seeds = [1000 * (seed + 1) + i for i in range(self._episodes)]
        if set(self._eval_seeds) & set(self._learn_seeds):
            raise StartupError('held-out and learning starts overlap; choose another eval_seed0')
        self._stream: TextIO = open(terminal, 'w') if terminal else sys.stderr  # noqa: SIM115 - as long as we are
        self._folder = Path(run_dir) / 'report'
        self.report = Report(session_id=Path(run_dir).name, seed=seed)
        self._spec = load_robot(self)
        self._collector = Collector(self, self._spec)
        self._action = ActionClient(self, RunEpisode, 'episode/run')
        self._learner_pause = self.create_client(SetBool, 'learner/pause')
        self._recorder_flush = self.create_client(Trigger, 'recorder/flush')
        self._rewards = {name: self.create_client(GetState, f'{name}/get_state') for name in names if name}
        self._goal: Any = None
        self._stop = threading.Event()
        self._error: str | None = None
        self._thread = threading.Thread(target=self._main, name='session', daemon=True)
        self._timer = wall_timer(self, 0.1, self._supervise)
        self._started = False

    def _seconds(self, name: str, default: float, description: str) -> float:
        return parameter(self, name, default, f'seconds {description}', 0.0, 1e6)

    # the executor's thread

    def _supervise(self) -> None:
        if not self._started:
            self._started = True
            self._thread.start()
        elif not self._thread.is_alive():
            if self._error:
                raise StartupError(self._error)
            raise ExternalShutdownException  # done: ends the process

    def close(self) -> None:
        """Stop the plan, the running episode, and leave a (partial) report."""
        self._stop.set()
        if self._goal is not None:
            self._goal.cancel_goal_async()  # the episode node pauses the robot
        if self._started:
            self._thread.join(5.0)
        if not self.report.finished:
            self._write()
            if self.report.before or self.report.learning:
                sys.stdout.write('\n' + table(self.report))
                sys.stdout.flush()

    # the plan's thread

    def _main(self) -> None:
        try:
            self._plan()
        except Interrupted:
            pass
        except Exception as error:
            self._error = str(error) if isinstance(error, StartupError) else f'session: {error!r}'

    def _plan(self) -> None:
        self._phase('start', self._wait_ready)
        learns = self._episodes > 0
        if learns:
            self._pause_learner(True)
        self._phase(
            'evaluate before', lambda: self._run('evaluate', self._eval_seeds, self.report.before, True)
        )
        if learns:
            self._pause_learner(False)
            self._phase('learn', lambda: self._run('learn', self._learn_seeds, self.report.learning, False))
            self._phase('wait for learner', self._wait_learner)
            self._pause_learner(True)
            self._phase(
                'evaluate after', lambda: self._run('evaluate', self._eval_seeds, self.report.after, True)
            )
        self.report.finished = True
        paths = self._write()
        sys.stdout.write('\n' + table(self.report) + ''.join(f'{path}\n' for path in paths.values()))
        sys.stdout.flush()

    def _phase(self, name: str, action: Callable[[], None]) -> None:
        wall, robot = time.monotonic(), convert.now(self)
        try:
            action()
        finally:
            self.report.wall_s[name] = time.monotonic() - wall
            # the first phase begins before there is a clock
            self.report.robot_s[name] = convert.now(self) - robot if robot > 0 else 0.0
        if not self._stop.is_set():
            self._write(picture=False)

    def _run(self, name: str, seeds: list[int], trials: list[Trial], eval_only: bool) -> None:
        progress = Progress(name, len(seeds), self._stream)
        try:
            left = list(seeds)
            for _ in seeds:
                proposed = None if eval_only else self._proposed()
                trials.append(self._episode(left.pop(0) if proposed is None else proposed, eval_only))
                progress.update(trials)
                if len(trials) % 5 == 0:
                    self._write(picture=False)
        finally:
            progress.close()

    def _proposed(self) -> int | None:
        """The start to return to, where the node guide proposes one; held-out starts stay held out."""
        guidance = self._collector.guidance
        if not self._guided or guidance is None or not guidance.start_proposed:
            return None
        seed = int(guidance.start_seed)
        return None if seed in self._eval_seeds else seed

    def _episode(self, seed: int, eval_only: bool) -> Trial:
        """One episode that was not aborted. Raises StartupError if none could be run."""
        for _ in range(_ATTEMPTS):
            version = self._collector.active_version
            goal = RunEpisode.Goal(
                task=self._task, seed=seed, eval_only=eval_only, max_duration_s=self._max_duration_s
            )
            send = functools.partial(self._action.send_goal_async, goal)
            handle = self._await(send, 'the node episode', 30.0)
            if not handle.accepted:
                raise StartupError('the node episode refused an episode; its log says why')
            self._goal = handle
            result = self._await(
                handle.get_result_async,
                'the end of the episode',
                self._episode_limit_s,
                self._check_episode_node,
            ).result
            self._goal = None
            if result.outcome != Outcome.ABORT:
                break
            self._note(f'seed {seed} aborted and tried again: {result.message}')
        else:
            raise StartupError(f'{_ATTEMPTS} episodes in a row were aborted; the last: {result.message}')
        return Trial(
            episode_id=result.episode_id,
            seed=seed,
            outcome=Outcome(result.outcome).name,
            end_cause=EndCause(result.end_cause).name,
            duration_s=float(result.duration_s),
            steps=int(result.steps),
            human_steps=int(result.human_steps),
            interventions=int(result.interventions),
            weights_version=version,
            message=result.message,
        )

    def _check_episode_node(self) -> None:
        if not self._action.server_is_ready():
            time.sleep(5.0)
            if not self._action.server_is_ready():
                raise StartupError('the node episode is gone; its log says why')

    def _missing(self) -> list[str]:
        """What the graph still lacks, by node."""
        collector, lacks = self._collector, []
        if not self._action.server_is_ready():
            lacks.append('episode (action episode/run)')
        if collector.gate is None:
            lacks.append('gate (topic gate/state)')
        dark = [name for name, frames in collector.frames.items() if not frames.received]
        if dark:
            lacks.append(f'sim_robot or the camera driver (no frame of {", ".join(dark)})')
        if not collector.policy_seen:
            lacks.append('policy (neither policy/weights_ack nor policy/chunk)')
        if self._episodes:
            if not self._recorder_flush.service_is_ready():
                lacks.append('recorder (service recorder/flush)')
            if not self._learner_pause.service_is_ready():
                lacks.append('learner (service learner/pause)')
        return lacks

    def _wait_ready(self) -> None:
        said = ''
        end = time.monotonic() + self._ready_limit_s
        while lacks := self._missing():
            text = '; '.join(lacks)
            if time.monotonic() > end:
                raise StartupError(
                    f'the graph is not ready after {self._ready_limit_s:g} s. Missing: {text}. '
                    'Look at the logs of these nodes, or raise ready_limit_s on a slow machine'
                )
            if text != said:
                self._stream.write(f'waiting for {text}\n')
                self._stream.flush()
                said = text
            self._sleep(0.3)
        self._wait_rewards()

    def _wait_rewards(self) -> None:
        """Until every reward node acts, or the limit: what is not ready misses the first episode's start."""
        end = time.monotonic() + self._reward_wait_s
        inactive = set(self._rewards)
        told = False
        while True:
            inactive -= {name for name in sorted(inactive) if self._is_active(name, end)}
            if not inactive and (self._rewards or self.count_publishers('reward/sample')):
                break
            if time.monotonic() > end:
                names = ', '.join(sorted(inactive))
                self._note(f'not active: {names}' if names else 'no reward model was running')
                break
            if not told:
                wait = f'at most {self._reward_wait_s:g} s (reward_wait_s:=0 where none runs)'
                self._stream.write(f'waiting for reward models, {wait}\n')
                self._stream.flush()
                told = True
            self._sleep(0.3)

    def _is_active(self, name: str, end: float) -> bool:
        """Whether a lifecycle node is active; one that is configuring answers when it is done."""
        client = self._rewards[name]
        if not client.service_is_ready():
            return False
        try:
            answer = self._await(
                lambda: client.call_async(GetState.Request()), name, max(0.1, end - time.monotonic())
            )
        except StartupError:
            return False
        return answer.current_state.id == State.PRIMARY_STATE_ACTIVE

    def _wait_learner(self) -> None:
        """Until the learner owes nothing and its newest weights act, or the limit."""
        begun = time.monotonic()
        end = begun + self._learner_limit_s
        idle = 0
        seen = 0.0
        while idle < 2:
            self._sleep(0.2)
            if time.monotonic() > end:
                self._note('the learner had updates pending when its time was up')
                break
            status, at = self._collector.status, self._collector.status_at
            # the last episode reaches the learner a moment after its end
            if status is not None and at > max(seen, begun + 2.0):
                seen = at
                idle = (
                    idle + 1 if status.pending_updates == 0 and status.phase in ('waiting', 'paused') else 0
                )
        end = time.monotonic() + 20.0
        while self._collector.active_version < max(self._collector.versions, default=0):
            if time.monotonic() > end:
                self._note('the policy had not acknowledged the newest weights before the last evaluation')
                break
            self._sleep(0.2)

    def _pause_learner(self, paused: bool) -> None:
        request = SetBool.Request(data=paused)
        answer = self._await(lambda: self._learner_pause.call_async(request), 'the node learner', 30.0)
        if not answer.success:
            self._note(f'learner/pause {paused}: {answer.message}')

    # helpers

    def _await(
        self,
        begin: Callable[[], Future],
        what: str,
        limit_s: float,
        check: Callable[[], None] | None = None,
    ) -> Any:
        """The result of a call begun in the executor's thread. Raises StartupError at the limit."""
        done, futures = threading.Event(), []

        def ended(future: Future) -> None:
            futures.append(future)
            done.set()

        executor = self.executor
        if executor is None:
            raise Interrupted  # the node was taken down
        executor.create_task(lambda: begin().add_done_callback(ended))
        end = time.monotonic() + limit_s
        while not done.wait(0.2):
            if self._stop.is_set():
                raise Interrupted
            if time.monotonic() > end:
                raise StartupError(f'waited {limit_s:g} s for {what}: no answer; its log says why')
            if check is not None:
                check()
        return futures[0].result()

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Interrupted

    def _note(self, text: str) -> None:
        self.report.notes.append(text)
        self._stream.write(f'note: {text}\n')
        self._stream.flush()

    def _write(self, picture: bool = True) -> dict[str, Path]:
        self._collector.fill(self.report)
        return write(self.report, self._folder, picture)


def main() -> None:
    run(SessionNode, events=False)  # it ends itself by an exception in a timer


if __name__ == '__main__':
    main()
