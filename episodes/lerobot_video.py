# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Images of a LeRobotDataset as it is written: mp4 files by PyAV, or PNG.

Videos have a key frame every second frame, as LeRobot's, so that a frame is found by decoding at most two.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.episodes.files import replacing_durably
from apprentice.episodes.lerobot_frames import import_av

KINDS = ('h264', 'av1', 'png')
# encoders of a kind, the fast ones of a graphics card first
_ENCODERS = {
    'h264': ('h264_nvenc', 'h264_videotoolbox', 'libx264'),
    'av1': ('av1_nvenc', 'libsvtav1'),
}
_OPTIONS = {
    'h264_nvenc': {'preset': 'p4', 'rc': 'constqp', 'qp': '20'},
    'h264_videotoolbox': {'q:v': '65'},
    'libx264': {'preset': 'veryfast', 'crf': '18'},
    'av1_nvenc': {'preset': 'p4', 'rc': 'constqp', 'qp': '60'},
    'libsvtav1': {'preset': '10', 'crf': '30'},
}
_CPU = ('libx264', 'libsvtav1')


class EncodingError(ValueError):
    """Images cannot be encoded; the text names cause and remedy."""


def encode_video(path: Path, images: Any, fps: float, kind: str, hardware: bool = True) -> str:
    """Write uint8 [T, H, W, 3] as one mp4 file, frame i at i / fps seconds; returns the encoder's name.

    The file is on the disk when this returns.

    Args:
        kind: ``h264`` or ``av1``.
        hardware: take the graphics card's encoder where there is one that takes this size.

    Raises EncodingError for odd sizes and when no encoder of this kind is there; OSError of the disk.
    """
    height, width = images.shape[1:3]
    name = encoder(kind, width, height, hardware)
    with replacing_durably(path) as temporary, open(temporary, 'wb') as stream:
        _encode(stream, images, round(fps), name)
    return name


@functools.cache
def encoder(kind: str, width: int, height: int, hardware: bool = True) -> str:
    """The first encoder of a kind that works here for this size, found by trying. Raises EncodingError."""
    if width % 2 or height % 2:
        raise EncodingError(
            f'a video of {width} x {height} is not possible, its sides must be even; use --images png'
        )
    names = [name for name in _ENCODERS[kind] if hardware or name in _CPU]
    for name in names:
        if _works(name, width, height):
            return name
    raise EncodingError(f'no encoder for {kind} is there (tried {names}); use another --images, or png')


def _works(name: str, width: int, height: int) -> bool:
    av = import_av()
    try:
        _encode(io.BytesIO(), np.zeros((2, height, width, 3), np.uint8), 10, name)
    except (av.error.FFmpegError, ValueError, OSError):
        return False
    return True


def _encode(target: Any, images: Any, fps: int, name: str) -> None:
    av = import_av()
    with av.open(target, 'w', format='mp4') as container:
        stream = container.add_stream(name, rate=fps, options={'g': '2', **_OPTIONS[name]})
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt = 'yuv420p'
        for row in range(len(images)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(images[row]), 'rgb24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def encode_png(image: np.ndarray) -> bytes:
    """uint8 [H, W, 3] as a PNG file; without loss."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, 'PNG', compress_level=1)
    return stream.getvalue()


def frames_in(path: Path) -> int:
    """Frames that are in a video, counted without decoding them. Raises EncodingError for a damaged file."""
    av = import_av()
    try:
        with av.open(str(path)) as container:
            return sum(1 for packet in container.demux(video=0) if packet.size)
    except (OSError, IndexError, ValueError) as error:  # av's own errors are among these
        raise EncodingError(f'{path} is missing or damaged ({error}); export the episode again') from None
