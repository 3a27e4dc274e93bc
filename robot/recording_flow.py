# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The guided recording of demonstrations: reset, countdown, record, judge, next; until enough are kept.

Pure logic. The node record_flow feeds it what happens (keys, episode states, modes of the gate, time) and
carries out the calls in ``wanted``. Time is wall time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from apprentice.robot.episode_record import EndCause, Phase
from apprentice.robot.types import ControlMode, Outcome


class Press(Enum):
    """What a person says, by key, pad, page or topic; the value is its name on ``record/command``."""

    GO = 'record'
    SUCCESS = 'success'
    FAILURE = 'failure'
    DISCARD = 'discard'
    KEEP = 'keep'
    QUIT = 'quit'


class FlowState(Enum):
    """Where the flow is; the value is what a person is told."""

    WAITING = 'waiting'
    RESETTING = 'resetting'
    SCENE = 'prepare the scene'
    COUNTDOWN = 'countdown'
    TAKE = 'take the controls'
    RECORDING = 'recording'
    REVIEW = 'keep or discard'
    DONE = 'done'


class FlowCall(Enum):
    """A service call the flow wants made."""

    START = 'episode/start'
    TAKE = 'gate/request_control'
    RELEASE = 'gate/request_control release'
    SUCCESS = 'episode/end success'
    FAILURE = 'episode/end failure'
    ABORT = 'episode/abort'
    LABEL_SUCCESS = 'episode/label SUCCESS'
    LABEL_FAILURE = 'episode/label FAILURE'
    LABEL_DISCARD = 'episode/label ABORT'

    @property
    def label(self) -> Outcome | None:
        """The outcome that a call labels an episode with."""
        return {
            FlowCall.LABEL_SUCCESS: Outcome.SUCCESS,
            FlowCall.LABEL_FAILURE: Outcome.FAILURE,
            FlowCall.LABEL_DISCARD: Outcome.ABORT,
        }.get(self)


@dataclass(frozen=True)
class FlowSettings:
    """How a recording goes.

    Attributes:
        episodes: successes to be kept, those that are there already included.
        countdown_s: between the reset and the start.
        review_s: so long an episode may be discarded or labelled anew; then it is kept. 0: until a key.
        automatic: nobody presses keys: begins by itself, and keeps what the episode node decided.
        take: the flow takes the controls for the person (a scripted one, a dashboard); otherwise it waits
            until the person does, by the dead-man of a device.
        simulator: the world is reset by the simulator; otherwise a person prepares the scene and says go.
        attempts: so many aborted episodes in a row end the flow.
        take_s: so long the flow waits for the person to take the controls before it says so again.
    """

    episodes: int = 50
    countdown_s: float = 3.0
    review_s: float = 0.0
    automatic: bool = False
    take: bool = False
    simulator: bool = True
    attempts: int = 5
    take_s: float = 30.0


class RecordingFlow:
    """One demonstration after the other.

    Args:
        settings: how.
        kept: successes that are there already.

    Attributes:
        wanted: calls to make, in order.
        message: what went wrong last, for the person.
        failed: why the flow ended without its episodes; empty if it did not.
    """

    def __init__(self, settings: FlowSettings, kept: int = 0):
        self.settings, self.kept = settings, kept
        self.failures = self.discarded = 0
        self.state = FlowState.WAITING
        self.wanted: deque[FlowCall] = deque()
        self.episode_id, self.outcome = '', Outcome.UNKNOWN
        self.message = self.failed = ''
        self.remaining_s = 0.0
        self._mode = ControlMode.DISARMED
        self._since = 0.0
        self._now = 0.0
        self._aborted = 0
        self._over: set[str] = set()
        self._released = False
        self._labelling = False  # a label was asked for, and its answer has not come
        if kept >= settings.episodes:
            self.state = FlowState.DONE

    @property
    def done(self) -> bool:
        return self.state is FlowState.DONE

    def hint(self) -> str:
        """What the person can do now, in one line."""
        if self.state is FlowState.COUNTDOWN:
            return f'get ready: {max(0, round(self.remaining_s + 0.49))}'
        return {
            FlowState.WAITING: 'let go of the controls'
            if self._mode == ControlMode.HUMAN
            else 'GO starts the next',
            FlowState.RESETTING: 'the robot drives home: keep clear',
            FlowState.SCENE: 'prepare the scene, then GO',
            FlowState.TAKE: 'take the controls: recording begins with it',
            FlowState.RECORDING: 'SUCCESS or FAILURE ends it, DISCARD throws it away',
            FlowState.REVIEW: 'the label is being written'
            if self._labelling
            else f'{self.outcome.name}: KEEP, DISCARD, or label it SUCCESS or FAILURE',
            FlowState.DONE: self.failed or 'all episodes are recorded',
        }[self.state]

    def press(self, what: Press, handled: bool = False) -> None:
        """A person pressed something; ``handled``: the device already told the episode node."""
        if what is Press.QUIT:
            if self.state in (FlowState.RESETTING, FlowState.SCENE, FlowState.COUNTDOWN, FlowState.TAKE,
                              FlowState.RECORDING):  # fmt: skip
                self.wanted.append(FlowCall.ABORT)
            elif self.state is FlowState.REVIEW and not self._labelling:
                self._tally()  # it is kept
            self._end('')
        elif self.state is FlowState.WAITING and what is Press.GO:
            self._start()
        elif self.state is FlowState.SCENE and what is Press.GO:
            self.wanted.append(FlowCall.START)
            self._enter(FlowState.COUNTDOWN)
        elif self.state is FlowState.RECORDING and not handled:
            call = {
                Press.SUCCESS: FlowCall.SUCCESS,
                Press.FAILURE: FlowCall.FAILURE,
                Press.DISCARD: FlowCall.ABORT,
            }
            if what in call:
                self.wanted.append(call[what])
        elif self.state in (FlowState.COUNTDOWN, FlowState.TAKE) and what is Press.DISCARD and not handled:
            self.wanted.append(FlowCall.ABORT)
        elif self.state is FlowState.REVIEW:
            self._review(what)

    def _review(self, what: Press) -> None:
        call = {
            Press.SUCCESS: FlowCall.LABEL_SUCCESS,
            Press.FAILURE: FlowCall.LABEL_FAILURE,
            Press.DISCARD: FlowCall.LABEL_DISCARD,
        }.get(what)
        if self._labelling:
            return  # first the answer
        if call is not None and call.label != self.outcome:
            self._labelling = True
            self.wanted.append(call)
        elif call is not None:
            self._count()
        elif what in (Press.KEEP, Press.GO):
            self._count()
            if what is Press.GO and not self.done:
                self._start()

    def mode(self, mode: ControlMode) -> None:
        """The gate's mode."""
        self._mode = mode

    def episode(self, episode_id: str, phase: Phase, outcome: Outcome, cause: EndCause) -> None:
        """An EpisodeState arrived; those of episodes that this flow did not begin are followed too."""
        if self.done or self._labelling:
            return
        if self.state is FlowState.REVIEW and episode_id == self.episode_id and phase == Phase.ENDED:
            self.outcome = outcome  # labelled from the page
        if episode_id in self._over:
            return
        begun = phase in (Phase.RESETTING, Phase.READY, Phase.RUNNING)
        another = begun and episode_id != self.episode_id
        if another and self.state is FlowState.REVIEW:
            self._count()  # the last one is kept
            if self.done:
                return
        if (self.state is FlowState.WAITING and begun) or (self.state is not FlowState.RESETTING and another):
            self._released = False  # begun from the page
            self._enter(FlowState.RESETTING)
        if self.state is FlowState.WAITING:
            return
        if begun:
            self.episode_id = episode_id
        elif episode_id != self.episode_id:
            return  # the episode before, published again, or none
        if phase == Phase.READY and self.state is FlowState.RESETTING:
            self._enter(FlowState.COUNTDOWN if self.settings.simulator else FlowState.SCENE)
            if self.state is FlowState.SCENE and self.settings.automatic:
                self.press(Press.GO)
        elif phase == Phase.RUNNING and self.state is not FlowState.RECORDING:
            self._enter(FlowState.RECORDING)
        elif phase == Phase.ENDED:
            self._ended(outcome, cause)

    def _ended(self, outcome: Outcome, cause: EndCause) -> None:
        self._over.add(self.episode_id)
        self.outcome = outcome
        if outcome == Outcome.ABORT:
            self.discarded += cause == EndCause.HUMAN
            self._aborted += cause != EndCause.HUMAN
            self._enter(FlowState.WAITING)
            if self._aborted >= self.settings.attempts:
                self._end(
                    f'{self._aborted} episodes in a row were aborted; the log of the node episode says why'
                )
            return
        self._aborted = 0
        self._enter(FlowState.REVIEW)

    def answered(self, call: FlowCall) -> None:
        """A service did what it was asked for. An episode that is labelled anew counts now."""
        if call.label is not None and self._labelling:
            self._labelling = False
            self.outcome = call.label
            self._count()

    def refused(self, call: FlowCall, why: str) -> None:
        """A service said no; the flow goes back to where it can be tried again."""
        self.message = f'{call.value}: {why}'
        if call.label is not None:
            self._labelling, self._since = False, self._now
            if self.done:
                self._tally()  # the person has left: what was recorded stands
        elif call is FlowCall.START:
            if self.state is FlowState.COUNTDOWN:
                self._enter(FlowState.SCENE)
            elif self.state is FlowState.RESETTING:
                self._aborted += 1
                self._enter(FlowState.WAITING)
                if self._aborted >= self.settings.attempts and self.settings.automatic:
                    self._end(self.message)
        elif call is FlowCall.TAKE and self.state is FlowState.TAKE:
            self._enter(FlowState.COUNTDOWN)

    def tick(self, now: float) -> None:
        """Wall time [s], monotonic."""
        self._now = now
        settings, waited = self.settings, now - self._since
        if self.state is FlowState.WAITING and settings.automatic and self._mode != ControlMode.HUMAN:
            if waited >= min(1.0, settings.countdown_s) or not self._over:
                self._start()
        elif self.state is FlowState.COUNTDOWN:
            # the gate is ready for a person once the reset is over
            if self._mode not in (ControlMode.PAUSED, ControlMode.HUMAN, ControlMode.POLICY):
                self._since = now
            self.remaining_s = settings.countdown_s - (now - self._since)
            if self.remaining_s <= 0 and self._since < now:
                if settings.take and self._mode != ControlMode.HUMAN:
                    self.wanted.append(FlowCall.TAKE)
                self._enter(FlowState.TAKE)
        elif self.state is FlowState.TAKE and waited > settings.take_s:
            self.message = f'nobody took the controls for {settings.take_s:g} s'
            self._since = now
        elif self.state is FlowState.REVIEW:
            if settings.take and self._mode == ControlMode.HUMAN and not self._released:
                self._released = True
                self.wanted.append(FlowCall.RELEASE)
            over = settings.automatic or (settings.review_s and waited >= settings.review_s)
            if over and not self._labelling:
                self._count()

    def _start(self) -> None:
        if self._mode == ControlMode.HUMAN:
            self.message = 'let go of the controls first: a reset cannot begin while a person drives'
            return
        self.message = ''
        self._released = False
        self.wanted.append(FlowCall.START)
        self._enter(FlowState.RESETTING)

    def _tally(self) -> None:
        self.kept += self.outcome == Outcome.SUCCESS
        self.failures += self.outcome == Outcome.FAILURE
        self.discarded += self.outcome == Outcome.ABORT

    def _count(self) -> None:
        self._tally()
        if self.done:
            return
        self._enter(FlowState.WAITING)
        if self.kept >= self.settings.episodes:
            self._end('')

    def _end(self, why: str) -> None:
        self.failed = why
        self._enter(FlowState.DONE)

    def _enter(self, state: FlowState) -> None:
        self.state, self._since = state, self._now
