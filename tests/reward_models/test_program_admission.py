# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a reward program must pass before anything may learn from it, and the folder it is loaded from."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import golden_rig as rig
import numpy as np
import pytest

from apprentice.reward_models.base import RewardModel, RewardModelError, ScoreRequest
from apprentice.reward_models.calibration.calibrate import ScoreCalibrator
from apprentice.reward_models.calibration.units import Units
from apprentice.reward_models.judge import Judge, threshold_only
from apprentice.reward_models.online import EpisodeScorer
from apprentice.reward_models.programs import folder as folders
from apprentice.reward_models.programs.admission import AdmissionConfig, admit
from apprentice.reward_models.programs.model import CodeReward, RewardProgram, TermsReward
from apprentice.reward_models.programs.sandbox.process import Limits
from apprentice.reward_models.programs.syntax import ProgramError
from apprentice.robot.types import RewardKind

GOLDEN = rig.golden()
PATIENT = AdmissionConfig(latency_ms=500.0, calls=20)  # other programs run beside the tests


def results(program, **more) -> dict:
    checks, _ = admit(program, GOLDEN, PATIENT, **more)
    return {check.name: check for check in checks}


def test_good_programs_are_admitted():
    terms = rig.written(rig.TERMS, 'terms', (0.0, 100.0))
    for program in (terms, rig.written(rig.GOOD)):
        found = results(program, before=terms)
        failed = {name: check.found for name, check in found.items() if not check.passed}
        assert not failed
        assert len(found) == 10


@pytest.mark.parametrize('fault', ['finite', 'shape', 'bounded', 'time_shift', 'ordering'])
def test_each_test_finds_its_fault(fault):
    found = results(rig.written(rig.BAD[fault]))
    assert not found[fault].passed, found[fault].found


@pytest.mark.parametrize(
    'line',
    [
        'reward = np.diff(reach, prepend=reach[:1])',  # of the state before it in the batch
        'reward = reach - reach[0]',
        'reward = reach - reach[-1]',
        'reward = reach * (len(reach) > 20)',
    ],
)
def test_a_value_that_depends_on_the_batch_is_found(line):
    source = rig.GOOD.replace('    return reach + lift', f'    {line}\n    return reward + reach + lift')
    found = results(rig.written(source))['shape']
    assert not found.passed
    assert 'depends on others in the batch' in found.found


def test_a_reward_that_grows_with_time_earns_in_a_frozen_scene():
    found = results(rig.written(rig.BAD['time_shift']))
    assert not found['frozen_scene'].passed
    assert '0.099' in found['frozen_scene'].found


def test_states_and_programs_in_millimetres_are_flagged():
    found = results(rig.written(rig.GOOD))
    assert 'refused: 100% of states in mm' in found['units'].found
    assert 'km (not judged)' in found['units'].found
    loose = rig.written(rig.GOOD)
    state = tuple(
        replace(each, low=(-1e4,) * each.size, high=(1e4,) * each.size) for each in loose.task.state
    )
    loose = replace(loose, task=replace(loose.task, state=state))
    assert not results(loose)['units'].passed
    in_mm = rig.GOOD.replace('gap / 0.1', 'gap / 100').replace('- 0.02) / 0.1', '- 20) / 100')
    found = results(rig.written(in_mm))['units']
    assert not found.passed
    assert 'written for millimetres' in found.found


def test_latency_and_the_program_before():
    strict = AdmissionConfig(latency_ms=1e-6, calls=20)
    checks, _ = admit(rig.written(rig.GOOD), GOLDEN, strict)
    assert not next(check for check in checks if check.name == 'latency').passed
    far = [{'residual': 'distance', 'of': ['tip', 'cube_red'], 'target': 5.0}]  # wants to be far away
    found = results(rig.written(rig.GOOD), before=rig.written(far, 'terms', (0.0, 100.0)))
    assert not found['previous'].passed
    assert 'rank correlation' in found['previous'].found


def test_a_program_that_is_stopped_fails_with_the_reason():
    loop = rig.GOOD.replace('return', 'x = 9 ** 9 ** 9\n    return')
    checks, _ = admit(rig.written(loop), GOLDEN, PATIENT, limits=Limits(call_s=0.3))
    assert not checks[-1].passed
    assert 'did not answer within 0.3 s' in checks[-1].found
    checks, _ = admit(rig.written('import os'), GOLDEN, PATIENT)
    assert [(check.name, check.passed) for check in checks] == [('readable', False)]


def test_a_buffer_without_failures_is_refused():
    with pytest.raises(ValueError, match='holds success and failure'):
        admit(rig.written(rig.GOOD), [e for e in GOLDEN if e.label != 'failure'])


def store(folder, program) -> None:
    checks, locks = admit(program, GOLDEN, PATIENT)
    folders.write(folder, program)
    folders.write_admission(folder, program, [asdict(check) for check in checks], locks)


def test_only_a_tested_approved_and_unchanged_program_is_loaded(tmp_path):
    folder, program = tmp_path / 'reward', rig.written(rig.GOOD)
    folders.write(folder, program)
    with pytest.raises(RewardModelError, match='was never tested; run: apprentice reward check'):
        CodeReward.load(folder)
    with pytest.raises(RewardModelError, match='never tested'):
        folders.approve(folder, 'Ada')
    store(folder, program)
    with pytest.raises(RewardModelError, match=r'nobody approved this program; .*--by NAME'):
        CodeReward.load(folder)
    with pytest.raises(RewardModelError, match='give the name'):
        folders.approve(folder, '  ')
    folders.approve(folder, 'Ada')
    data = json.loads((folder / folders.ADMISSION).read_text())
    assert data['approver'] == 'Ada'
    assert data['locks']['seccomp']
    assert data['sha256'] == program.sha256 == folders.read(folder).sha256
    model = CodeReward.load(folder, device='cpu', allow_download=False)
    assert isinstance(model, RewardModel)
    model.close()
    with pytest.raises(RewardModelError, match="TermsReward takes 'terms' programs, this is 'python'"):
        TermsReward.load(folder)
    source = folder / 'reward.py'
    source.write_text(source.read_text().replace('5.0', '6.0'))
    with pytest.raises(RewardModelError, match='was changed after its tests'):
        CodeReward.load(folder)


def test_a_program_that_failed_cannot_be_approved(tmp_path):
    store(tmp_path, rig.written(rig.BAD['ordering']))
    with pytest.raises(RewardModelError, match='failed its admission tests: ordering'):
        folders.approve(tmp_path, 'Ada')
    with pytest.raises(RewardModelError, match='failed its admission tests'):
        CodeReward.load(tmp_path)


def request(episodes, text=rig.INSTRUCTION) -> ScoreRequest:
    state = {n: np.stack([e.state[n][-3:] for e in episodes]).astype(np.float32) for n in episodes[0].state}
    return ScoreRequest([text] * len(episodes), state=state)


@pytest.mark.parametrize('form', ['terms', 'python'])
def test_scores(form):
    program = rig.written(rig.TERMS, 'terms', (0.0, 100.0)) if form == 'terms' else rig.written(rig.GOOD)
    model = RewardProgram(program)
    score = model.score(request(GOLDEN))
    assert score.kind == (RewardKind.COST if form == 'terms' else RewardKind.REWARD)
    assert score.value.shape == (12,)
    assert score.per_frame.shape == (12, 3)
    assert score.valid.all()
    np.testing.assert_array_equal(score.ood, 0)
    good = -score.value if form == 'terms' else score.value
    assert good[0] > good[1] > good[2]
    assert score.version == program.sha256[:12]
    model.close()


def test_what_cannot_be_trusted_is_not_valid():
    model = RewardProgram(rig.written(rig.GOOD, bounds=(-10.0, 1.0)))
    score = model.score(request(GOLDEN))
    np.testing.assert_array_equal(score.valid, [e.label != 'success' for e in GOLDEN])  # above its bounds
    assert np.isnan(score.value[~score.valid]).all()
    assert not model.score(request(GOLDEN, 'pick up the blue cube')).valid.any()
    assert model.score(request(GOLDEN, 'Pick up the red cube.')).valid.any()
    broken = request(GOLDEN)
    broken.state['tip'][1] = np.nan
    assert not model.score(broken).valid[1]
    far = request(GOLDEN)
    far.state['tip'][2, -1, 0] = 5.0
    score = model.score(far)
    assert not score.valid[2]
    assert score.ood[2] > 1
    with pytest.raises(RewardModelError, match=r"needs .'cube_red'. in the state; there is: .'tip'"):
        model.score(ScoreRequest(['x'], state={'tip': np.zeros((1, 1, 7), np.float32)}))
    zeros = np.zeros((1, 1, 7), np.float32)
    with pytest.raises(RewardModelError, match=r"state 'tip' must be \(1, 1, 7\)"):
        model.score(ScoreRequest(['x'], state={'cube_red': zeros, 'tip': zeros[..., :3]}))
    model.close()


def test_a_stopped_program_never_gives_a_number():
    model = RewardProgram(
        rig.written(rig.GOOD.replace('return', 'x = 9 ** 9 ** 9\n    return')), Limits(call_s=0.2)
    )
    with pytest.raises(ProgramError, match='the program was stopped'):
        model.score(request(GOLDEN))
    model.close()


def test_a_not_finite_reward_never_reaches_the_learner():
    source = rig.GOOD.replace('return reach + lift', 'return reach / (lift < 4)')
    model = RewardProgram(rig.written(source))
    score = model.score(request(GOLDEN))
    assert not score.valid[0]
    assert np.isnan(score.value[0])
    assert score.valid[1]
    model.close()


def test_encoding_is_free_and_the_node_can_start():
    model = RewardProgram(rig.written(rig.TERMS, 'terms', (0.0, 100.0)))
    assert model.encode(np.zeros((2, 64, 64, 3), np.uint8)).shape == (2, 1)
    assert model.negatives('x') == []
    assert model.needs.cameras == ()
    assert model.needs.state == ('cube_red', 'tip')
    assert EpisodeScorer(model, rig.INSTRUCTION)


def judged(model, calibrator):
    """Being done at every moment of the first two golden episodes."""
    found = []
    for episode in GOLDEN[:2]:
        scorer = EpisodeScorer(model, rig.INSTRUCTION, judge=Judge(threshold_only(0.9), calibrator))
        states = [
            {name: values[i].astype(np.float32) for name, values in episode.state.items()}
            for i in range(len(episode.state['tip']))
        ]
        nothing = np.zeros((1, 1), np.float32)
        found.append([scorer.add(0.1 * i, nothing, state).done for i, state in enumerate(states)])
    return found


def test_a_calibrated_program_says_when_it_is_done():
    """So its node can be asked by that of another model; the bounds alone are no probability."""
    model = RewardProgram(rig.written(rig.GOOD))
    units = Units(low=0.0, high=6.0)
    values = np.linspace(0.0, 6.0, 2000)
    fitted = ScoreCalibrator(model.model, model.version, RewardKind.REWARD, units=units)
    success, near_miss = judged(model, fitted.fit(values, values > 4.0))
    assert success[-1]
    assert not success[0]
    assert not any(near_miss)
    plain = ScoreCalibrator.plain(model.model, RewardKind.REWARD, Units(low=0.0, high=4.0))
    assert not any(any(each) for each in judged(model, plain))
    model.close()
