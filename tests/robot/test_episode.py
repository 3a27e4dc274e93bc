# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Every way an episode can start, refuse to start and end."""

import numpy as np
import pytest

from apprentice.robot.episode import Call, EpisodeMachine, Stage
from apprentice.robot.episode_record import EndCause, EpisodeSettings, Phase
from apprentice.robot.types import ControlMode, Outcome, Source

HOME = np.array([0.0, 1.0])


def start(seed: int) -> np.ndarray:
    """Where an episode begins: at home, or a little away with seed 1."""
    return HOME + 0.1 * (seed == 1)


class World:
    """Drives a machine the way the graph does; time is simulated."""

    def __init__(self, **settings):
        settings.setdefault('auto_arm', True)
        self.machine = EpisodeMachine(EpisodeSettings(**settings), 's', start, np.array([0.05, 0.05]))
        self.now = 100.0
        self.mode(ControlMode.PAUSED)

    def mode(self, mode, reason='because'):
        self.machine.gate(mode, reason, self.now, self.now)

    def answer(self, call, ok=True, message='', task=''):
        assert self.machine.wanted is call
        self.machine.answered(call, ok, message, self.now, task)

    def wait(self, wall_s, alive=('gate/state', 'joint_states', 'gate/executed')):
        """Wall time passes while the named topics go on; the robot's clock stands still."""
        for _ in range(round(wall_s / 0.1)):
            for topic in alive:
                self.machine._silent[topic] = 0.0
            self.machine.tick(0.1, self.now)

    def start(self, **request):
        answer = self.machine.start(**request)
        self.machine.tick(0.05, self.now)
        return answer

    def reset(self, **request):
        accepted, text = self.start(**request)
        assert accepted, text
        self.answer(Call.RESET)
        self.mode(ControlMode.RESET)
        self.answer(Call.WORLD, task='pick up the red cube')
        self.home()

    def home(self, target=HOME):
        self.step(1, Source.RESET, target=target)
        for _ in range(3):
            self.machine.joints(target + 0.01, self.now)

    def run(self, **request):
        self.reset(**request)
        self.answer(Call.RELEASE)
        self.mode(ControlMode.PAUSED)
        assert self.record.phase == Phase.READY
        self.mode(ControlMode.POLICY)
        assert self.record.phase == Phase.RUNNING

    def step(self, n=1, source=Source.POLICY, takeover=0, target=None):
        for _ in range(n):
            self.now += 0.05
            self.machine.executed(self.now, source, takeover, self.now, target)

    @property
    def record(self):
        return self.machine.record

    def ended(self, outcome, cause, text=''):
        assert (self.record.phase, self.record.outcome, self.record.end_cause) == (
            Phase.ENDED,
            outcome,
            cause,
        )
        assert text in self.record.message
        assert not self.machine.busy


def test_phases_in_order_with_task_of_the_reset():
    world = World()
    world.run(seed=7)
    world.machine.success(world.now, True)
    published = [r.phase.name for r in world.machine.outbox]
    assert published == ['RESETTING', 'READY', 'RUNNING']
    assert world.machine.outbox[1].task == 'pick up the red cube'
    assert world.record.started == world.now
    assert world.record.episode_id == 's-00000'


def test_ids_continue():
    machine = EpisodeMachine(EpisodeSettings(), 's', start, HOME, first_index=12)
    machine.start()
    assert machine.record.episode_id == 's-00012'
    machine.abort('x', 0.0)
    machine.start()
    assert machine.record.episode_id == 's-00013'


def test_success_needs_consecutive_samples_of_this_episode():
    world = World(success_samples=3)
    world.run()
    started = world.record.started
    for _ in range(5):
        world.machine.success(started - 0.1, True)  # frames of before the start
    for done in (True, True, False, True, True):
        world.machine.success(started + 0.1, done)
    assert world.machine.busy
    world.machine.success(started + 0.2, True)
    world.ended(Outcome.SUCCESS, EndCause.PREDICATE)
    assert world.machine.wanted is Call.PAUSE


@pytest.mark.parametrize(('success', 'outcome'), [(True, Outcome.SUCCESS), (False, Outcome.FAILURE)])
def test_a_person_ends_it(success, outcome):
    world = World()
    assert not world.machine.end(True, world.now)[0]
    world.run()
    assert world.machine.end(success, world.now)[0]
    world.ended(outcome, EndCause.HUMAN)


def test_timeout_is_robot_time_not_wall_time():
    world = World(max_duration_s=10.0)
    world.run(max_duration_s=2.0)
    world.wait(60.0)
    assert world.machine.busy
    world.step(39)
    assert world.machine.busy
    world.step(2)
    world.ended(Outcome.FAILURE, EndCause.TIMEOUT, '2 s')


@pytest.mark.parametrize(
    'mode', [ControlMode.HOLD, ControlMode.FAULT, ControlMode.STOP, ControlMode.DISARMED]
)
def test_a_stopped_gate_ends_it_after_a_second(mode):
    world = World()
    world.run()
    world.mode(mode, 'human stream is stale')
    world.wait(0.8)
    assert world.machine.busy
    world.wait(0.4)
    world.ended(Outcome.FAILURE, EndCause.SAFETY, 'human stream is stale')


def test_a_short_hold_is_survived():
    world = World()
    world.run()
    for _ in range(3):
        world.mode(ControlMode.HOLD)
        world.wait(0.8)
        world.mode(ControlMode.POLICY)
    assert world.machine.busy


@pytest.mark.parametrize(
    ('alive', 'text'),
    [
        (('joint_states', 'gate/executed'), 'node gate gone'),
        (('gate/state', 'gate/executed'), 'robot'),
        (('gate/state', 'joint_states'), 'executed nothing'),
    ],
)
def test_a_dead_dependency_is_named(alive, text):
    world = World(silence_s=1.0)
    world.run()
    world.wait(0.8, alive)
    assert world.machine.busy
    world.wait(1.4, alive)
    world.ended(Outcome.ABORT, EndCause.FAULT, text)


def test_own_sleep_is_nobody_elses_silence():
    world = World(silence_s=5.0)
    world.run()
    world.machine.tick(60.0, world.now)
    assert world.machine.busy


def test_counts_steps_once_and_interventions():
    world = World()
    world.run()
    world.step(6)
    world.step(2, Source.HUMAN, takeover=4)
    world.machine.executed(world.now, Source.HUMAN, 4, world.now)  # lock-step repeats a command
    world.step(1)
    world.step(1, Source.HUMAN, takeover=5)
    assert (world.record.steps, world.record.human_steps, len(world.record.takeovers)) == (10, 3, 2)
    assert world.record.intervention_ratio == pytest.approx(0.3)


def test_steps_that_the_end_has_overtaken_still_count():
    """Success comes over another topic than the steps before it, such as the only ones a person drove."""
    world = World(success_samples=1)
    world.run()
    world.step(2)
    end = world.now + 0.10
    world.machine.success(end, True)
    world.ended(Outcome.SUCCESS, EndCause.PREDICATE)
    assert not world.machine.all_heard
    world.step(1, Source.HUMAN, takeover=1)
    assert (world.record.steps, world.record.human_steps, len(world.record.takeovers)) == (3, 1, 1)
    world.step(1, Source.HUMAN, takeover=1)  # at the end, so what it did came after it
    assert world.machine.all_heard
    world.step(1, Source.HUMAN, takeover=2)
    assert (world.record.steps, world.record.human_steps, len(world.record.takeovers)) == (3, 1, 1)
    world.ended(Outcome.SUCCESS, EndCause.PREDICATE)


@pytest.mark.parametrize('by_mode', [True, False])
def test_a_takeover_fails_a_held_out_trial(by_mode):
    world = World()
    world.run(eval_only=True)
    if by_mode:
        world.mode(ControlMode.HUMAN)
        world.machine.tick(0.05, world.now)
    else:
        world.step(1, Source.HUMAN, takeover=1)
    world.ended(Outcome.FAILURE, EndCause.HUMAN, 'autonomous')


def test_a_person_who_drives_is_not_interrupted_but_the_policy_does_not_resume():
    world = World()
    world.run()
    world.mode(ControlMode.HUMAN)
    world.machine.end(True, world.now)
    assert world.machine.wanted is None
    world.mode(ControlMode.PAUSED)
    assert world.machine.wanted is Call.PAUSE


@pytest.mark.parametrize(
    ('mode', 'auto_arm', 'remedy'),
    [
        (ControlMode.STOP, True, 'gate/clear'),
        (ControlMode.FAULT, True, 'gate/clear'),
        (ControlMode.HOLD, False, 'gate/arm'),
        (ControlMode.DISARMED, False, 'gate/arm'),
    ],
)
def test_refuses_to_start_and_names_the_remedy(mode, auto_arm, remedy):
    world = World(auto_arm=auto_arm)
    world.mode(mode)
    accepted, text = world.start()
    assert not accepted
    assert remedy in text
    assert not world.machine.busy


def test_arms_in_simulation():
    world = World()
    world.mode(ControlMode.DISARMED)
    assert world.start()[0]
    world.machine.tick(0.05, world.now)
    world.answer(Call.ARM)
    assert world.machine.stage is Stage.ARM
    world.mode(ControlMode.PAUSED)
    assert world.machine.wanted is Call.RESET


@pytest.mark.parametrize(
    ('until', 'node'),
    [('gate', 'gate'), ('reset', 'gate'), ('world', 'sim_robot'), ('home', 'home'), ('plan', 'policy')],
)
def test_a_missing_node_is_named(until, node):
    world = World(call_limit_s=1.0, home_limit_s=1.0, plan_limit_s=1.0)
    alive: tuple[str, ...] = ('gate/state', 'joint_states')
    if until == 'gate':
        world.machine.mode = None
        alive = ()
    world.start()
    if until in ('world', 'home', 'plan'):
        world.answer(Call.RESET)
        world.mode(ControlMode.RESET)
    if until in ('home', 'plan'):
        world.answer(Call.WORLD)
    if until == 'plan':
        world.home()
        world.answer(Call.RELEASE)
        world.mode(ControlMode.PAUSED)
    world.wait(1.2, alive)
    world.ended(Outcome.ABORT, EndCause.FAULT, node)


def test_a_refusal_is_retried_and_then_quoted():
    world = World(call_limit_s=1.0)
    world.start()
    world.answer(Call.RESET, ok=False, message='joint states are stale')
    assert world.machine.wanted is Call.RESET
    world.wait(1.2)
    world.ended(Outcome.ABORT, EndCause.FAULT, 'joint states are stale')


def test_not_home_waits_and_a_stop_during_the_reset_aborts():
    world = World()
    world.start()
    world.answer(Call.RESET)
    world.mode(ControlMode.RESET)
    world.answer(Call.WORLD)
    world.step(1, Source.RESET, target=HOME)
    for position in (HOME, HOME, HOME + 0.2, HOME, HOME):
        world.machine.joints(position, world.now)
    assert world.machine.stage is Stage.HOME
    world.mode(ControlMode.STOP, 'button')
    world.wait(1.2)
    world.ended(Outcome.ABORT, EndCause.SAFETY, 'button')


def test_a_reset_is_over_where_the_episode_of_that_seed_begins():
    world = World()
    world.start(seed=1)
    world.answer(Call.RESET)
    world.mode(ControlMode.RESET)
    world.answer(Call.WORLD)
    for target in (HOME + 0.3, HOME + 0.2, HOME):  # on its way, and held up at the goal of another seed
        for _ in range(3):
            world.step(1, Source.RESET, target=target)
            world.machine.joints(target, world.now)
    assert world.machine.stage is Stage.HOME
    world.step(1, Source.RESET, target=(HOME + 0.1).astype(np.float32))
    for _ in range(3):
        world.machine.joints(HOME + 0.2, world.now)  # the arm is not there yet
    assert world.machine.stage is Stage.HOME
    world.home(HOME + 0.1)
    assert world.machine.wanted is Call.RELEASE


def test_without_a_simulator_a_person_confirms_the_scene():
    world = World(simulator=False)
    world.start()
    world.answer(Call.RESET)
    world.mode(ControlMode.RESET)
    world.home()
    assert world.record.phase == Phase.READY
    world.wait(600.0)
    assert world.machine.wanted is None
    assert world.start() == (True, 's-00000')
    world.answer(Call.RELEASE)
    world.mode(ControlMode.POLICY)
    assert world.record.phase == Phase.RUNNING


def test_one_episode_at_a_time_and_abort_in_any_phase():
    world = World()
    assert not world.machine.abort('x', world.now)[0]
    world.start()
    assert not world.start()[0]
    assert world.machine.abort('x', world.now)[0]
    world.ended(Outcome.ABORT, EndCause.HUMAN)
    world.run()
    assert world.record.episode_id == 's-00001'


def test_late_answers_of_another_call_are_ignored():
    world = World()
    world.start()
    world.machine.answered(Call.WORLD, True, '', world.now)
    assert world.machine.wanted is Call.RESET


def test_labels_are_published_when_nothing_runs():
    world = World()
    world.run()
    world.machine.end(False, world.now)
    first = world.record.episode_id
    world.run()
    world.machine.outbox.clear()
    assert world.machine.label(first, Outcome.SUCCESS, world.now)[0]
    assert not world.machine.outbox
    assert world.machine.label('', Outcome.FAILURE, world.now)[0]  # the running one: ends it
    ids = [(r.episode_id, r.outcome) for r in world.machine.outbox]
    second = world.record.episode_id
    assert ids == [(second, Outcome.FAILURE), (first, Outcome.SUCCESS), (second, Outcome.FAILURE)]
    assert all(r.phase == Phase.ENDED for r in world.machine.outbox)
    assert not world.machine.label('nope', Outcome.SUCCESS, world.now)[0]
    assert not world.machine.label(first, Outcome.UNKNOWN, world.now)[0]
