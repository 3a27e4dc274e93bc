# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What every node shares: parameters, start and end of a process, lifecycle, diagnostics."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

STEADY = Clock(clock_type=ClockType.STEADY_TIME)
_WAKE_S = 0.1  # how late a node may hear a signal


class StartupError(RuntimeError):
    """The node cannot start; the message names cause and remedy and becomes the last line printed."""


def parameter(
    node: Node,
    name: str,
    default: Any,
    description: str,
    low: float | None = None,
    high: float | None = None,
    read_only: bool = True,
) -> Any:
    """Declare a parameter with description and range and return its value."""
    descriptor = ParameterDescriptor(description=description, read_only=read_only)
    if low is not None and high is not None:
        if isinstance(default, int):
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=0)]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high))
            ]
    return node.declare_parameter(name, default, descriptor).value


def simulated_time(node: Node) -> bool:
    """Whether the node's clock is a simulator's."""
    return bool(node.get_parameter('use_sim_time').value)


def wall_timer(node: Node, period_s: float, callback: Callable[[], None]):
    """A timer on the steady clock: it also runs while simulated time stands still."""
    return node.create_timer(period_s, callback, clock=STEADY)


_NOT_KNOWN_YET = '_NODE_NAME_UNKNOWN_'  # rmw has heard of the publisher before it heard of its node


def other_publishers(node: Node, topic: str) -> str:
    """Names of the other nodes that publish on a topic on which this one does; '' when it is alone."""
    if node.count_publishers(topic) <= 1:
        return ''
    infos = node.get_publishers_info_by_topic(topic)
    names = [
        f'{info.node_namespace.rstrip("/")}/{info.node_name}'
        if info.node_name != _NOT_KNOWN_YET
        else 'a node not known by name yet'
        for info in infos
    ]
    own = node.get_fully_qualified_name()
    if own in names:
        names.remove(own)  # once: another may have the same name
    return ', '.join(names)


class Diagnostics:
    """Publishes one DiagnosticStatus a second on /diagnostics.

    ``report`` returns (level, message, values); it runs in the executor's thread.
    """

    OK, WARN, ERROR, STALE = (
        DiagnosticStatus.OK,
        DiagnosticStatus.WARN,
        DiagnosticStatus.ERROR,
        DiagnosticStatus.STALE,
    )

    def __init__(
        self, node: Node, report: Callable[[], tuple[bytes, str, dict[str, Any]]], hardware_id: str = ''
    ):
        self._node, self._report, self._hardware_id = node, report, hardware_id
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._timer = wall_timer(node, 1.0, self.publish)

    def publish(self) -> None:
        level, message, values = self._report()
        status = DiagnosticStatus(
            level=level,
            name=self._node.get_fully_qualified_name().lstrip('/'),
            message=message,
            hardware_id=self._hardware_id,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)


class ManagedNode(LifecycleNode):
    """A lifecycle node whose failures are loud and which can start itself.

    Subclasses implement ``configure``, ``activate``, ``deactivate`` and ``cleanup``; an exception in
    one is logged with its traceback (rclpy swallows it) and fails the transition. With the parameter
    ``autostart`` (default true) the node configures and activates itself.
    """

    def __init__(self, name: str, **kwargs):
        super().__init__(name, **kwargs)
        self.active = False
        self._entities_kept: set[int] = set()
        self._autostart = parameter(
            self, 'autostart', True, 'configure and activate without a lifecycle manager'
        )

    def start(self) -> None:
        """Run the autostart transitions. Raises StartupError if one fails."""
        if not self._autostart:
            return
        for label, transition in (('configure', self.trigger_configure), ('activate', self.trigger_activate)):
            if transition() != TransitionCallbackReturn.SUCCESS:
                raise StartupError(f'{self.get_name()} failed to {label}; the reason is in the log above')

    def configure(self) -> None:
        """Load models, declare parameters, create publishers and subscriptions."""

    def activate(self) -> None:
        """Start acting."""

    def deactivate(self) -> None:
        """Stop acting; must leave the robot holding."""

    def cleanup(self) -> None:
        """Release what ``configure`` acquired."""

    def on_configure(self, state) -> TransitionCallbackReturn:
        self._entities_kept = {id(entity) for _, entities in self._graph_entities() for entity in entities}
        return self._guard('configure', self.configure)

    def on_activate(self, state) -> TransitionCallbackReturn:
        result = self._guard('activate', self.activate)
        self.active = result == TransitionCallbackReturn.SUCCESS
        if self.active:
            return super().on_activate(state)
        return result

    def on_deactivate(self, state) -> TransitionCallbackReturn:
        self.active = False
        self._guard('deactivate', self.deactivate)
        return super().on_deactivate(state)

    def on_cleanup(self, state) -> TransitionCallbackReturn:
        result = self._guard('cleanup', self.cleanup)
        # what configure made, so that configuring again does not make it twice
        for destroy, entities in self._graph_entities():
            for entity in entities:
                if id(entity) not in self._entities_kept:
                    destroy(entity)
        return result

    def _graph_entities(self) -> list[tuple[Callable[[Any], Any], list[Any]]]:
        return [
            (self.destroy_subscription, list(self.subscriptions)),
            (self.destroy_timer, list(self.timers)),
            (self.destroy_client, list(self.clients)),
            (self.destroy_service, list(self.services)),
            (self.destroy_publisher, list(self.publishers)),
        ]

    def on_shutdown(self, state) -> TransitionCallbackReturn:
        self.active = False
        return self._guard('cleanup', self.cleanup)

    def _guard(self, what: str, action: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            action()
        except StartupError as error:
            self.get_logger().error(f'{what}: {error}')
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            # the rooms below raise ValueError and OSError with cause and remedy in the text
            self.get_logger().error(f'{what}: {error}')
            if not isinstance(error, (ValueError, OSError, ImportError)):
                self.get_logger().error(traceback.format_exc())
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS


def make_executor(events: bool = True) -> Executor:
    """What calls the callbacks of a node, one at a time.

    rclpy's EventsExecutor where there is one: it costs half of the processor time of SingleThreadedExecutor,
    which asks every entity of the node at every wake-up. Call its ``spin_once`` only: its ``spin`` hears
    nothing in the wheels of rclpy 7.1.6.

    Args:
        events: False for a node that it cannot serve: it has no guard conditions, polls coroutines that
            wait, and complains of every exception that leaves a callback.
    """
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:  # before Jazzy
        events = False
    return EventsExecutor() if events else SingleThreadedExecutor()


def run(factory: Callable[[], Node], events: bool = True) -> None:
    """Make a node, spin it until SIGINT or SIGTERM, close it, and end the process.

    ``factory`` errors that carry a remedy (StartupError, ValueError, OSError, ImportError, a wrong
    parameter) print one line and exit 2; anything else exits 1 with its traceback. A node may have a
    ``close()`` that releases threads and files; it runs on every way out. A signal that comes while a
    callback runs is obeyed when the callback is through.

    Args:
        events: see :func:`make_executor`.
    """
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    stopping: list[int] = []
    node, code, spinning = None, 0, False

    def stop(number, frame):
        # a second signal while closing must not tear a file
        if not stopping:
            stopping.append(number)
            if not spinning:  # within a callback of the executor it would come out as an error of that
                raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    executor = make_executor(events)
    try:
        node = factory()
        executor.add_node(node)
        if isinstance(node, ManagedNode):
            node.start()
        # a full collection walks everything imported, with torch for tens of milliseconds: leave that out
        gc.collect()
        gc.freeze()
        spinning = True
        while not stopping:
            executor.spin_once(timeout_sec=_WAKE_S)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (StartupError, ValueError, OSError, ImportError, ParameterException) as error:
        if node is None or isinstance(error, StartupError):
            print(f'error: {error}', file=sys.stderr, flush=True)  # noqa: T201 - no node to log with
            code = 2
        else:
            traceback.print_exc()
            code = 1
    except Exception as error:
        # an interrupt that strikes inside a call of pybind11 comes out as one of these two
        if not (stopping and isinstance(error, (RuntimeError, SystemError))):
            traceback.print_exc()
            code = 1
    finally:
        stopping.append(0)
        if node is not None:
            close = getattr(node, 'close', None)
            if close is not None:
                try:
                    close()
                except Exception:
                    traceback.print_exc()
                    code = code or 1
            node.destroy_node()
        rclpy.try_shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # torch and DDS threads can hang at interpreter exit; everything of ours is closed
    os._exit(code)
