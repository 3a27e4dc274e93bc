# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""serve a policy to robots on other machines: serve policy WEIGHTS"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apprentice.policies.remote_protocol import Hello
    from apprentice.policies.runtime import ChunkPolicy
    from apprentice.policies.server import ServerConfig

_ABOUT = """
Robots send what they see and get action chunks back: msgpack over a websocket, checked field by field, no
pickle. Several robots may ask; one chunk is computed at a time. The policy node of a robot uses the server
with the parameters that are printed. When the server is slow or gone, no chunk comes and the gate holds.

Who knows the token may ask. It is read from --token-file, else from the environment variable
APPRENTICE_POLICY_TOKEN; else one is made once and kept in a file that only you can read, whose name is
printed: copy that file to the robot. Pictures and token are not encrypted without --tls-cert and --tls-key:
outside of a network that you trust use these, or leave --host alone and reach the port through a tunnel.
http://HOST:PORT/healthz tells counts and latencies as JSON.
"""
_CODES = (
    'exit codes: 0 ended by SIGTERM, 1 the policy does not work, 2 wrong option, file or address, 130 Ctrl-C'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice serve``: a subcommand per kind of model."""
    kinds = parser.add_subparsers(dest='kind', metavar='KIND', required=True)
    policy = kinds.add_parser(
        'policy',
        help='action chunks of a VLA policy',
        description=_ABOUT,
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    policy.add_argument(
        'weights', metavar='WEIGHTS', help='policy folder, or the name of a shipped one (policy)'
    )
    policy.add_argument(
        '--runtime',
        default='torch',
        help='what runs it: torch (default), compiled, onnx, lerobot, or a function package.module:function',
    )
    policy.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='default cpu')
    policy.add_argument('--threads', type=int, default=0, help='on the CPU (default: one per core)')
    policy.add_argument('--host', default='127.0.0.1', help='address to listen on (default 127.0.0.1)')
    policy.add_argument('--port', type=int, default=8770, help='0: a free one (default 8770)')
    policy.add_argument(
        '--token-file', default='', metavar='FILE', help='holds the token, 16 characters or more'
    )
    policy.add_argument(
        '--no-token', action='store_true', help='for everybody on this machine; loopback only'
    )
    policy.add_argument('--tls-cert', default='', metavar='FILE', help='certificate (PEM): robots use wss://')
    policy.add_argument('--tls-key', default='', metavar='FILE', help='its key (PEM)')


def run(args: argparse.Namespace) -> int:
    """Load, check, serve until a signal comes."""
    from apprentice.learning.rl.choosing import critics_act
    from apprentice.policies import remote_access as access
    from apprentice.policies.runtime import load_policy
    from apprentice.policies.server import ServerConfig, hello_of

    if bool(args.tls_cert) != bool(args.tls_key):
        raise ValueError('--tls-cert and --tls-key belong together; give both')
    if args.no_token and args.token_file:
        raise ValueError('--no-token and --token-file exclude each other')
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(levelname)s %(message)s')
    token, source = ('', '') if args.no_token else find_or_make_token(args.token_file)
    config = ServerConfig(
        host=args.host,
        port=args.port,
        token=token,
        tls=access.server_tls(args.tls_cert, args.tls_key) if args.tls_cert else None,
    )
    if not config.tls and not access.is_loopback(args.host):
        logging.warning('not encrypted: give --tls-cert and --tls-key unless you trust the network')
    weights, options = _place(args)
    policy, manifest = load_policy(weights, runtime=args.runtime, **options)
    if args.device == 'cuda' and args.runtime == 'torch':
        policy.to('cuda')  # type: ignore[attr-defined]
    if critics_act(manifest):
        logging.warning(
            'the policy is served alone, without its critics; the policy node with runtime torch runs both'
        )
    hello = hello_of(policy, manifest, weights, args.runtime)
    try:
        return asyncio.run(_serve(policy, hello, config, f'{weights} on {args.device}', source))
    except RuntimeError as error:
        if args.debug:
            raise
        print(f'apprentice: error: {error}', file=sys.stderr)
        return 1


def find_or_make_token(file: str) -> tuple[str, str]:
    """The token, and the file it is in ('': in the environment)."""
    from apprentice.policies import remote_access as access

    token = access.find_token(file)
    if token:
        return token, str(Path(file).expanduser().resolve()) if file else ''
    own = access.own_token_file()
    return access.find_token(own) if own.exists() else access.make_token(own), str(own)


def _place(args: argparse.Namespace) -> tuple[str | Path, dict[str, Any]]:
    """Where the weights are, and the options of the runtime."""
    import torch

    from apprentice.robot.parts import find_weights

    if args.device == 'cuda' and args.runtime == 'torch' and not torch.cuda.is_available():
        raise ValueError('--device cuda, but torch sees no GPU here; use --device cpu')
    if args.threads:
        torch.set_num_threads(args.threads)
    threads = torch.get_num_threads()
    known: dict[str, dict[str, Any]] = {
        'onnx': {'providers': args.device, 'threads': threads},
        'compiled': {'device': args.device},
        'lerobot': {'device': args.device},
    }
    options = known.get(args.runtime, {})
    shipped = args.runtime in ('torch', 'compiled', 'onnx')
    return find_weights(args.weights) if shipped else args.weights, options


async def _serve(policy: ChunkPolicy, hello: Hello, config: ServerConfig, what: str, token_file: str) -> int:
    from apprentice.policies.server import PolicyServer

    loop = asyncio.get_running_loop()
    ending: asyncio.Future[int] = loop.create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _end, ending, number)
    server = PolicyServer(policy, hello, config)
    starting = asyncio.ensure_future(server.start())
    try:
        await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            _announce(hello, config, what, starting.result(), token_file)
        return 130 if await ending == signal.SIGINT else 0
    finally:
        starting.cancel()
        await server.close()


def _end(ending: asyncio.Future[int], number: int) -> None:
    if not ending.done():
        ending.set_result(number)


def _announce(hello: Hello, config: ServerConfig, what: str, port: int, token_file: str) -> None:
    from apprentice.policies.remote_access import TOKEN_VARIABLE

    everywhere = config.host in ('0.0.0.0', '::')
    host = socket.gethostname() if everywhere else f'[{config.host}]' if ':' in config.host else config.host
    address = f'{"wss" if config.tls else "ws"}://{host}:{port}'
    robot = hello.spec['robot']
    print(f'serving {what} with {hello.runtime} for robot {robot} at {address}')
    print(f'manifest sha256 {hello.sha256 or "unknown"}')
    words = f'-p robot:={robot}.yaml -p runtime:=remote -p weights:={address}'
    if token_file:
        print(f'token file {token_file}, copy it to the robot')
        words += f' -p remote_token_file:={token_file}'
    elif config.token:
        print(f'token from the variable {TOKEN_VARIABLE}, set it on the robot too')
    print(f'on the robot: policy_node --ros-args {words}', flush=True)
