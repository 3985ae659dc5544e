"""Products of one region's centred features with a few vectors, for the tensor cores.

A product sums over channels (``project``) or over pixels (``weigh``). Features of bfloat16 are
multiplied as bfloat16 with sums in float32, and no digit is lost. A weight is a float32, which is
the sum of three numbers of bfloat16. A feature less its centre, which is another feature, is the
sum of two, because the error of a rounded difference is a number of the same format: ``TERMS`` is
2. Other features are multiplied in float32, and ``TERMS`` is 0: the tensor cores would take float32
as TF32, and float16 less a centre has three terms, which cost more than they save.

The channels of a group are cut into pieces, whose numbers of rows are powers of two. The pieces
stay in shared memory or registers, so a program reads them once.
"""

# mypy: disable-error-code="assignment"
# (a tuple of tiles grows, piece by piece, while a kernel is compiled)

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
    """Two numbers of bfloat16 whose sum is the difference of two others.

    Knuth's TwoSum: https://en.wikipedia.org/wiki/2Sum. The GPU works on pairs of bfloat16, so this
    is half the work of a way through float32.
    """
    top = _keep(_rounded(one - two))
    other = _rounded(one - top)
    back = _rounded(top + other)
    return top, _rounded(_rounded(one - back) + _rounded(other - two))


@triton.jit
def _keep(values):
    """Keep the compiler from repeating the work on 16-bit values in the layout of each product.

    No instruction is emitted. The compiler does not move work across it.
    """
    if INTERPRETED:
        return values
    else:
        return tl.inline_asm_elementwise(
            "", "=r,0", [values], dtype=values.dtype, is_pure=False, pack=2
        )


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
    """Array (n, 2, 2, 2) of eight numbers for each value: its three terms, and zeros."""
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
    features, centre, start, pixel, inside, channels, stride,
    ROWS: tl.constexpr, TERMS: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """Centred features (channel, pixel) of one region.

    They are ``TERMS`` matrices of bfloat16, and the features and centres that they are made of; or
    no terms, and float32 values.
    """
    channel = start + tl.arange(0, ROWS)
    valid = channel < channels
    centre = centre[:, None]
    entries = features + (channel * stride)[:, None] + pixel[None, :]
    if FULL:
        values = tl.load(entries)
    else:
        values = tl.load(entries, mask=valid[:, None] & inside[None, :], other=0.0)
    if TERMS:
        if INTERPRETED:
            values = values.to(tl.float32)
        top, low = difference(values, centre)
        terms = (top, _keep(low))
    else:
        terms = ()
        values = values.to(tl.float32) - centre
    return terms, values, centre


@triton.jit
def load_centres(
    centres, start, channels, PIECES: tl.constexpr, TERMS: tl.constexpr
):  # fmt: skip
    """Load the centres of a group's channels for ``read``."""
    result = ()
    for i in tl.static_range(len(PIECES)):
        channel = start + tl.arange(0, PIECES[i])
        centre = tl.load(centres + channel, mask=channel < channels, other=0.0)
        if TERMS:
            centre = _bfloat16(centre)
        result += (centre,)
        start += PIECES[i]
    return result


@triton.jit
def read(
    features, centres, start, pixel, inside, channels, stride,
    PIECES: tl.constexpr, TERMS: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """Read a group of channels from ``start`` on: its pieces, each cut into ``TERMS`` terms."""
    pieces = ()
    for i in tl.static_range(len(PIECES)):
        piece = _piece(
            features, centres[i], start, pixel, inside, channels, stride, PIECES[i], TERMS, FULL
        )
        pieces += (piece,)
        start += PIECES[i]
    return pieces


@triton.jit
def read_more(
    features, centres, start, pixel, inside, channels, stride,
    PIECES: tl.constexpr, TERMS: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """Read a group and its centres."""
    centre = load_centres(centres, start, channels, PIECES, TERMS)
    return read(features, centre, start, pixel, inside, channels, stride, PIECES, TERMS, FULL)


@triton.jit
def whole(piece):
    """The centred float32 values of a piece."""
    if len(piece[0]) == 0:
        return piece[1]
    else:
        return _keep(piece[1]).to(tl.float32) - piece[2].to(tl.float32)


@triton.jit
def _entries(pointer, channel):
    return pointer + channel[:, None] * 16 + tl.arange(0, 16)[None, :]


@triton.jit
def store_factors(pointer, one, two, channel, TERMS: tl.constexpr):
    """Store two vectors of channels as rows of a matrix, for ``project``."""
    if TERMS:
        tl.store(_entries(pointer, channel), _columns(one, two))
    else:
        tl.store(pointer + channel * 4, one)
        tl.store(pointer + channel * 4 + 1, two)


@triton.jit
def load_factors(pointer, start, PIECES: tl.constexpr, TERMS: tl.constexpr):
    """Load a group's rows of the matrix that ``store_factors`` stored."""
    result = ()
    for i in tl.static_range(len(PIECES)):
        channel = start + tl.arange(0, PIECES[i])
        if TERMS:
            result += (_load_matrix(pointer, channel),)
        else:
            result += ((tl.load(pointer + channel * 4), tl.load(pointer + channel * 4 + 1)),)
        start += PIECES[i]
    return result


@triton.jit
def _load_matrix(pointer, channel):
    matrix = tl.load(_entries(pointer, channel))
    return matrix.to(tl.float32) if INTERPRETED else matrix


@triton.jit
def project(pieces, factors, TERMS: tl.constexpr):
    """Sums over the channels, at each pixel, of the features times each of two vectors."""
    PIXELS: tl.constexpr = pieces[0][1].shape[1]
    first = tl.zeros((PIXELS,), tl.float32)
    second = tl.zeros((PIXELS,), tl.float32)
    products = tl.zeros((PIXELS, 16), tl.float32)
    for i in tl.static_range(len(pieces)):
        for j in tl.static_range(TERMS):
            products = tl.dot(
                tl.trans(pieces[i][0][j]), factors[i], products, input_precision="ieee"
            )
        if not TERMS:
            first += tl.sum(whole(pieces[i]) * factors[i][0][:, None], 0)
            second += tl.sum(whole(pieces[i]) * factors[i][1][:, None], 0)
    if TERMS:
        first, second = _pair(products)
    return first, second


@triton.jit
def zeros(ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A matrix of zeros."""
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
                total = tl.dot(pieces[i][0][j], matrix, total, input_precision="ieee")
        else:
            first = tl.sum(whole(pieces[i]) * one[None, :], 1)
            second = tl.zeros_like(first)
            if two is not None:
                second = tl.sum(whole(pieces[i]) * two[None, :], 1)
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
    squares = tl.zeros((pieces[0][1].shape[1],), tl.float32)
    for i in tl.static_range(len(pieces)):
        values = whole(pieces[i])
        squares += tl.sum(values * values, 0)
    return squares


@triton.jit
def store_outer(pointer, one, two, shift, channel, TERMS: tl.constexpr):
    """Store three vectors of channels for ``add_outer``."""
    if TERMS:
        top, middle, last = split(shift)
        first = _pattern(one, tl.join(top, middle), True)
        second = _pattern(two, tl.join(last, tl.zeros_like(last)), True)
        matrix = tl.join(first, second).reshape(one.shape[0], 16)
        tl.store(_entries(pointer, channel), _bfloat16(matrix))
    else:
        tl.store(pointer + channel * 4, one)
        tl.store(pointer + channel * 4 + 1, two)
        tl.store(pointer + channel * 4 + 2, shift)


@triton.jit
def pixel_factors(one, two, TERMS: tl.constexpr):
    """Two maps, for ``add_outer``."""
    if TERMS:
        ones = tl.full(one.shape, 1.0, tl.float32)
        ones = tl.join(ones, ones)
        matrix = tl.join(_pattern(one, ones, False), _pattern(two, ones, False))
        return tl.trans(_bfloat16(matrix.reshape(one.shape[0], 16)))
    else:
        return one, two


@triton.jit
def add_outer(total, pointer, maps, channel, TERMS: tl.constexpr):
    """Add to a matrix (channel, pixel) two outer products, and a vector to each column.

    The vectors are those of ``store_outer``, the maps those of ``pixel_factors``. Of the nine
    products of their terms six are added; the other three are less than the rounding of a float32.
    """
    if TERMS:
        return tl.dot(_load_matrix(pointer, channel), maps, total, input_precision="ieee")
    else:
        row = pointer + channel * 4
        total += tl.load(row)[:, None] * maps[0][None, :]
        total += tl.load(row + 1)[:, None] * maps[1][None, :]
        return total + tl.load(row + 2)[:, None]


@triton.jit
def _pattern(values, others, FIRST: tl.constexpr):
    """Array (n, 2, 2, 2): a value's terms as they meet those of another value, and two others."""
    top, middle, last = split(values)
    # The products: top top, top middle, top last, middle top, middle middle, last top.
    if FIRST:
        left = tl.join(tl.join(top, top), tl.join(top, middle))
        right = tl.join(tl.join(middle, last), others)
    else:
        left = tl.join(tl.join(top, middle), tl.join(last, top))
        right = tl.join(tl.join(middle, top), others)
    return tl.join(left, right)
