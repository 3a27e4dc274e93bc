# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""CLIP image towers by onnxruntime: equal to torch, in 8 bits in the same order, refused when in doubt."""

import json
import shutil

import numpy as np
import pytest

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.clip import onnx_export, onnx_tower
from apprentice.reward_models.clip.encoder import CONFIG, VOCABULARY, WEIGHTS, ClipEncoder
from apprentice.reward_models.clip.onnx_pool import one_query
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.reward_models.evaluation.metrics import spearman
from apprentice.reward_models.files import write_half
from apprentice.robot.parts import share

for package in ('onnx', 'onnxruntime'):
    pytest.importorskip(package, reason=f"{package} is missing: pip install 'apprentice[onnx]'")

TEXT = 'pick up the red cube'


def pictures(count, size, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return coarse.repeat(size // 8, axis=1).repeat(size // 8, axis=2)


@pytest.fixture(scope='module')
def convolutional(tmp_path_factory):
    """The shipped weights, in a folder of their own."""
    folder = tmp_path_factory.mktemp('small') / 'clip'
    shutil.copytree(share('weights', 'clip'), folder)
    encoder = ClipEncoder.load(folder)
    onnx_export.export(encoder, folder / 'onnx', int8=True, images=pictures(24, 64, seed=5))
    return folder


@pytest.fixture(scope='module')
def transformer(tmp_path_factory):
    """A vision transformer with random weights; its transform resizes and crops."""
    import open_clip
    import torch

    folder = tmp_path_factory.mktemp('vit')
    shutil.copy(share('weights', 'clip', VOCABULARY), folder)
    config = json.loads(share('weights', 'clip', CONFIG).read_text())
    config['model_cfg']['vision_cfg'] = {'image_size': 32, 'layers': 2, 'width': 64, 'patch_size': 8}
    config['preprocess_cfg'] |= {'size': 32, 'resize_mode': 'shortest'}
    (folder / CONFIG).write_text(json.dumps(config))
    torch.manual_seed(0)
    write_half(open_clip.create_model(f'local-dir:{folder}', load_weights=False), folder / WEIGHTS)
    onnx_export.export(ClipEncoder.load(folder), folder / 'onnx', int8=True)
    return folder


@pytest.mark.parametrize(('kind', 'shape'), [('convolutional', (64, 64)), ('transformer', (48, 80))])
def test_embeddings_and_rewards_are_those_of_torch(kind, shape, request):
    folder = request.getfixturevalue(kind)
    coarse = np.random.default_rng(1).integers(0, 256, (20, *shape, 3), np.uint8)
    torch, onnx = ClipReward.load(folder), ClipReward.load(folder, runtime='onnx')
    assert (torch.runtime, onnx.runtime) == ('torch', 'onnx')
    assert onnx.encoder.network.visual is None  # its weights are not kept twice
    for count in (1, 3, 20):  # any batch
        np.testing.assert_allclose(onnx.encode(coarse[:count]), torch.encode(coarse[:count]), atol=2e-5)
    np.testing.assert_array_equal(onnx.encoder.text([TEXT]), torch.encoder.text([TEXT]))
    assert torch.encoder_identity != onnx.encoder_identity
    assert torch.version == onnx.version


@pytest.mark.parametrize('kind', ['convolutional', 'transformer'])
def test_eight_bits_keep_the_order(kind, request):
    folder = request.getfixturevalue(kind)
    torch, small = ClipReward.load(folder), ClipReward.load(folder, runtime='onnx-int8')
    frames = pictures(60, 64, seed=2)
    mine, own = (model.reward(model.encode(frames), TEXT) for model in (small, torch))
    assert not np.allclose(mine, own, atol=1e-6)  # it really is another graph
    assert spearman(mine, own) > 0.9
    sizes = [(folder / 'onnx' / name).stat().st_size for name in onnx_tower.GRAPHS.values()]
    assert sizes[1] < sizes[0]


def test_bfloat16_is_torch_with_three_digits(transformer):
    torch, half = ClipReward.load(transformer), ClipReward.load(transformer, runtime='torch-bf16')
    frames = pictures(4, 32)
    difference = np.abs(half.encode(frames) - torch.encode(frames)).max()
    assert 0 < difference < 0.02
    assert half.encode(frames).dtype == np.float32
    np.testing.assert_array_equal(half.encoder.text([TEXT]), torch.encoder.text([TEXT]))


@pytest.fixture
def copy(convolutional, tmp_path):
    shutil.copytree(convolutional, tmp_path / 'clip')
    return tmp_path / 'clip'


def damage(folder):
    path = folder / 'onnx' / 'clip.onnx'
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def other_weights(folder):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    save_file({name: np.asarray(t * np.float16(1.01)) for name, t in tensors.items()}, folder / WEIGHTS)


def other_preprocessing(folder):
    config = json.loads((folder / CONFIG).read_text())
    config['preprocess_cfg']['mean'] = [0.4, 0.5, 0.5]
    (folder / CONFIG).write_text(json.dumps(config))


def other_result(folder):
    """A graph that computes something else here, as another version of the runtime might."""
    path = folder / 'onnx' / 'clip_onnx.json'
    manifest = json.loads(path.read_text())
    shutil.copy(folder / 'onnx' / 'clip_int8.onnx', folder / 'onnx' / 'clip.onnx')
    manifest['files']['clip.onnx'] = manifest['files']['clip_int8.onnx']
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (damage, 'damaged'),
        (other_weights, 'was made from CLIP weights'),
        (other_preprocessing, 'was made from CLIP weights'),
        (other_result, 'other embeddings here'),
        (lambda folder: shutil.rmtree(folder / 'onnx'), 'apprentice export clip-onnx'),
        (lambda folder: (folder / 'onnx' / 'clip_onnx.json').write_text('{}'), 'export again'),
        (lambda folder: (folder / 'onnx' / 'clip_onnx.json').write_text('{'), 'not readable JSON'),
    ],
)
def test_what_is_in_doubt_is_refused(copy, change, words):
    assert ClipReward.load(copy, runtime='onnx')
    change(copy)
    with pytest.raises(RewardModelError, match=words):
        ClipReward.load(copy, runtime='onnx')


def test_an_unknown_runtime_and_wrong_exports_are_refused(copy, tmp_path):
    with pytest.raises(RewardModelError, match='torch-bf16'):
        ClipReward.load(copy, runtime='tensorrt')
    encoder = ClipEncoder.load(copy)
    with pytest.raises(RewardModelError, match='runtime torch'):
        onnx_export.export(ClipReward.load(copy, runtime='onnx').encoder, tmp_path / 'out')
    with pytest.raises(RewardModelError, match='is no ONNX export'):
        onnx_export.export(encoder, copy)
    assert not (tmp_path / 'out').exists()
    assert ClipReward.load(copy)


def test_folders_beside_the_weights(tmp_path):
    assert onnx_tower.default_folder(tmp_path) == tmp_path / 'onnx'
    assert onnx_tower.default_folder(f'ViT-B-32:{tmp_path / "w.safetensors"}') == tmp_path / 'onnx'
    (tmp_path / 'w.safetensors').write_text('')
    assert onnx_tower.default_folder(tmp_path / 'w.safetensors') == tmp_path / 'onnx'


def test_the_pool_of_one_query_computes_what_the_pool_of_all_does():
    import torch

    network = ClipEncoder.load(share('weights', 'clip')).network
    pool = network.visual.attnpool
    maps = torch.randn(3, pool.positional_embedding.shape[1], 2, 2)
    with torch.no_grad():
        expected = pool(maps)
        with one_query(network):
            assert network.visual.attnpool is not pool
            np.testing.assert_allclose(network.visual.attnpool(maps), expected, atol=1e-5)
    assert network.visual.attnpool is pool


def test_what_computes_nothing_is_left_out(convolutional):
    import onnx

    nodes = onnx.load(str(convolutional / 'onnx' / 'clip.onnx')).graph.node
    pools = [node for node in nodes if node.op_type == 'AveragePool']
    kernels = [list(a.ints) for node in pools for a in node.attribute if a.name == 'kernel_shape']
    assert kernels
    assert all(kernel == [2, 2] for kernel in kernels)
    first = next(node for node in nodes if node.op_type == 'Conv')
    (before,) = (node for node in nodes if first.input[0] in node.output)
    assert before.op_type == 'Add'  # the scale of the pixels is in the weights
    assert len(nodes) < 100  # the pool as it comes asks for its own sizes in as many
