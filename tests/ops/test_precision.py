import json
import subprocess
import sys

import pytest
import torch

from mmlevelset.ops.precision import full_precision

SETTINGS = [
    "pass",
    "torch.set_float32_matmul_precision('high')",
    "torch.set_float32_matmul_precision('medium')",
    "torch.backends.cuda.matmul.allow_tf32 = True",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
    "torch.backends.fp32_precision = 'tf32'",
]
# Each setting is tried in a forked copy of the process: some settings cannot be taken back.
SCRIPT = """
import json, os, sys, traceback, warnings
import torch
from mmlevelset.ops.precision import full_precision

warnings.simplefilter("ignore")

def state():
    found = []
    for read in (
        torch.get_float32_matmul_precision,
        lambda: torch.backends.cuda.matmul.allow_tf32,
        lambda: torch.backends.cuda.matmul.fp32_precision,
        lambda: torch.backends.mkldnn.matmul.fp32_precision,
    ):
        try:
            found.append(read())
        except RuntimeError:
            found.append("cannot be read")
    return found

def check(setting):
    exec(setting)
    before = state()
    for device in ("cuda", "cpu"):
        with full_precision(torch.device(device)):
            backend = torch.backends.cuda if device == "cuda" else torch.backends.mkldnn
            assert backend.matmul.fp32_precision in ("ieee", "none"), backend.matmul.fp32_precision
        assert state() == before, (before, state())

for setting in json.loads(sys.argv[1]):
    if os.fork() == 0:
        try:
            check(setting)
        except BaseException:
            print(setting)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(setting, os.wait()[1], sep="\\t", flush=True)
"""


@pytest.fixture(scope="module")
def answers(checkout) -> dict[str, str]:
    """Exit status for each setting; the failures are printed."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(SETTINGS)],
        capture_output=True,
        text=True,
        cwd=checkout,
        timeout=120,
    )
    print(run.stderr)
    return dict(line.split("\t") for line in run.stdout.splitlines() if "\t" in line)


@pytest.mark.skipif(
    not hasattr(torch.backends.mkldnn, "matmul"), reason="needs torch 2.9's settings"
)
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_callers_settings_come_back(setting, answers):
    assert answers[setting] == "0"


def test_products_on_a_cpu_are_exact():
    torch.manual_seed(0)
    a, b = torch.randn(64, 4096), torch.randn(4096, 64)
    want = a.double() @ b.double()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), full_precision(torch.device("cpu")):
            got = a @ b
    finally:
        torch.set_float32_matmul_precision(before)
    assert got.dtype == torch.float32
    assert (got - want).norm() / want.norm() < 1e-6
