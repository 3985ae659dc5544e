"""Overrides of variables and of the schedule's length: they take effect, or are refused."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import load_config, parser
from mmlevelset.experiments.overrides import read_config
from mmlevelset.experiments.schedule import check_schedule, scale_schedule
from mmlevelset.experiments.sweep.plan import read_plan

BASE = """
data_root = "data/a/"
classes = ("cat", "dog")
metainfo = dict(classes=classes, palette=[(1, 2, 3), (4, 5, 6)])
image_scale = (448, 288)
max_epochs = 40
unused = 3
pipeline = [dict(type="Resize", scale=image_scale), dict(type="Pad", size=max(image_scale))]
model = dict(type="M", num_classes=len(classes))
train_dataloader = dict(
    batch_size=2,
    dataset=dict(type="D", data_root=data_root, metainfo=metainfo, pipeline=pipeline),
)
val_dataloader = dict(dataset=dict(type="D", data_root=data_root, metainfo=metainfo))
val_evaluator = dict(type="E", ann_file=data_root + "val.json")
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs // 4)
param_scheduler = [
    dict(type="LinearLR", by_epoch=False, end=50),
    dict(type="CosineAnnealingLR", T_max=max_epochs, by_epoch=True),
]
"""


@pytest.fixture
def base(tmp_path) -> Path:
    path = tmp_path / "base.py"
    path.write_text(BASE)
    return path


def load(path: Path, *options: str) -> Config:
    words = [str(path), "--work-dir", "out"]
    return load_config(parser("").parse_args([*words, "--cfg-options", *options]))


def child(base: Path, text: str) -> Path:
    path = base.with_name("child.py")
    path.write_text(f"_base_ = '{base}'\n{text}\n")
    return path


def test_a_variable_reaches_all_that_the_config_used_it_for(base, capsys):
    config = load(base, "data_root=data/b/")
    assert config.train_dataloader.dataset.data_root == "data/b/"
    assert config.val_dataloader.dataset.data_root == "data/b/"
    assert config.val_evaluator.ann_file == "data/b/val.json"
    assert "val_evaluator.ann_file='data/b/val.json'" in capsys.readouterr().out

    config = load(base, "image_scale=(300,200)", "train_dataloader.batch_size=5")
    assert [
        step.get("scale", step.get("size")) for step in config.train_dataloader.dataset.pipeline
    ]
    assert config.train_dataloader.dataset.pipeline[0].scale == (300, 200)
    assert config.train_dataloader.dataset.pipeline[1].size == 300
    assert config.train_dataloader.batch_size == 5

    config = load(base, "classes=('cow',)")
    assert config.model.num_classes == 1
    assert config.val_dataloader.dataset.metainfo.classes == ("cow",)

    config = load(base, "metainfo.classes=('cow','hen')")
    assert config.train_dataloader.dataset.metainfo.classes == ("cow", "hen")
    assert config.train_dataloader.dataset.metainfo.palette == [(1, 2, 3), (4, 5, 6)]

    config = load(base, "max_epochs=12")
    assert (config.train_cfg.max_epochs, config.train_cfg.val_interval) == (12, 3)
    assert config.param_scheduler[1].T_max == 12


def test_a_variable_reaches_through_a_child_and_a_base_variable(base):
    path = child(base, "test_evaluator = dict(type='E', ann_file={{_base_.data_root}})")
    assert load(path, "data_root=x/").test_evaluator.ann_file == "x/"
    path = child(base, "test_evaluator = dict(type='E', ann_file=_base_.data_root + 't.json')")
    assert load(path, "data_root=x/").test_evaluator.ann_file == "x/t.json"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("unused=4", "unused would have no effect: no setting of the config depends on it$"),
        ("data_rot=x", "the config has no 'data_rot'; did you mean data_root?"),
        ("launcher=slurm", "launcher would have no effect: take --launcher"),
        ("work_dir=here", "work_dir and --work-dir contradict each other"),
        (
            "train_cfg.max_epoch=3",
            "train_cfg has no 'max_epoch'; did you mean train_cfg.max_epochs",
        ),
    ],
)
def test_an_override_without_effect_is_refused(base, option, message):
    path = child(base, "launcher = 'none'\nwork_dir = 'there'")
    with pytest.raises(InputError, match=message):
        load(path, option)


def test_a_new_name_that_nothing_reads_is_refused_even_if_new_keys_are_allowed(base):
    with pytest.raises(
        InputError, match=r"max_epoch would have no effect: .*did you mean max_epochs"
    ):
        load(base, "max_epoch=3", "--allow-new-keys")
    assert load(base, "find_unused_parameters=True", "--allow-new-keys").find_unused_parameters


def test_a_variable_of_a_dumped_config_is_refused_with_the_keys_that_hold_its_value(base):
    dumped = base.with_name("dumped.py")
    read_config(base).dump(dumped)
    with pytest.raises(InputError, match="data_root would have no effect") as error:
        load(dumped, "data_root=data/b/")
    for key in ("train_dataloader.dataset.data_root", "val_dataloader", "val_evaluator.ann_file"):
        assert key in str(error.value)
    with pytest.raises(InputError, match=r"stands in train_dataloader\.dataset\.metainfo"):
        load(dumped, "metainfo.classes=('x',)")
    load(dumped, "data_root=data/a/")  # as it is


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (
            "data_root = 'mine/'",
            [
                "train_dataloader.dataset.data_root='mine/'",
                "val_dataloader.dataset.data_root='mine/'",
                "val_evaluator.ann_file='mine/val.json'",
            ],
        ),
        (
            "metainfo = dict(classes=('a', 'b'))",
            ["train_dataloader.dataset.metainfo.classes=('a', 'b')"],
        ),
        ("classes = ('a',)", ["model.num_classes=1"]),
        ("max_epochs = 12", ["param_scheduler.1.T_max=12", "train_cfg.max_epochs=12"]),
        (
            "data_root = 'mine/'\ntrain_dataloader = dict(dataset=dict(data_root=data_root))"
            "\nval_dataloader = train_dataloader",
            ["val_evaluator.ann_file='mine/val.json'"],
        ),
    ],
)
def test_a_child_that_changes_a_variable_of_its_base_is_refused_with_the_keys(base, text, keys):
    with pytest.raises(InputError, match=r"child\.py sets .*the base config had used") as error:
        read_config(child(base, text))
    for key in keys:
        assert key in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "data_root = 'mine/'\ntrain_dataloader = dict(dataset=dict(data_root=data_root))\n"
        "val_dataloader = dict(dataset=dict(data_root=data_root))\n"
        "val_evaluator = dict(ann_file=data_root + 'val.json')",
        "data_root = 'data/a/'",  # as it was
        "unused = 5",
        "metainfo = dict(_delete_=True)",
        "pipeline = [dict(type='Other')]\ntrain_dataloader = dict(dataset=dict(pipeline=pipeline))",
    ],
)
def test_a_child_that_changes_all_that_a_variable_was_used_for_is_read(base, text):
    read_config(child(base, text))


def test_a_misspelt_name_of_a_child_is_refused(base):
    with pytest.raises(InputError, match="nothing reads train_cgf; did you mean train_cfg?"):
        read_config(child(base, "train_cgf = dict(max_epochs=3)"))
    with pytest.raises(InputError, match="nothing reads max_epoch; did you mean max_epochs?"):
        read_config(child(base, "max_epoch = 3"))
    read_config(child(base, "my_scale = (3, 3)"))


def test_a_setting_at_the_top_level_that_no_file_reads_is_refused(base):
    for text, key in (
        ("ann_file = 'mine.json'", "val_evaluator.ann_file"),
        ("data_prefix = dict(img='photos')", "train_dataloader.dataset.data_prefix"),
    ):
        with pytest.raises(InputError, match=f"nothing reads it there: set .*{key}"):
            read_config(child(base, text))


def test_the_length_of_a_training_scales_its_schedule(base, capsys):
    config = load(base, "train_cfg.max_epochs=12")
    assert config.param_scheduler[1].T_max == 12
    assert config.param_scheduler[0].end == 50  # a warm-up in iterations
    assert "param_scheduler.1.T_max = 12 (was 40)" in capsys.readouterr().out
    config = load(base, "train_cfg.max_epochs=12", "param_scheduler.1.T_max=12")
    assert "was" not in capsys.readouterr().out
    with pytest.raises(InputError, match=r"does not fit train_cfg\.max_epochs = 12: .*T_max = 11"):
        load(base, "train_cfg.max_epochs=12", "param_scheduler.1.T_max=11")


def test_points_lengths_and_lists_are_scaled_in_the_unit_of_the_training():
    def config(length: int) -> Config:
        steps = dict(type="MultiStepLR", by_epoch=False, end=900, milestones=[600, 800])
        poly = dict(type="PolyLR", by_epoch=False, begin=100, end=900)
        other = dict(type="StepLR", step_size=3)  # counts epochs
        schedule = dict(one=[steps, other], two=poly)
        return Config(
            dict(train_cfg=dict(max_iters=length, val_begin=450), param_scheduler=schedule)
        )

    short = config(90)
    with pytest.raises(InputError, match=r"param_scheduler\.one\.0\.end = 900, .*val_begin = 450"):
        check_schedule(short, "here")
    lines = scale_schedule(short, config(900))
    assert short.param_scheduler.one[0].milestones == [60, 80]
    assert short.param_scheduler.one[0].end == short.param_scheduler.two.end == 90
    assert short.param_scheduler.two.begin == 10
    assert short.param_scheduler.one[1].step_size == 3
    assert short.train_cfg.val_begin == 45
    assert len(lines) == 5
    check_schedule(short, "here")
    assert not scale_schedule(short, config(90))


@pytest.mark.parametrize("length", [12, 80])
def test_a_child_whose_schedule_does_not_fit_is_refused(base, length):
    with pytest.raises(
        InputError, match=r"child\.py: the schedule .*param_scheduler\.1\.T_max = 40"
    ):
        read_config(child(base, f"train_cfg = dict(max_epochs={length})"))


def test_sweeps_use_the_same_rules(base, tmp_path):
    def plan(options: str):
        file = tmp_path / "sweep.py"
        file.write_text(
            "metrics = {'AP': 'coco/segm_mAP'}\nconfig = 'base.py'\n"
            f"variants = dict(one=dict(options={options}))\n"
        )
        return read_plan(file, tmp_path / "out").runs[0].config

    assert plan("{'data_root': 'x/'}").val_evaluator.ann_file == "x/val.json"
    assert plan("{'train_cfg': dict(max_epochs=8)}").param_scheduler[1].T_max == 8
    with pytest.raises(InputError, match=r"variants\.one: option unused would have no effect"):
        plan("{'unused': 9}")
