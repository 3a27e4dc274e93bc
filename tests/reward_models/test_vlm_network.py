# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Token probabilities of real model classes: against transformers alone, in batches, with kept prefixes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('transformers')
import torch
import transformers

from apprentice.bench.small_vlm import CHAT, SIZE, qwen2_5_vl
from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.vlm.chat import Picture, Question
from apprentice.reward_models.vlm.network import Network
from apprentice.reward_models.vlm.readings import ChoiceReading, NumberReading, WordReading, _signs

CLOSE = {'atol': 3e-5, 'rtol': 1e-4}


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp('vlm')
    for name, make in CHAT.items():
        make(root / name)
    return root


@pytest.fixture(params=CHAT)
def folder(request, folders):
    return folders / request.param


def load(folder, dtype='float32', batch=8) -> Network:
    torch.set_num_threads(1)
    return Network.load(folder, 'cpu', dtype, batch, prefixes=4)


def picture(seed: int) -> Picture:
    return Picture(np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))


def question(first=1, second=2, task='pick up the red cube', shared=3, answer='') -> Question:
    parts = (
        f'task {task} example ',
        picture(50),
        ' done ',
        'First ',
        picture(first),
        ' Second ',
        picture(second),
        ' ?',
    )
    return Question(parts, shared, answer)


def every(branches):
    return branches.log_probs.numpy()


def by_transformers(folder, asked: Question) -> np.ndarray:
    """Log-probabilities of the next token from the whole model and its processor, without our code."""
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    content = [
        {'type': 'text', 'text': part} if isinstance(part, str) else {'type': 'image'} for part in asked.parts
    ]
    text = processor.apply_chat_template(
        [{'role': 'user', 'content': content}], add_generation_prompt=True, tokenize=False
    )
    images = [torch.from_numpy(p.pixels).permute(2, 0, 1) for p in asked.parts if isinstance(p, Picture)]
    one_view = {'smolvlm': {'do_image_splitting': False}, 'internvl': {'crop_to_patches': False}}
    made = processor(
        text=[text + asked.answer],
        images=[images],
        return_tensors='pt',
        add_special_tokens=False,
        **one_view.get(folder.name, {}),
    )
    with torch.no_grad():
        out = model(**{k: v for k, v in made.items() if k != 'token_type_ids'})
    return out.logits[0, -1].float().log_softmax(-1).numpy()


@pytest.mark.parametrize('shared', [0, 1, 3])
def test_probabilities_are_those_of_the_whole_model(folder, shared):
    asked = question(shared=shared, answer='score ')
    np.testing.assert_allclose(load(folder).ask([asked], every)[0], by_transformers(folder, asked), **CLOSE)


def test_a_batch_changes_nothing_and_each_image_matters(folder):
    network = load(folder, batch=3)
    asked = [
        question(1, 2),
        question(1, 3),
        question(4, 2),
        question(1, 2, task='pick up the blue cube now ?'),
    ]
    together = network.ask([*asked, asked[0]], every)
    np.testing.assert_array_equal(together[0], together[4])
    for row, single in zip(together, asked, strict=False):
        np.testing.assert_allclose(row, load(folder).ask([single], every)[0], **CLOSE)
    for other in (1, 2, 3):
        assert np.abs(together[0] - together[other]).max() > 1e-3


def test_the_beginning_is_computed_once_for_all_frames(folder):
    network, lengths = load(folder), []
    network.model.register_forward_pre_hook(
        lambda module, args, named: lengths.append(named['input_ids'].shape), with_kwargs=True
    )
    network.ask([question(1, 2), question(3, 4)], every)
    network.ask([question(5, 6)], every)
    first, rest, later = lengths
    assert first[0] == 1
    assert rest[0] == 2
    assert later == (1, rest[1])
    assert (network.prefix_misses, network.prefix_hits) == (1, 2)
    network.ask([question(5, 6, task='pick up the blue cube')], every)
    assert network.prefix_misses == 2
    for number in range(6):
        network.ask([question(task='up ' * (number + 1))], every)
    assert len(network._prefixes) == 4


def test_a_written_word_has_the_probability_of_its_tokens(folder):
    network = load(folder)
    ids = network.tokenizer.encode('-12', add_special_tokens=False)
    assert len(ids) == 3
    total, said = 0.0, ' '
    for token, text in zip(ids, '-12', strict=True):
        total += by_transformers(folder, question(answer=said))[token]
        said += text
    assert network.ask([question()], WordReading(network.tokenizer, '-12'))[0, 0] == pytest.approx(
        total, abs=1e-3
    )


def brute_force(network, low, high):
    """Mean, deviation and mass over every way to write every number, each followed on its own."""
    found = {}
    token = dict(
        zip('+-0123456789', network.tokenizer.convert_tokens_to_ids(list('+-0123456789')), strict=True)
    )
    texts = {sign + str(abs(n)): n for n in range(low, high + 1) for sign in _signs(n)}

    def follow(branches):
        mass = sum(
            float(branches.log_probs[0, token[c]].exp()) for c in token if any(t[0] == c for t in texts)
        )
        for text, number in texts.items():
            here, p = branches, 1.0
            for place, character in enumerate(text):
                can = {t[place] for t in texts if len(t) > place and t[:place] == text[:place]}
                probs = here.log_probs[0].exp().double()
                share = float(probs[token[character]])
                if text[:place] not in texts:  # nothing but a digit or sign can follow
                    share /= float(sum(probs[token[c]] for c in can))
                p *= share
                here = here.extend([0], [token[character]])
            more = {t[len(text)] for t in texts if len(t) > len(text) and t.startswith(text)}
            end = 1 - float(sum(here.log_probs[0].exp().double()[token[c]] for c in more))
            found[text] = (number, p * end)
        values = np.array([v for v, _ in found.values()])
        weights = np.array([w for _, w in found.values()])
        weights /= weights.sum()
        mean = values @ weights
        return np.array([[mean, np.sqrt(weights @ (values - mean) ** 2), mass]])

    return network.ask([question()], follow)[0]


def test_the_mean_number_is_the_mean_over_all_numbers(folder):
    network = load(folder)
    exact = brute_force(network, -12, 12)
    read = network.ask([question()], NumberReading(network.tokenizer, -12, 12, least=0.0))[0]
    np.testing.assert_allclose(read, exact, rtol=1e-3, atol=1e-3)
    assert exact[1] > 1
    pruned = network.ask([question()], NumberReading(network.tokenizer, -12, 12, least=0.02))[0]
    assert pruned[0] == pytest.approx(exact[0], abs=1.0)


def test_unlikely_branches_are_not_followed(folders):
    network, rows = load(folders / 'qwen2_5_vl'), []
    network.model.register_forward_pre_hook(
        lambda module, args, named: rows.append(len(named['input_ids'])), with_kwargs=True
    )
    network.ask([question()], NumberReading(network.tokenizer, -100, 100, least=0.0))
    whole = sum(rows)
    rows.clear()
    network.ask([question()], NumberReading(network.tokenizer, -100, 100, least=0.05))
    assert sum(rows) < whole / 4


def test_tokens_of_several_digits_are_numbers_too(tmp_path):
    from apprentice.bench.small_vlm import WORDS

    qwen2_5_vl(tmp_path / 'model', words=WORDS + ' 10 25 100')
    network = load(tmp_path / 'model')
    reading = NumberReading(network.tokenizer, -100, 100, 0.0)
    number = network.tokenizer.convert_tokens_to_ids
    assert {number('25'), number('2')} <= {token for _, token in reading._next['']}
    assert number('25') not in {token for _, token in reading._next['8']}
    assert np.isfinite(network.ask([question()], reading)).all()


def test_choice_counts_every_way_to_write_a_word(folder):
    network = load(folder)
    p = network.ask([question()], ChoiceReading(network.tokenizer, ('yes', 'no')))[0]
    log_probs = by_transformers(folder, question())
    ids = network.tokenizer.convert_tokens_to_ids(['yes', 'Yes', 'no', 'No'])
    np.testing.assert_allclose(p, np.exp(log_probs[ids]).reshape(2, 2).sum(1), rtol=1e-3)


def test_bfloat16_is_close(folder):
    exact, rough = (load(folder, dtype).ask([question()], every)[0] for dtype in ('float32', 'bfloat16'))
    assert 0 < np.abs(np.exp(exact) - np.exp(rough)).max() < 0.05


# errors


def test_words_and_numbers_that_cannot_be_read(tmp_path):
    qwen2_5_vl(tmp_path / 'm', words='robot task 1 2 3 yes')
    tokenizer = load(tmp_path / 'm').tokenizer
    with pytest.raises(RewardModelError, match="'no' is not one token"):
        ChoiceReading(tokenizer, ('yes', 'no'))
    with pytest.raises(RewardModelError, match='needs digits and a minus sign'):
        NumberReading(tokenizer, -100, 100, 0.0)
    with pytest.raises(RewardModelError, match="'True' is not in this tokenizer"):
        WordReading(tokenizer, 'True')
    NumberReading(tokenizer, 1, 3, 0.0)


def test_an_instruction_must_not_hold_a_placeholder(folder):
    network = load(folder)
    with pytest.raises(RewardModelError, match='stands for an image'):
        network.ask([question(task=network.chat.placeholder)], every)


def test_incomplete_weights_are_refused(folders, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(folders / 'qwen2_5_vl', tmp_path / 'm')
    state = load_file(tmp_path / 'm' / 'model.safetensors')
    lost = next(name for name in state if 'mlp' in name)
    save_file(
        {k: v for k, v in state.items() if k != lost}, tmp_path / 'm' / 'model.safetensors', {'format': 'pt'}
    )
    with pytest.raises(RewardModelError, match='lacks 1 weights'):
        load(tmp_path / 'm')
    (tmp_path / 'm' / 'model.safetensors').unlink()
    with pytest.raises(RewardModelError, match='does not load'):
        load(tmp_path / 'm')
