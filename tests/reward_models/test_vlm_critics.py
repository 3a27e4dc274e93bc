# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Vision-language critics behind the reward interface: pairs, references, judges, settings and errors."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip('transformers')
import torch

from apprentice.bench.small_vlm import CHAT, SIZE, qwen2_5_vl
from apprentice.reward_models.base import PairCritic, RewardModel, RewardModelError, ScoreRequest
from apprentice.reward_models.cache.model import cached
from apprentice.reward_models.online import score_episode
from apprentice.reward_models.vlm.chat import Picture
from apprentice.reward_models.vlm.critic import VlmCritic
from apprentice.reward_models.vlm.judges import RubricJudge, TrueJudge, YesJudge
from apprentice.reward_models.vlm.reference import evenly, load_reference, write_reference
from apprentice.reward_models.vlm.settings import find_model
from apprentice.reward_models.vlm.wording import done_question, pair_question
from apprentice.robot.parts import load_part
from apprentice.robot.types import RewardKind

TASK = 'pick up the red cube'
# random weights put little on numbers and answers
OPTIONS = {'image_size': SIZE, 'least_mass': 0.0}


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp('vlm')
    for name, make in CHAT.items():
        make(root / name)
    return root


@pytest.fixture(params=CHAT)
def folder(request, folders):
    return folders / request.param


def frames(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 40, 48, 3), dtype=np.uint8)


@pytest.mark.parametrize('wording', ['plain', 'vlac'])
def test_critic_scores_pairs(folder, wording):
    critic = load_part('apprentice.reward_models.vlm.critic:VlmCritic').load(
        folder, wording=wording, **OPTIONS
    )
    assert isinstance(critic, PairCritic)
    seen = frames(2, 2, 2)
    request = ScoreRequest(
        text=[TASK, 'pick up the blue cube'], frames=seen, neg_text=[['pick up the cube'], []]
    )
    score = critic.delta(request)
    assert score.kind == RewardKind.PROGRESS_DELTA
    assert score.valid.all()
    assert np.abs(score.value).max() <= 1
    assert (score.std > 0.05).all()
    assert ((score.done_prob > 0) & (score.done_prob < 1)).all()
    assert np.isfinite(score.margin).tolist() == [True, False]
    # from embeddings, one item alone and one view alone
    emb = critic.encode(seen)
    again = critic.delta(ScoreRequest(text=[TASK], emb=emb[:1]))
    assert again.value[0] == pytest.approx(score.value[0], abs=1e-5)
    views = [critic.delta(ScoreRequest(text=[TASK], emb=emb[:1, :, v : v + 1])).value[0] for v in (0, 1)]
    assert score.value[0] == pytest.approx(np.mean(views), abs=1e-5)
    turned = critic.delta(ScoreRequest(text=[TASK], emb=emb[:1, ::-1]))
    assert turned.value[0] != pytest.approx(score.value[0], abs=1e-6)
    mask = np.ones((1, 2, 2), bool)
    mask[0, 1, 0] = False
    assert critic.delta(ScoreRequest(text=[TASK], emb=emb[:1], mask=mask)).value[0] == pytest.approx(
        views[1], abs=1e-5
    )
    none = critic.delta(ScoreRequest(text=[TASK], emb=emb[:1], mask=np.zeros((1, 2, 2), bool)))
    assert not none.valid[0]


def test_critic_scores_an_episode_frame_by_frame(folder):
    critic = VlmCritic.load(folder, **OPTIONS)
    rewards = score_episode(critic, frames(4, 1), [0.0, 0.5, 1.0, 1.5], TASK)
    assert len(rewards) == 4
    assert all(r.valid and 0 <= r.progress <= 1 for r in rewards)
    whole = critic.score(ScoreRequest(text=[TASK], frames=frames(1, 3, 1)))
    assert whole.kind == RewardKind.ABS_PROGRESS
    assert whole.per_frame.shape == (1, 3)
    assert whole.per_frame[0, 0] == 0


def test_a_reference_is_seen_and_encoded_once(folder, tmp_path):
    demo = frames(9, seed=5)
    (tmp_path / 'vlm_critic.json').write_text(json.dumps({'model': str(folder), **OPTIONS}))
    plain = VlmCritic.load(tmp_path)
    write_reference(tmp_path, demo, 3)
    shown = VlmCritic.load(tmp_path)
    assert [percent for percent, _ in shown.reference] == [0, 50, 100]
    emb = shown.encode(frames(1, 2, 1))
    without, having = (c.delta(ScoreRequest(text=[TASK], emb=emb)) for c in (plain, shown))
    assert abs(without.value[0] - having.value[0]) > 1e-4
    misses = shown.network.prefix_misses
    assert misses == 1  # pair and done share instruction and reference
    shown.delta(ScoreRequest(text=[TASK], frames=frames(1, 2, 1, seed=9)))
    assert shown.network.prefix_misses == misses
    # the same demonstration in the request, to a critic that has none
    chosen = np.stack([frame for _, frame in evenly(demo, 3)])
    given = plain.delta(ScoreRequest(text=[TASK], emb=emb, reference=plain.encode(chosen[None, :, None])))
    assert given.value[0] == pytest.approx(having.value[0], abs=1e-5)


def test_judges_read_their_token(folder):
    seen = frames(2, 6, 1)
    request = ScoreRequest(text=[TASK, TASK], frames=seen, neg_text=[['pick up the blue cube'], []])
    for judge_class, kind in (
        (YesJudge, RewardKind.SUCCESS_PROB),
        (TrueJudge, RewardKind.LOG_PROB),
        (RubricJudge, RewardKind.ABS_PROGRESS),
    ):
        judge = judge_class.load(folder, frames=3, **OPTIONS)
        assert isinstance(judge, RewardModel)
        score = judge.score(request)
        assert score.kind == kind
        assert score.valid.all()
        assert score.value[0] != pytest.approx(score.value[1], abs=1e-7)
        assert np.isfinite(score.margin).tolist() == [True, False]
        low, high = (-60, 0) if kind == RewardKind.LOG_PROB else (0, 1)
        assert ((score.value >= low) & (score.value <= high)).all()


def test_log_probability_is_raw(folder):
    """What comes later does not change the value of a frame, so a failure need not end at the best value."""
    judge = TrueJudge.load(folder, frames=4, **OPTIONS)
    video = frames(1, 4, 1)
    alone = [judge.score(ScoreRequest(text=[TASK], frames=video[:, : t + 1])).value[0] for t in range(4)]
    both = judge.score(ScoreRequest(text=[TASK, TASK], frames=np.concatenate([video, video[:, ::-1]])))
    assert both.value[0] == pytest.approx(alone[3], abs=1e-4)
    assert max(alone) < 0


def test_a_model_that_says_something_else_is_not_valid(folder):
    critic = VlmCritic.load(folder, image_size=SIZE, least_mass=0.99)
    assert not critic.delta(ScoreRequest(text=[TASK], frames=frames(1, 2, 1))).valid[0]


def test_wording_of_vlac_is_what_its_weights_know():
    image = [Picture(np.full((2, 2, 3), i, np.uint8)) for i in range(5)]
    asked = pair_question('vlac', TASK, image[3], image[4], [(0, image[0]), (100, image[1])], image[2])
    text = ''.join(part if isinstance(part, str) else '<image>' for part in asked.parts)
    assert text == (
        f'<trajectory> <task> {TASK} </task>: 0% <image>\n 100% <image>\n</trajectory>0% <image>\n'
        'This image is the trajectory beginning of the following two images\n'
        'Image-1: <image>\nImage-2: <image>\n'
        'Compare two images and evaluate whether the second image is closer to achieving '
        'task objectives compared to the first image. + score means the second image is closer, '
        '- score means the first image is closer\nResponse the relative progressing of target task follow '
        f'<score>. The target task is: <task> {TASK} </task> <score>'
    )
    assert asked.parts[asked.shared - 1] == '\n</trajectory>'
    assert done_question('vlac', TASK, image[0], []).parts[-1].endswith(f'<task> {TASK} </task> <done>')


# errors


def test_nothing_is_downloaded_unasked(monkeypatch, tmp_path):
    monkeypatch.setenv('HF_HOME', str(tmp_path))
    with pytest.raises(RewardModelError, match='allow_download'):
        VlmCritic.load('someone/something')
    with pytest.raises(RewardModelError, match='APPRENTICE_MODELS'):
        VlmCritic.load(tmp_path / 'nowhere')
    with pytest.raises(RewardModelError, match='no vision-language model is named'):
        find_model('')


def test_settings_that_are_wrong(tmp_path):
    for data, words in (
        ({'model': 'x', 'size': 3}, r"unknown field \['size'\]"),
        ({'model': 'x', 'wording': 'short'}, "'plain' or 'vlac'"),
        ({'model': 'x', 'dtype': 'int8'}, 'dtype'),
        ({'model': 'x', 'batch': 0}, 'batch is 0'),
    ):
        (tmp_path / 'vlm_critic.json').write_text(json.dumps(data))
        with pytest.raises(RewardModelError, match=words):
            VlmCritic.load(tmp_path)


def test_references_that_are_wrong(tmp_path):
    write_reference(tmp_path, frames(6), 2)
    (tmp_path / 'reference' / '100.png').rename(tmp_path / 'reference' / '090.png')
    with pytest.raises(RewardModelError, match=r'from 000.png to 100.png, has \[0, 90\]'):
        load_reference(tmp_path, SIZE)
    (tmp_path / 'reference' / '090.png').rename(tmp_path / 'reference' / 'end.png')
    with pytest.raises(RewardModelError, match='named by the percentage'):
        load_reference(tmp_path, SIZE)
    with pytest.raises(RewardModelError, match='2 to 11'):
        write_reference(tmp_path, frames(6), 12)


def test_pictures_are_not_cached(folders, tmp_path):
    critic = VlmCritic.load(folders / 'qwen2_5_vl', **OPTIONS)
    assert cached(critic, folder=tmp_path / 'cache') is critic
    assert not (tmp_path / 'cache').exists()


def test_requests_that_cannot_be_scored(folders):
    critic = VlmCritic.load(folders / 'qwen2_5_vl', **OPTIONS)
    with pytest.raises(RewardModelError, match='instruction is empty'):
        critic.delta(ScoreRequest(text=[' '], frames=frames(1, 2, 1)))
    with pytest.raises(RewardModelError, match="same model's encode"):
        critic.delta(ScoreRequest(text=[TASK], emb=np.zeros((1, 2, 1, 8), np.float32)))


def test_readings_missing_from_the_tokenizer_are_named(tmp_path):
    qwen2_5_vl(tmp_path / 'm', words='robot task 1 2 3 4 5')
    with pytest.raises(RewardModelError, match='needs digits'):
        VlmCritic.load(tmp_path / 'm', **OPTIONS)
    with pytest.raises(RewardModelError, match="'yes', 'no' is not one token"):
        YesJudge.load(tmp_path / 'm', **OPTIONS)
    with pytest.raises(RewardModelError, match="'True' is not in this tokenizer"):
        TrueJudge.load(tmp_path / 'm', **OPTIONS)
    assert RubricJudge.load(tmp_path / 'm', **OPTIONS).kind == RewardKind.ABS_PROGRESS
