"""Products of one region's centred features with a few vectors, for the tensor cores.

A product sums over channels (``project``) or over pixels (``weigh``). Half-precision features are
multiplied as bfloat16 with sums in float32: a float32 is the sum of three numbers of bfloat16, so
no digit is lost. Features of bfloat16 less their centre, which is one of them, are the sum of two,
because the error of a rounded difference is a number of the same format. Features of float16 less
their centre take three. Float32 features are multiplied in float32, since the tensor cores would
take them as TF32.

The channels of a group are cut into pieces, whose numbers of rows are powers of two. The pieces
stay in shared memory or registers, so a program reads them once.
"""

import os

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")


@triton.jit
def _bfloat16(values):
    """Float32 values that are numbers of bfloat16, as such.

    The interpreter has no products and sums of bfloat16. There they are held as float32.
    """
    if INTERPRETED:
        return values
    else:
        return values.to(tl.bfloat16)


@triton.jit
def _rounded(values):
    """A sum of numbers of bfloat16, as such: the interpreter has to round it to the nearest."""
    if INTERPRETED:
        bits = values.to(tl.int32, bitcast=True)
        bits += 0x7FFF + ((bits >> 16) & 1)
        return (bits & -65536).to(tl.float32, bitcast=True)
    else:
        return values


@triton.jit
def difference(one, two):
    """Two numbers of bfloat16 whose sum is the difference of two others (Knuth's TwoSum)."""
    top = _rounded(one - two)
    if not INTERPRETED:
        top = _keep(top)
    other = _rounded(one - top)
    back = _rounded(top + other)
    return top, _rounded(_rounded(one - back) + _rounded(other - two))


@triton.jit
def _keep(values):
    return tl.inline_asm_elementwise("", "=r,0", [values], dtype=values.dtype, is_pure=False, pack=2)


@triton.jit
def split(values):
    """Three numbers of bfloat16 whose sum is the float32 values."""
    top = _cut(values)
    rest = values - top
    middle = _cut(rest)
    return top, middle, rest - middle


@triton.jit
def _cut(values):
    """The first eight binary digits of float32 values."""
    return (values.to(tl.int32, bitcast=True) & -65536).to(tl.float32, bitcast=True)


@triton.jit
def _columns(one, two):
    """Matrix (n, 16) of bfloat16: its even columns sum up to ``one``, the odd ones to ``two``."""
    first = _terms(one)
    second = tl.zeros_like(first)
    if two is not None:
        second = _terms(two)
    return _bfloat16(tl.join(first, second).reshape(one.shape[0], 16))


@triton.jit
def _terms(values):
    top, middle, last = split(values)
    zero = tl.zeros_like(top)
    terms = tl.join(tl.join(top, middle), tl.join(last, zero))
    return tl.join(terms, tl.zeros_like(terms))


@triton.jit
def _pair(products):
    """Sums of the even and of the odd columns of a matrix."""
    rows: tl.constexpr = products.shape[0]
    columns: tl.constexpr = products.shape[1]
    return tl.split(tl.sum(products.reshape(rows, columns // 2, 2), 1))


@triton.jit
def _piece(
    features, centre, start, pixel, inside, channels, pixels,
    ROWS: tl.constexpr, TERMS: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """Centred features (channel, pixel) of one region: float32, or ``TERMS`` of bfloat16."""
    channel = start + tl.arange(0, ROWS)
    valid = channel < channels
    centre = centre[:, None]
    entries = features + (channel * pixels)[:, None] + pixel[None, :]
    if FULL:
        values = tl.load(entries)
    else:
        values = tl.load(entries, mask=valid[:, None] & inside[None, :], other=0.0)
    if TERMS == 2 and not INTERPRETED:
        top, low = difference(values, centre)
        return top, _keep(low)
    elif TERMS == 2:
        return difference(values.to(tl.float32), centre)
    elif TERMS == 3:
        top, middle, last = split(values.to(tl.float32) - centre)
        return _bfloat16(top), _bfloat16(middle), _bfloat16(last)
    else:
        return (values.to(tl.float32) - centre,)


@triton.jit
def load_centres(
    centres, start, channels, PIECES: tl.constexpr, TERMS: tl.constexpr
):  # fmt: skip
    """Load the centres of a group's channels for ``read``."""
    result = ()
    for i in tl.static_range(len(PIECES)):
        channel = start + tl.arange(0, PIECES[i])
        centre = tl.load(centres + channel, mask=channel < channels, other=0.0)
        if TERMS == 2:
            centre = _bfloat16(centre)
        result += (centre,)
        start += PIECES[i]
    return result


@triton.jit
def read(
    features, centres, start, pixel, inside, channels, pixels,
    PIECES: tl.constexpr, TERMS: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """Read a group of channels from ``start`` on: its pieces, each cut into ``TERMS`` terms."""
    pieces = ()
    for i in tl.static_range(len(PIECES)):
        piece = _piece(
            features, centres[i], start, pixel, inside, channels, pixels, PIECES[i], TERMS, FULL
        )
        pieces += (piece,)
        start += PIECES[i]
    return pieces


@triton.jit
def whole(piece):
    """The float32 values of a piece."""
    values = piece[0].to(tl.float32)
    for i in tl.static_range(1, len(piece)):
        values += piece[i].to(tl.float32)
    return values


@triton.jit
def store_factors(pointer, one, two, channel, TERMS: tl.constexpr):
    """Store two vectors of channels as the rows of a matrix for ``load_factors``."""
    column = tl.arange(0, 16 if TERMS else 2)
    entries = pointer + channel[:, None] * (16 if TERMS else 2) + column[None, :]
    if TERMS:
        tl.store(entries, _columns(one, two))
    else:
        tl.store(entries, tl.join(one, two))


@triton.jit
def load_factors(pointer, start, PIECES: tl.constexpr, TERMS: tl.constexpr):
    """Load a group's vectors, stored by ``store_factors``, for ``project``."""
    result = ()
    for i in tl.static_range(len(PIECES)):
        channel = start + tl.arange(0, PIECES[i])
        if TERMS:
            entries = pointer + channel[:, None] * 16 + tl.arange(0, 16)[None, :]
            matrix = tl.load(entries)
            if INTERPRETED:
                matrix = matrix.to(tl.float32)
            result += (matrix,)
        else:
            result += ((tl.load(pointer + channel * 2), tl.load(pointer + channel * 2 + 1)),)
        start += PIECES[i]
    return result


@triton.jit
def project(pieces, factors, TERMS: tl.constexpr):
    """Sums over the channels, at each pixel, of the features times each of two vectors."""
    PIXELS: tl.constexpr = pieces[0][0].shape[1]
    first = tl.zeros((PIXELS,), tl.float32)
    second = tl.zeros((PIXELS,), tl.float32)
    products = tl.zeros((PIXELS, 16), tl.float32)
    for i in tl.static_range(len(pieces)):
        for j in tl.static_range(TERMS):
            products = tl.dot(
                tl.trans(pieces[i][j]), factors[i], products, input_precision="ieee"
            )
        if not TERMS:
            first += tl.sum(pieces[i][0] * factors[i][0][:, None], 0)
            second += tl.sum(pieces[i][0] * factors[i][1][:, None], 0)
    if TERMS:
        first, second = _pair(products)
    return first, second


@triton.jit
def zeros(ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    return tl.zeros((ROWS, COLUMNS), tl.float32)


@triton.jit
def no_sums(PIECES: tl.constexpr, TERMS: tl.constexpr):
    """Sums for ``weigh`` to add to."""
    sums = ()
    for i in tl.static_range(len(PIECES)):
        sums += (zeros(PIECES[i], 16 if TERMS else 2),)
    return sums


@triton.jit
def weigh(pieces, one, two, sums, TERMS: tl.constexpr):
    """Add to sums over pixels, for each channel, of the features times each of two maps."""
    if TERMS:
        matrix = _columns(one, two)
    result = ()
    for i in tl.static_range(len(pieces)):
        if TERMS:
            total = sums[i]
            for j in tl.static_range(TERMS):
                total = tl.dot(pieces[i][j], matrix, total, input_precision="ieee")
        else:
            first = tl.sum(pieces[i][0] * one[None, :], 1)
            second = tl.zeros_like(first)
            if two is not None:
                second = tl.sum(pieces[i][0] * two[None, :], 1)
            total = sums[i] + tl.join(first, second)
        result += (total,)
    return result


@triton.jit
def store_sums(sums, first, second, start, channels, PIECES: tl.constexpr):
    """Store the sums of ``weigh`` at two pointers; the second may be None."""
    for i in tl.static_range(len(PIECES)):
        channel = start + tl.arange(0, PIECES[i])
        one, two = _pair(sums[i])
        tl.store(first + channel, one, mask=channel < channels)
        if second is not None:
            tl.store(second + channel, two, mask=channel < channels)
        start += PIECES[i]


@triton.jit
def squared_norm(pieces):
    """Sum of the squared features of a group at each pixel."""
    squares = tl.zeros((pieces[0][0].shape[1],), tl.float32)
    for i in tl.static_range(len(pieces)):
        values = whole(pieces[i])
        squares += tl.sum(values * values, 0)
    return squares


@triton.jit
def outer(channel1, pixel1, channel2, pixel2, total):
    """Add to a matrix (channel, pixel) the outer products of two pairs of vectors."""
    rows = tl.trans(_factors(pixel1, pixel2, False))
    return tl.dot(_factors(channel1, channel2, True), rows, total, input_precision="ieee")


@triton.jit
def _factors(one, two, FIRST: tl.constexpr):
    """Matrix (n, 16) of bfloat16: a product of two has the six largest products of terms."""
    a = split(one)
    b = split(two)
    zero = _bfloat16(tl.zeros(one.shape, tl.float32))
    if FIRST:
        a = tl.join(tl.join(tl.join(a[0], a[0]), tl.join(a[0], a[1])), tl.join(tl.join(a[1], a[2]), tl.join(zero, zero)))
        b = tl.join(tl.join(tl.join(b[0], b[0]), tl.join(b[0], b[1])), tl.join(tl.join(b[1], b[2]), tl.join(zero, zero)))
    else:
        a = tl.join(tl.join(tl.join(a[0], a[1]), tl.join(a[2], a[0])), tl.join(tl.join(a[1], a[0]), tl.join(zero, zero)))
        b = tl.join(tl.join(tl.join(b[0], b[1]), tl.join(b[2], b[0])), tl.join(tl.join(b[1], b[0]), tl.join(zero, zero)))
    return tl.join(a, b).reshape(one.shape[0], 16)
