"""`python -m boxd.emulator`: a local boxd service until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .runtime import Emulator, Local


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, serve, and return the exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        from . import Emulator, Options
        from .sandbox import SandboxError
    except ModuleNotFoundError as error:
        print(f"boxd.emulator: {error}", file=sys.stderr)
        return 1
    settings = {key: value for key, value in vars(parsed).items() if value is not None and key != "json"}
    if "faults" in settings:
        settings["faults"] = tuple(settings["faults"])
    try:
        asyncio.run(_serve(Emulator(Options(**settings)), parsed.json))
    except (SandboxError, OSError, ValueError) as error:
        print(f"boxd.emulator: cannot start: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m boxd.emulator",
        description="A local boxd service, for tests, demos and work without a network.",
    )
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="gRPC port; 0, the default, takes a free one")
    parser.add_argument(
        "--exchange-port", type=int, help="port of the token exchange; 0, the default, takes a free one"
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="serve over TLS too, with this certificate chain")
    parser.add_argument("--tls-key", metavar="FILE", help="the certificate's key, unless it is in the same file")
    parser.add_argument("--tls-port", type=int, help="gRPC port over TLS; 0, the default, takes a free one")
    parser.add_argument(
        "--proxy-port",
        type=int,
        help="port of the boxes' pages, http://NAME.localhost:PORT; 0, the default: a free one",
    )
    parser.add_argument("--state", metavar="DIR", help="keep the boxes' files here (default: a temporary directory)")
    parser.add_argument(
        "--sandbox", choices=("auto", "namespaces", "plain"), help="how boxes are kept apart (default auto)"
    )
    parser.add_argument(
        "--network",
        choices=("auto", "isolated", "host"),
        help="a network for each box, without a way out, or the host's for all (default auto: isolated if possible)",
    )
    parser.add_argument(
        "--no-sudo",
        dest="sudo",
        action="store_false",
        default=None,
        help="boxes without a root user to become",
    )
    parser.add_argument("--max-boxes", type=int, help="boxes at once (default 10)")
    parser.add_argument(
        "--fault",
        action="append",
        dest="faults",
        metavar="METHOD:KIND[:NAME=VALUE...]",
        help="let calls fail, such as Exec:unavailable:times=2 or *:latency:seconds=0.2 (can be given again)",
    )
    parser.add_argument("--api-key", help="the key to accept (default: a new one)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON when ready")
    return parser


async def _serve(emulator: Emulator, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if not _is_loopback(emulator.options.host):
        print(
            f"boxd.emulator: warning: who reaches {emulator.options.host} and has the key runs commands here",
            file=sys.stderr,
        )
    async with emulator as local:
        _announce(local, as_json)
        await stop.wait()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _announce(local: Local, as_json: bool) -> None:
    if as_json:
        where = {
            "api_url": local.api_url,
            "exchange_url": local.exchange_url,
            "api_key": local.api_key,
            "token": local.token,
            "proxy_port": local.proxy_port,
            **({"tls_url": local.tls_url} if local.tls_url else {}),
        }
        print(json.dumps(where), flush=True)
    else:
        print("boxd emulator, ready. To use it:\n")
        print(f"  export BOXD_API_URL={local.api_url}")
        print(f"  export BOXD_EXCHANGE_URL={local.exchange_url}")
        print(f"  export BOXD_API_KEY={local.api_key}\n")
        if local.tls_url:
            print(f"Over TLS: {local.tls_url}")
        print(f"The page of a box: {local.box_url('NAME')}")
        print("Ctrl-C ends it.", flush=True)
    for limit in local.limits:
        print(f"boxd.emulator: note: {limit}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
