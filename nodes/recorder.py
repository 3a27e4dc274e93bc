# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The recorder: every message of an episode, as raw bytes, into one crash-safe MCAP file an episode.

Messages are never decoded on their way to the file, apart from the few that say when an episode begins,
ends and is complete. The disk is touched by background threads only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apprentice_interfaces.msg import EpisodeState, RewardSample
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from std_msgs.msg import String
from std_srvs.srv import Trigger

from apprentice.episodes.background import BackgroundWriter
from apprentice.episodes.files import EpisodeFileError, LogWriteError, file_stem
from apprentice.episodes.labels import write_label
from apprentice.episodes.log_reader import LogReader
from apprentice.episodes.log_writer import LogWriter
from apprentice.episodes.messages import header_stamp
from apprentice.nodes import runtime
from apprentice.nodes.recorded_topics import RecordedTopic, message_type, profile, recorded_topics
from apprentice.nodes.robot_file import robot_path
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome

_AFTER_THE_END = (
    'episode/state',
    'reward/sample',
    'reward/health',
    'learner/weights',
    'policy/weights_ack',
)
_REWARD_MARGIN_NS = 600_000_000  # a reward this close to the end is the last one of its model
_DISK_LOG_S = 5.0


def _ns(stamp: Any) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def _any_topic(name: str, type_name: str) -> RecordedTopic:
    return RecordedTopic(name, message_type(type_name), profile(False, False, 100), lasting=True)


@dataclass
class _Episode:
    """The episode being recorded."""

    state: EpisodeState
    writer: LogWriter
    begin: int
    outcome: int = 0
    ended: int = 0  # stamp of the end [ns]
    deadline: float = float('inf')  # of lingering, monotonic
    rewards: dict[str, int] = field(default_factory=dict)  # model -> t1 of its newest valid sample [ns]


class Recorder(Node):
    """Records episodes into ``<run_dir>/episodes``; see the module docstring."""

    def __init__(self) -> None:
        super().__init__('recorder')
        run_dir = runtime.parameter(
            self, 'run_dir', 'runs/default', 'run folder; episodes go to its episodes/'
        )
        extra = runtime.parameter(
            self, 'extra_topics', [''], 'more topics to record, each name or name:package/msg/Name'
        )
        self._linger_s = runtime.parameter(
            self, 'linger_s', 2.0, 'longest wall time to wait for late rewards after the end [s]', 0.0, 60.0
        )
        min_free = runtime.parameter(
            self, 'min_free_mb', 500.0, 'alarm when the disk has less free space [MB]', 0.0, 1e7
        )
        path = robot_path(self)
        self._spec = RobotSpec.load(path)
        self._metadata = {
            'robot': self._spec.name,
            'robot_file': path.read_text(),
            'namespace': self.get_namespace(),
        }
        lockstep = runtime.simulated_time(self)
        self._topics = recorded_topics(self._spec, lockstep)
        # topics of any type: those without one are looked for on the graph
        self._undiscovered = ['sim/object_poses']
        for entry in filter(None, extra):
            name, _, type_name = entry.partition(':')
            if type_name:
                self._topics.append(_any_topic(name, type_name))
            else:
                self._undiscovered.append(name)
        self._background = BackgroundWriter(Path(run_dir).expanduser() / 'episodes', min_free)
        self._episode: _Episode | None = None
        self._outcomes: dict[str, tuple[Path, int]] = {}  # episode id -> file, outcome recorded or labelled
        self._disk_logged = 0.0
        # latched and deep: a learner that starts later hears of the episodes before it
        self._sealed_publisher = self.create_publisher(String, 'recorder/sealed', profile(True, True, 50))
        self.create_service(Trigger, 'recorder/flush', self._flush)
        for topic in self._topics:
            self._subscribe(topic)
        self._timers = [
            runtime.wall_timer(self, 0.05, self._tick),
            runtime.wall_timer(self, 1.0, self._discover),
        ]
        self._diagnostics = runtime.Diagnostics(self, self._report, self._spec.name)
        self.get_logger().info(f'recording {self._spec.name} into {self._background.folder}')

    def close(self) -> None:
        """Seal what is open; what cannot be sealed stays a part file and is sealed at the next start."""
        self._finish()
        for error in self._background.close():
            self.get_logger().error(error)
        self._announce()

    def _subscribe(self, topic: RecordedTopic) -> None:
        topic.resolved = self.resolve_topic_name(topic.name)
        special = {'episode/state': self._on_state, 'reward/sample': self._on_reward}.get(topic.name)

        def receive(data: bytes) -> None:
            self._receive(topic, data)
            if special is not None:
                special(topic, data)

        self.create_subscription(topic.message, topic.name, receive, topic.qos, raw=True)

    def _discover(self) -> None:
        """Subscribe to topics whose type became known."""
        if not self._undiscovered:
            return
        types = dict(self.get_topic_names_and_types())
        for name in list(self._undiscovered):
            found = types.get(self.resolve_topic_name(name))
            if not found:
                continue
            self._undiscovered.remove(name)
            try:
                topic = _any_topic(name, found[0])
            except (runtime.StartupError, ValueError) as error:
                self.get_logger().warning(f'{name} is not recorded: {error}')
                continue
            self._topics.append(topic)
            self._subscribe(topic)
            if self._episode is not None:
                self._declare(topic, self._episode.writer)

    def _declare(self, topic: RecordedTopic, writer: LogWriter) -> None:
        writer.add_topic(topic.resolved, topic.type_name, topic.name.lstrip('/'), topic.qos_text)
        topic.begin()

    def _receive(self, topic: RecordedTopic, data: bytes) -> None:
        stamp = header_stamp(topic.type_name, data) or self.get_clock().now().nanoseconds
        topic.remember(stamp, data)
        episode = self._episode
        if episode is None:
            return
        # after its end only what is about the episode belongs to it, not what the robot does next
        if not episode.ended or stamp <= episode.ended or topic.name in _AFTER_THE_END:
            self._write(topic, stamp, data)

    def _write(self, topic: RecordedTopic, stamp: int, data: bytes) -> None:
        episode = self._episode
        assert episode is not None
        topic.counted(stamp)
        # what was latched long before still belongs to the start of the file
        episode.writer.write(topic.resolved, data, max(stamp, episode.begin), stamp)

    def _on_state(self, topic: RecordedTopic, data: bytes) -> None:
        state = deserialize_message(data, EpisodeState)
        episode = self._episode
        if state.phase == EpisodeState.RUNNING:
            if state.episode_id and (episode is None or episode.state.episode_id != state.episode_id):
                if state.episode_id in self._outcomes:
                    return  # a late copy of an episode that is over
                self._finish()
                self._start(state)
        elif episode is not None and episode.state.episode_id == state.episode_id:
            if state.phase == EpisodeState.ENDED or state.outcome != EpisodeState.UNKNOWN:
                episode.outcome = state.outcome
                if not episode.ended:
                    episode.ended = _ns(state.ended) or _ns(state.header.stamp)
                    episode.deadline = time.monotonic() + self._linger_s
            elif not episode.ended:
                self._finish()  # the episode node started over without ending it
        elif episode is not None and not episode.ended:
            self._finish()
        elif state.phase == EpisodeState.ENDED:
            self._relabel(state)

    def _start(self, state: EpisodeState) -> None:
        started = _ns(state.started) or _ns(state.header.stamp)
        begin = started - round(self._spec.action_dt * 1e9)
        metadata = {**self._metadata, 'session_id': state.session_id}
        writer = self._background.open(state.episode_id, metadata)
        self._episode = _Episode(state, writer, begin)
        kept: list[tuple[int, bytes, RecordedTopic]] = []
        for topic in self._topics:
            self._declare(topic, writer)
            kept += [(stamp, data, topic) for stamp, data in topic.since(begin)]
        for stamp, data, topic in sorted(kept, key=lambda entry: entry[0]):
            self._write(topic, stamp, data)

    def _on_reward(self, topic: RecordedTopic, data: bytes) -> None:
        episode = self._episode
        if episode is None:
            return
        sample = deserialize_message(data, RewardSample)
        if sample.episode_id in ('', episode.state.episode_id) and sample.valid:
            episode.rewards[sample.model] = max(_ns(sample.t1), episode.rewards.get(sample.model, 0))

    def _complete(self, episode: _Episode) -> bool:
        """Whether every reward model that spoke in this episode has scored its end."""
        enough = episode.ended - _REWARD_MARGIN_NS
        return bool(episode.rewards) and all(t1 >= enough for t1 in episode.rewards.values())

    def _tick(self) -> None:
        episode = self._episode
        if episode is not None and episode.ended:
            over = time.monotonic() >= episode.deadline
            if over or self._complete(episode):
                self._finish()
        self._announce()
        problems = list(self._background.errors.values())
        if problems and time.monotonic() - self._disk_logged > _DISK_LOG_S:
            self._disk_logged = time.monotonic()
            self.get_logger().error(problems[0])

    def _finish(self) -> None:
        episode, self._episode = self._episode, None
        if episode is not None:
            outcome = episode.outcome if episode.ended else EpisodeState.ABORT
            self._outcomes[episode.state.episode_id] = (episode.writer.sealed, outcome)
            self._background.finish(episode.writer)

    def _announce(self) -> None:
        while self._background.sealed:
            sealed = self._background.sealed.popleft()
            self._sealed_publisher.publish(String(data=str(sealed.path.absolute())))
            what = 'recovered' if sealed.recovered else f'sealed ({sealed.messages} messages)'
            self.get_logger().info(f'{sealed.path} {what}')

    def _relabel(self, state: EpisodeState) -> None:
        """An episode that is already sealed ended differently than recorded: keep that beside the file."""
        known = self._outcomes.get(state.episode_id)
        if known is None:
            known = self._earlier(state.episode_id)
        if known is None or known[1] == state.outcome:
            return
        try:
            write_label(known[0], Outcome(state.outcome), 'episode/state')
        except (OSError, ValueError) as error:
            self.get_logger().error(f'label of {state.episode_id} cannot be written: {error}; label it again')
            return
        self._outcomes[state.episode_id] = (known[0], state.outcome)
        self.get_logger().info(f'{known[0]} labelled {Outcome(state.outcome).name}')

    def _earlier(self, episode_id: str) -> tuple[Path, int] | None:
        """File and recorded outcome of an episode that an earlier recorder sealed."""
        path = self._background.folder / (file_stem(episode_id) + '.mcap')
        if not episode_id or not path.exists():
            return None
        outcome = int(Outcome.ABORT)
        try:
            reader = LogReader(path)
            for message in reader.messages({'episode/state'}):
                state = reader.decode(message)
                if state.episode_id == episode_id and state.phase == EpisodeState.ENDED:
                    outcome = state.outcome
        except EpisodeFileError as error:
            self.get_logger().warning(str(error))
        self._outcomes[episode_id] = (path, outcome)
        return path, outcome

    def _flush(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            self._background.flush()
            response.success = True
        except LogWriteError as error:
            response.message = str(error)
        return response

    def _report(self) -> tuple[bytes, str, dict[str, Any]]:
        background, episode = self._background, self._episode
        values: dict[str, Any] = {
            'episode': episode.state.episode_id if episode else '',
            'frames dropped': sum(topic.dropped for topic in self._topics),
            'waiting to be sealed': background.sealing,
            'bytes in memory': background.pending_bytes,
            'messages lost': background.lost,
            'free MB': round(background.free_mb()),
            **{f'messages {topic.name}': topic.count for topic in self._topics},
        }
        problems = list(background.errors.values())
        if problems:
            return runtime.Diagnostics.ERROR, problems[0], values
        return runtime.Diagnostics.OK, 'recording' if episode else 'waiting for an episode', values


def main() -> None:
    runtime.run(Recorder)


if __name__ == '__main__':
    main()
