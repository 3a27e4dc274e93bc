# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""From devices to the gate: takes control, streams joint targets, gives it back, calls what buttons mean."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from apprentice.nodes import qos
from apprentice.nodes.runtime import StartupError, wall_timer
from apprentice.nodes.teleop_commands import HumanCommands
from apprentice.nodes.teleop_devices.device import Device
from apprentice.nodes.teleop_stream import TargetStream
from apprentice.robot.parts import load_part
from apprentice.robot.spec import RobotFileError, RobotSpec
from apprentice.robot.teleop import Chain, TeleopCommand
from apprentice.robot.teleop_control import Action, DeviceArbiter
from apprentice.robot.teleop_mapping import DeviceMapping, MappingError
from apprentice.robot.types import ControlMode

_WATCH_S = 0.05
_TAKE_S = 2.0  # after so long without HUMAN the takeover has failed
_SEEN_S = 1.5  # after the gate: until the other nodes that drive are seen


class TeleopDrive:
    """Drives the robot while a dead-man is held; the first device that holds has it.

    Pressing asks gate/request_control for control and streams the measured position, so that the gate has a
    command at its first step as HUMAN; motion begins with HUMAN. Releasing, silence or an unplugged device
    end the stream and give control back. If the gate ends it, the dead-man must be pressed again.

    Args:
        devices: names or files of mappings, separated by commas; ``none``: no device.
        rate_hz: of joint states; targets follow no faster.
        taken: called when a device takes control.
    """

    def __init__(
        self,
        node: Node,
        spec: RobotSpec,
        commands: HumanCommands,
        devices: str,
        rate_hz: float,
        taken: Callable[[], None],
    ) -> None:
        self._node, self._spec, self._commands = node, spec, commands
        self._logger, self._taken = node.get_logger(), taken
        self._mode: ControlMode | None = None  # until the gate is heard
        self._taken_at, self._heard_at = 0.0, 0.0
        self._newest_id = self._id_before = 0
        self._granted: int | None = None  # id that the gate answered to the press
        self._own_id: int | None = None  # of the takeover, once the gate says HUMAN
        self.occupied = False
        self._answers: list[tuple[str, int, Future]] = []
        self._counts: Counter[str] = Counter()
        mappings = [_mapping(name) for name in device_names(devices)]
        if len({mapping.name for mapping in mappings}) < len(mappings):
            raise StartupError(f'device:={devices}: two mappings have the same name')
        chain = self._chain() if mappings else None
        self._stream = TargetStream(node, spec, commands, chain, rate_hz, self._driver)
        self._mapper = self._stream.mapper
        self._arbiter = DeviceArbiter({mapping.name: mapping.timeout_s for mapping in mappings})
        self._control = node.create_client(SetBool, 'gate/request_control')
        self._stop = node.create_client(Trigger, 'gate/stop')
        self._end = node.create_client(SetBool, 'episode/end')
        self._abort = node.create_client(Trigger, 'episode/abort')
        self._events = node.create_publisher(String, 'teleop/event', qos.LOG)
        self._devices: dict[str, Device] = {}
        for mapping in mappings:
            self._devices[mapping.name] = self._make(mapping)
        if mappings:
            wall_timer(node, _WATCH_S, self._watch)

    @property
    def holding(self) -> bool:
        """Whether a device drives."""
        return bool(self._arbiter.owner)

    def on_mode(self, mode: ControlMode, takeover_id: int) -> None:
        """What gate/state says, with every message. States from before our takeover may still arrive."""
        anew = takeover_id < self._newest_id
        if self._mode is None:
            self._heard_at = time.monotonic()
        self._mode, self._newest_id = mode, takeover_id
        if not self.holding:
            self.occupied &= mode == ControlMode.HUMAN
        elif anew:
            self._drop('the gate was started anew')
        elif self._own_id is None:
            self._begin()
        elif mode != ControlMode.HUMAN and takeover_id >= self._own_id:
            self._drop(f'the gate is in {mode.name}')

    def _begin(self) -> None:
        """Drive, once the gate has answered the press and says HUMAN with the id of its answer."""
        if self._granted is None or self._mode != ControlMode.HUMAN or self._newest_id < self._granted:
            return
        self._own_id = self._granted
        self._stream.engage()
        self._stream.again()

    def _driver(self) -> tuple[TeleopCommand | None, bool]:
        return self._arbiter.command, self._own_id is not None

    def _chain(self) -> Chain | None:
        try:
            from apprentice.sim.robots.chain import ArmChain  # MuJoCo, as a library of kinematics

            return ArmChain(self._spec)
        except (RobotFileError, ImportError) as error:
            self._logger.warning(f'driving joint by joint, not the tool: {error}')
            return None

    def _make(self, mapping: DeviceMapping) -> Device:
        try:
            return load_part(mapping.device)(self._node, mapping, partial(self._on_device, mapping.name))
        except ImportError as error:
            raise StartupError(f'mapping {mapping.name}: {error}') from error

    # devices

    def _on_device(self, name: str, command: TeleopCommand | None) -> None:
        if command is None:
            self._act(self._arbiter.gone(name))
            return
        self._act(self._arbiter.on_command(name, command, time.monotonic()))
        for event in self._arbiter.events(name, command):
            self._on_event(event)

    def _on_event(self, event: str) -> None:
        self._counts[event] += 1
        if event == 'toggle_gripper':
            self._mapper.toggle_gripper()
            return
        self._events.publish(String(data=event))
        if event == 'stop':
            self._call(self._stop, Trigger.Request(), event)
        elif event in ('success', 'failure'):
            self._call(self._end, SetBool.Request(data=event == 'success'), event)
        elif event == 'discard':
            self._call(self._abort, Trigger.Request(), event)

    def _watch(self) -> None:
        self._act(self._arbiter.tick(time.monotonic()))
        self._hear()
        late = self.holding and self._own_id is None and time.monotonic() - self._taken_at > _TAKE_S
        if late:
            self._drop('the gate did not answer; is it running?')

    def _hear(self) -> None:
        """What the services answered."""
        answered = [entry for entry in self._answers if entry[2].done()]
        self._answers = [entry for entry in self._answers if not entry[2].done()]
        for what, takeover, answer in answered:
            response = answer.result()
            if response is None or what == 'release':
                continue
            ours = what == 'takeover' and self.holding and takeover == self._counts['takeovers']
            if not response.success:
                self._logger.warning(f'{what} was refused: {response.message}')
                if ours:
                    self._drop(response.message)
            elif ours:
                number = re.search(r'takeover (\d+)', response.message)
                self._granted = int(number[1]) if number else self._id_before + 1
                if self._own_id is None:
                    self._begin()
                else:  # the takeover that was to go on may have ended before the press arrived
                    self._own_id = self._granted

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            if action == Action.TAKE:
                self._take()
            else:
                self._logger.info(f'released: {self._arbiter.reason}')
                self._mapper.disengage()
                self._call(self._control, SetBool.Request(data=False), 'release')

    def _take(self) -> None:
        # somebody else's takeover goes on; but not our own that we have just released
        goes_on = self._mode == ControlMode.HUMAN and not self.occupied
        self._own_id, self._granted = self._newest_id if goes_on else None, None
        self._id_before, self._taken_at = self._newest_id, time.monotonic()
        self._counts['takeovers'] += 1
        others = self._commands.driven_elsewhere() if goes_on else ''
        if others:
            self._drop(f'{others} may be driving, and one node drives at a time: let go there first')
            return
        # somebody else's takeover may be going on, and a node that has just begun does not see all others yet
        if self._mode is None:
            self._drop('nothing has been heard from the gate yet; is it running?')
            return
        if goes_on and time.monotonic() - self._heard_at < _SEEN_S:
            self._drop('this node has just begun, and somebody may be driving')
            return
        if self._stream.joints is None:
            self._drop(f'no joint state has arrived on {self._spec.joint_states_topic}')
            return
        self.occupied = True
        self._taken()
        self._logger.info(f'{self._arbiter.owner} takes over')
        self._stream.engage()
        self._stream.first()
        self._call(self._control, SetBool.Request(data=True), 'takeover')

    def _drop(self, reason: str) -> None:
        owner = self._arbiter.owner
        self._logger.warning(f'{owner} does not drive: {reason}; let the dead-man go, then press it again')
        self._arbiter.dropped(reason)
        self._mapper.disengage()
        asked = any(what == 'takeover' and not answer.done() for what, _, answer in self._answers)
        if (self._own_id is None or asked) and self._control.service_is_ready():
            # the gate may give control yet, and then nobody would drive
            self._call(self._control, SetBool.Request(data=False), 'release')

    def _call(self, client, request, what: str) -> None:
        if client.service_is_ready():
            answer = client.call_async(request)
            self._answers.append((what, self._counts['takeovers'], answer))
            answer.add_done_callback(lambda _: self._hear())  # motion waits for it
            return
        self._logger.error(f'{what}: {client.srv_name} is not there; is its node running?')
        if what == 'takeover':
            self._drop(f'{client.srv_name} is not there')

    # state

    def problems(self) -> dict[str, str]:
        """Device -> what is missing, for those that are not there."""
        found = {name: device.status() for name, device in self._devices.items()}
        return {name: text for name, text in found.items() if text}

    def values(self) -> dict[str, object]:
        """What diagnostics say of it."""
        return {
            'devices': ', '.join(self._devices) or 'none',
            'driven_by': self._arbiter.owner or 'nobody',
            'motion': 'tool' if self._mapper.cartesian else 'joints',
            'last_release': self._arbiter.reason,
            'commands': self._stream.count,
            **self._counts,
            **{f'missing_{name}': text for name, text in self.problems().items()},
        }

    def close(self) -> None:
        """Give back terminals and device files."""
        for device in self._devices.values():
            device.close()


def device_names(devices: str) -> list[str]:
    """The mappings that the parameter ``device`` names."""
    names = [name.strip() for name in devices.split(',')]
    return [name for name in names if name and name != 'none']


def _mapping(name: str) -> DeviceMapping:
    try:
        return DeviceMapping.load(name)
    except MappingError as error:
        raise StartupError(f'device {name!r}: {error}') from None
