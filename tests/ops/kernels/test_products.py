"""Products of half-precision features by sums of bfloat16: as exact as in float32.

Without a CUDA device the kernels run in Triton's interpreter (see conftest.py).
"""

import importlib

import pytest
import torch

triton = pytest.importorskip("triton")
tl = importlib.import_module("triton.language")
products = importlib.import_module("mmlevelset.ops.kernels.products")
# A kernel finds functions and constants by their names in its module.
INTERPRETED = products.INTERPRETED
difference, split = products.difference, products.split
read_more, weigh, project = products.read_more, products.weigh, products.project
no_sums, store_sums = products.no_sums, products.store_sums
store_factors, load_factors = products.store_factors, products.load_factors
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@triton.jit
def _difference(one, two, out, SIZE: tl.constexpr):
    entry = tl.arange(0, SIZE)
    a, b = tl.load(one + entry), tl.load(two + entry)
    if INTERPRETED:
        a, b = a.to(tl.float32), b.to(tl.float32)
    top, low = difference(a, b)
    tl.store(out + entry, top.to(tl.float32))
    tl.store(out + SIZE + entry, low.to(tl.float32))


@triton.jit
def _split(values, out, SIZE: tl.constexpr):
    entry = tl.arange(0, SIZE)
    terms = split(tl.load(values + entry))
    for i in tl.static_range(3):
        tl.store(out + i * SIZE + entry, terms[i])


@triton.jit
def _both_products(
    features, centres, maps, vectors, table, sums, at_pixels, channels, pixels,
    SIZE: tl.constexpr, PIECES: tl.constexpr, ROWS: tl.constexpr, TERMS: tl.constexpr,
):  # fmt: skip
    pixel = tl.arange(0, SIZE)
    inside = pixel < pixels
    group = read_more(
        features, centres, 0, pixel, inside, channels, pixels, PIECES, TERMS, False
    )  # fmt: skip
    one = tl.load(maps + pixel, mask=inside, other=0.0)
    two = tl.load(maps + pixels + pixel, mask=inside, other=0.0)
    total = weigh(group, one, two, no_sums(PIECES, TERMS), TERMS)
    store_sums(total, sums, sums + channels, 0, channels, PIECES)
    channel = tl.arange(0, ROWS)
    first = tl.load(vectors + channel, mask=channel < channels, other=0.0)
    second = tl.load(vectors + channels + channel, mask=channel < channels, other=0.0)
    store_factors(table, first, second, channel, TERMS)
    tl.debug_barrier()
    first, second = project(group, load_factors(table, 0, PIECES, TERMS), TERMS)
    tl.store(at_pixels + pixel, first, mask=inside)
    tl.store(at_pixels + pixels + pixel, second, mask=inside)


def is_bfloat16(values):
    return torch.equal(values, values.bfloat16().float())


def spread(*shape, seed=0):
    """Numbers of 40 binary exponents, and zeros."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator) * 2.0 ** torch.randint(
        -20, 20, shape, generator=generator
    )
    return values.masked_fill(torch.rand(shape, generator=generator) < 0.05, 0.0).to(DEVICE)


def test_a_difference_of_bfloat16_is_the_sum_of_two():
    one, two = spread(4096, seed=1).bfloat16(), spread(4096, seed=2).bfloat16()
    two[:1024] = one[:1024] * (1 + 2.0 ** torch.arange(-9.0, -1.0)).repeat(128).to(two)
    out = torch.empty(2, 4096, device=DEVICE)
    _difference[(1,)](one, two, out, 4096)
    assert torch.equal(out.double().sum(0), one.double() - two.double())
    assert is_bfloat16(out)


def test_a_float32_is_the_sum_of_three():
    values = spread(4096)
    values[:4] = torch.tensor([1e-30, -3.0e30, 1 - 2.0**-24, 1 + 2.0**-23])
    out = torch.empty(3, 4096, device=DEVICE)
    _split[(1,)](values, out, 4096)
    assert torch.equal(out.double().sum(0), values.double())
    assert is_bfloat16(out)


def products_of(features, centres, maps, vectors):
    """Sums over pixels and over channels, by the kernels."""
    channels, pixels = features.shape
    terms = 2 if features.dtype == torch.bfloat16 else 0
    rows = triton.next_power_of_2(max(16, channels))
    table = torch.zeros(rows, 16, device=DEVICE, dtype=torch.bfloat16 if terms else torch.float32)
    sums = torch.empty(2, channels, device=DEVICE)
    at_pixels = torch.empty(2, pixels, device=DEVICE)
    padded = -(-channels // 16) * 16
    pieces = tuple(size for size in (64, 32, 16) if padded & size)
    _both_products[(1,)](
        features, centres, maps, vectors, table, sums, at_pixels, channels, pixels,
        triton.next_power_of_2(pixels), pieces, rows, terms,
    )  # fmt: skip
    return sums, at_pixels


def case(name, channels, dtype):
    generator = torch.Generator().manual_seed(channels)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    features = normal(channels, 100)
    maps = torch.rand(2, 100, generator=generator)
    if name == "offset":
        features = 100 + 0.1 * features
    elif name == "offsets":
        features = 2.0 ** torch.linspace(-8, 8, channels)[:, None] + 0.05 * features
    elif name == "outliers":
        features = 100 + features
        features[:, 3], features[:, 50] = 1e-3, 3e4
    elif name == "nearly empty":
        maps[0] = 1e-6 * maps[0]
        maps[0, 7] = 0.3
        maps[1] = -(1e-25 * maps[1])
    features = features.to(dtype)
    return features.to(DEVICE), maps.to(DEVICE), normal(2, channels).to(DEVICE)


def error(got, want):
    """The largest error of a vector's sums, in the size that their terms have."""
    return ((got.double() - want[0]).abs() / want[1].clamp(min=1e-300)).max().item()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["plain", "offset", "offsets", "outliers", "nearly empty"])
def test_products_are_as_exact_as_in_float32(name, dtype):
    for channels in (1, 19, 67):
        features, maps, vectors = case(name, channels, dtype)
        centres = features.float().sort(1).values[:, 50].contiguous()
        centred = features.double() - centres[:, None].double()
        wanted = []
        for left, right in ((maps, centred.T), (vectors, centred)):
            left = left.double()
            wanted.append((left @ right, left.abs() @ right.abs()))
        got = products_of(features, centres, maps, vectors)
        plain = products_of(features.float(), centres, maps, vectors)
        for one, float32, want in zip(got, plain, wanted, strict=True):
            # Tensor cores cut the digits of a sum off, where others round it.
            assert error(one, want) < (1e-6 if DEVICE == "cpu" else 4e-6)
            if DEVICE == "cpu":
                # Two roundings of float32: processors add in different orders.
                assert error(one, want) <= max(3 * error(float32, want), 2.4e-7)
        if name == "plain":  # and a single term of bfloat16 would not do
            single = maps.bfloat16().double() @ centred.T
            assert error(single, wanted[0]) > 1e-4
