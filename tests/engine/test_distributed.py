import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAUNCH = [
    "-m",
    "torch.distributed.run",
    "--nproc_per_node=2",
    "--standalone",
    "--local-addr=127.0.0.1",
]


def test_two_processes_train_and_stop_together(tiny_config, tmp_path, quick_python):
    tiny_config.train_cfg.max_epochs = 2
    tiny_config.dump(tmp_path / "tiny.py")
    process = subprocess.run(
        [
            quick_python,
            *LAUNCH,
            Path(__file__).with_name("train_distributed.py"),
            tmp_path / "tiny.py",
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "-1",
            "GLOO_SOCKET_IFNAME": "lo",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr

    def read(name, rank):
        text = Path(tiny_config.work_dir, f"{name}_{rank}.txt").read_text()
        return text.split("\n", 2)

    # Six images, two per batch, two processes: two iterations per epoch.
    iterations, weights, _ = read("sound", 0)
    assert iterations == "4" and read("sound", 1)[1] == weights

    iterations, weights, message = read("overflow", 0)
    assert read("overflow", 1) == [iterations, weights, message]
    assert iterations == "2"
    assert "epoch 2, iteration 3 (rank 1): loss_rpn_cls[0] = " in message
    assert "rank 0" not in message
