# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A lifecycle manager can take every managed node down and up again: the same graph, nothing twice."""

import time

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from apprentice.robot.parts import share

DOWN_AND_UP = (
    Transition.TRANSITION_DEACTIVATE,
    Transition.TRANSITION_CLEANUP,
    Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_ACTIVATE,
)


@pytest.mark.parametrize(
    ('name', 'output', 'options'),
    [
        ('policy', 'policy/chunk', ()),
        ('reward', 'reward/sample', ('-p', 'model:=apprentice.reward_models.critic:ProgressCritic')),
        ('episode', 'episode/state', ()),
    ],
)
def test_configured_again_is_the_same_graph(ros, start_node, name, output, options):
    process = start_node(name, '-p', f'robot:={share("robots", "sim_arm.yaml")}', *options)
    node = ros.node

    def graph():
        lists = (
            node.get_publishers_info_by_topic,
            node.get_subscriptions_info_by_topic,
        )
        topics = [topic for topic, _ in node.get_topic_names_and_types()]
        found = [
            (topic, kind, info.topic_type)
            for kind, infos in enumerate(lists)
            for topic in topics
            for info in infos(topic)
            if info.node_name == name
        ]
        services = [(s, t[0]) for s, t in node.get_service_names_and_types_by_node(name, '/')]
        return sorted(found), sorted(services)

    assert ros.spin_until(lambda: node.count_publishers(output) == 1, 60.0), process.output()
    client = node.create_client(ChangeState, f'{name}/change_state')
    assert ros.spin_until(lambda: name in node.get_node_names(), 60.0)
    before, first, end = None, graph(), time.monotonic() + 60.0
    while before != first:  # until the rest of the node is discovered
        assert time.monotonic() < end, f'the graph of {name} goes on changing'
        ros.spin_until(lambda: False, 1.0)
        before, first = first, graph()
    for round_ in range(2):
        for transition in DOWN_AND_UP:
            request = ChangeState.Request(transition=Transition(id=transition))
            assert ros.call(client, request, 60.0).success, process.output()
            if transition == Transition.TRANSITION_CLEANUP:
                assert ros.spin_until(lambda: node.count_publishers(output) == 0, 30.0)
        assert ros.spin_until(lambda: graph() == first, 30.0), f'round {round_}: {graph()} is not {first}'
    assert process.stop() == 0, process.output()
