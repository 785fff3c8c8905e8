"""One local model in a process of its own: llama.cpp's OpenAI-compatible server on the loopback interface.

The process belongs to whoever started it: it ends when its standard input does, so it cannot outlive a parent that was
killed. ``--detached`` cuts that tie. It reads nothing of curveroute, so that it starts as fast as llama.cpp does.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading

HOST = "127.0.0.1"
EXIT_NO_RUNTIME = 97
EXIT_PORT_TAKEN = 98
_WARNINGS = 2

log = logging.getLogger("curveroute.serve")


def main(argv: list[str] | None = None) -> int:
    """Serve one model until told to stop; the exit status says why it could not."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to decide on
    args = _parser().parse_args(argv)
    try:
        import xllamacpp  # noqa: F401
    except ImportError:
        log.exception('local models need an extra: pip install "curveroute[local]"')
        return EXIT_NO_RUNTIME
    if not _is_free(args.port):
        log.error("port %d is taken: choose another", args.port)
        return EXIT_PORT_TAKEN
    if not args.detached:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    return _serve(args)


def _serve(args: argparse.Namespace) -> int:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = args.model
    params.model_alias = {args.alias}
    params.hostnames = [HOST]
    params.port = args.port
    params.cors_origins = f"http://{HOST}:{args.port}"  # else any web page in the user's browser may ask the model
    params.ui = False
    params.n_parallel = args.parallel
    params.n_ctx = args.context * args.parallel  # llama.cpp divides its context between the slots
    params.cache_ram_mib = 0  # its cache of old prompts would take up to 8 GiB
    params.cache_idle_slots = False
    params.cpuparams.n_threads = args.threads
    params.cpuparams_batch.n_threads = args.threads
    params.verbosity = _WARNINGS
    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        log.exception("%s did not start", args.model)
        return 1 if _is_free(args.port) else EXIT_PORT_TAKEN
    log.info("%s listens on %s", args.alias, server.listening_address)
    threading.Event().wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="curveroute.agent.chat.serve", description=__doc__)
    parser.add_argument("--model", required=True, help="path of the GGUF file")
    parser.add_argument("--alias", required=True, help="the model's id in the pool")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--parallel", type=int, default=2, help="requests served at once")
    parser.add_argument("--context", type=int, default=4096, help="tokens for each of them")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--detached", action="store_true", help="outlive the process that started it")
    return parser


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _end_with_stdin() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
