import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper

from mmlevelset.models import RecurrentLevelSet, segmentation_loss
from mmlevelset.models.recurrent.initial import disc_level_sets
from mmlevelset.registry import MODELS
from tests.models.recurrent import naive

SIZE = (5, 4)
NETWORKS = {
    "dense": dict(gate="dense", size=SIZE),
    "dense mean, untied": dict(gate="dense", size=SIZE, reduction="mean", tied=False),
    "conv": dict(gate="conv"),
    "conv, untied": dict(gate="conv", tied=False, reduction="mean"),
    "conv, three channels": dict(gate="conv", hidden_channels=3, reduction="none"),
}


def make(name: str = "conv", seed: int = 0, noise: float = 0.3, **changes) -> RecurrentLevelSet:
    """In float64, with weights that differ from their symmetric initial values."""
    torch.manual_seed(seed)
    config = dict(type="mmlevelset.RecurrentLevelSet", in_channels=2, num_steps=3)
    model = MODELS.build(config | NETWORKS[name] | changes).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return model


def inputs(count: int = 2, channels: int = 2, size=SIZE, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(count, channels, *size, generator=generator, dtype=torch.float64)
    phi = torch.randn(count, *size, generator=generator, dtype=torch.float64)
    return image, phi


def maps_of(cell, channels: int) -> dict:
    """The equations' maps of a cell, by name."""

    def maps(module, names):
        """Names of the maps from each input (columns) to each output (rows)."""
        weights = module.weight.detach().numpy()
        apply = naive.convolve if weights.ndim == 4 else naive.multiply
        rows = np.split(weights, len(names))
        return {
            name: lambda x, w=w: apply(x, w)
            for row, some in zip(rows, names, strict=True)
            for name, w in zip(some, np.split(row, len(some), 1), strict=True)
        }

    grid = (1, *SIZE) if cell.gates.weight.ndim == 2 else (channels, 1, 1)
    biases = np.concatenate([m.bias.detach().numpy() for m in (cell.gates, cell.candidate)])
    term = cell.data_term
    data = (
        maps(term.convolution, [["-U_g", "W_g"]])
        if hasattr(term, "convolution")
        else maps(term.matrices, [["-U_g"], ["W_g"]])
    )
    return {
        **maps(cell.gates, [["U_z", "W_z"], ["U_r", "W_r"]]),
        **maps(cell.candidate, [["U_h", "W_h"]]),
        "U_g": lambda x: -data["-U_g"](x),
        "W_g": data["W_g"],
        **dict(zip(("b_z", "b_r", "b_h"), biases.reshape(3, *grid), strict=True)),
    }


@pytest.mark.parametrize("eps", [1.0, 0.1])
@pytest.mark.parametrize("name", NETWORKS)
def test_values_are_those_of_the_equations(name, eps):
    model = make(name, eps=eps, eta=1e-3)
    image, phi = inputs()
    image = image + 3
    logits, trajectory = model(image, phi)
    assert logits.shape == (2, 2, *SIZE) and trajectory.shape == (4, 2, *SIZE)
    assert torch.equal(trajectory[0], phi)
    channels = NETWORKS[name].get("hidden_channels", 1)
    direction = None
    if model.direction is not None:
        direction = model.direction.detach().numpy() / np.linalg.norm(model.direction.detach())
    steps = [maps_of(cell, channels) for cell in model.cells] * (3 if model.tied else 1)
    weight, bias = model.output.weight.detach().numpy(), model.output.bias.detach().numpy()

    def output(phi):
        if weight.ndim == 4:
            return naive.convolve(phi[None], weight) + bias[:, None, None]
        rows = [naive.multiply(phi[None], matrix)[0] for matrix in np.split(weight, 2)]
        return np.stack(rows) + bias.reshape(2, *SIZE)

    for number in range(2):
        expected = naive.recurrent_level_set(
            image[number].numpy(),
            phi[number].numpy(),
            steps,
            output,
            eps=eps,
            eta=1e-3,
            reduction=NETWORKS[name].get("reduction", "sum"),
            p=direction,
        )
        found = logits[number].detach().numpy(), trajectory[:, number].detach().numpy()
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients(name):
    model = make(name, num_steps=2, eta=0.1, size=(3, 3) if "dense" in name else None)
    names = [name for name, _ in model.named_parameters()]
    image, phi = inputs(1, size=(3, 3))

    def run(image, phi, *weights):
        result = torch.func.functional_call(
            model, dict(zip(names, weights, strict=True)), (image, phi)
        )
        return tuple(result)

    leaves = [t.detach().clone().requires_grad_() for t in (image, phi, *model.parameters())]
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("supervise", ["last", "all"])
def test_every_parameter_and_input_learns(name, supervise):
    model = make(name, supervise=supervise)
    image, phi = (t.requires_grad_() for t in inputs())
    target = torch.randint(2, (2, *SIZE))
    model.loss(model(image, phi), target).backward()
    for tensor in (image, phi, *model.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all() and tensor.grad.any()


def test_without_training_phi_moves_by_chan_and_vese():
    """Bright pixels move in and dark pixels out, where the inside is the brighter side."""
    torch.manual_seed(0)
    for config in (dict(gate="dense", size=(16, 16)), dict(gate="conv")):
        model = RecurrentLevelSet(in_channels=1, **config).eval()
        disc = torch.hypot(*torch.meshgrid(*[torch.arange(16.0) - 7.5] * 2, indexing="ij")) < 5
        image = disc.float()[None, None] * 3 - 1
        start = torch.full((1, 16, 16), -0.5)
        start[:, 5:9, 6:12] = 0.5
        predicted = model(image, start).logits.argmax(1)[0] == 1
        assert (predicted == disc).float().mean() > 0.9


def test_the_steps_of_a_tied_cell_are_one_cell_and_untied_ones_are_not():
    assert len(make("conv").cells) == 1 and len(make("conv, untied").cells) == 3
    tied = make("conv")
    untied = make("conv", tied=False)
    for cell in untied.cells:
        cell.load_state_dict(tied.cells[0].state_dict())
    untied.output.load_state_dict(tied.output.state_dict())
    image, phi = inputs()
    assert torch.equal(tied(image, phi).trajectory, untied(image, phi).trajectory)


def test_last_and_all_steps_are_supervised():
    image, phi = inputs()
    target = torch.randint(2, (2, *SIZE), dtype=torch.uint8)
    target[0, 0] = 255
    last, every = make("conv"), make("conv", supervise="all")
    logits, trajectory = last(image, phi)
    assert torch.equal(last.classify(trajectory[-1]), logits)
    # The mean over the two images; the images have different numbers of labels.
    steps = [
        sum(
            F.cross_entropy(one[None], labels[None].long(), ignore_index=255)
            for one, labels in zip(last.classify(phi), target, strict=True)
        )
        / 2
        for phi in trajectory
    ]
    assert last.loss(last(image, phi), target).item() == pytest.approx(steps[-1].item())
    mean = sum(steps[1:]) / 3
    assert every.loss(every(image, phi), target).item() == pytest.approx(mean.item())


def test_phi_of_several_channels_is_a_projection():
    model = make("conv, three channels")
    image, phi = inputs()
    assert torch.equal(model(image, phi).trajectory[0], phi)
    with torch.no_grad():
        before = model(image, phi).trajectory
        model.direction.mul_(7)  # its length has no meaning
        assert torch.allclose(model(image, phi).trajectory, before)
        model.direction.neg_()  # with the state's sign; phi_0 stays
        assert torch.equal(model(image, phi).trajectory[0], phi)
        assert not torch.allclose(model(image, phi).trajectory[-1], before[-1])


# phi_0


def test_random_starts_follow_torchs_seed_in_training_and_are_fixed_in_evaluation():
    model = make("conv", initial="random")
    image, _ = inputs(3)
    torch.manual_seed(5)
    first = model(image).trajectory[0]
    again = model(image).trajectory[0]
    torch.manual_seed(5)
    assert torch.equal(model(image).trajectory[0], first)
    assert not torch.equal(first, again) and not torch.equal(first[0], first[1])
    model.eval()
    start = model(image).trajectory[0].detach()
    assert torch.equal(model(image[:1]).trajectory[0], start[:1])
    assert torch.equal(start[0], start[2])
    assert start.abs().max() <= 1 and start.std() == pytest.approx(3**-0.5, rel=0.3)
    other = model(inputs(1, size=(4, 5))[0]).trajectory[0]
    assert not torch.equal(other[0].T, start[0])


def test_discs_fill_the_image_at_any_size():
    like = torch.zeros((), dtype=torch.float64)
    for size in ((32, 64), (40, 12), (7, 9)):
        phi = disc_level_sets(2, size, like, 4)
        assert phi.shape == (2, *size) and phi.abs().max() <= 1 + 1e-12
        assert torch.allclose(phi, phi.flip(1)) and torch.allclose(phi, phi.flip(2))
    phi = disc_level_sets(1, (80, 80), like, 4)[0]
    assert (phi > 0).double().mean() == pytest.approx(math.pi / 8, abs=0.01)
    assert torch.allclose(phi[:20], phi[20:40])
    image = inputs(1, size=(7, 9))[0]
    for discs in (1, 3):
        start = make("conv", initial="discs", num_discs=discs)(image).trajectory[0]
        assert torch.equal(start, disc_level_sets(1, (7, 9), like, discs))
    one = disc_level_sets(1, (41, 21), like, 1)[0]
    assert one[20, 10] == one.max() == 1 and one[0].max() < 0 and one[:, 0].max() < 0


# Numbers


@pytest.mark.parametrize("name", NETWORKS)
def test_no_image_gives_no_result(name):
    model = make(name, supervise="all")
    image, _ = inputs(0)
    result = model(image)
    assert result.logits.shape == (0, 2, *SIZE) and result.trajectory.shape == (4, 0, *SIZE)
    loss = model.loss(result, torch.zeros(0, *SIZE, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0


def test_images_of_a_batch_do_not_see_each_other():
    for name in NETWORKS:
        model = make(name)
        image, phi = inputs(3)
        alone = [model(image[n : n + 1], phi[n : n + 1]).logits[0] for n in range(3)]
        torch.testing.assert_close(model(image, phi).logits, torch.stack(alone))


@pytest.mark.parametrize("name", ["dense", "conv, three channels"])
def test_float32_under_autocast(name):
    model = make(name).float()
    image, phi = (t.float() for t in inputs())
    expected = model(image, phi)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(image.bfloat16().float(), phi)
        half = model(image.bfloat16(), phi)
        loss = model.loss(half, torch.zeros(2, *SIZE, dtype=torch.long))
    assert {t.dtype for t in (*found, *half, loss)} == {torch.float32}
    assert torch.equal(found.logits, half.logits)
    torch.testing.assert_close(half.logits, expected.logits, rtol=0.1, atol=0.1)


def test_float32_is_close_to_float64_where_the_means_are_large():
    for name in NETWORKS:
        model = make(name, noise=0.02)
        image, phi = inputs()
        image = image + 100
        exact = model(image, phi).trajectory
        rough = model.float()(image.float(), phi.float()).trajectory
        assert (rough - exact).abs().max() < 1e-3


@pytest.mark.parametrize("value", [0.0, 4.0])
def test_constant_images_are_finite(value):
    model = make("conv", eps=0.01)
    image = torch.full((1, 2, *SIZE), value, dtype=torch.float64, requires_grad=True)
    for level in (-1e3, 0.0, 1e3):
        result = model(image, torch.full((1, *SIZE), level, dtype=torch.float64))
        (gradient,) = torch.autograd.grad(result.logits.sum(), image)
        assert result.logits.isfinite().all() and gradient.isfinite().all()


def test_an_optimizer_lowers_the_loss():
    torch.manual_seed(0)
    model = RecurrentLevelSet(gate="conv", in_channels=1, hidden_channels=4, num_steps=4)
    optimizer = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.02))
    columns = torch.arange(12.0)
    target = ((columns > 3) & (columns < 8)).expand(4, 12, 12)
    image = target[:, None].float() * 2 - 0.7 + 0.1 * torch.randn(4, 1, 12, 12)
    losses = []
    for _ in range(20):
        loss = model.loss(model(image), target)
        optimizer.update_params(loss)
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


# F-ConNet and the loss


def test_loss_of_unlabelled_pixels_is_zero():
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 3, 3), 255, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()
    half = torch.randn(1, 2, 3, 3).half()
    assert segmentation_loss(half, torch.ones(1, 3, 3, dtype=torch.bool)).dtype == torch.float32


# Errors


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(gate="sparse"), "gate must be one of dense, conv, but is 'sparse'"),
        (dict(gate="dense"), "size must be a height and a width in pixels, but is None"),
        (dict(gate="dense", size=(4, 0)), "size must be a height and a width"),
        (dict(gate="conv", size=(4, 4)), "size must be None with gate 'conv'"),
        (dict(gate="dense", size=SIZE, hidden_channels=2), "hidden_channels must be 1 with gate"),
        (dict(gate="dense", size=SIZE, reduction="none"), "reduction must be 'sum' or 'mean' with"),
        (dict(gate="conv", num_steps=0), "num_steps must be a positive integer, but is 0"),
        (dict(gate="conv", num_discs=0), "num_discs must be a positive integer, but is 0"),
        (dict(gate="conv", initial="zeros"), "initial must be one of random, discs, but is 'zer"),
        (dict(gate="conv", supervise="first"), "supervise must be one of last, all"),
        (dict(gate="conv", eps=0), "eps must be positive, but is 0"),
    ],
)
def test_wrong_settings_are_named(config, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        RecurrentLevelSet(**config)


def test_wrong_inputs_are_named():
    model = make("dense")
    image, phi = inputs()
    with pytest.raises(
        ValueError, match=r"image must have shape \(M, 2, 5, 4\), but has \(2, 2, 4"
    ):
        model(image[:, :, :4])
    with pytest.raises(ValueError, match=r"initial must have shape \(2, 5, 4\)"):
        model(image, phi[:1])
    with pytest.raises(TypeError, match="image must be floating point"):
        model(image.long())
    with pytest.raises(ValueError, match=r"target must have shape \(2, 5, 4\)"):
        model.loss(model(image), torch.zeros(2, 4, 4, dtype=torch.long))
    with pytest.raises(TypeError, match="target must be bool or integers, but is torch.float32"):
        model.loss(model(image), torch.zeros(2, *SIZE))
