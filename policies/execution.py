# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""When the next chunk is planned, what it continues, and how many rows planning takes.

The loop of real-time chunking (arXiv 2506.07339, algorithm 1) without threads and without a clock: time
comes in as the stamps of what is observed and executed. Whoever plans asks :meth:`ChunkScheduler.take` for a
job and gives the result to :meth:`ChunkScheduler.finish`; the robot follows the chunk before meanwhile.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from apprentice.policies.rtc import PreviousChunk
from apprentice.robot.types import ActionChunk, ControlMode, Observation

_SAME_S = 2e-6  # stamps are rounded to the microsecond
_ON_GRID = 1e-3  # rows; a stamp this near to a row is on it
_KEPT = 3  # finished chunks: the one followed, and newer ones that the gate may refuse
_PLANS_IN = (ControlMode.POLICY, ControlMode.PAUSED)


@dataclass(frozen=True, eq=False)
class Job:
    """One chunk to plan.

    Attributes:
        observation: what to plan from, with the instruction.
        epoch: of the gate; a chunk of another epoch is worthless.
        shadow: planned while a person drives, never executed.
        previous: what the robot follows meanwhile; None: nothing that could be continued.
        followed: the same also where the new chunk does not continue it, as without real-time chunking; None:
            no row will be past when the new chunk arrives.
        received: what was given with the observation, such as the time of its arrival.
    """

    observation: Observation
    epoch: int
    shadow: bool = False
    previous: PreviousChunk | None = None
    episode_id: str = ''
    received: float = 0.0
    followed: PreviousChunk | None = None


@dataclass(frozen=True)
class _Followed:
    """A finished chunk: ``rows`` [H, A] are its own, before them what was followed until it arrived."""

    chunk: ActionChunk
    rows: np.ndarray
    text: str
    ready: float  # newest stamp heard when it was finished

    def after(self, stamp: float) -> np.ndarray:
        """Targets [n, A] at ``stamp`` + (i + 1) * dt, to the end; between two rows on the line between them.

        That line is where the gate leads the setpoint. On the grid they are the rows themselves.
        """
        shift = (stamp - self.chunk.stamp) / self.chunk.dt
        first = math.floor(shift + _ON_GRID)
        if first < 0:
            return self.rows[:0]
        rows, share = self.rows[first:], shift - first
        return rows.copy() if share <= _ON_GRID else rows[:-1] + np.diff(rows, axis=0) * share


class ChunkScheduler:
    """Decides when to plan, hands out jobs, keeps the chunk being followed, measures the delay.

    A chunk is due when ``execute_steps`` rows have passed since the observation of the last one, and at once
    after control changed hands; always from the newest observation, never twice from one. A finished chunk
    replaces the one before. Its first ``delay`` rows are those of the chunk before, whatever the policy
    says: the robot follows them anyway, and if planning was faster than expected it goes on without a jump.

    The chunk before is discarded when the epoch changes (takeover, release, reset, hold, stop, pause, arming)
    and when time goes back, and a job of then that is still running gives no chunk. With another episode or
    instruction the next chunk does not continue it. New weights continue the chunk of the old ones, because
    the robot does.

    Not thread-safe; hold one lock around every call.

    Args:
        dt: seconds between rows.
        execute_steps: rows followed before the next chunk is planned, s of the paper.
        exact: lock-step, where observations are on the grid; live, half a row decides which one is due.
        continues: whether jobs are given the chunk before (real-time chunking).
        window: chunks over which the delay is the maximum.

    Attributes:
        max_delay: longest delay [rows] the policy can be given, None: any.
        measured: rows of the newest executed chunk that were past when its first was executed; None: unknown.
        starved: control steps in which the gate held because the rows had run out.
        continued: chunks that continued the one before.
    """

    def __init__(
        self, dt: float, execute_steps: int, exact: bool = False, continues: bool = True, window: int = 5
    ):
        if execute_steps < 1 or window < 1:
            raise ValueError(f'execute_steps is {execute_steps}, window {window}; both must be at least 1')
        self.dt, self.execute_steps, self.exact, self.continues = dt, execute_steps, exact, continues
        self.max_delay: int | None = None
        self.measured: int | None = None
        self._measured_seq = 0
        self.starved = self.continued = self.seq = 0
        self._window = window
        self._delays: dict[int, int] = {}  # rows, by number of the chunk
        self._horizon = 0
        self._mode, self._epoch, self._since = ControlMode.DISARMED, 0, 0.0
        self._text = self._episode_id = ''
        self.reset()

    def reset(self) -> None:
        """Forget what was observed and planned; numbers of chunks go on, delays stay known."""
        self._seen: tuple[Observation, float] | None = None
        self._clock = self._executed = -math.inf
        self.discard()

    def discard(self) -> None:
        """Forget what was planned, also what is being planned; the next chunk is due at once."""
        self._planned = (-1, -math.inf)  # epoch and stamp of the last observation that was planned from
        self._followed: deque[_Followed] = deque(maxlen=_KEPT)
        self._report = (0, -math.inf)  # newest word of the gate in this epoch: number of the chunk, stamp
        self._started = False  # whether a chunk was followed in this epoch
        self._pending: Job | None = None
        self._running: Job | None = None

    # what happens on the robot; stamps [s]

    def on_control(self, mode: ControlMode, epoch: int, since: float) -> None:
        """Who is in control, since when. Observations before that are not planned from."""
        if epoch != self._epoch:
            self._since = since
            self.discard()
        self._mode, self._epoch = mode, epoch

    def on_task(self, text: str, episode_id: str = '') -> None:
        """The instruction; empty: nothing is to be done."""
        self._text, self._episode_id = text, episode_id

    def on_observation(self, observation: Observation, received: float = 0.0) -> None:
        """What the robot sees now; its ``text`` is replaced by the instruction."""
        stamp = observation.stamp
        if self._seen is not None and stamp < self._seen[0].stamp - _SAME_S:
            self.reset()
        self._seen, self._clock = (observation, received), max(self._clock, stamp)

    def on_executed(self, stamp: float, epoch: int, chunk_seq: int, chunk_index: int) -> None:
        """One control step as the gate made it; ``chunk_seq`` 0: it followed no chunk."""
        if stamp < self._executed - _SAME_S:
            self.reset()
        self._executed, self._clock = stamp, max(self._clock, stamp)
        if epoch != self._epoch:
            return
        if chunk_seq > self._measured_seq and chunk_seq in self._delays:
            # the first row of a chunk
            self.measured, self._measured_seq = chunk_index, chunk_seq
            self._delays[chunk_seq] = chunk_index
        self.starved += self._started and not chunk_seq
        self._started |= chunk_seq > 0
        self._report = (chunk_seq, stamp)

    # planning

    @property
    def has_task(self) -> bool:
        """Whether there is an instruction."""
        return bool(self._text)

    def schedule(self) -> bool:
        """Whether a chunk is due from the newest observation; :meth:`take` hands it out.

        Call it whenever something has happened: in lock-step no further observation comes until somebody
        has planned from this one.
        """
        shadow = self._mode == ControlMode.HUMAN
        if self._seen is None or not self._text or not (shadow or self._mode in _PLANS_IN):
            return False
        observation, received = self._seen
        epoch, last = self._planned
        # live, a planner still busy when a chunk was due begins with the newest observation, not an old one
        behind = self._pending is not None and not self.exact and observation.stamp > last
        early = _SAME_S if self.exact else 0.5 * self.dt
        due = last + self.execute_steps * self.dt - early
        if epoch == self._epoch and not behind and observation.stamp < due:
            return False
        if observation.stamp < self._since - _SAME_S:
            return False  # seen before control changed hands
        self._planned = (self._epoch, observation.stamp)
        seen = replace(observation, text=self._text)
        self._pending = Job(seen, self._epoch, shadow, None, self._episode_id, received)
        return True

    @property
    def waiting(self) -> bool:
        """Whether there is a job to take."""
        return self._pending is not None

    def take(self) -> Job | None:
        """The job that is due, once; None: there is none."""
        job, self._pending = self._pending, None
        if job is not None:
            previous = self._previous(job)
            job = replace(job, previous=previous, followed=previous or self._meanwhile(job))
        self._running = job
        return job

    def finish(self, job: Job, actions: np.ndarray) -> ActionChunk | None:
        """The chunk to publish, from what was planned [H, A]; None if the job was discarded meanwhile."""
        if job is not self._running:
            return None
        self._running = None
        self.seq += 1
        stamp, actions = job.observation.stamp, actions.copy()
        if job.previous is not None:
            self.continued += 1
            frozen = min(job.previous.delay, len(actions))
            actions[:frozen] = job.previous.actions[:frozen]
        chunk = ActionChunk(
            stamp, actions, self.dt, self.seq, job.epoch, shadow=job.shadow, episode_id=job.episode_id
        )
        if not job.shadow:
            self._horizon = len(actions)
            past = max(0.0, (self._clock - stamp) / self.dt)
            self._delays[self.seq] = math.ceil(past - _ON_GRID)  # until it is measured
            if len(self._delays) > self._window:
                del self._delays[min(self._delays)]
            active, rows = self._active(), actions.copy()
            if active is not None:
                before = active.after(stamp)[: min(math.floor(past + _ON_GRID), len(rows))]
                rows[: len(before)] = before
            self._followed.append(_Followed(chunk, rows, job.observation.text, self._clock))
        return chunk

    def _previous(self, job: Job) -> PreviousChunk | None:
        active = self._active()
        if not self.continues or active is None:
            return None
        if (active.text, active.chunk.episode_id) != (job.observation.text, job.episode_id):
            return None
        rows, delay = active.after(job.observation.stamp), self.delay
        limit = len(rows) if self.max_delay is None else min(len(rows), self.max_delay)
        if not len(rows) or delay > limit:
            return None  # it ends before the new chunk arrives, or the policy cannot be told; see problem
        return PreviousChunk(rows, delay)

    def _meanwhile(self, job: Job) -> PreviousChunk | None:
        """What the robot follows until a chunk arrives that does not continue it; in lock-step it waits."""
        active = self._active()
        if self.exact or active is None:
            return None
        rows = active.after(job.observation.stamp)
        delay = min(self.delay, len(rows))
        return PreviousChunk(rows, delay) if delay else None

    def _active(self) -> _Followed | None:
        """The newest chunk, unless the gate follows another half a row after it was finished: then that."""
        seq, stamp = self._report
        for followed in reversed(self._followed):
            if seq >= followed.chunk.seq or stamp <= followed.ready + 0.5 * self.dt:
                return followed
        return None

    # what is known about the delay

    @property
    def delay(self) -> int:
        """Rows that will be past when the next chunk arrives (d of the paper): the maximum of the last."""
        return max(self._delays.values(), default=0)

    @property
    def problem(self) -> str:
        """Why chunks cannot follow each other without a gap, with the remedy; '' when they can."""
        delay, horizon, limit = self.delay, self._horizon, self.max_delay
        period = max(self.execute_steps, delay)  # a planner slower than that begins when it is through
        if delay and delay + period > horizon:
            remedy = 'plan faster (fewer denoise_steps, a smaller policy, another runtime) or farther'
            if 2 * delay <= horizon:
                remedy = f'lower execute_steps to {horizon - delay}, or {remedy}'
            return (
                f'planning takes {delay} rows of {self.dt:g} s, but then only {max(0, horizon - period)} of '
                f'{horizon} rows of the chunk before are left, so the arm waits between chunks: {remedy}'
            )
        if self.continues and limit is not None and delay > limit:
            return (
                f'planning takes {delay} rows, the weights were trained for {limit} at most, so chunks do '
                'not continue each other: plan faster, train with a longer max_delay, or use rtc soft'
            )
        return ''
