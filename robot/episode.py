# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The state machine of an episode: reset, wait for the policy, run, end for exactly one reason.

Pure logic. The episode node feeds it what happens (modes of the gate, joint positions, executed
commands, success samples, answers of services) and carries out the call it asks for in ``wanted``.
Duration is measured on the robot's clock; everything that detects something dead counts wall time,
because in lock-step the robot's clock stands still exactly when something is stuck.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

import numpy as np

from apprentice.robot.episode_record import EndCause, EpisodeRecord, EpisodeSettings, Phase
from apprentice.robot.types import ControlMode, Outcome, Source

_LONGEST_TICK = 0.25  # s; a longer gap means that the node itself slept, which is nobody else's silence


class Call(Enum):
    """A service call the machine wants made; the value is (service, request, node that serves it)."""

    ARM = ('gate/arm', True, 'gate')
    RESET = ('gate/reset', True, 'gate')
    WORLD = ('reset_world', None, 'sim_robot')
    RELEASE = ('gate/reset', False, 'gate')
    PAUSE = ('gate/pause', True, 'gate')


class Stage(Enum):
    """The steps inside the phases."""

    NONE = 'nothing'
    GATE = 'the first gate/state (node gate)'
    ARM = 'gate/arm (node gate)'
    RESET = 'gate/reset and mode RESET (node gate)'
    WORLD = 'reset_world (node sim_robot)'
    HOME = 'the arm at home (nodes gate and the robot driver)'
    CONFIRM = 'a person to call episode/start'
    RELEASE = 'gate/reset false (node gate)'
    PLAN = 'a fresh chunk and mode POLICY (node policy)'
    RUN = 'the end of the episode'


_ROUNDING = 1e-4  # rad or m; commands travel as float32
_STOPPED = (ControlMode.HOLD, ControlMode.FAULT, ControlMode.STOP, ControlMode.DISARMED)
_MAKERS = {'gate/state': 'the node gate', 'joint_states': 'the robot (or sim_robot)'}
_STAGE_CALL = {
    Stage.ARM: Call.ARM,
    Stage.RESET: Call.RESET,
    Stage.WORLD: Call.WORLD,
    Stage.RELEASE: Call.RELEASE,
}
_PHASE = {
    Stage.GATE: Phase.RESETTING,
    Stage.ARM: Phase.RESETTING,
    Stage.RESET: Phase.RESETTING,
    Stage.WORLD: Phase.RESETTING,
    Stage.HOME: Phase.RESETTING,
    Stage.CONFIRM: Phase.READY,
    Stage.RELEASE: Phase.READY,
    Stage.PLAN: Phase.READY,
    Stage.RUN: Phase.RUNNING,
}


class EpisodeMachine:
    """One episode after the other. ``start``: posture to begin in, by seed; ``tolerance``: around it; [dim].

    ``wanted`` is the service call to make now (or None); ``outbox`` holds snapshots to publish, in order.
    """

    def __init__(
        self,
        settings: EpisodeSettings,
        session_id: str,
        start: Callable[[int], np.ndarray],
        tolerance: np.ndarray,
        first_index: int = 0,
    ):
        self.settings, self.session_id = settings, session_id
        self._start, self._tolerance = start, np.asarray(tolerance)
        self.index = first_index
        self.record = EpisodeRecord(session_id=session_id)
        self.history: dict[str, EpisodeRecord] = {}
        self.outbox: deque[EpisodeRecord] = deque()
        self.wanted: Call | None = None
        self.stage = Stage.NONE
        self.mode: ControlMode | None = None
        self.reason = ''
        self._max_duration = settings.max_duration_s
        self._since = 0.0
        self._stage_s = self._stopped_s = 0.0
        self._silent = {'gate/state': 0.0, 'joint_states': 0.0, 'gate/executed': 0.0}
        self._refusal = ''
        self._answered = False
        self._home_count = self._success_count = 0
        self._goal = start(0)
        self._arrived = False  # the gate's setpoint, there
        self._pause_after_human = False
        self._last_step = self._heard = float('-inf')
        self._late: list[EpisodeRecord] = []

    # requests

    @property
    def busy(self) -> bool:
        """True from the start of a reset to the end of the episode."""
        return self.stage is not Stage.NONE

    @property
    def all_heard(self) -> bool:
        """Whether every step of an episode that ended has arrived; its end can overtake the last ones."""
        return self._heard >= self.record.ended - 1e-6

    def start(
        self, task: str = '', seed: int = 0, eval_only: bool = False, max_duration_s: float = 0.0
    ) -> tuple[bool, str]:
        """Begin an episode, or confirm that the scene is ready. Returns (accepted, id or reason)."""
        if self.stage is Stage.CONFIRM:
            self._enter(Stage.RELEASE)
            return True, self.record.episode_id
        if self.busy:
            return (
                False,
                f'episode {self.record.episode_id} is {self.record.phase.name}; end or abort it first',
            )
        refusal = self._cannot_start()
        if refusal:
            return False, refusal
        self._max_duration = max_duration_s if max_duration_s > 0 else self.settings.max_duration_s
        self.record = EpisodeRecord(
            session_id=self.session_id,
            episode_id=f'{self.session_id}-{self.index:05d}',
            task=task,
            seed=seed,
            eval_only=eval_only,
        )
        self.index += 1
        self._goal = self._start(seed)
        self.history[self.record.episode_id] = self.record
        self._pause_after_human = False
        self._enter(Stage.GATE)
        return True, self.record.episode_id

    def end(self, success: bool, now: float) -> tuple[bool, str]:
        """A person ends the running episode. Returns (done, message)."""
        if self.stage is not Stage.RUN:
            return False, 'no episode is running; change an earlier one with episode/label'
        outcome = Outcome.SUCCESS if success else Outcome.FAILURE
        self._finish(outcome, EndCause.HUMAN, now, 'ended by a person')
        return True, f'{self.record.episode_id}: {outcome.name}'

    def abort(self, why: str, now: float, cause: EndCause = EndCause.HUMAN) -> tuple[bool, str]:
        """Give the episode up in any phase. Returns (done, message)."""
        if not self.busy:
            return False, 'no episode to abort'
        self._finish(Outcome.ABORT, cause, now, why)
        return True, f'{self.record.episode_id}: aborted'

    def label(self, episode_id: str, outcome: Outcome, now: float) -> tuple[bool, str]:
        """Change the outcome of an episode; of the current one, this ends it. Returns (done, message)."""
        if outcome == Outcome.UNKNOWN:
            return False, 'the outcome must be SUCCESS, FAILURE or ABORT'
        episode_id = episode_id or self.record.episode_id
        record = self.history.get(episode_id)
        if record is None:
            return False, f'no episode {episode_id!r} in this session' if episode_id else 'no episode yet'
        if self.busy and record is self.record:
            if outcome == Outcome.ABORT:
                return self.abort('discarded by a person', now)
            return self.end(outcome == Outcome.SUCCESS, now)
        record.outcome, record.end_cause, record.message = outcome, EndCause.HUMAN, 'labelled by a person'
        if self.busy:
            self._late.append(record)  # published once nothing runs: the topic holds one episode at a time
        else:
            self._publish_label(record)
        return True, f'{episode_id}: {outcome.name}'

    # what happens

    def gate(self, mode: ControlMode, reason: str, since: float, now: float) -> None:
        """A ControlState arrived; ``since`` [s] is when the mode began."""
        self._silent['gate/state'] = 0.0
        self.mode, self.reason, self._since = mode, reason, since
        if mode not in _STOPPED:
            self._stopped_s = 0.0
        if self._pause_after_human and mode != ControlMode.HUMAN:
            self._pause_after_human = False
            if mode in (ControlMode.POLICY, ControlMode.PAUSED):
                self.wanted = Call.PAUSE
        self._progress(now)

    def joints(self, position: np.ndarray, now: float) -> None:
        """A joint state arrived, [dim] in robot file order."""
        self._silent['joint_states'] = 0.0
        at_home = self._arrived and bool(np.all(np.abs(position - self._goal) <= self._tolerance))
        self._home_count = self._home_count + 1 if at_home else 0
        if self.stage is Stage.HOME:
            self._progress(now)

    def executed(
        self, stamp: float, source: Source, takeover_id: int, now: float, target: np.ndarray | None = None
    ) -> None:
        """The gate executed one control step stamped ``stamp`` [s] towards ``target``, [dim]."""
        self._silent['gate/executed'] = 0.0
        self._heard = stamp
        self._arrived = (
            source == Source.RESET
            and target is not None
            and bool(np.all(np.abs(target - self._goal) < _ROUNDING))
        )
        record = self.record
        # lock-step repeats a command when the robot repeats a joint state: the same step, counted once
        if stamp <= self._last_step or stamp < record.started - 1e-6:
            return
        late = record.phase == Phase.ENDED and record.started > 0 and stamp < record.ended - 1e-6
        if self.stage is not Stage.RUN and not late:
            return
        self._last_step = stamp
        record.steps += 1
        if source == Source.HUMAN:
            record.human_steps += 1
            record.takeovers.add(takeover_id)
            self._no_takeover_in_evaluation(stamp)
        self._check_duration(stamp)

    def success(self, stamp: float, done: bool) -> None:
        """The success predicate was evaluated on the frame of ``stamp`` [s]."""
        if self.stage is not Stage.RUN or stamp < self.record.started:
            return
        self._success_count = self._success_count + 1 if done else 0
        if self._success_count >= self.settings.success_samples:
            self._finish(Outcome.SUCCESS, EndCause.PREDICATE, stamp, 'the success predicate holds')

    def answered(self, call: Call, ok: bool, message: str, now: float, task: str = '') -> None:
        """The answer to ``wanted``; a refusal is retried until the limit and then reported."""
        if call is not self.wanted:
            return
        if call is Call.PAUSE:
            self.wanted = None
            return
        if not ok:
            self._refusal = message
            return
        if call is Call.WORLD and task:
            self.record.task = task
        self.wanted = None
        self._answered = True
        self._progress(now)

    def tick(self, wall_dt: float, now: float) -> None:
        """``wall_dt`` seconds of wall time passed; ``now`` is the robot's clock."""
        wall_dt = min(wall_dt, _LONGEST_TICK)
        for topic in self._silent:
            self._silent[topic] += wall_dt
        if not self.busy:
            return
        self._stage_s += wall_dt
        if self.mode in _STOPPED:
            self._stopped_s += wall_dt
        if self.stage is Stage.RUN:
            self._check_running(now)
        else:
            self._check_waiting(now)
        self._progress(now)

    # inside

    def _cannot_start(self) -> str:
        if self.mode in (ControlMode.STOP, ControlMode.FAULT):
            return f'the gate is in {self.mode.name} ({self.reason}); call gate/clear, then start again'
        if self.mode in (ControlMode.DISARMED, ControlMode.HOLD) and not self.settings.auto_arm:
            return f'the gate is in {self.mode.name} ({self.reason}); call gate/arm, then start again'
        return ''

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.wanted = _STAGE_CALL.get(stage)
        self._stage_s = self._stopped_s = 0.0
        self._answered, self._refusal, self._home_count = False, '', 0
        phase = _PHASE[stage]
        if phase != self.record.phase:
            self.record.phase = phase
            if phase != Phase.RUNNING:  # RUNNING is published with its start time
                self.outbox.append(self.record.snapshot())

    def _progress(self, now: float) -> None:
        """Go on to the next stage when this one's condition holds."""
        if self.stage is Stage.GATE and self.mode is not None and self._silent['gate/state'] < 1.0:
            refusal = self._cannot_start()
            if refusal:
                self._finish(Outcome.ABORT, EndCause.SAFETY, now, refusal)
            elif self.mode in (ControlMode.DISARMED, ControlMode.HOLD):
                self._enter(Stage.ARM)
            else:
                self._enter(Stage.RESET)
        if self.stage is Stage.ARM and self._answered and self.mode not in _STOPPED:
            self._enter(Stage.RESET)
        if self.stage is Stage.RESET and self._answered and self.mode == ControlMode.RESET:
            self._enter(Stage.WORLD if self.settings.simulator else Stage.HOME)
        if self.stage is Stage.WORLD and self._answered:
            self._enter(Stage.HOME)
        if (
            self.stage is Stage.HOME
            and self.mode == ControlMode.RESET
            and self._home_count >= self.settings.home_samples
        ):
            self._enter(Stage.RELEASE if self.settings.simulator else Stage.CONFIRM)
        if self.stage is Stage.RELEASE and self._answered:
            self._enter(Stage.PLAN)
        if self.stage is Stage.PLAN and self.mode in (ControlMode.POLICY, ControlMode.HUMAN):
            self._run(now)

    def _run(self, now: float) -> None:
        self._enter(Stage.RUN)
        # the gate's own stamp of the change is the same in every run of a lock-step simulation
        self.record.started = self._since if 0.0 < self._since <= max(now, self._since) else now
        self._last_step = float('-inf')
        self._success_count = 0
        self._silent = dict.fromkeys(self._silent, 0.0)
        self.outbox.append(self.record.snapshot())
        if self.mode == ControlMode.HUMAN:
            self._no_takeover_in_evaluation(now)

    def _no_takeover_in_evaluation(self, now: float) -> None:
        if self.record.eval_only and self.stage is Stage.RUN:
            message = 'a person took over during a held-out trial: only autonomous trials count'
            self._finish(Outcome.FAILURE, EndCause.HUMAN, now, message)

    def _check_duration(self, now: float) -> None:
        if self.stage is Stage.RUN and now - self.record.started >= self._max_duration:
            self._finish(Outcome.FAILURE, EndCause.TIMEOUT, now, f'not done within {self._max_duration:g} s')

    def _check_running(self, now: float) -> None:
        limit = self.settings.silence_s
        # what falls silent together is reported together, whichever message came last
        silent = [t for t in _MAKERS if self._silent[t] >= 0.8 * limit]
        if any(self._silent[topic] >= limit for topic in silent):
            names = ' and '.join(_MAKERS[topic] for topic in silent)
            self._fault(now, f'no {" and ".join(silent)} for {limit:g} s: {names} gone')
        elif self._stopped_s >= self.settings.safety_s and self.mode is not None:
            message = f'the gate is in {self.mode.name}: {self.reason}'
            self._finish(Outcome.FAILURE, EndCause.SAFETY, now, message)
        elif self._silent['gate/executed'] >= 2 * limit:
            # twice the limit: the gate itself waits for the policy up to its own limit and then holds
            self._fault(now, f'the gate is alive but executed nothing for {2 * limit:g} s ({self.reason})')
        elif self.mode == ControlMode.HUMAN:
            self._no_takeover_in_evaluation(now)
        self._check_duration(now)

    def _check_waiting(self, now: float) -> None:
        limits = {Stage.HOME: self.settings.home_limit_s, Stage.PLAN: self.settings.plan_limit_s}
        limit = limits.get(self.stage, self.settings.call_limit_s)
        if self.stage is not Stage.CONFIRM and self._stage_s >= limit:
            detail = f' ({self._refusal})' if self._refusal else ''
            self._fault(now, f'waited {limit:g} s for {self.stage.value}{detail}')
        elif self.stage not in (Stage.GATE, Stage.ARM) and self._stopped_s >= self.settings.safety_s:
            name = self.mode.name if self.mode is not None else ''
            self._finish(Outcome.ABORT, EndCause.SAFETY, now, f'the gate went to {name}: {self.reason}')

    def _fault(self, now: float, message: str) -> None:
        self._finish(Outcome.ABORT, EndCause.FAULT, now, message)

    def _finish(self, outcome: Outcome, cause: EndCause, now: float, message: str) -> None:
        if not self.busy:
            return
        record = self.record
        record.phase, record.outcome, record.end_cause, record.message = Phase.ENDED, outcome, cause, message
        record.ended = max(now, record.started)
        self.stage = Stage.NONE
        # nothing moves between episodes; a person who drives is not interrupted, the policy does not resume
        self.wanted = Call.PAUSE if self.mode in (ControlMode.POLICY, ControlMode.PAUSED) else None
        self._pause_after_human = self.mode == ControlMode.HUMAN
        self.outbox.append(record.snapshot())
        late, self._late = self._late, []
        for labelled in late:
            self._publish_label(labelled)

    def _publish_label(self, record: EpisodeRecord) -> None:
        self.outbox.append(record.snapshot())
        if record is not self.record:
            self.outbox.append(self.record.snapshot())  # the latched state stays that of the last episode
