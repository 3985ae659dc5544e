import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmlevelset.experiments.report.charts import make_charts
from mmlevelset.experiments.report.command import main
from mmlevelset.experiments.report.predictions import evaluate
from mmlevelset.experiments.report.tables import config_differences
from mmlevelset.experiments.runs import RunRecord, read_runs

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "configs/quickstart"
VOID = {"meta", "img", "br", "link", "input"}
TIME = "20260102_030405"
SEMANTIC = """
_base_ = ["{root}/configs/_base_/datasets/shapes_semantic.py"]
default_scope = "mmdet"
model = dict(
    type="mmlevelset.SemanticSegmentor",
    data_preprocessor=dict(type="DetDataPreprocessor"),
    backbone=dict(type="ResNet", depth=18, base_channels=4),
    decode_head=dict(type="mmlevelset.FCNHead", in_channels=(4, 8, 16, 32), num_classes=5),
)
"""
LOG = """
System environment:
    sys.platform: linux
    Python: 3.11.7 (main, May  9 2026)
    CUDA available: True
    GPU 0,1: Some GPU
    PyTorch: 2.13.0
    MMEngine: 0.10.12
Runtime environment:
    seed: 1234
"""


class Page(HTMLParser):
    """The elements of a page; closing tags must match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.tables: list[list[list[str]]] = []
        self.texts: list[str] = []
        self.cell: list[str] | None = None
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.cell = []

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("th", "td"):
            self.tables[-1][-1].append(" ".join("".join(self.cell).split()))
            self.cell = None

    def handle_data(self, data):
        self.texts.append(data)
        if self.cell is not None:
            self.cell.append(data)

    def all(self, tag: str, **wanted: str) -> list[dict]:
        return [
            attrs
            for name, attrs in self.elements
            if name == tag and all(attrs.get(key) == value for key, value in wanted.items())
        ]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def report(monkeypatch, tmp_path):
    """Make a report in this process; return its page."""
    for name in ("CUDA_VISIBLE_DEVICES", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")

    def run(*words: str | Path) -> Page:
        out = tmp_path / "pages/report.html"
        main([*map(str, words), f"--out={out}", "--device=cpu"])
        return Page(out.read_text(encoding="utf-8"))

    return run


def write_log(folder: Path, *evaluations: dict, steps: int = 0, rate: float = 0.1) -> Path:
    """A work dir with a log: one step and one evaluation an epoch, after ``steps`` steps."""
    records = [
        dict(loss=8.0 / step, loss_a=3.0 / step, loss_b=5.0 / step, lr=rate, time=0.5, step=step)
        for step in range(1, steps + 1)
    ]
    for number, scores in enumerate(evaluations, steps + 1):
        records += [dict(loss=1.0, step=number), dict(scores, step=number)]
    log = folder / TIME / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def write_config(folder: Path, text: str) -> None:
    (folder / TIME / "vis_data/config.py").write_text(text)


def fail(report, capsys, *words) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        report(*words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("report.py: error: ") and error.count("\n") == 1
    return error


def test_mean_and_spread_with_the_best_marked(report, tmp_path):
    write_log(tmp_path / "a_seed0", {"coco/segm_mAP": 0.30, "coco/AF_1": 0.5, "coco/bbox_mAP": -1})
    write_log(tmp_path / "a_seed1", {"coco/segm_mAP": 0.34, "coco/AF_1": 0.5})
    write_log(tmp_path / "b", {"coco/segm_mAP": 0.2}, {"coco/segm_mAP": 0.1, "coco/AF_1": 0.5})
    write_log(tmp_path / "c", {"mIoU": 61.5, "BF_1": 20.0})
    write_log(tmp_path / "d", {"FM": 90.0})
    page = report(*sorted(tmp_path.iterdir()))
    instances, semantic, single = page.tables[:3]
    assert instances == [
        ["variant", "runs", "mask AP", "AF, 1 px"],
        ["a", "2", "32.0 ± 2.8 ★", "50.0 ± 0.0 ★"],
        ["b", "1", "10.0", "50.0 ★"],
    ]
    # A table with one row marks no best score.
    assert semantic == [["variant", "runs", "mIoU", "BF, 1 px"], ["c", "1", "61.5", "20.0"]]
    assert single == [["variant", "runs", "FM"], ["d", "1", "90.0"]]
    assert len(page.all("td", **{"class": "number best"})) == 3
    assert "no predictions without a config" in page.text


def test_scores_of_several_evaluations_stay_apart(report, tmp_path):
    scores = {"coco/segm_mAP": 0.35, "coco/initial_segm_mAP": 0.3}
    scores |= {"lvis/segm_AP": 0.38, "lvis/initial_segm_AP": 0.33}
    scores |= {"cityscapes/mAP": 0.31, "cityscapes/AP@50": 0.5}
    write_log(tmp_path / "a", scores)
    write_log(tmp_path / "b", {"coco/segm_mAP": 0.4})
    assert report(tmp_path / "a", tmp_path / "b", "--no-pictures").tables[0] == [
        [
            "variant",
            "runs",
            "mask AP",
            "mask AP*",
            "mask AP, Cityscapes",
            "mask AP50, Cityscapes",
            "mask AP, initial",
            "mask AP*, initial",
        ],
        ["a", "1", "35.0", "38.0", "31.0", "50.0", "30.0", "33.0"],
        ["b", "1", "40.0 ★", "–", "–", "–", "–", "–"],
    ]


def test_columns_asked_for(report, tmp_path, capsys):
    write_log(tmp_path / "a", {"coco/segm_mAP": 0.3, "coco/segm_mAP_75": 0.25, "coco/AF_2": 0.5})
    page = report(tmp_path / "a", "--metrics", "AF_2", "segm_mAP_75", "--no-pictures")
    assert page.tables[0][0] == ["variant", "runs", "AF, 2 px", "mask AP75"]
    assert "Best and worst" not in page.text and "no predictions" not in page.text
    error = fail(report, capsys, tmp_path / "a", "--metrics", "mIoU")
    assert "no run has mIoU; there are AF_2, segm_mAP, segm_mAP_75" in error


def test_nothing_is_fetched_from_elsewhere(report, tmp_path):
    write_log(tmp_path / "a", {"mIoU": 10.0}, steps=5)
    page = report(tmp_path / "a")
    links = [attrs[key] for _, attrs in page.elements for key in ("src", "href") if key in attrs]
    assert links and all(link.startswith(("#", "data:")) for link in links)
    assert not page.all("link") and "url(" not in page.text and "http" not in page.text
    targets = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    assert {link[1:] for link in links if link.startswith("#")} <= targets


def test_hostile_names_stay_text(report, tmp_path):
    name = "<img src=x onerror=alert(1)> \"&'"
    folder = write_log(tmp_path / name, {"coco/segm_mAP": 0.3, "coco/</script>_precision": 0.5})
    write_config(folder, "a = '</table><script>alert(2)</script>'\n")
    write_config(write_log(tmp_path / "b", {"coco/segm_mAP": 0.2}), "a = 1\n")
    page = report(folder, tmp_path / "b", "--title", "<script>alert(3)</script>")
    assert len(page.all("script")) == 1 and not page.all("img")
    assert page.tables[0][1][0] == name
    assert "<script>alert(3)</script>" in page.text
    classes = page.tables[1]
    assert classes == [["class", name], ["</script>", "50.0"]]
    assert page.tables[2][1] == ["a", "'</table><script>alert(2)</script>'", "1"]


def test_folders_without_a_log(report, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    error = fail(report, capsys, tmp_path / "empty")
    assert f"{tmp_path / 'empty'} holds no log of a training or an evaluation" in error
    assert "missing does not exist" in fail(report, capsys, tmp_path / "missing")

    # An empty folder beside runs, as in a sweep's folder, does not stop the page.
    write_log(tmp_path / "good", {"mIoU": 10.0})
    (tmp_path / "empty/failed.json").write_text(json.dumps(dict(message="out of <memory>")))
    (tmp_path / "table.md").write_text("| a table |")
    page = report(*tmp_path.glob("*"))
    assert "1 run of 1 variant" in page.text
    assert "empty holds no log" in page.text and "it failed: out of <memory>" in page.text
    assert "empty holds no log" in capsys.readouterr().err

    (tmp_path / "good" / TIME / "vis_data/scalars.json").write_text("{}\nnonsense\n{}\n")
    assert "scalars.json, line 2: not JSON" in fail(report, capsys, tmp_path / "good")


def test_options_out_of_range(report, tmp_path, capsys):
    write_log(tmp_path / "a", {"mIoU": 10.0})
    assert "--images" in fail(report, capsys, tmp_path / "a", "--images=0")
    assert "--window must be at least 1" in fail(report, capsys, tmp_path / "a", "--window=0")


def test_curves_are_where_the_log_says(report, tmp_path):
    write_log(tmp_path / "a_seed0", {"mIoU": 10.0}, {"mIoU": 30.0}, steps=4)
    write_log(tmp_path / "a_seed1", {"mIoU": 20.0}, {"mIoU": 40.0}, steps=4)
    write_log(tmp_path / "b", {"mIoU": 5.0}, steps=2, rate=0.2)
    page = report(*sorted(tmp_path.glob("*")), "--no-pictures", "--window=1")
    charts = {attrs["aria-label"].split(" over")[0]: attrs for attrs in page.all("svg", role="img")}
    assert list(charts) == ["total loss", "learning rate", "mIoU", "loss a", "loss b"]
    assert "a from 15 to 35; b from 5 to 5" in charts["mIoU"]["aria-label"]

    start = page.elements.index(("svg", charts["total loss"]))
    lines = [n for n, (tag, _) in enumerate(page.elements) if tag == "g" and n > start][:4]
    assert [page.elements[n][1]["class"] for n in lines] == ["line faint"] * 2 + ["line"] * 2
    points = page.elements[lines[3] + 1][1]["points"].split()
    pixels = np.array([[float(value) for value in point.split(",")] for point in points])
    (x0, x1), (y0, y1) = (
        map(float, charts["total loss"][key].split()) for key in ("data-x", "data-y")
    )
    assert charts["total loss"]["data-log"] == "0"
    steps = x0 + (pixels[:, 0] - 52) / (440 - 62) * (x1 - x0)
    values = y0 + (270 - 34 - pixels[:, 1]) / (270 - 42) * (y1 - y0)
    assert steps == pytest.approx([1, 2, 3], abs=0.02)
    assert values == pytest.approx([8, 4, 1], abs=0.05)


def test_a_schedule_over_decades_has_a_logarithmic_axis():
    training = [dict(loss=1.0, lr=0.1**step, step=step) for step in range(1, 4)]
    run = RunRecord(Path("a"), Path("a"), training=training)
    chart = make_charts({"a": [run]}, [], None)["Loss and learning rate"][1]
    assert chart.log
    middle = [float(point.split(",")[1]) for point in chart.lines[0].points.split()]
    assert middle[1] - middle[0] == pytest.approx(middle[2] - middle[1], abs=0.11)
    assert [text for _, text in chart.y_ticks] == ["1e-3", "0.01", "0.1"]


def test_an_evolution_has_its_own_charts():
    names = ("loss", "lambda1", "mu", "eps_1", "moved_2", "term_data", "data_scale_head", "multi")
    training = [dict.fromkeys(names, 0.5) | dict(step=step) for step in (1, 2, 3)]
    charts = make_charts({"a": [RunRecord(Path("a"), Path("a"), training=training)]}, [], None)
    (title,) = (title for title in charts if title.startswith("The evolution"))
    assert [chart.title for chart in charts[title]] == [
        name.replace("_", " ") for name in sorted(set(names) - {"loss", "multi"})
    ]


def test_versions_seed_and_time(report, tmp_path):
    folder = write_log(tmp_path / "a", {"mIoU": 10.0}, steps=4)
    (folder / TIME / f"{TIME}.log").write_text(LOG)
    (folder / "my_config.py").write_text("x = 1\n")
    page = report(folder, write_log(tmp_path / "b", {"mIoU": 10.0}), "--no-pictures")
    first, second = page.tables[-1][1:]
    assert first[:6] == ["a", "my_config.py", "1234", "2026-01-02 03:04", "5", "0.5"]
    assert first[6:] == ["python 3.11.7, torch 2.13.0, mmengine 0.10.12", "Some GPU"]
    assert second[1:3] == ["–", "–"] and second[-2:] == ["–", "–"]
    assert "b : no config in the work dir: not compared with others" in page.text


def test_config_differences():
    base = dict(
        randomness=dict(seed=0),
        work_dir="a",
        train=dict(lr=0.1, steps=(1, 2)),
        val=dict(lr=0.1),
        hooks=[dict(type="A"), dict(type="B", x=1)],
    )
    other = dict(
        randomness=dict(seed=1),
        work_dir="b",
        train=dict(lr=0.2, steps=[1, 2]),
        val=dict(lr=0.2),
        hooks=[dict(type="A"), dict(type="B", x=2, y=dict(type="C", z="w"))],
    )
    assert config_differences({"one": [base], "two": [base]}) == []
    assert config_differences({"one": [base], "two": [other, base]}) == [
        (["train.lr", "val.lr"], ["0.1", "0.2 / 0.1"]),
        (["hooks.1.x"], ["1", "2 / 1"]),
        (["hooks.1.y"], ["", "C(z='w') / "]),
    ]


def test_folders_of_one_name_are_told_apart(report, tmp_path):
    for parent, score in (("first", 10.0), ("second", 20.0)):
        for seed in (0, 1):
            write_log(tmp_path / parent / f"a_seed{seed}", {"mIoU": score})
    page = report(*tmp_path.glob("*/a_*"), "--no-pictures")
    rows = {row[0]: row[1:] for row in page.tables[0][1:]}
    assert rows == {"first/a": ["2", "10.0 ± 0.0"], "second/a": ["2", "20.0 ± 0.0 ★"]}


def test_a_sweep_s_folders(report, tmp_path):
    """Scores come from result.json; an evaluation has the checkpoint of its training."""
    result = dict(metrics={"coco/segm_mAP": 0.4}, environment=dict(torch="9.9", hardware="A GPU"))
    trained = write_log(tmp_path / "a_seed0", {"coco/segm_mAP": 0.1}, steps=3)
    (trained / "result.json").write_text(json.dumps(result))
    tested = tmp_path / "b_seed0"
    tested.mkdir()
    (tested / "result.json").write_text(json.dumps(result))
    (tested / "run.json").write_text(json.dumps(dict(source=str(trained), command=None)))
    page = report(trained, tested)
    assert page.tables[0][1:] == [["a", "1", "40.0 ★"], ["b", "1", "40.0 ★"]]
    assert "All runs: torch 9.9; A GPU." in page.text
    assert "no log of a training: no curves" in page.text
    (run,) = read_runs([tested])[0]
    assert run.checkpoints == trained


@pytest.mark.parametrize("key", ["mIoU", "crf_5/mIoU"])
def test_percents_of_a_sweep_s_command_stay_percents(report, tmp_path, key):
    folder = tmp_path / "a_seed0"
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(dict(metrics={key: 57.25})))
    assert report(folder).tables[0][1] == ["a", "1", "57.2"]


def test_a_test_run_alone(report, tmp_path):
    """A test writes its scores into a file named after the time."""
    (tmp_path / TIME / "vis_data").mkdir(parents=True)
    (tmp_path / TIME / f"{TIME}.json").write_text(json.dumps({"FM": 81.0, "time": 0.1}))
    page = report(tmp_path, "--no-pictures")
    assert page.tables[0][1][1:] == ["1", "81.0"]
    assert "no log of a training: no curves" in page.text


def train(folder: Path, config: Path, scores: dict) -> Path:
    """Write a work dir with random weights: predictions are random, too."""
    torch.manual_seed(0)
    loaded = Config.fromfile(config)
    loaded.val_dataloader.dataset.update(length=4, image_size=(64, 64))
    if "roi_head" in loaded.model:
        loaded.model.test_cfg.rcnn.max_per_img = 5
    init_default_scope("mmdet")
    model = MODELS.build(loaded.model)
    write_log(folder, scores, steps=3)
    loaded.dump(folder / TIME / "vis_data/config.py")
    meta: dict = {}
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / "epoch_1.pth")
    (folder / "last_checkpoint").write_text("/elsewhere/epoch_1.pth")
    return folder


def test_predictions_of_models(report, tmp_path, capsys):
    """Level sets step by step, masks, maps; classes are evaluated if the log lacks them."""
    semantic = tmp_path / "semantic.py"
    semantic.write_text(SEMANTIC.format(root=ROOT))
    runs = [
        train(tmp_path / "levels", QUICKSTART / "levelset-rcnn_shapes.py", {"coco/segm_mAP": 0.1}),
        train(tmp_path / "masks", QUICKSTART / "mask-rcnn_shapes.py", {"coco/segm_mAP": 0.1}),
        train(tmp_path / "maps", semantic, {}),
        train(tmp_path / "single", QUICKSTART / "rls_conv_shapes.py", {"FM": 50.0}),
    ]
    options = ["--images=1", "--size=64", "--score-thr=0", "--classwise", "--search=3"]
    page = report(*runs, *options)
    alts = [attrs["alt"] for attrs in page.all("img")]
    shown = {re.sub(r"Image \d+: |, m?IoU [\d.]+$", "", alt) for alt in alts}
    # phi_0..phi_3 and the truth; image, truth and prediction twice; phi_0..phi_5 and the truth.
    assert len(alts) == 2 * (5 + 3 + 3 + 7)
    steps = {f"contours of φ{step}" for step in range(6)}
    assert shown == {"image", "ground truth", "prediction", *steps}
    for attrs in page.all("img"):
        kind, data = attrs["src"].split(",")
        assert kind == "data:image/jpeg;base64"
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (int(attrs["height"]), int(attrs["width"]), 3) == (64, 64, 3)
    qualities = [float(one) for one in re.findall(r"image \d+, mean IoU ([\d.]+)", page.text)]
    assert len(qualities) == 8
    assert all(best >= worst for best, worst in zip(qualities[::2], qualities[1::2], strict=True))

    (classes,) = (table for table in page.tables if table[0][0] == "class")
    assert classes[0] == ["class", "levels", "masks", "maps"]
    assert {row[0] for row in classes[1:]} == {"background", "star", "ring", "spider", "split"}
    # The log had no mIoU: the evaluation gives it, as the mean over the classes.
    (maps,) = (table for table in page.tables if table[0][2:3] == ["mIoU"])
    known = [float(row[3].split()[0]) for row in classes[1:] if row[3] != "–"]
    assert float(maps[1][2]) == pytest.approx(np.mean(known), abs=0.1) and max(known) > 0
    assert "the scores are of epoch_1.pth, evaluated here" in page.text
    assert "single: the metrics give no scores of classes" in capsys.readouterr().err


def test_a_run_that_cannot_be_drawn_is_noted(report, tmp_path):
    good = write_log(tmp_path / "good", {"coco/segm_mAP": 0.3})
    broken = write_log(tmp_path / "broken", {"coco/segm_mAP": 0.1})
    write_config(broken, "default_scope = 'mmdet'\nmodel = dict(type='Unknown')\n")
    (broken / "last_checkpoint").write_text("epoch_1.pth")
    (broken / "epoch_1.pth").touch()
    page = report(good, broken)
    assert page.tables[0][1:] == [["good", "1", "30.0 ★"], ["broken", "1", "10.0"]]
    assert "the checkpoint could not be used" in page.text


def test_ap_of_classes_by_hand():
    """A model that finds all stars and nothing else."""
    init_default_scope("mmdet")
    config = Config.fromfile(QUICKSTART / "mask-rcnn_shapes.py")
    config.val_dataloader.dataset.update(length=4, image_size=(64, 64))
    dataset = DATASETS.build(config.val_dataloader.dataset)

    def test_step(batch):
        (sample,) = batch["data_samples"]
        stars = sample.gt_instances[sample.gt_instances.labels == 0]
        sample.pred_instances = InstanceData(
            bboxes=stars.bboxes.tensor if hasattr(stars.bboxes, "tensor") else stars.bboxes,
            labels=stars.labels,
            scores=torch.ones(len(stars)),
            masks=torch.from_numpy(stars.masks.masks.astype(bool)),
        )
        return [sample]

    results = SimpleNamespace(dataset=dataset, model=SimpleNamespace(test_step=test_step))
    logged, classes = evaluate(results, config.val_evaluator)
    labels = {int(label) for item in dataset for label in item["data_samples"].gt_instances.labels}
    assert 0 in labels and len(labels) > 1
    names = dataset.metainfo["classes"]
    assert classes == {names[label]: 0.0 if label else 100.0 for label in labels}
    assert 100 * logged["coco/segm_mAP"] == pytest.approx(100 / len(labels), abs=0.1)
