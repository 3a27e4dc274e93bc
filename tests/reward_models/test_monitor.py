# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Limits, ladder, audits, and the monitor that joins them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.monitor.audit import AuditConfig, AuditPlan, false_success_rate
from apprentice.reward_models.monitor.collect import JointRange, evidence_of_episode
from apprentice.reward_models.monitor.detector import Level
from apprentice.reward_models.monitor.evidence import Evidence, Judged
from apprentice.reward_models.monitor.ladder import Ladder, LadderConfig
from apprentice.reward_models.monitor.limits import DETECTORS, Calibration
from apprentice.reward_models.monitor.monitor import Monitor
from apprentice.reward_models.monitor.watch import Watch
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind


def episode(rng, number=0, away=0.0, spread=0.05, gold=1.0, version='1', score=None):
    """An episode of a normal kind; ``away``: of the embeddings, ``spread``: of the ensemble."""
    phi = np.linspace(0, rng.uniform(0.8, 1.0) if score is None else score, 12)
    return Evidence(
        f'e{number}', 'pick', 'critic', version, embeddings=rng.normal(size=(12, 6)) + away, potential=phi,
        members=phi + spread * rng.normal(size=(4, 12)), gold=gold, claims=phi > 0.75,
    )  # fmt: skip


@pytest.fixture(scope='module')
def calibration():
    rng = np.random.default_rng(0)
    return Calibration.fit([episode(rng, i) for i in range(120)], false_alarm=0.02)


def test_false_alarms_stay_below_the_stated_rate(calibration):
    rng = np.random.default_rng(1)
    names = {'embedding_ood', 'disagreement', 'static_credit', 'cycle_credit'}
    alarms = dict.fromkeys(names, 0)
    monitor = Monitor(calibration)
    trials = 400
    for i in range(trials):
        for finding in monitor.inspect(episode(rng, i)):
            if finding.name in names:
                alarms[finding.name] += finding.alarm
    for name, count in alarms.items():
        stated = calibration.limits[name].rate
        assert stated <= 0.02 + 1e-9
        # the limit itself was estimated from 120 episodes, hence the margin of four standard errors of both
        assert count / trials < stated + 4 * np.sqrt(stated * (1 / trials + 1 / 120)), name


def test_few_episodes_state_a_higher_rate_and_fewer_are_refused():
    rng = np.random.default_rng(2)
    few = Calibration.fit([episode(rng, i) for i in range(19)], false_alarm=0.01)
    assert few.limits['disagreement'].rate == pytest.approx(1 / 20)
    assert few.family_rate > 0.05
    with pytest.raises(RewardModelError, match='10 or more'):
        Calibration.fit([episode(rng)] * 9)
    with pytest.raises(RewardModelError, match='one version'):
        Calibration.fit([episode(rng, i, version=str(i % 2)) for i in range(20)])


def test_a_calibration_comes_back_from_its_file(calibration, tmp_path):
    path = tmp_path / 'new' / 'critic.json'
    calibration.save(path)
    again = Calibration.load(path)
    rng = np.random.default_rng(3)
    odd = replace(episode(rng, away=2.0), forward=np.array([0.2]), backward=np.array([0.2]))
    before, after = (Monitor(c).inspect(odd) for c in (calibration, again))
    assert [f.name for f in before] == [kind.name for kind in DETECTORS]
    np.testing.assert_allclose([f.value for f in before], [f.value for f in after], rtol=1e-6)
    np.testing.assert_allclose([f.limit for f in before], [f.limit for f in after])
    data = json.loads(path.read_text())  # strict JSON: no NaN
    assert 'NaN' not in path.read_text()
    data['detectors']['disagreement']['learned']['unknown'] = 1
    path.write_text(json.dumps(data))
    with pytest.raises(RewardModelError, match='fit it again'):
        Calibration.load(path)


def test_one_alarm_is_flagged_and_forgotten_several_are_not(calibration):
    rng = np.random.default_rng(4)
    monitor = Monitor(
        calibration, LadderConfig(persist=2, window=8, chance=1.0, escalate=2, quiet=4, weight=0.25)
    )
    assert monitor.judge(episode(rng, 0)).level == Level.OK
    once = monitor.judge(episode(rng, 1, spread=1.0))
    assert (once.level, once.weight, once.alarms) == (Level.FLAG, 1.0, ('disagreement',))
    twice = monitor.judge(episode(rng, 2, spread=1.0))
    assert (twice.level, twice.weight) == (Level.DOWN_WEIGHT, 0.25)
    assert 'disagreement' in twice.reason
    assert 'not acknowledged' in twice.reason
    levels = [monitor.judge(episode(rng, 3 + i, spread=1.0)).level for i in range(8)]
    # FREEZE, then SPARSE, which is the most that disagreement alone may ask for
    assert levels == [2, 3, 3, 4, 4, 4, 4, 4]
    assert monitor.weight == 0.0
    for _ in range(12):
        assert monitor.ladder.step({'disagreement': False}, {}) == Level.SPARSE  # nobody acknowledged
    monitor.acknowledge('someone')
    levels = [int(monitor.ladder.step({'disagreement': False}, {})) for _ in range(17)]
    assert levels == [3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(('rate', 'count'), [(1e-4, 2), (0.01, 3), (0.05, 4), (0.09, 5), (0.9, 8)])
def test_the_less_sure_a_limit_the_more_alarms_are_needed(rate, count):
    config = LadderConfig()
    assert config.needed(rate) == count
    assert config.needed(float('nan')) == config.persist
    ladder, detectors = Ladder(), {kind.name: kind() for kind in DETECTORS}
    levels = [ladder.step({'disagreement': True}, detectors, {'disagreement': rate}) for _ in range(count)]
    assert levels == [Level.FLAG] * (count - 1) + [Level.DOWN_WEIGHT]


def test_a_new_rise_needs_a_new_acknowledgement():
    ladder = Ladder(LadderConfig(persist=1, window=4, quiet=2))
    detectors = {kind.name: kind() for kind in DETECTORS}
    assert ladder.step({'embedding_ood': True}, detectors) == Level.DOWN_WEIGHT
    ladder.acknowledge('someone')
    assert ladder.step({'false_success': True}, detectors) == Level.SPARSE
    assert not ladder.acknowledged
    for _ in range(6):
        assert ladder.step({'false_success': False}, detectors) == Level.SPARSE
    with pytest.raises(ValueError, match='who'):
        ladder.acknowledge('')
    with pytest.raises(ValueError, match='persist'):
        LadderConfig(persist=9, window=8)


@pytest.mark.parametrize(('unjudged', 'last'), [(0, Level.SPARSE), (1, Level.STOP)])
def test_false_success_stops_learning_where_a_claim_may_be_believed(calibration, unjudged, last):
    """Where somebody else judged all claims, doing without the model is enough."""
    rng = np.random.default_rng(5)
    monitor = Monitor(calibration, LadderConfig(escalate=3))
    for i in range(unjudged):
        monitor.judge(episode(rng, 100 + i, gold=float('nan')))
    levels = [monitor.judge(episode(rng, i, gold=0.0)).level for i in range(8)]
    assert Level.SPARSE in levels
    assert levels[-1] == last
    assert monitor.weight == 0.0
    assert monitor.false_success_rate().wrong == 8


def test_another_version_is_flagged_and_not_compared(calibration):
    report = Monitor(calibration).judge(episode(np.random.default_rng(6), version='2', spread=5.0))
    assert report.level == Level.FLAG
    assert not report.findings
    assert 'fit a new calibration' in report.reason


def test_audits_propose_at_random_and_the_top_tail():
    rng = np.random.default_rng(7)
    plan = AuditPlan(AuditConfig(random_share=0.1, tail_share=0.1), seed=1)
    scores = rng.uniform(size=600)
    why = [plan.propose(score) for score in scores]
    assert 30 < why.count('random') < 90
    assert 25 < why.count('top tail') < 90
    assert min(s for s, w in zip(scores[100:], why[100:]) if w == 'top tail') > 0.7
    assert why == [AuditPlan(AuditConfig(0.1, 0.1), seed=1).propose(s) for s in scores[:1]] + why[1:]


def test_the_rate_comes_from_the_fair_sample_only(calibration):
    monitor = Monitor(calibration, audit=AuditConfig(random_share=0.5, tail_share=0.2))
    rng = np.random.default_rng(8)
    proposed = {}
    for i in range(60):
        report = monitor.judge(episode(rng, i, gold=float('nan')))
        if report.audit:
            proposed[report.episode_id] = report.audit
    assert len(monitor.waiting_for_audit()) == len(proposed) > 0
    for name, why in proposed.items():
        assert monitor.audit(name, success=why == 'random')
    assert not monitor.audit('nobody', True)
    rate = monitor.false_success_rate()
    assert (rate.wrong, rate.claims) == (0, list(proposed.values()).count('random'))
    assert 0 == rate.low < rate.high < 0.2
    tail = false_success_rate([Judged('t', '', 1.0, 0.0, True, 'top tail')], ('top tail',))
    assert (tail.wrong, tail.claims) == (1, 1)


def logged(number, outcome=Outcome.SUCCESS, rise=1.0):
    rng = np.random.default_rng(number)
    length = 40
    stamps = 10.0 + 0.1 * np.arange(length)
    phi = np.linspace(0, rise, 8)
    rewards = [
        Reward(t, t, RewardKind.ABS_PROGRESS, p, progress=p, done_prob=p, model='critic', version='1')
        for t, p in zip(stamps[::5], phi)
    ]
    scene = np.random.default_rng(0).integers(0, 60, (1, 32, 32, 3))  # the same camera in every episode
    noise = rng.integers(0, 4, (length, 32, 32, 3))
    frames = (scene + noise + np.arange(length)[:, None, None, None] * 4).astype(np.uint8)
    action = np.tile([0.1, 0.02], (length, 1)).astype(np.float32)
    return Episode(
        f'log-{number}', 'pick', number, outcome, 1, False, stamps, {'front': frames}, action, action,
        np.ones(length, np.uint8), np.zeros(length, np.int64), rewards,
    )  # fmt: skip


def test_evidence_from_a_log():
    grips = JointRange('grips', 1, 0.03, 0.04)
    limits = {'lower': np.array([-1, 0.0]), 'upper': np.array([1, 0.04])}
    evidence = evidence_of_episode(logged(0), 'critic', True, **limits, conditions=[grips])
    assert (evidence.model, evidence.version, evidence.gold, evidence.score()) == ('critic', '1', 1.0, 1.0)
    assert evidence.embeddings.shape == (8, 256)
    assert evidence.claimed().tolist() == [False] * 7 + [True]
    assert not evidence.conditions['grips'].any()  # the gripper is open wider than the thing: a false claim
    assert set(evidence.cameras) == {'front'}
    assert np.isnan(evidence_of_episode(logged(0), 'critic', False).gold)
    assert evidence_of_episode(logged(0), 'nobody', True).rewards == []


def test_a_watch_calibrates_alarms_and_survives_a_restart(tmp_path):
    watch = Watch(
        tmp_path, 'critic', episodes=12, ladder=LadderConfig(persist=1, window=4, chance=1.0, quiet=2)
    )
    first = watch.judge(evidence_of_episode(logged(99, Outcome.FAILURE), 'critic', True))
    assert 'left out' in first.reason
    for number in range(12):
        report = watch.judge(evidence_of_episode(logged(number), 'critic', True))
        assert report.level == Level.OK
    assert 'calibrated on 12 episodes' in report.reason
    assert watch.calibration_file('1').exists()
    dark = logged(50)
    dark.images['front'] = dark.images['front'] // 60
    report = watch.judge(evidence_of_episode(dark, 'critic', True))
    assert 'camera_health' in report.alarms
    assert report.level == Level.DOWN_WEIGHT

    again = Watch(tmp_path, 'critic', episodes=12)
    assert again.level == Level.DOWN_WEIGHT  # a restart is no acknowledgement
    assert again.judge(evidence_of_episode(logged(51), 'critic', True)).findings
    assert again.audit('log-51', False)
    (tmp_path / 'critic.level.json').write_text('{}')
    with pytest.raises(RewardModelError, match='delete it'):
        Watch(tmp_path, 'critic', episodes=12)


def test_an_audit_counts_while_the_calibration_set_is_collected(tmp_path):
    rng = np.random.default_rng(20)
    watch = Watch(tmp_path, 'critic', episodes=12)
    for number in range(11):
        watch.judge(episode(rng, number, gold=float('nan')))
    assert watch.audit('e0', False)  # it claimed a success
    assert watch.audit('e1', True)
    assert not watch.audit('e50', False)
    assert {e.episode_id: e.gold for e in watch._set}['e1'] == 1.0
    assert 'calibrating: 11 of 12' in watch.judge(episode(rng, 11)).reason
    assert 'e0' not in {e.episode_id for e in watch._set}
    failed = episode(rng, 12, score=0.5, gold=float('nan'))
    assert 'calibrated on 12' in watch.judge(failed).reason


def test_an_audit_of_the_calibration_set_fits_it_again_without_a_false_claim(tmp_path):
    rng = np.random.default_rng(22)
    watch = Watch(tmp_path, 'critic', episodes=11)
    for number in range(11):
        watch.judge(episode(rng, number, gold=float('nan')))
    file = watch.calibration_file('1')
    monitor, before = watch.monitor, file.read_text()
    watch.judge(episode(rng, 11, gold=float('nan')))
    assert watch.audit('e3', True)  # agrees: nothing changes
    assert file.read_text() == before
    assert watch.audit('e4', False)
    assert watch.monitor is monitor  # which remembers what it has judged
    assert watch.audit('e11', True)
    assert (watch.monitor.calibration.episodes, Calibration.load(file).episodes) == (10, 10)
    assert watch.judge(episode(rng, 12)).findings
    assert watch.audit('e5', False)  # nine are left: too few
    assert not file.exists()
    assert 'calibrating: 10 of 11' in watch.judge(episode(rng, 13)).reason
    assert 'calibrated on 11' in watch.judge(episode(rng, 14)).reason


def test_a_flag_does_not_keep_a_new_version_from_being_calibrated(tmp_path):
    rng = np.random.default_rng(23)
    for level, calibrated in ((Level.FLAG, True), (Level.DOWN_WEIGHT, False)):
        watch = Watch(tmp_path / level.name, 'critic', episodes=10)
        watch._ladder.level = level
        for number in range(10):
            report = watch.judge(episode(rng, number, version='2'))
        assert watch.calibration_file('2').exists() == calibrated
        assert report.level == level


@pytest.mark.parametrize('level', [Level.DOWN_WEIGHT, Level.SPARSE])
def test_from_down_weight_on_a_new_version_needs_a_calibration_that_somebody_made(tmp_path, level):
    rng, ladder = np.random.default_rng(21), LadderConfig(quiet=2)
    watch = Watch(tmp_path, 'critic', episodes=10, ladder=ladder)
    for number in range(10):
        watch.judge(episode(rng, number))
    watch._ladder.level, watch._ladder.reason = level, 'static_credit'
    weight = watch._ladder.weight
    watch._keep()
    restarted = Watch(tmp_path, 'critic', episodes=10, ladder=ladder)
    for each in (watch, restarted):
        each.acknowledge('somebody')
        for number in range(12):  # whatever scores now is not what is normal
            report = each.judge(episode(rng, 100 + number, away=30.0, version='2', gold=float('nan')))
        assert (report.level, report.weight, report.findings) == (level, weight, ())
        assert str(each.calibration_file('2')) in report.reason
        assert not each.calibration_file('2').exists()
    made = Calibration.fit([episode(rng, number, version='2') for number in range(100)])
    made.save(watch.calibration_file('2'))
    for each in (watch, restarted):
        reports = [each.judge(episode(rng, 200 + number, version='2')) for number in range(30)]
        assert reports[0].findings
        assert min(report.level for report in reports) < level
