from types import SimpleNamespace

import pytest

from mmlevelset.errors import InputError
from mmlevelset.experiments.class_names import difference, make_check, names_in

FRUIT = ("apple", "pear", "plum", "fig", "date", "lime")


@pytest.mark.parametrize(
    ("meta", "names"),
    [
        (dict(dataset_meta=dict(classes=["a", "b"], palette=[])), ("a", "b")),
        (dict(dataset_meta=dict(CLASSES=("a", "b"))), ("a", "b")),
        (dict(CLASSES=("a", "b"), mmdet_version="2.10.0"), ("a", "b")),
        (dict(CLASSES="person"), ("person",)),
        (dict(dataset_meta=None, epoch=3), None),
        (dict(dataset_meta=dict(classes=()), CLASSES=None), None),
    ],
)
def test_names_of_new_and_old_checkpoints(meta, names):
    assert names_in(meta) == names


@pytest.mark.parametrize(
    ("learned", "message"),
    [
        (FRUIT, None),
        (list(FRUIT), None),
        (
            (*FRUIT[:4], "lime", "date"),
            "the checkpoint has the data set's classes in another order: label 4 is 'lime' in the"
            " checkpoint and 'date' in the data set",
        ),
        (
            ("person",),
            "the checkpoint's 1 class (person) are not the data set's 6 classes"
            " (apple, pear, plum, fig, ...)",
        ),
        (
            (*FRUIT[:5], "lemon"),
            "the checkpoint's 6 classes (apple, pear, plum, fig, ...) are not the data set's 6"
            " classes (apple, pear, plum, fig, ...): label 5 is 'lemon' and 'lime'",
        ),
        (
            ("kiwi", *FRUIT[1:]),
            "the checkpoint's 6 classes (kiwi, pear, plum, fig, ...) are not the data set's 6"
            " classes (apple, pear, plum, fig, ...)",
        ),
    ],
)
def test_the_difference_names_both(learned, message):
    assert difference(learned, FRUIT) == message


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize(
    ("classes", "meta", "refused", "warned"),
    [
        (FRUIT, dict(dataset_meta=dict(classes=FRUIT)), None, None),
        (FRUIT, dict(CLASSES=FRUIT[::-1]), "label 0 is 'lime'", "label 0 is 'lime'"),
        (FRUIT, dict(epoch=1), None, "the checkpoint names no classes"),
        (FRUIT, None, None, "the checkpoint names no classes"),
        (None, dict(CLASSES=FRUIT), None, None),
    ],
)
def test_a_test_of_other_classes_is_refused(classes, meta, refused, warned, allow):
    warnings = []
    metainfo = {} if classes is None else dict(classes=classes)
    runner = SimpleNamespace(
        test_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo=metainfo)),
        logger=SimpleNamespace(warning=warnings.append),
    )
    hook, checkpoint = make_check(allow), dict(state_dict={}, meta=meta)
    if refused and not allow:
        with pytest.raises(InputError, match=f"{refused}.*--allow-other-classes"):
            hook.after_load_checkpoint(runner, checkpoint)
        return
    hook.after_load_checkpoint(runner, checkpoint)
    assert len(warnings) == bool(warned)
    assert not warned or warned in warnings[0]
