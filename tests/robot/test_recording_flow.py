# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The guided recording, without a graph: what is asked for in which state."""

from __future__ import annotations

import pytest

from apprentice.robot.episode_record import EndCause, Phase
from apprentice.robot.recording_flow import FlowCall, FlowSettings, FlowState, Press, RecordingFlow
from apprentice.robot.types import ControlMode, Outcome


class Rig:
    """A flow with a clock and an episode node that does as it is told."""

    def __init__(self, kept=0, **settings):
        self.flow = RecordingFlow(FlowSettings(**{'episodes': 2, **settings}), kept)
        self.now, self.number = 100.0, 0
        self.flow.mode(ControlMode.PAUSED)

    @property
    def state(self):
        return self.flow.state

    def wait(self, seconds):
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now += 0.1
            self.flow.tick(self.now)

    def calls(self):
        found = list(self.flow.wanted)
        self.flow.wanted.clear()
        return found

    @property
    def counts(self):
        return self.flow.kept, self.flow.failures, self.flow.discarded

    def phase(self, phase, outcome=Outcome.UNKNOWN, cause=EndCause.NONE):
        self.flow.episode(f'e{self.number}', phase, outcome, cause)

    def to_recording(self):
        self.number += 1
        self.flow.mode(ControlMode.RESET)
        self.phase(Phase.RESETTING)
        self.phase(Phase.READY)
        self.flow.mode(ControlMode.PAUSED)
        self.wait(self.flow.settings.countdown_s + 0.2)
        self.flow.mode(ControlMode.HUMAN)
        self.phase(Phase.RUNNING)
        assert self.state is FlowState.RECORDING

    def finish(self, outcome=Outcome.SUCCESS, cause=EndCause.HUMAN):
        self.phase(Phase.ENDED, outcome, cause)
        self.flow.mode(ControlMode.PAUSED)


def test_two_episodes_by_keys():
    rig = Rig(countdown_s=3.0)
    rig.wait(5.0)
    assert (rig.state, rig.calls()) == (FlowState.WAITING, [])  # nobody pressed
    rig.flow.press(Press.GO)
    assert rig.calls() == [FlowCall.START]
    rig.number = 1
    rig.phase(Phase.RESETTING)
    rig.flow.mode(ControlMode.RESET)
    rig.phase(Phase.READY)
    rig.wait(10.0)
    assert rig.state is FlowState.COUNTDOWN  # it does not count while the arm moves
    rig.flow.mode(ControlMode.PAUSED)
    rig.wait(1.0)
    assert 'get ready: 2' in rig.flow.hint()
    rig.wait(2.2)
    assert (rig.state, rig.calls()) == (FlowState.TAKE, [])  # the person takes the controls
    rig.flow.mode(ControlMode.HUMAN)
    rig.phase(Phase.RUNNING)
    rig.flow.press(Press.SUCCESS)
    assert rig.calls() == [FlowCall.SUCCESS]
    rig.finish()
    assert rig.state is FlowState.REVIEW
    rig.wait(60.0)
    assert rig.flow.kept == 0  # it is for the person to say
    rig.flow.press(Press.GO)
    assert (rig.flow.kept, rig.calls()) == (1, [FlowCall.START])  # kept, and the next begins
    rig.to_recording()
    rig.finish()
    rig.flow.press(Press.KEEP)
    assert (rig.flow.kept, rig.flow.done, rig.flow.failed) == (2, True, '')


@pytest.mark.parametrize(
    ('press', 'call', 'counts'),
    [
        (Press.DISCARD, [FlowCall.LABEL_DISCARD], (0, 0, 1)),
        (Press.FAILURE, [FlowCall.LABEL_FAILURE], (0, 1, 0)),
        (Press.SUCCESS, [], (1, 0, 0)),
        (Press.KEEP, [], (1, 0, 0)),
    ],
)
def test_review_labels_anew(press, call, counts):
    rig = Rig(countdown_s=0.0)
    rig.flow.press(Press.GO)
    rig.calls()
    rig.to_recording()
    rig.finish()
    rig.flow.press(press)
    assert rig.calls() == call
    for made in call:
        assert (rig.state, rig.counts) == (FlowState.REVIEW, (0, 0, 0)), 'it counts when it is written'
        rig.flow.answered(made)
    assert rig.counts == counts
    assert rig.state is FlowState.WAITING


def test_a_label_that_is_refused_changes_nothing_and_can_be_given_again():
    rig = Rig(countdown_s=0.0, review_s=5.0)
    rig.flow.press(Press.GO)
    rig.to_recording()
    rig.finish()
    rig.calls()
    rig.flow.press(Press.DISCARD)
    rig.wait(20.0)
    rig.flow.press(Press.GO)
    assert (rig.state, rig.calls()) == (FlowState.REVIEW, [FlowCall.LABEL_DISCARD]), 'first the answer'
    rig.flow.refused(FlowCall.LABEL_DISCARD, 'no such episode')
    assert 'SUCCESS' in rig.flow.hint()
    assert 'no such episode' in rig.flow.message
    assert (rig.state, rig.counts) == (FlowState.REVIEW, (0, 0, 0))
    rig.wait(3.0)
    assert rig.state is FlowState.REVIEW, 'there is time to try again'
    rig.flow.press(Press.FAILURE)
    rig.flow.answered(FlowCall.LABEL_FAILURE)
    assert (rig.state, rig.counts) == (FlowState.WAITING, (0, 1, 0))


@pytest.mark.parametrize('press', [None, Press.DISCARD])
def test_quit_in_review_counts_the_episode(press):
    rig = Rig(countdown_s=0.0)
    rig.flow.press(Press.GO)
    rig.to_recording()
    rig.finish()
    rig.calls()
    if press is not None:
        rig.flow.press(press)
    rig.flow.press(Press.QUIT)
    assert rig.flow.done
    if press is not None:
        assert rig.counts == (0, 0, 0)
        rig.flow.answered(FlowCall.LABEL_DISCARD)
    assert rig.counts == ((1, 0, 0) if press is None else (0, 0, 1))
    assert rig.flow.done


def test_episode_begun_from_the_page_in_review_keeps_the_last_one_and_is_followed():
    rig = Rig(countdown_s=0.0, take=True, episodes=3)
    rig.flow.press(Press.GO)
    rig.to_recording()
    rig.finish()
    rig.wait(0.1)
    rig.calls()
    assert rig.state is FlowState.REVIEW
    rig.number = 2
    rig.phase(Phase.RESETTING)
    assert (rig.state, rig.counts) == (FlowState.RESETTING, (1, 0, 0))
    rig.flow.press(Press.DISCARD)
    assert rig.calls() == [], 'it was meant for the last one, which is over'
    rig.number = 1
    rig.to_recording()
    rig.phase(Phase.ENDED, Outcome.FAILURE, EndCause.HUMAN)
    rig.calls()
    rig.wait(0.1)
    assert (rig.state, rig.flow.episode_id, rig.calls()) == (FlowState.REVIEW, 'e2', [FlowCall.RELEASE])
    rig.flow.press(Press.KEEP)
    assert rig.counts == (1, 1, 0)


def test_labels_and_episodes_from_the_page_at_any_moment():
    rig = Rig(countdown_s=0.0)
    rig.number = 1
    rig.phase(Phase.RUNNING)  # it was running when the flow came
    assert rig.state is FlowState.RECORDING
    rig.number = 2
    rig.phase(Phase.RESETTING)  # the end of the first one was missed
    assert rig.state is FlowState.RESETTING
    rig.number = 1
    rig.to_recording()
    rig.finish()
    rig.phase(Phase.ENDED, Outcome.FAILURE, EndCause.HUMAN)  # labelled on the page
    rig.flow.press(Press.KEEP)
    assert rig.counts == (0, 1, 0)


def test_episode_that_a_device_ended_is_not_ended_twice():
    rig = Rig(countdown_s=0.0)
    rig.flow.press(Press.GO)
    rig.calls()
    rig.to_recording()
    rig.flow.press(Press.SUCCESS, handled=True)
    assert rig.calls() == []
    rig.finish(Outcome.ABORT)  # discarded on the pad
    assert (rig.state, rig.flow.discarded) == (FlowState.WAITING, 1)
    rig.flow.press(Press.DISCARD, handled=True)
    assert (rig.calls(), rig.flow.discarded) == ([], 1)


def test_real_robot_asks_for_the_scene_and_confirms():
    rig = Rig(countdown_s=0.5, simulator=False)
    rig.flow.press(Press.GO)
    assert rig.calls() == [FlowCall.START]
    rig.number = 1
    rig.flow.mode(ControlMode.RESET)
    rig.phase(Phase.RESETTING)
    rig.phase(Phase.READY)
    rig.wait(30.0)
    assert (rig.state, rig.calls()) == (FlowState.SCENE, [])
    rig.flow.press(Press.GO)
    assert rig.calls() == [FlowCall.START]
    rig.flow.refused(FlowCall.START, 'no')
    assert rig.state is FlowState.SCENE


def test_scripted_person_needs_no_key():
    rig = Rig(countdown_s=0.0, automatic=True, take=True)
    rig.wait(0.2)
    assert rig.calls() == [FlowCall.START]
    rig.to_recording()
    assert rig.calls() == [FlowCall.TAKE]
    rig.phase(Phase.ENDED, Outcome.SUCCESS, EndCause.PREDICATE)
    rig.wait(0.1)
    assert rig.calls() == [FlowCall.RELEASE]
    assert rig.flow.kept == 1
    rig.wait(5.0)
    assert rig.calls() == []  # not while somebody drives
    rig.flow.mode(ControlMode.PAUSED)
    rig.wait(0.2)
    assert rig.calls() == [FlowCall.START]


def test_faults_are_tried_again_and_end_after_a_while():
    rig = Rig(countdown_s=0.0, automatic=True, attempts=3)
    for attempt in range(1, 4):
        rig.wait(0.2)
        assert rig.calls() == [FlowCall.START]
        rig.number = attempt
        rig.phase(Phase.RESETTING)
        rig.phase(Phase.ENDED, Outcome.ABORT, EndCause.FAULT)
    assert rig.flow.done
    assert '3 episodes in a row' in rig.flow.failed


def test_what_is_there_counts_and_quit_aborts():
    assert Rig(kept=2).flow.done
    rig = Rig(kept=1, countdown_s=0.0)
    rig.flow.press(Press.GO)
    rig.calls()
    rig.to_recording()
    rig.flow.press(Press.QUIT)
    assert (rig.calls(), rig.flow.done, rig.flow.failed) == ([FlowCall.ABORT], True, '')


def test_no_reset_while_a_person_drives():
    rig = Rig()
    rig.flow.mode(ControlMode.HUMAN)
    rig.flow.press(Press.GO)
    assert (rig.state, rig.calls()) == (FlowState.WAITING, [])
    assert 'let go' in rig.flow.message


def test_started_from_the_page_is_followed():
    rig = Rig(countdown_s=0.0)
    rig.to_recording()
    rig.finish()
    rig.flow.press(Press.KEEP)
    assert rig.flow.kept == 1
    rig.number = 1
    rig.phase(Phase.ENDED, Outcome.SUCCESS)  # published again
    assert rig.state is FlowState.WAITING


@pytest.mark.parametrize('call', [FlowCall.START, FlowCall.TAKE])
def test_an_answer_that_was_given_up_does_not_undo_what_happened_meanwhile(call):
    """The service did it, but its answer was lost: the episode is over before the flow gives up on it."""
    rig = Rig(countdown_s=0.0)
    rig.flow.press(Press.GO)
    rig.calls()
    rig.to_recording()
    rig.finish()
    assert rig.state is FlowState.REVIEW
    rig.flow.refused(call, 'no answer')
    assert rig.state is FlowState.REVIEW
    rig.flow.press(Press.KEEP)
    assert rig.counts == (1, 0, 0)
