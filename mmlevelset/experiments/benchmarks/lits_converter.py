"""Benchmark of the converter of LiTS: time and memory, on generated scans of realistic size.

    python tools/benchmarks/lits_converter.py --scans 4 --workers 1 2

The command writes scans of 512 x 512 x SLICES voxels into a temporary folder: int16, with uint8
labels; half of the slices have liver. It converts them with each number of workers, and prints a
table: wall time, processor time, and the peak memory of the largest process and of all processes
together. The processes are the converter and its workers; a single worker is the converter itself.
The memory is the resident memory, in brackets without the pages of the scans' files. It is sampled
20 times a second from /proc (Linux).
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

CONVERTER = "from mmlevelset.converters.datasets.lits import main; main()"
SIDE = 512
MEBIBYTE = 1 << 20


def write_scans(folder: Path, scans: int, slices: int, suffix: str) -> int:
    """Write the scans, and return the bytes of a scan's values and labels."""
    random = np.random.default_rng(0)
    column, row = np.ogrid[:SIDE, :SIDE]
    body = ((column - 256) / 220) ** 2 + ((row - 256) / 170) ** 2 < 1
    liver = ((column - 170) / 90) ** 2 + ((row - 230) / 80) ** 2 < 1
    lesions = ((column - 150) % 40 - 20) ** 2 + ((row - 230) % 40 - 20) ** 2 < 60
    labels = np.zeros((SIDE, SIDE, slices), np.uint8)
    labels[..., slices // 4 : slices // 4 + slices // 2] = np.where(liver & lesions, 2, liver)[
        ..., None
    ]
    volume = np.where(body, 40, -1000)[..., None] + 60 * labels
    volume = (volume + random.integers(-30, 30, volume.shape, np.int16)).astype(np.int16)
    affine = np.diag([-0.75, -0.75, 1.5, 1])
    for number in range(scans):
        nib.save(nib.Nifti1Image(volume, affine), folder / f"volume-{number}{suffix}")
        nib.save(nib.Nifti1Image(labels, affine), folder / f"segmentation-{number}{suffix}")
    return volume.nbytes + labels.nbytes


def memory(process: int) -> list[tuple[int, int]]:
    """Return the resident bytes of the converter and each worker, with and without files' pages."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            command = (status.parent / "cmdline").read_text()
        except OSError:  # the process has just ended
            continue
        worker = int(fields["PPid"]) == process and "spawn_main" in command
        if "VmRSS" in fields and (worker or int(fields["Pid"]) == process):
            resident, anonymous = (
                int(fields[key].split()[0]) * 1024 for key in ("VmRSS", "RssAnon")
            )
            found.append((resident, anonymous))
    return found


def convert(root: Path, out: Path, workers: int) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Run the converter.

    Returns:
        Seconds of wall time and of processor time; the peaks of resident bytes and of bytes that
        are not of files, (2,) each, in the largest process and in all processes together.
    """
    command = [sys.executable, "-c", CONVERTER, str(root), str(out), "--allow-partial"]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--workers", str(workers)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    largest, together = np.zeros(2), np.zeros(2)
    while process.poll() is None:
        sample = np.array(memory(process.pid) or [(0, 0)])
        largest = np.maximum(largest, sample.max(axis=0))
        together = np.maximum(together, sample.sum(axis=0))
        time.sleep(0.05)
    wall = time.perf_counter() - began
    if process.returncode:
        assert process.stderr is not None
        sys.exit(process.stderr.read())
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return wall, spent, largest, together


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scans", type=int, default=4, help="number of scans (4)")
    parser.add_argument("--slices", type=int, default=120, help="slices of a scan (120)")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers (1 2)"
    )
    parser.add_argument("--compressed", action="store_true", help="write .nii.gz")
    parser.add_argument("--folder", type=Path, help="folder of the temporary files")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        root = Path(folder) / "LITS"
        root.mkdir()
        suffix = ".nii.gz" if arguments.compressed else ".nii"
        size = write_scans(root, arguments.scans, arguments.slices, suffix)
        print(f"{arguments.scans} scans ({suffix}) of {size / MEBIBYTE:.0f} MiB with labels\n")
        print("| workers | wall, s | processor, s | one process, MiB (not files) | all, MiB |")
        print("| --- | --- | --- | --- | --- |")
        for workers in arguments.workers:
            out = Path(folder) / f"out{workers}"
            wall, spent, largest, together = convert(root, out, workers)
            written = len(list(out.glob("*/*.png")))
            if written != arguments.scans * (arguments.slices // 2):
                sys.exit(f"the converter wrote {written} slices")
            peaks = ["{:.0f} ({:.0f})".format(*peak / MEBIBYTE) for peak in (largest, together)]
            cells = [workers, f"{wall:.1f}", f"{spent:.1f}", *peaks]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
