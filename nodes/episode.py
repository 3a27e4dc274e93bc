# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The episode node: resets, starts, ends and labels episodes, and says which one is running."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
from apprentice_interfaces.action import RunEpisode
from apprentice_interfaces.msg import ControlState, EpisodeState, ExecutedCommand, RewardSample
from apprentice_interfaces.srv import LabelEpisode, ResetWorld, StartEpisode
from rclpy.action import ActionServer, CancelResponse
from rclpy.task import Future
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from apprentice.episodes.audits import FILE as AUDITS
from apprentice.episodes.audits import AuditFile, stop_reason
from apprentice.nodes import convert, qos
from apprentice.nodes.robot_file import load_simulated, task_duration
from apprentice.nodes.runtime import Diagnostics, ManagedNode, StartupError, parameter, run, wall_timer
from apprentice.robot.episode import Call, EpisodeMachine
from apprentice.robot.episode_record import EndCause, EpisodeRecord, EpisodeSettings, Phase
from apprentice.robot.types import ControlMode, Outcome, Source

_TICK_S = 0.05
_RETRY_S = 0.5  # wall seconds between attempts at a call that was refused
_ANSWER_S = 5.0  # wall seconds after which an unanswered call is sent again (its server restarted)
_STATE_S = 0.05  # wall seconds between states: the latched topic is one deep, a faster one would overwrite
_STEPS_S = 0.5  # wall seconds for the last steps of an episode to arrive, should the gate be gone
_INDEX = re.compile(r'-(\d{5,})\.mcap(\.part)?$')


def next_index(run_dir: str) -> int:
    """The first episode index that no log in ``run_dir``/episodes uses."""
    if not run_dir:
        return 0
    matches = (_INDEX.search(path.name) for path in (Path(run_dir) / 'episodes').glob('*.mcap*'))
    return max((int(match[1]) + 1 for match in matches if match), default=0)


class EpisodeNode(ManagedNode):
    """Runs :class:`EpisodeMachine` on the graph; see docs/architecture.md for its place there."""

    def __init__(self) -> None:
        super().__init__('episode')
        session_id = parameter(self, 'session_id', '', 'prefix of episode ids; empty: the time of the start')
        self._run_dir = parameter(self, 'run_dir', '', 'run folder whose episode numbers are continued')
        self._success_topic = parameter(self, 'success_topic', '', 'RewardSample whose done ends an episode')
        reset = parameter(self, 'reset', 'simulator', "'simulator': by service; 'none': a person confirms")
        reset_service = parameter(self, 'reset_service', 'reset_world', 'service that resets the world')
        tolerance = parameter(self, 'home_tolerance', 0.05, 'rad around where a reset ends', 0.001, 1.0)
        gripper_tolerance = parameter(self, 'gripper_tolerance', 0.005, 'm, the same', 0.0001, 0.1)
        if reset not in ('simulator', 'none'):
            raise StartupError(f"parameter reset is {reset!r}; use 'simulator' or 'none'")
        self._spec = load_simulated(self)
        default = EpisodeSettings()
        self._settings = EpisodeSettings(
            simulator=reset == 'simulator' and bool(reset_service),
            auto_arm=parameter(self, 'auto_arm', False, 'arm a disarmed or holding gate; simulation only'),
            max_duration_s=self._duration(default.max_duration_s),
            success_samples=parameter(
                self, 'success_samples', default.success_samples, 'consecutive done samples', 1, 1000
            ),
            call_limit_s=self._limit(
                'call_limit_s', default.call_limit_s, 'for a service to appear and agree'
            ),
            home_limit_s=self._limit('home_limit_s', default.home_limit_s, 'for a reset'),
            plan_limit_s=self._limit('plan_limit_s', default.plan_limit_s, 'for the policy to plan'),
            silence_s=self._limit('silence_s', default.silence_s, 'until a silent gate or robot is gone'),
            safety_s=self._limit('safety_s', default.safety_s, 'in HOLD, FAULT or STOP until the end'),
        )
        self._reset_service = reset_service
        self._session_id = session_id or time.strftime('%Y%m%d-%H%M%S')
        self._tolerance = np.where(self._spec.gripper_mask, gripper_tolerance, tolerance)
        self.machine = self._new_machine()
        self._action: ActionServer | None = None

    def _limit(self, name: str, default: float, description: str) -> float:
        return parameter(self, name, default, f'seconds {description}', 0.05, 3600.0)

    def _duration(self, default: float) -> float:
        about = "seconds on the robot's clock, then FAILURE; 0: those of the simulated task"
        return parameter(self, 'max_duration_s', default, about, 0.0, 3600.0) or (
            task_duration(self._spec) or default
        )

    def _new_machine(self) -> EpisodeMachine:
        first = next_index(self._run_dir)
        start = self._spec.start_posture
        return EpisodeMachine(self._settings, self._session_id, start, self._tolerance, first)

    # lifecycle

    def configure(self) -> None:
        self.machine = self._new_machine()
        self._sent: tuple[str, Call] | None = None
        self._sent_at = 0.0
        self._retry_at = 0.0
        self._last_tick = time.monotonic()
        self._published_at = 0.0
        self._progress = float('nan')
        self._not_automatic = ''  # why a success must be said by a person
        self._waiting: Future | None = None
        self._publisher = self.create_publisher(EpisodeState, 'episode/state', qos.STATE)
        self._bool_clients = {
            n: self.create_client(SetBool, n) for n in ('gate/arm', 'gate/reset', 'gate/pause')
        }
        self._world_client = self.create_client(ResetWorld, self._reset_service or 'reset_world')
        self.create_subscription(ControlState, 'gate/state', self._on_gate, qos.STATE)
        self.create_subscription(ExecutedCommand, 'gate/executed', self._on_executed, qos.LOG)
        self.create_subscription(JointState, self._spec.joint_states_topic, self._on_joints, qos.SENSOR)
        if self._success_topic:
            self.create_subscription(RewardSample, self._success_topic, self._on_success, qos.LOG)
        self.create_service(StartEpisode, 'episode/start', self._on_start)
        self.create_service(SetBool, 'episode/end', self._on_end)
        self.create_service(Trigger, 'episode/abort', self._on_abort)
        self.create_service(LabelEpisode, 'episode/label', self._on_label)
        self._action = ActionServer(
            self,
            RunEpisode,
            'episode/run',
            self._execute,
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
        )
        wall_timer(self, _TICK_S, self._on_tick)
        Diagnostics(self, self._report)

    def activate(self) -> None:
        self._publish(self.machine.record)

    def deactivate(self) -> None:
        if self.machine.busy:
            self.machine.abort('the episode node was deactivated', convert.now(self), EndCause.FAULT)
            self._publish(self.machine.record)
            # not waited for: this thread is the one that would receive the answer
            self._bool_clients['gate/pause'].call_async(SetBool.Request(data=True))

    def cleanup(self) -> None:
        if self._action is not None:  # the base class knows no actions
            self._action.destroy()
            self._action = None

    def close(self) -> None:
        """Leave the robot paused and the episode ended, also when the process is interrupted."""
        if self.active:
            self.deactivate()

    # what happens on the graph

    def _on_gate(self, message: ControlState) -> None:
        since = convert.seconds(message.since)
        self.machine.gate(ControlMode(message.mode), message.reason, since, convert.now(self))
        self._flush()

    def _on_executed(self, message: ExecutedCommand) -> None:
        stamp, source = convert.seconds(message.header.stamp), Source(message.source)
        target = np.asarray(message.executed, np.float64) if len(message.executed) == self._spec.dim else None
        self.machine.executed(stamp, source, message.takeover_id, convert.now(self), target)
        self._flush()

    def _on_joints(self, message: JointState) -> None:
        try:
            position = convert.joint_vector(message, self._spec.joint_names)
        except convert.MessageError as error:
            self.get_logger().warning(f'joint_states ignored: {error}', throttle_duration_sec=5.0)
            return
        self.machine.joints(position, convert.now(self))
        self._flush()

    def _on_success(self, message: RewardSample) -> None:
        if message.valid:
            self._progress = float(message.value)
            done = message.done and not self._not_automatic
            self.machine.success(convert.seconds(message.header.stamp), done)
            self._flush()

    def _on_tick(self) -> None:
        wall = time.monotonic()
        self.machine.tick(wall - self._last_tick, convert.now(self))
        self._last_tick = wall
        self._flush()
        running = self.machine.record.phase == Phase.RUNNING
        if running and not self.machine.outbox and wall - self._published_at >= 0.2:
            self._publish(self.machine.record)

    # services and the action

    def _audited(self) -> str:
        """Why people's audits forbid to take a success without a person; empty: they do not."""
        if not self._run_dir:
            return ''
        try:
            return stop_reason(AuditFile(Path(self._run_dir) / 'episodes' / AUDITS).read())
        except (OSError, ValueError) as error:
            return f'audits cannot be read: {error}'

    def _inactive(self) -> str:
        return '' if self.active else 'the episode node is not active; activate it first'

    def _on_start(self, request: StartEpisode.Request, response: StartEpisode.Response):
        response.accepted, text = self._begin(request)
        response.message, response.episode_id = ('', text) if response.accepted else (text, '')
        return response

    def _begin(self, request) -> tuple[bool, str]:
        if not self.active:
            return False, self._inactive()
        if not np.isfinite(request.max_duration_s) or request.max_duration_s < 0:
            return False, f'max_duration_s is {request.max_duration_s}; use seconds, or 0 for the default'
        self._not_automatic = self._audited()
        if self._not_automatic:
            self.get_logger().warning(f'no automatic success: {self._not_automatic}')
        accepted, text = self.machine.start(
            request.task, request.seed, request.eval_only, request.max_duration_s
        )
        self._flush()
        return accepted, text

    def _on_end(self, request: SetBool.Request, response: SetBool.Response):
        response.success, response.message = self.machine.end(request.data, convert.now(self))
        self._flush()
        return response

    def _on_abort(self, request: Trigger.Request, response: Trigger.Response):
        response.success, response.message = self.machine.abort('aborted by a person', convert.now(self))
        self._flush()
        return response

    def _on_label(self, request: LabelEpisode.Request, response: LabelEpisode.Response):
        try:
            outcome = Outcome(request.outcome)
        except ValueError:
            response.success, response.message = False, f'{request.outcome} is no outcome of EpisodeState'
            return response
        self._recall(request.episode_id)
        response.success, response.message = self.machine.label(
            request.episode_id, outcome, convert.now(self)
        )
        if response.success:
            self.get_logger().info(f'label by {request.annotator or "unnamed"}: {response.message}')
        self._flush()
        return response

    def _recall(self, episode_id: str) -> None:
        """Make an episode of an earlier process known, so that it can still be labelled."""
        known = self.machine.history
        if not self._run_dir or episode_id in known or not re.fullmatch(r'\w[\w.-]*', episode_id):
            return
        if (Path(self._run_dir) / 'episodes' / f'{episode_id}.mcap').exists():
            session_id = episode_id.rpartition('-')[0]
            known[episode_id] = EpisodeRecord(session_id, episode_id, phase=Phase.ENDED)

    async def _execute(self, goal) -> RunEpisode.Result:
        # a coroutine: the executor goes on serving everything else while the episode runs
        accepted, text = self._begin(goal.request)
        if not accepted:
            goal.abort()
            return RunEpisode.Result(outcome=EpisodeState.ABORT, message=text)
        record = self.machine.record
        self._waiting = Future(executor=self.executor)
        feedback = wall_timer(self, 0.2, lambda: self._feedback(goal, record))
        try:
            await self._waiting
        finally:
            self.destroy_timer(feedback)
        if goal.is_cancel_requested:
            goal.canceled()
        elif record.outcome == Outcome.ABORT:
            goal.abort()
        else:
            goal.succeed()
        return RunEpisode.Result(
            outcome=int(record.outcome),
            end_cause=int(record.end_cause),
            episode_id=record.episode_id,
            message=record.message,
            duration_s=max(0.0, record.ended - record.started) if record.started else 0.0,
            steps=record.steps,
            human_steps=record.human_steps,
            interventions=len(record.takeovers),
        )

    def _feedback(self, goal, record: EpisodeRecord) -> None:
        if goal.is_cancel_requested and record is self.machine.record:
            self.machine.abort('cancelled', convert.now(self))
            self._flush()
            return
        elapsed = max(0.0, convert.now(self) - record.started) if record.started else 0.0
        goal.publish_feedback(
            RunEpisode.Feedback(phase=int(record.phase), elapsed_s=elapsed, progress=self._progress)
        )

    # carrying out what the machine wants

    def _flush(self) -> None:
        """Publish what changed and send the call the machine wants."""
        outbox = self.machine.outbox
        if outbox and time.monotonic() - self._published_at >= _STATE_S:
            self._publish(outbox[0])
            self._log(outbox.popleft())
        through = not self.machine.busy and not outbox
        heard = self.machine.all_heard or time.monotonic() - self._published_at >= _STEPS_S
        if self._waiting is not None and not self._waiting.done() and through and heard:
            self._progress = float('nan')
            self._waiting.set_result(None)
        self._call()

    def _call(self) -> None:
        call, wall = self.machine.wanted, time.monotonic()
        if call is None:
            return
        key = (self.machine.record.episode_id, call)
        if self._sent == key and wall - self._sent_at < _ANSWER_S:
            return
        name, data, _ = call.value
        client = self._world_client if call is Call.WORLD else self._bool_clients[name]
        if wall < self._retry_at or not client.service_is_ready():
            return
        if call is Call.WORLD:
            request = ResetWorld.Request(seed=self.machine.record.seed, task=self.machine.record.task)
        else:
            request = SetBool.Request(data=data)
        self._sent, self._sent_at = key, wall
        client.call_async(request).add_done_callback(lambda future: self._on_answer(key, future))

    def _on_answer(self, key: tuple[str, Call], future: Future) -> None:
        if self._sent != key:
            return  # the answer to a call of an episode that is over
        self._sent = None
        if future.cancelled() or future.exception() is not None:
            return
        answer = future.result()
        if not answer.success:
            self._retry_at = time.monotonic() + _RETRY_S
            self.get_logger().info(f'{key[1].value[0]}: {answer.message}', throttle_duration_sec=2.0)
        task = getattr(answer, 'task', '')
        self.machine.answered(key[1], answer.success, answer.message, convert.now(self), task)
        self._flush()

    def _publish(self, record: EpisodeRecord) -> None:
        clock = convert.now(self)
        end = record.ended or clock
        message = EpisodeState(
            session_id=record.session_id,
            episode_id=record.episode_id,
            task=record.task,
            seed=record.seed,
            phase=int(record.phase),
            outcome=int(record.outcome),
            end_cause=int(record.end_cause),
            step=record.steps,
            elapsed_s=max(0.0, end - record.started) if record.started else 0.0,
            intervention_ratio=record.intervention_ratio,
            eval_only=record.eval_only,
            started=convert.stamp_of(record.started),
            ended=convert.stamp_of(record.ended),
        )
        message.header.stamp = convert.stamp_of(clock)
        self._publisher.publish(message)
        self._published_at = time.monotonic()

    def _log(self, record: EpisodeRecord) -> None:
        if record.phase != Phase.ENDED:
            return
        text = f'{record.episode_id}: {record.outcome.name} by {record.end_cause.name}, {record.message}'
        if record.outcome == Outcome.ABORT:
            self.get_logger().warning(text)
        else:
            self.get_logger().info(text)

    def _report(self):
        record = self.machine.record
        level = Diagnostics.WARN if record.outcome == Outcome.ABORT else Diagnostics.OK
        text = record.message or record.phase.name
        return level, text, {'episode': record.episode_id, 'phase': record.phase.name, 'steps': record.steps}


def main() -> None:
    run(EpisodeNode, events=False)  # its action waits as a coroutine


if __name__ == '__main__':
    main()
