# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Any open_clip model as an image and text encoder: by name, by name and file, or from a folder."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.cache.texts import TextCache
from apprentice.reward_models.clip.encoder_transformers import is_transformers_folder, load_transformers
from apprentice.robot.files import sha256

CONFIG = 'open_clip_config.json'
WEIGHTS = 'open_clip_model.safetensors'
VOCABULARY = 'bpe.txt.gz'  # merges of a vocabulary of the folder's own, for open_clip's SimpleTokenizer
BATCH = 256  # images in one call of the network

log = logging.getLogger(__name__)


class ClipEncoder:
    """Unit-length embeddings of images and texts by one open_clip model.

    Thread-safe. Text embeddings are kept, so that an instruction is encoded once. Preprocessing
    (size, resize mode, mean, std) is the model's own.

    Attributes:
        name: what was asked for.
        version: first 12 hex digits of the sha256 of the weights.
        logit_scale: the model's learned inverse temperature.
        size: (height, width) of what the network sees.
        preprocessing: hash of resizing and scaling.
        runtime: what runs the image tower: torch, or what :meth:`use_tower` was given.
        texts: the embeddings of texts; may be shared with other encoders.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        name: str,
        version: str,
        device: str = 'cpu',
        texts: TextCache | None = None,
    ):
        import open_clip
        import torch
        from open_clip.transform import PreprocessCfg, image_transform_v2
        from torchvision.transforms import Compose, Normalize, ToTensor

        self._torch = torch
        self.device = torch.device(device)
        self.network = model.to(self.device).eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self.name, self.version = name, version
        self.logit_scale = float(model.logit_scale.exp())
        config = open_clip.get_model_preprocess_cfg(model)
        steps = image_transform_v2(PreprocessCfg(**config), is_train=False).transforms
        self._resize = Compose([step for step in steps if not isinstance(step, (ToTensor, Normalize))])
        self.preprocessing = _short_hash(json.dumps(config, sort_keys=True, default=str).encode())
        size = config['size']
        self.size: tuple[int, int] = (size, size) if isinstance(size, int) else (size[0], size[1])
        self.mean = torch.tensor(config['mean'], device=self.device).view(1, 3, 1, 1)
        self.std = torch.tensor(config['std'], device=self.device).view(1, 3, 1, 1)
        self.texts = texts or TextCache()
        self.batch = BATCH
        self.runtime, self._dtype = 'torch', torch.float32
        self._tower: Callable[[np.ndarray], np.ndarray] | None = None
        self._lock = threading.Lock()

    @classmethod
    def load(cls, source: str | Path, device: str = 'cpu', allow_download: bool = False) -> ClipEncoder:
        """Load any open_clip model.

        Args:
            source: one of: a folder with ``open_clip_config.json`` and safetensors weights; a folder of a
                CLIP or SigLIP model as transformers saves it (``config.json``, safetensors); a safetensors
                file beside such a configuration; ``name:file.safetensors``; ``name:tag`` with a tag of
                ``open_clip.list_pretrained()``; ``hf-hub:organisation/name``.
            device: torch device.
            allow_download: fetch weights that are not on this machine. Off: nothing is downloaded.

        Raises:
            RewardModelError: naming what is missing and what to do.
        """
        text = str(source)
        path = Path(text).expanduser()
        if path.is_dir():
            return cls._from_folder(path, None, text, device)
        if path.is_file():
            return cls._from_folder(path.parent, path, text, device)
        name, _, weights = text.partition(':')
        if name == 'hf-hub':
            if not allow_download:
                raise _needs_download(text)
            return cls._create(text, '', text, _short_hash(text.encode()), device, online=True)
        if not weights or '/' in name or '\\' in name:
            raise RewardModelError(
                f'CLIP weights {text!r} do not exist. Give a folder with {CONFIG}, a safetensors file, '
                "'ViT-B-32:<file>' or 'ViT-B-32:<pretrained tag>'; the shipped weights are made by "
                '`apprentice train clip`'
            )
        return cls._from_name(name, weights, text, device, allow_download)

    @classmethod
    def _from_name(cls, name: str, weights: str, text: str, device: str, allow_download: bool) -> ClipEncoder:
        import open_clip
        from open_clip.pretrained import get_pretrained_cfg

        if open_clip.get_model_config(name) is None:
            raise RewardModelError(f'open_clip has no model {name!r}; see open_clip.list_models()')
        file = Path(weights).expanduser()
        if file.is_file():
            _check_safetensors(file)
            return cls._create(name, str(file), text, sha256(file)[:12], device)
        tag = get_pretrained_cfg(name, weights)
        if not tag:
            known = open_clip.list_pretrained_tags_by_model(name)
            raise RewardModelError(f'{weights!r} is neither a file nor a pretrained tag of {name}: {known}')
        if not allow_download:
            local = _cached(tag)
            if local is None:
                raise _needs_download(text)
            options: dict[str, Any] = {
                key: tag[key] for key in ('mean', 'std', 'interpolation') if key in tag
            }
            return cls._create(
                name,
                local,
                text,
                sha256(Path(local))[:12],
                device,
                force_preprocess_cfg=options,
                force_quick_gelu=bool(tag.get('quick_gelu', False)),
            )
        quick = bool(tag.get('quick_gelu', False))
        version = _short_hash(text.encode())
        return cls._create(name, weights, text, version, device, online=True, force_quick_gelu=quick)

    @classmethod
    def _from_folder(cls, folder: Path, file: Path | None, text: str, device: str) -> ClipEncoder:
        if not (folder / CONFIG).is_file():
            if is_transformers_folder(folder):
                weights = file or next(iter(sorted(folder.glob('*.safetensors'))), None)
                if weights is not None:
                    _check_safetensors(weights)
                    model, tokenizer = load_transformers(folder)
                    return cls(model, tokenizer, text, sha256(weights)[:12], device)
            raise RewardModelError(
                f'{folder} has no {CONFIG}; name the architecture as well: <open_clip name>:<file>'
            )
        if file is None:
            files = sorted(folder.glob('*.safetensors'))
            if not files:
                raise RewardModelError(
                    f'{folder} holds no weights (*.safetensors); reproduce them as its README says, '
                    'or `apprentice train clip`'
                )
            # the name open_clip itself prefers comes first
            file = next((f for f in files if f.name == WEIGHTS), files[0])
        _check_safetensors(file)
        return cls._create(f'local-dir:{folder}', str(file), text, sha256(file)[:12], device)

    @classmethod
    def _create(
        cls,
        name: str,
        weights: str,
        text: str,
        version: str,
        device: str,
        online: bool = False,
        **options: Any,
    ) -> ClipEncoder:
        import open_clip

        folder = Path(name.removeprefix('local-dir:'))
        local = name.startswith('local-dir:')
        vocabulary = folder / VOCABULARY
        own_words = {'bpe_path': str(vocabulary)} if local and vocabulary.is_file() else {}
        try:
            with nullcontext() if online else _offline():
                model = open_clip.create_model(
                    name,
                    pretrained=None if local else (weights or None),
                    device='cpu',
                    pretrained_text=False,
                    **options,
                )
                if local and Path(weights).name != WEIGHTS:  # that one open_clip has loaded by itself
                    open_clip.load_checkpoint(model, weights)
                tokenizer = open_clip.get_tokenizer(name, **own_words)
        except Exception as error:  # open_clip raises whatever its parts raise
            raise RewardModelError(f'CLIP model {text!r} cannot be loaded: {error}') from error
        return cls(model, tokenizer, text, version, device)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self.text(['a']).shape[1])

    @property
    def identity(self) -> str:
        """What image embeddings depend on: weights, preprocessing and runtime."""
        return f'clip {self.version} {self.preprocessing} {self.runtime}'

    def use_tower(self, tower: Callable[[np.ndarray], np.ndarray], runtime: str) -> None:
        """Let ``tower`` encode images, uint8 [N, h, w, 3] of ``size`` to unit embeddings [N, D].

        The network's own image tower is released.
        """
        self._tower, self.runtime = tower, runtime
        self.network.visual = None

    def use_bfloat16(self) -> None:
        """Run the image tower in bfloat16: twice as fast where the processor has it, with 3 digits."""
        self._dtype, self.runtime = self._torch.bfloat16, 'torch-bf16'
        self.network.visual.to(self._dtype)

    def resize(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, 3] to [N, h, w, 3] of ``size``, by the model's own transform."""
        if images.shape[1:3] == self.size:
            return images
        from PIL import Image

        return np.stack([np.asarray(self._resize(Image.fromarray(image))) for image in images])

    def prepare(self, images: np.ndarray) -> Any:
        """uint8 [N, H, W, 3] to the network's input tensor [N, 3, h, w]."""
        pixels = self._torch.from_numpy(np.ascontiguousarray(self.resize(images))).to(self.device)
        scaled = (pixels.permute(0, 3, 1, 2).float().div_(255.0) - self.mean) / self.std
        return scaled.to(self._dtype)

    def images(self, images: np.ndarray) -> np.ndarray:
        """uint8 [..., H, W, 3] RGB to unit embeddings float32 [..., D]."""
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim < 3 or images.shape[-1] != 3:
            raise RewardModelError(f'images must be uint8 [..., H, W, 3], got {images.dtype} {images.shape}')
        flat = images.reshape(-1, *images.shape[-3:])
        parts = []
        with self._torch.inference_mode(), self._lock:
            for start in range(0, len(flat), self.batch):
                part = flat[start : start + self.batch]
                if self._tower is not None:
                    parts.append(self._tower(self.resize(part)))
                    continue
                embedding = self.network.encode_image(self.prepare(part), normalize=True)
                parts.append(embedding.float().cpu().numpy())
        return np.concatenate(parts).reshape(*images.shape[:-3], -1)

    def text(self, texts: Sequence[str]) -> np.ndarray:
        """Texts to unit embeddings float32 [N, D]; each text is encoded once."""
        return self.texts.get(self.version, texts, self._encode_texts)

    def _encode_texts(self, texts: list[str]) -> np.ndarray:
        with self._torch.inference_mode(), self._lock:
            tokens = self._tokenizer(texts).to(self.device)
            return self.network.encode_text(tokens, normalize=True).float().cpu().numpy()

    def mean_text(self, texts: Sequence[str]) -> np.ndarray:
        """Unit float32 [D]: the mean of several descriptions, normalised again."""
        mean = self.text(texts).mean(axis=0)
        return mean / np.linalg.norm(mean)


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the parts of a model (text tower, tokenizer) from being fetched from a hub."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _needs_download(text: str) -> RewardModelError:
    return RewardModelError(
        f'CLIP model {text!r} is not on this machine and nothing is downloaded unasked. Set allow_download, '
        "or give a local file: 'ViT-B-32:<file>.safetensors'"
    )


def _check_safetensors(file: Path) -> None:
    if file.suffix != '.safetensors':
        raise RewardModelError(
            f'{file} is not a safetensors file; convert it once with safetensors.torch.save_file, '
            'pickled weights can run code when they are read'
        )


def _cached(tag: dict[str, Any]) -> str | None:
    """Path of a pretrained tag's weights if an earlier download left them here."""
    repository, _, filename = str(tag.get('hf_hub', '')).rpartition('/')
    if not repository:
        return None
    from huggingface_hub import try_to_load_from_cache

    for candidate in ('open_clip_model.safetensors', 'model.safetensors', filename):
        found = try_to_load_from_cache(repository, candidate) if candidate else None
        if isinstance(found, str):
            return found
    return None


def _short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
