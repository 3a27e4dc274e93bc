# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Gamepads, keyboards and foot pedals read from the Linux kernel, where no driver node runs.

Needs the ``evdev`` package (``pip install 'apprentice[teleop]'``) and read access to /dev/input/event*: the
user belongs to the group ``input``. A device may be unplugged and plugged in again at any time.
"""

from __future__ import annotations

import difflib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.node import Node

from apprentice.nodes.runtime import StartupError, wall_timer
from apprentice.nodes.teleop_devices.device import Deliver, options_of
from apprentice.robot.teleop_mapping import DeviceMapping, Translator

_POLL_S = 0.01
_LOOK_S = 1.0  # between two looks for a device that is not there
_SYN_REPORT = 0  # what came since the one before belongs to one moment
_SYN_DROPPED = 3  # the kernel's queue ran over: what is pressed has to be asked for
_BLUETOOTH = 0x05  # bus of a device, linux/input.h


@dataclass(frozen=True)
class EvdevOptions:
    """``name``: part of the device's name, any case; ``path``: its file; ``grab``: nobody else hears it.

    ``wireless``: take a Bluetooth device too, although the kernel does not tell when its link is lost.
    """

    name: str = ''
    path: str = ''
    grab: bool = False
    wireless: bool = False


class EvdevDevice:
    """Any device that has all axes and buttons its mapping names (``ABS_X``, ``BTN_SOUTH``, ``KEY_W``)."""

    def __init__(self, node: Node, mapping: DeviceMapping, deliver: Deliver) -> None:
        self._options = options_of(mapping, EvdevOptions)
        self._logger, self._deliver = node.get_logger(), deliver
        self._translator = Translator(mapping)
        self.state = EvdevState(mapping)
        self._name, self._missing = mapping.name, 'not looked for yet'
        self._open: Any = None
        self._looked = 0.0
        wall_timer(node, _POLL_S, self._poll)

    def _poll(self) -> None:
        if self._open is None:
            if time.monotonic() - self._looked < _LOOK_S:
                return
            self._looked = time.monotonic()
            self._look()
            if self._open is None:
                return
        try:
            for event in _pending(self._open):
                if event.type == 0 and event.code == _SYN_DROPPED:
                    self.state.read(self._open)
                elif event.type == 0 and event.code == _SYN_REPORT:
                    self._say()  # a tap may begin and end between two looks
                else:
                    self.state.change(event.type, event.code, event.value)
        except OSError as error:  # unplugged, or out of reach
            self._logger.warning(f'{self._name}: {self._open.name} is gone ({error.strerror})')
            self.close()
            self._translator.forget()
            self._deliver(None)
            return
        # the kernel says nothing while nothing changes, and an open device is a living one
        self._say()

    def _say(self) -> None:
        now = time.monotonic()
        self._deliver(self._translator.command(self.state.axes, self.state.buttons, time.time(), now))

    def _look(self) -> None:
        import evdev

        paths: list[Any] = [self._options.path] if self._options.path else evdev.list_devices()
        seen, refused = [], ''
        for path in paths:
            try:
                device: Any = evdev.InputDevice(path)
            except OSError as error:
                self._missing = f'{path}: {error.strerror}'
                continue
            seen.append(device.name)
            if self._options.name.lower() in device.name.lower() and self.state.fits(device):
                if device.info.bustype == _BLUETOOTH and not self._options.wireless:
                    refused = (
                        f'{device.name} is on Bluetooth, and the kernel does not tell when its link is lost: '
                        'use a cable, or set options: {wireless: true} in its mapping'
                    )
                    device.close()
                    continue
                try:
                    if self._options.grab:
                        device.grab()
                    self.state.read(device)
                except OSError as error:
                    self._missing = f'{device.name}: {error.strerror}'
                    device.close()
                    continue
                self._open, self._missing = device, ''
                self._logger.info(f'{self._name}: {device.name} ({device.path})')
                return
            device.close()
        if not self._options.path or not seen:
            self._missing = self._missing if self._options.path else missing(seen)
        self._missing = refused or self._missing

    def status(self) -> str:
        return self._missing

    def close(self) -> None:
        if self._open is not None:
            try:
                self._open.close()
            except OSError:
                logging.getLogger(__name__).debug('closing a device that is gone')
            self._open, self._missing = None, 'unplugged'


class EvdevState:
    """What is pressed and where the axes are, by the names of a mapping.

    Raises StartupError where evdev is not installed and for a name that evdev does not know.
    """

    def __init__(self, mapping: DeviceMapping) -> None:
        try:
            from evdev import ecodes
        except ImportError:
            raise StartupError(
                f"mapping {mapping.name} reads a device through evdev: pip install 'apprentice[teleop]'"
            ) from None
        self.axes: dict[str, float] = {}
        self.buttons: dict[str, bool] = {}
        self._names: dict[tuple[int, int], list[str]] = {}
        self._range: dict[int, tuple[float, float]] = {}
        self._key, self._abs = ecodes.EV_KEY, ecodes.EV_ABS
        for name in dict.fromkeys(mapping.references()):
            code = ecodes.ecodes.get(name)
            if code is None or not name.startswith(('KEY_', 'BTN_', 'ABS_')):
                near = difflib.get_close_matches(name.upper(), ecodes.ecodes, n=3)
                hint = f'; did you mean one of {near}?' if near else '; see `python -m evdev.evtest`'
                raise StartupError(f'mapping {mapping.name}: evdev knows no {name!r}{hint}')
            self._names.setdefault((self._abs if name.startswith('ABS_') else self._key, code), []).append(
                name
            )

    def fits(self, device: Any) -> bool:
        """Whether the device has everything that the mapping names."""
        has = device.capabilities(absinfo=False)
        return all(code in has.get(kind, ()) for kind, code in self._names)

    def read(self, device: Any) -> None:
        """Ask the device for everything, at the beginning and after events were lost."""
        self._range = {code: (i.min, i.max) for code, i in device.capabilities().get(self._abs, ())}
        pressed = set(device.active_keys())
        for kind, code in self._names:
            self.change(kind, code, device.absinfo(code).value if kind == self._abs else int(code in pressed))

    def change(self, kind: int, code: int, value: int) -> None:
        """One event of the kernel; what the mapping does not name is passed over."""
        for name in self._names.get((kind, code), ()):
            if kind == self._key:
                self.buttons[name] = value != 0  # 2 is a repetition
            else:
                low, high = self._range.get(code, (-1, 1))
                self.axes[name] = 2.0 * (value - low) / (high - low) - 1.0 if high > low else 0.0


def _pending(device: Any) -> list[Any]:
    """Events that wait to be read; raises OSError when the device is gone."""
    try:
        return list(device.read())
    except BlockingIOError:
        return []


def missing(seen: list[str]) -> str:
    """Why no device fits, with what to do."""
    files = sorted(Path('/dev/input').glob('event*'))
    if not files:
        return 'the kernel knows no input device: plug it in; a container needs --device /dev/input'
    if not seen:
        return 'no permission to read /dev/input: sudo usermod -aG input $USER, then log in again'
    return f'none of {seen} has all the axes and buttons of the mapping: correct it, or plug the device in'
