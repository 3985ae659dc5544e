"""The stand-in for ``python`` behaves as ``python`` does."""

import os
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import json, os, sys, time
if sys.argv[1] == "tell":
    print(json.dumps([sys.argv, os.getcwd(), os.environ["NAME"], sys.path[0], __name__]))
elif sys.argv[1] == "kill":
    os.kill(os.getpid(), 9)
elif sys.argv[1] == "wait":
    print(os.getpid(), flush=True)
    time.sleep(60)
sys.exit(eval(sys.argv[1]) if sys.argv[1][0] in "0123456789'N" else 0)
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.mark.parametrize("word", ["tell", "kill", "3", "'an error'", "None", "1/0"])
def test_it_ends_and_prints_as_python_does(quick_python, program, tmp_path, word):
    ended = [
        subprocess.run(
            [python, "-u", program, word],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "NAME": "value"},
        )
        for python in (quick_python, sys.executable)
    ]
    assert ended[0].returncode == ended[1].returncode
    assert ended[0].stdout == ended[1].stdout
    assert ended[0].stderr.splitlines()[-1:] == ended[1].stderr.splitlines()[-1:]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_program(quick_python, program, number):
    if number == signal.SIGINT and signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("SIGINT is ignored here, as in a shell's background jobs")
    words = [quick_python, program, "wait"]
    call = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    pid = int(call.stdout.readline())
    call.send_signal(number)
    assert call.wait(60) == -number
    call.stdout.close()
    end = time.monotonic() + 60
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < end, "the program goes on"
        time.sleep(0.01)
