# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Real ROS graphs for tests: nodes that spin, and end without leaving anything others can hear."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from apprentice.cli.environment import free_domain


def domains() -> Iterator[int]:
    """Free ROS domains, one after the other; each worker of pytest-xdist has its own share of 1..100."""
    worker = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])
    count = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', '1'))
    share = [domain for domain in range(1, 101) if domain % count == worker % count]
    while True:
        domain = free_domain(share)
        if domain is None:
            raise RuntimeError(f'all ROS domains of {share} are in use on this machine')
        share.remove(domain)
        share.append(domain)
        yield domain


@contextlib.contextmanager
def spinning(make: Callable[[rclpy.Context], Node]) -> Iterator[Node]:
    """A node in a context of its own, spun by a thread; nothing of it is left on the graph afterwards.

    Shutting a context down is not enough: publishers, and with them latched messages, live until their
    node is destroyed.
    """
    context = rclpy.Context()
    rclpy.init(context=context)
    node = make(context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    ending = threading.Event()

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            while not ending.is_set():
                executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        ending.set()
        executor.wake()
        thread.join(10.0)
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


class Ros:
    """A real rclpy context with one helper node and an executor that tests spin themselves."""

    def __init__(self) -> None:
        rclpy.init()
        self.executor = SingleThreadedExecutor()
        self.node = self.add(rclpy.create_node(f'test_{os.getpid()}'))

    def add(self, node):
        """Let the executor spin a node too; returns it."""
        self.executor.add_node(node)
        return node

    def spin_until(self, predicate: Callable[[], bool], timeout: float = 10.0) -> bool:
        """Spin until ``predicate`` holds; returns whether it did within ``timeout`` seconds."""
        end, late = time.monotonic() + timeout, 50
        while not predicate():
            if time.monotonic() > end:
                late -= 1  # of a machine that stood still, what has arrived meanwhile is still heard
                if not late:
                    return False
            self.executor.spin_once(timeout_sec=0.02 if late == 50 else 0.0)
        return True

    def call(self, client, request, timeout: float = 10.0):
        """Call a service and return its response; fails the test if nobody answers."""
        assert self.spin_until(client.service_is_ready, timeout), f'{client.srv_name} does not appear'
        future = client.call_async(request)
        assert self.spin_until(future.done, timeout), f'{client.srv_name} does not answer'
        return future.result()

    def close(self) -> None:
        nodes = self.executor.get_nodes()
        self.executor.shutdown()
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()
