import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmlevelset.models.levelset_loss import ASPPHead, FCNHead, LargeFOVHead
from mmlevelset.models.levelset_loss.resize import resize_maps, scaled_size, shrink_labels

CE = dict(type="mmdet.CrossEntropyLoss", avg_non_ignore=True)


def copied_scores(head: FCNHead) -> FCNHead:
    """Set the classifiers so that the scores are the first K channels of the features."""
    for classifier in head.classifiers:
        nn.init.dirac_(classifier.weight)
        nn.init.zeros_(classifier.bias)
    return head


class SizesLoss(nn.Module):
    """A loss that records its arguments."""

    def __init__(self, loss_name: str = "loss_sizes") -> None:
        super().__init__()
        self.loss_name = loss_name

    def forward(self, logits, labels, weight=None, ignore_index=None):
        self.called = (tuple(logits.shape), tuple(labels.shape), logits.dtype, ignore_index)
        self.labels = labels
        return logits.mean()


def labels_of(*size: int, classes: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randint(classes, size, generator=torch.Generator().manual_seed(seed))


class TestFCNHead:
    CHANNELS = (4, 6, 8)

    def features(self, requires_grad=False):
        generator = torch.Generator().manual_seed(0)
        sizes = [(21, 27), (11, 14), (6, 7)]
        return [
            torch.randn(2, channels, *size, generator=generator).requires_grad_(requires_grad)
            for channels, size in zip(self.CHANNELS, sizes, strict=True)
        ]

    @pytest.mark.parametrize(("skips", "size"), [(0, (6, 7)), (1, (11, 14)), (2, (21, 27))])
    def test_size_is_that_of_the_earliest_stage(self, skips, size):
        head = FCNHead(3, self.CHANNELS, skips=skips)
        assert head(self.features()).shape == (2, 3, *size)

    def test_scores_of_the_stages_are_added_after_upsampling(self):
        head = copied_scores(FCNHead(3, self.CHANNELS, in_index=2, skips=2))
        first, second, third = (stage[:, :3] for stage in self.features())
        fused = second + F.interpolate(third, size=(11, 14), mode="bilinear")
        expected = first + F.interpolate(fused, size=(21, 27), mode="bilinear")
        torch.testing.assert_close(head(self.features()), expected)

    def test_skips_start_at_zero(self):
        torch.manual_seed(0)
        head = FCNHead(3, self.CHANNELS, skips=2)
        head.init_weights()
        coarse = FCNHead(3, self.CHANNELS)
        coarse.classifiers[0] = head.classifiers[0]
        expected = coarse(self.features())
        for size in ((11, 14), (21, 27)):
            expected = F.interpolate(expected, size=size, mode="bilinear")
        torch.testing.assert_close(head(self.features()), expected)
        assert expected.abs().max() > 0

    def test_every_parameter_gets_a_gradient_from_the_start(self):
        head = FCNHead(3, self.CHANNELS, skips=2)
        head.init_weights()
        sum(head.loss(head(self.features()), labels_of(2, 40, 50)).values()).backward()
        assert all(parameter.grad.abs().max() > 0 for parameter in head.parameters())

    def test_one_stage_may_be_given_by_its_width_alone(self):
        head = FCNHead(3, 6, in_index=1)
        assert head(self.features()).shape == (2, 3, 11, 14)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (dict(in_channels=(4, 6), skips=2), "skips must be .* 0 to 1, .*, but is 2"),
            (dict(in_channels=6, skips=1), "skips must be .* 0 to 0, .*, but is 1"),
            (dict(in_channels=(4, 6), in_index=0, skips=1), "0 to 0, .*, but is 1"),
            (dict(in_channels=(4, 6), in_index=2), "in_index must be .* 2 in_channels, but is 2"),
        ],
    )
    def test_errors(self, options, message):
        with pytest.raises(ValueError, match=message):
            FCNHead(3, **options)


class TestLargeFOVHead:
    def test_layers_of_the_paper(self):
        with torch.device("meta"):
            head = LargeFOVHead(21)
        assert {name: tuple(value.shape) for name, value in head.state_dict().items()} == {
            "fc6.weight": (1024, 512, 3, 3),
            "fc6.bias": (1024,),
            "fc7.weight": (1024, 1024, 1, 1),
            "fc7.bias": (1024,),
            "classifier.weight": (21, 1024, 1, 1),
            "classifier.bias": (21,),
        }
        assert (head.fc6.dilation, head.fc6.padding) == ((12, 12), (12, 12))
        assert head.dropout_ratio == 0.5

    @pytest.mark.parametrize("size", [(41, 41), (5, 3)])
    def test_reads_a_window_of_25_pixels_and_keeps_the_size(self, size):
        head = LargeFOVHead(2, in_channels=3, fc_channels=4).eval()
        x = torch.randn(1, 3, *size, requires_grad=True)
        logits = head([x])
        assert logits.shape == (1, 2, *size)
        logits[0, :, size[0] // 2, size[1] // 2].sum().backward()
        rows, columns = x.grad[0].abs().sum(0).nonzero(as_tuple=True)
        reach = 12 if min(size) > 24 else 0
        assert rows.unique().tolist() == sorted(
            {size[0] // 2 + step for step in (-reach, 0, reach)}
        )
        assert (columns - size[1] // 2).abs().max() == reach

    def test_dropout_is_that_of_training(self):
        torch.manual_seed(0)
        head, x = LargeFOVHead(2, in_channels=3, fc_channels=64), [torch.randn(1, 3, 5, 5)]
        assert not torch.equal(head(x), head(x))
        head.eval()
        assert torch.equal(head(x), head(x))

    def test_even_kernel_is_an_error(self):
        with pytest.raises(ValueError, match="kernel_size must be an odd number, but is 4"):
            LargeFOVHead(2, kernel_size=4)


class TestASPPHead:
    def test_is_the_sum_of_dilated_classifiers(self):
        head = ASPPHead(3, in_channels=5, dilations=(1, 3))
        x = torch.randn(2, 5, 9, 11)
        expected = sum(
            F.conv2d(x, layer.weight, layer.bias, padding=step, dilation=step)
            for step, layer in zip((1, 3), head.classifiers, strict=True)
        )
        torch.testing.assert_close(head([x]), expected)

    def test_layers_of_the_paper(self):
        with torch.device("meta"):
            head = ASPPHead(21)
        assert [layer.dilation[0] for layer in head.classifiers] == [6, 12, 18, 24]
        assert {tuple(layer.weight.shape) for layer in head.classifiers} == {(21, 2048, 3, 3)}

    @pytest.mark.parametrize("dilations", [(), (0, 6)])
    def test_wrong_dilations_are_an_error(self, dilations):
        with pytest.raises(ValueError, match=r"dilations must be .* but is \("):
            ASPPHead(3, dilations=dilations)


class TestLosses:
    LABELS = labels_of(2, 40, 56)
    LOGITS = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))

    def head(self, **options) -> FCNHead:
        return FCNHead(3, 4, **options)

    def test_full_size_upsamples_logits(self):
        values = self.head().loss(self.LOGITS, self.LABELS)
        upsampled = F.interpolate(self.LOGITS, size=(40, 56), mode="bilinear")
        assert values.keys() == {"loss_ce"}
        torch.testing.assert_close(values["loss_ce"], F.cross_entropy(upsampled, self.LABELS))

    def test_logits_size_shrinks_labels(self):
        values = self.head(loss_size="logits").loss(self.LOGITS, self.LABELS)
        torch.testing.assert_close(
            values["loss_ce"], F.cross_entropy(self.LOGITS, self.LABELS[:, 4::8, 4::8])
        )

    def test_ignored_pixels_do_not_count(self):
        labels = self.LABELS.clone()
        labels[:, 7:23] = 9
        values = self.head(ignore_index=9, loss_size="full").loss(self.LOGITS, labels)
        upsampled = F.interpolate(self.LOGITS, size=(40, 56), mode="bilinear")
        expected = F.cross_entropy(upsampled, labels, ignore_index=9)
        torch.testing.assert_close(values["loss_ce"], expected)

    def test_losses_are_called_as_mmsegmentation_calls_them(self):
        head = self.head(loss_decode=dict(type=SizesLoss), ignore_index=9)
        assert head.loss(self.LOGITS, self.LABELS).keys() == {"loss_sizes"}
        assert head.losses[0].called == ((2, 3, 40, 56), (2, 40, 56), torch.float32, 9)

    @pytest.mark.parametrize("loss_size", ["full", "logits"])
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_losses_see_single_precision_and_double_stays(self, loss_size, dtype):
        head = self.head(loss_decode=dict(type=SizesLoss), loss_size=loss_size)
        head.loss(self.LOGITS.to(dtype), self.LABELS)
        assert head.losses[0].called[2] == torch.float32
        head.loss(self.LOGITS.double(), self.LABELS)
        assert head.losses[0].called[2] == torch.float64

    def test_several_losses_are_named_and_those_of_one_name_summed(self):
        sizes = dict(type=SizesLoss)
        head = self.head(loss_decode=[CE, sizes, dict(CE, loss_weight=0.5)])
        once = self.head().loss(self.LOGITS, self.LABELS)["loss_ce"]
        values = head.loss(self.LOGITS, self.LABELS)
        assert list(values) == ["loss_ce", "loss_sizes"]
        torch.testing.assert_close(values["loss_ce"], 1.5 * once)

    def test_names_of_losses_without_one_come_from_their_type(self):
        class BoundaryDiceLoss(SizesLoss):
            def __init__(self):
                super().__init__()
                del self.loss_name

        head = self.head(loss_decode=dict(type=BoundaryDiceLoss))
        assert head.loss(self.LOGITS, self.LABELS).keys() == {"loss_boundary_dice"}

    def test_what_is_monitored_has_no_gradient_and_is_no_loss(self):
        head = self.head(monitor=[CE, dict(type=SizesLoss, loss_name="loss_level_set")])
        logits = self.LOGITS.clone().requires_grad_()
        values = head.loss(logits, self.LABELS)
        assert list(values) == ["loss_ce", "energy_ce", "energy_level_set"]
        assert values["loss_ce"].requires_grad
        assert not values["energy_ce"].requires_grad
        assert not values["energy_level_set"].requires_grad
        assert values["energy_ce"] == values["loss_ce"]
        assert head.loss(logits, self.LABELS, monitor=False).keys() == {"loss_ce"}

    def test_a_loss_of_weight_zero_is_left_out(self):
        off = dict(type="mmlevelset.LevelSetLoss", loss_weight=0.0)
        head = self.head(loss_decode=[CE, off], monitor=[dict(off, loss_weight=4e-4)])
        values = head.loss(self.LOGITS, self.LABELS)
        assert list(values) == ["loss_ce", "energy_level_set"]
        assert (
            values["loss_ce"] == self.head(loss_decode=CE).loss(self.LOGITS, self.LABELS)["loss_ce"]
        )
        assert len(head.losses) == 1

    def test_a_batch_without_labels_is_finite(self):
        for options in (dict(), dict(loss_size="logits")):
            logits = self.LOGITS.clone().requires_grad_()
            value = self.head(**options).loss(logits, torch.full((2, 40, 56), 255))["loss_ce"]
            value.backward()
            assert value == 0
            assert not logits.grad.any()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (dict(num_classes=1), "num_classes must be .* at least 2, .* but is 1"),
            (dict(loss_size="half"), "loss_size must be 'full' or 'logits', but is 'half'"),
            (dict(dropout_ratio=1), r"dropout_ratio must lie in \[0, 1\), but is 1"),
            (
                dict(loss_decode=[dict(CE, loss_weight=0.0)]),
                r"loss_decode must have a loss with a loss_weight other than 0, but is \[",
            ),
            (
                dict(loss_decode=dict(type=SizesLoss, loss_name="energy")),
                "loss_name must contain 'loss', .* but is 'energy'",
            ),
        ],
    )
    def test_errors(self, options, message):
        with pytest.raises(ValueError, match=message):
            FCNHead(**(dict(num_classes=3, in_channels=4) | options))


class TestResizing:
    @pytest.mark.parametrize("size", [(41, 49), (40, 48), (1, 5)])
    @pytest.mark.parametrize("small", [(6, 7), (1, 1), (3, 49)])
    def test_labels_shrink_to_the_pixel_under_each_centre(self, size, small):
        labels = labels_of(2, *size, classes=200)
        shrunk = shrink_labels(labels, small)
        for row in range(small[0]):
            for column in range(small[1]):
                y, x = (row + 0.5) * size[0] / small[0], (column + 0.5) * size[1] / small[1]
                assert torch.equal(shrunk[:, row, column], labels[:, int(y), int(x)])

    def test_aligned_corners_take_every_eighth_pixel_of_321(self):
        labels = labels_of(1, 321, 161, classes=200)
        assert torch.equal(shrink_labels(labels, (41, 21), True), labels[:, ::8, ::8])
        assert torch.equal(shrink_labels(labels, (1, 1), True)[:, 0, 0], labels[:, 160, 80])

    @pytest.mark.parametrize("align_corners", [False, True])
    def test_shrunk_labels_are_where_upsampled_maps_put_them(self, align_corners):
        coarse = torch.arange(21.0).expand(1, 1, 11, 21)
        columns = resize_maps(coarse, (88, 168), align_corners)[0, 0, 0]
        picked = shrink_labels(columns.expand(1, 88, 168), (11, 21), align_corners)
        assert (picked[0, 0] - torch.arange(21.0)).abs().max() <= 0.5 / 8 + 1e-6

    def test_scaled_sizes(self):
        assert scaled_size((321, 321), 0.5, True) == (161, 161)
        assert scaled_size((321, 321), 0.75, True) == (241, 241)
        assert scaled_size((320, 1), 0.25, False) == (80, 1)
