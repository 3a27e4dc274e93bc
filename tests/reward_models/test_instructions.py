# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Instructions without their colours, colours without their names, and thumbnails."""

import numpy as np
import pytest
import torch
from PIL import Image

from apprentice.reward_models.critic import thumbnails
from apprentice.reward_models.critic.eyes import ThumbnailEye
from apprentice.reward_models.critic.instructions import hues, parse, wrong_instructions

PUSH = 'Push the red block to the blue zone.'


def test_colours_leave_the_sentence():
    assert parse(PUSH).words == ('push', 'the', 'colour1', 'block', 'to', 'the', 'colour2', 'zone')
    assert parse(PUSH).colours == ('red', 'blue')
    assert parse(PUSH).words == parse('push the yellow block to the purple zone').words
    # the same colour twice is one thing to look for
    assert parse('put the red cube on the red plate').words[-2] == 'colour1'
    assert parse('open the drawer').colours == ()
    assert np.isnan(hues('open the drawer')).all()
    assert hues(PUSH) == pytest.approx([0.0, 2 / 3])


def test_greys_have_no_hue_to_look_for():
    assert parse('take the white cup').words == ('take', 'the', 'white', 'cup')


def test_wrong_instructions_ask_for_something_else():
    wrong = wrong_instructions(PUSH.lower(), ('red', 'blue', 'green'), most=9)
    assert 'push the blue block to the red zone.' in wrong
    assert 'push the green block to the blue zone.' in wrong
    assert 'push the red block to the green zone.' in wrong
    assert PUSH.lower() not in wrong
    assert wrong_instructions('open the top drawer', ()) == [
        'close the top drawer',
        'open the bottom drawer',
    ]
    assert wrong_instructions('wave', ('red',)) == []


def test_a_colour_is_found_where_it_is():
    frame = np.full((64, 64, 3), (150, 138, 120), np.uint8)
    frame[8:16, 40:48], frame[40:48, 8:16] = (217, 31, 26), (235, 204, 26)  # red, yellow
    emb = torch.from_numpy(thumbnails.encode(frame[None]))
    assert emb.shape == (1, thumbnails.WIDTH)
    for text, place in (('the red cube', (6, 22)), ('the yellow cube', (22, 6))):
        _, first, second, other = thumbnails.maps(emb, torch.from_numpy(hues(text))[None])[0]
        assert first[place] > 0.9
        assert first.sum() == pytest.approx(16, abs=2)  # 4 x 4 pixels, and nothing else
        assert not second.any()
        assert other[place] < 0.1
    # what is named in no instruction is "other"
    assert thumbnails.maps(emb, torch.from_numpy(hues('open it'))[None])[0, 3, 6, 22] > 0.9


def test_two_colours_trade_places_with_their_names():
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 255, (3, 64, 64, 3), np.uint8)
    emb = torch.from_numpy(thumbnails.encode(frame))
    one = thumbnails.maps(emb, torch.from_numpy(np.stack([hues('the red on the blue')] * 3)))
    two = thumbnails.maps(emb, torch.from_numpy(np.stack([hues('the blue on the red')] * 3)))
    torch.testing.assert_close(one[:, [0, 2, 1, 3]], two)


@pytest.mark.parametrize('size', [(64, 64), (96, 128), (50, 70)])
def test_any_size_of_picture(size):
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 255, (2, 1, *size, 3), np.uint8)
    emb = thumbnails.encode(frame)
    assert emb.shape == (2, 1, thumbnails.WIDTH)
    expected = Image.fromarray(frame[1, 0]).resize((32, 32), Image.Resampling.BOX)
    np.testing.assert_allclose(emb[1, 0].reshape(32, 32, 3) * 255, np.asarray(expected), atol=1.01)


def test_unknown_words_are_not_read():
    eye = ThumbnailEye.of(['pick up the red cube', 'push the blue block'])
    known, strange = eye.text(['pick up the red cube', 'snatch up the red cube'])
    assert eye.colours == ('blue', 'red')
    assert known[:-2].sum() == 5
    assert strange[:-2].sum() == 4
    np.testing.assert_array_equal(known[-2:], strange[-2:])
