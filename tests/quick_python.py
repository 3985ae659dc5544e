"""A stand-in for ``python`` that has torch, mmdet and mmlevelset imported when it starts.

A server imports them once, and forks for each call of the stand-in. The child takes the call's
arguments, variables, folder and streams, and runs the program. A signal to the call reaches the
child; the call ends as the child ends. A call that is killed takes the child with it.

The stand-in knows ``python [-u] FILE ...`` and ``python [-u] -m MODULE ...``. A program runs on the
CPU in one thread. A test of imports or of the environment needs ``sys.executable`` itself.
"""

import json
import os
import selectors
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMPORTED = [
    "torch._dynamo",
    "torch.distributed.run",
    "matplotlib.pyplot",
    "mmdet.apis",
    "mmdet.engine",
    "mmengine.runner",
    "mmlevelset.datasets",
    "mmlevelset.engine",
    "mmlevelset.evaluation",
    "mmlevelset.models",
    "mmlevelset.experiments.sweep.command",
    "mmlevelset.experiments.sweep.run",
    "mmlevelset.experiments.testing",
    "mmlevelset.experiments.training",
]


class QuickPython:
    """The server. ``path`` is the program that stands in for ``python``.

    Args:
        folder: A folder for the program.
        python: The Python that the program stands in for.
        variables: The environment in which it imports; default: this one, with the checkout.
    """

    def __init__(
        self,
        folder: Path,
        python: str | Path = sys.executable,
        variables: dict[str, str] | None = None,
    ) -> None:
        self.path = folder / "python"
        address = str(folder / "socket")
        words = [sys.executable, "-I", "-S", __file__, "call", address, str(self.path)]
        self.path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        self.path.chmod(0o755)
        if variables is None:
            variables = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._server = subprocess.Popen(
            [python, __file__, "serve", address],
            env={**variables, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert b"ready\n" in iter(self._server.stdout.readline, b""), "the server has ended"

    def close(self) -> None:
        self._server.communicate(timeout=60)


def leave_configs_unformatted() -> None:
    """Spare this process the half second that mmengine takes to format the text of a config."""
    from yapf.yapflib import yapf_api

    yapf_api.FormatCode = lambda text, *_, **__: (text, True)


def serve(address: str) -> dict:
    """Fork for each call, until the standard input ends; return a call's task in its child."""
    import gc
    import importlib

    for name in IMPORTED:
        importlib.import_module(name)
    leave_configs_unformatted()
    # The child of a fork has the thread that forked alone: a lock of another would stay closed.
    assert len(os.listdir("/proc/self/task")) == 1, "an import has started a thread"
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    ended, signalled = os.pipe()
    os.set_blocking(ended, False)
    os.set_blocking(signalled, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(signalled)
    ready = selectors.DefaultSelector()
    for source in (0, ended, listener):
        ready.register(source, selectors.EVENT_READ)
    calls: dict[int, socket.socket] = {}
    print("ready", flush=True)
    while True:
        for key, _ in ready.select():
            if key.fileobj == 0:
                for pid in calls:
                    os.killpg(pid, signal.SIGKILL)
                os._exit(0)
            elif key.fileobj == ended:
                os.read(ended, 4096)
                for pid in list(calls):
                    found, status = os.waitpid(pid, os.WNOHANG)
                    if found:
                        call = calls.pop(pid)
                        if call.fileno() >= 0:
                            ready.unregister(call)
                            call.sendall(status.to_bytes(4, "little"))
                            call.close()
            elif key.fileobj is listener:
                call, _ = listener.accept()
                task, streams = receive(call)
                pid = os.fork()
                os.setpgid(pid, pid)  # in both, since either may go first
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for number, stream in enumerate(streams):
                        os.dup2(stream, number)
                    for opened in (ready, listener, call, *calls.values()):
                        opened.close()
                    for opened in (ended, signalled, *streams):
                        os.close(opened)
                    return task
                for stream in streams:
                    os.close(stream)
                calls[pid] = call
                ready.register(call, selectors.EVENT_READ, pid)
            elif key.data in calls:
                try:
                    numbers = key.fileobj.recv(64)
                except ConnectionResetError:
                    numbers = b""
                for number in numbers:
                    os.kill(key.data, number)
                if not numbers:
                    os.killpg(key.data, signal.SIGKILL)
                    ready.unregister(key.fileobj)
                    key.fileobj.close()


def receive(call: socket.socket) -> tuple[dict, list[int]]:
    """Return the task of a call, and its standard streams."""
    start, streams, _, _ = socket.recv_fds(call, 4, 3)
    text = b""
    while len(text) < int.from_bytes(start, "little"):
        text += call.recv(1 << 20)
    return json.loads(text), streams


def run(task: dict) -> None:
    """Run a program as ``python`` would."""
    import runpy

    import numpy as np

    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["variables"])
    sys.executable = task["python"]
    np.random.seed()  # noqa: NPY002
    words = task["words"]
    if words[0] == "-u":
        words = words[1:]
        sys.stdout.reconfigure(line_buffering=True)
    folders = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = [path for path in folders if path not in sys.path]
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, task["folder"])
        sys.modules.pop(words[1], None)  # else runpy warns of it
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))
        runpy.run_path(words[0], run_name="__main__")


def leave(error: BaseException | None) -> None:
    """End this process as ``python`` would, but without the time to free what is imported."""
    import atexit
    import threading

    code = 0
    if isinstance(error, SystemExit):
        code = error.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    elif error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if isinstance(error, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code or 0)


def call(address: str, python: str, words: list[str]) -> None:
    """Have the server run a program; end as the program ends."""
    server = socket.socket(socket.AF_UNIX)
    server.connect(address)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: server.send(bytes([number])))
    task = dict(python=python, words=words, folder=os.getcwd(), variables=dict(os.environ))
    text = json.dumps(task).encode()
    socket.send_fds(server, [len(text).to_bytes(4, "little")], [0, 1, 2])
    server.sendall(text)
    status = server.recv(4)
    code = os.waitstatus_to_exitcode(int.from_bytes(status, "little")) if status else 70
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    job, where, *rest = sys.argv[1:]
    if job == "call":
        call(where, rest[0], rest[1:])
    else:
        del sys.path[0]  # the folder of this file
        task = serve(where)
        try:
            run(task)
        except BaseException as error:
            leave(error)
        leave(None)
