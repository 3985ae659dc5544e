"""A stand-in for SLURM's ``srun`` and ``scontrol``: one node, this machine.

Runs the tasks of a job step here, side by side, with the variables that SLURM gives them. It knows
the options that mim passes and a few more. Another option is an error.
"""

import argparse
import os
import shlex
import stat
import subprocess
import sys
import time
from pathlib import Path

NODE = "localhost"


def install(folder: Path) -> None:
    """Put both commands into a folder; the folder should be first in PATH."""
    for name in ("srun", "scontrol"):
        words = shlex.join([sys.executable, __file__, name])
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)


def srun(words: list[str]) -> int:
    parser = argparse.ArgumentParser("srun", allow_abbrev=False)
    parser.add_argument("-p", "--partition")
    parser.add_argument("--job-name")
    parser.add_argument("--gres")
    parser.add_argument("--time")
    parser.add_argument("--ntasks", type=int, default=1)
    parser.add_argument("--ntasks-per-node", type=int)
    parser.add_argument("--cpus-per-task", type=int)
    parser.add_argument("--kill-on-bad-exit", type=int, default=0)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(words)
    if options.ntasks_per_node not in (None, options.ntasks):
        parser.error("there is one node: --ntasks-per-node must be --ntasks")
    job = dict(
        SLURM_JOB_ID="1",
        SLURM_JOB_NAME=options.job_name or options.command[0],
        SLURM_NTASKS=str(options.ntasks),
        SLURM_NNODES="1",
        SLURM_NODELIST=NODE,
        SLURM_NODEID="0",
    )
    running = {}
    for task in range(options.ntasks):
        own = dict(SLURM_PROCID=str(task), SLURM_LOCALID=str(task))
        running[task] = subprocess.Popen(options.command, env={**os.environ, **job, **own})
    worst = 0
    while running:
        time.sleep(0.05)
        for task in [task for task, process in running.items() if process.poll() is not None]:
            code = running.pop(task).returncode
            if code == 0:
                continue
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            print(f"srun: error: {NODE}: task {task}: {how}", file=sys.stderr, flush=True)
            worst = max(worst, code if code > 0 else 128 - code)
            if options.kill_on_bad_exit:
                for other in running.values():
                    other.terminate()
    return worst


def scontrol(words: list[str]) -> int:
    *command, nodes = words
    if command not in (["show", "hostname"], ["show", "hostnames"]):
        sys.exit(f"scontrol: invalid command {words}")
    print("\n".join(nodes.split(",")))
    return 0


if __name__ == "__main__":
    sys.exit(dict(srun=srun, scontrol=scontrol)[sys.argv[1]](sys.argv[2:]))
