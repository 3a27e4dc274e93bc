# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Frames to embeddings, each encoded once: by (encoder, content of the frame), in memory and on disk."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from apprentice.reward_models.base import RewardModel, RewardModelError
from apprentice.reward_models.cache.store import KEY, EmbeddingStore, stored_dim


@dataclass
class CacheCounts:
    """Since the start.

    Attributes:
        hits: frames that were not encoded.
        disk_hits: those of them that were found on disk only.
        misses: frames encoded.
        memory_bytes, disk_bytes: used now.
        corrupt: records on disk that were damaged, and made again.
    """

    hits: int = 0
    disk_hits: int = 0
    misses: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    corrupt: int = 0

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


def encoder_identity(model: RewardModel) -> str:
    """What the embeddings of a model depend on: equal for models that look through the same encoder.

    That is ``model.encoder_identity`` where a model has it, otherwise its name and version. Raises
    RewardModelError for a model with neither, because a cache could not tell its weights apart.
    """
    own = getattr(model, 'encoder_identity', '')
    if own:
        return str(own)
    if not model.version:
        raise RewardModelError(
            f'{model.model} has no version, so its embeddings cannot be kept; give it a version that '
            'changes with its weights, or an encoder_identity'
        )
    return f'{model.model} {model.version}'


def short_identity(identity: str) -> str:
    """32 hex digits of an identity: name of its folder."""
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def content_key(frame: np.ndarray) -> bytes:
    """16 bytes of the content of a frame uint8 [H, W, 3]."""
    digest = hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=KEY)
    digest.update(repr(frame.shape).encode())
    return digest.digest()


class EmbeddingCache:
    """Embeddings of one encoder, those used last in memory, all of them on disk if there is a folder.

    They are float16: 1 kB a frame for ViT-B/32, 2.6 kB for bigG/14. What is encoded anew is rounded too, so
    that a score does not depend on what happened to be kept. Thread-safe.

    Args:
        identity: of the encoder, see :func:`encoder_identity`.
        memory: bytes in memory.
        folder: of all caches on this machine; this encoder gets a folder in it. None: memory only.
        disk: bytes on disk, at least 1 MB.
    """

    def __init__(
        self, identity: str, memory: int = 64 << 20, folder: str | Path | None = None, disk: int = 1 << 30
    ):
        self.identity = short_identity(identity)
        self._memory, self._disk = memory, disk
        self._folder = None if folder is None else Path(folder).expanduser() / self.identity
        self._counts = CacheCounts()
        self._kept: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()
        self._store: EmbeddingStore | None = None
        if self._folder is not None:
            dim = stored_dim(self._folder)
            if dim is not None:
                self._store = EmbeddingStore(self._folder, self.identity, dim, disk)

    def counts(self) -> CacheCounts:
        """A copy of the statistics."""
        with self._lock:
            counts = CacheCounts(**asdict(self._counts))
        if self._store is not None:
            counts.disk_bytes, counts.corrupt = self._store.used_bytes, self._store.counts.corrupt
        return counts

    def encode(self, frames: np.ndarray, encode: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """uint8 [..., H, W, 3] to float32 [..., D]; ``encode`` is called once, with the frames that are new.

        Numbers that are not finite, or too large for float16, are handed on and not kept.
        """
        flat = frames.reshape(-1, *frames.shape[-3:])
        if not len(flat):
            return encode(frames)
        keys = [content_key(frame) for frame in flat]
        found: dict[bytes, np.ndarray] = {}
        new: dict[bytes, int] = {}
        for i, key in enumerate(keys):
            if key in found or key in new:
                continue
            kept = self._find(key)
            if kept is None:
                new[key] = i
            else:
                found[key] = kept
        if new:
            made = np.asarray(encode(flat[list(new.values())]), np.float32)
            with np.errstate(over='ignore'):
                half = made.astype(np.float16)
            good = {k: h for k, h in zip(new, half, strict=True) if np.all(np.isfinite(h))}
            found.update(zip(new, made, strict=True))
            found.update(good)
            self._keep(good)
        with self._lock:
            self._counts.misses += len(new)
            self._counts.hits += len(keys) - len(new)
        rows = np.stack([found[key].astype(np.float32) for key in keys])
        return rows.reshape(*frames.shape[:-3], *rows.shape[1:])

    def close(self) -> None:
        """Release the files."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _find(self, key: bytes) -> np.ndarray | None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept
        kept = self._store.get(key) if self._store is not None else None
        if kept is not None:
            with self._lock:
                self._counts.disk_hits += 1
                self._remember(key, kept)
        return kept

    def _keep(self, made: dict[bytes, np.ndarray]) -> None:
        if not made:
            return
        with self._lock:
            for key, embedding in made.items():
                self._remember(key, embedding.copy())  # not a view that keeps the whole batch
            if self._store is None and self._folder is not None:
                self._store = self._open(next(iter(made.values())))
        if self._store is not None:
            self._store.add(made)

    def _open(self, example: np.ndarray) -> EmbeddingStore | None:
        if example.ndim != 1:  # of patches, not of frames: in memory only
            self._folder = None
            return None
        assert self._folder is not None
        return EmbeddingStore(self._folder, self.identity, len(example), self._disk)

    def _remember(self, key: bytes, embedding: np.ndarray) -> None:
        old = self._kept.pop(key, None)
        self._counts.memory_bytes += embedding.nbytes - (0 if old is None else old.nbytes)
        self._kept[key] = embedding
        while self._counts.memory_bytes > self._memory:
            self._counts.memory_bytes -= self._kept.popitem(last=False)[1].nbytes
