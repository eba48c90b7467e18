// Products that leave zeros out. A ReLU and dropout make most of what enters a layer zero, in training a third to a half is left; inputs
// with a column per category have fewer still. The zeros are at other places in every row, so nothing can be left out of a block of
// rows: each row has a list of its numbers that are not zero, and goes through the factor's rows that they name, a dozen vectors of
// the result in registers. That is bound by loads (one for each multiplication), and slower than a dense product where little is zero:
// `Worker::worth_listing` asks first.
#pragma once
#include "product.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace wf {

constexpr int64_t LISTED_VECTORS = 12; // of a row of the result, in registers
// rows of the factor at a time: with LISTED_VECTORS each they stay in the first-level cache
constexpr int64_t LISTED_ROWS = WF_VECTOR_BYTES == 64 ? 48 : WF_VECTOR_BYTES == 32 ? 64 : 128;

// measured on AVX2: a result of fewer vectors, or of more that is not zero, is faster without lists
constexpr int64_t LISTED_LEAST = 6;
constexpr double LISTED_SHARE = 0.55;

// bytes from one row of the packed factor to the next
template <class T> constexpr int64_t LISTED_STEP = LISTED_VECTORS *width<T> *int64_t(sizeof(T));

// A number that is not zero, and where its row of the packed factor begins, in bytes.
template <class T> struct Entry;
template <> struct Entry<float> { float value; int32_t at; };
template <> struct Entry<double> { double value; int64_t at; };

// Lists of a matrix's rows (or columns), in blocks of LISTED_ROWS along the sum: list (block, row) begins at
// (block * rows + row) * capacity and has ends[block * rows + row] entries.
template <class T> struct Lists {
    static constexpr int64_t capacity = LISTED_ROWS + width<T>; // a vector is written at a time
    Entry<T> *entries;
    int32_t *ends;
    int64_t rows = 0;
    static int64_t blocks(int64_t count) { return (count + LISTED_ROWS - 1) / LISTED_ROWS; }
    static int64_t lists(int64_t rows, int64_t count) { return rows * blocks(count); }
};

// of whole rows: padding is zero
template <class T> inline int64_t nonzeros(int64_t size, const T *x) {
    constexpr int64_t W = width<T>;
    maskv<T> counts[2] = {}; // two chains of additions
    int64_t n = 0, total = 0;
    for (; n + 2 * W <= size; n += 2 * W)
        for (int64_t half = 0; half < 2; ++half) counts[half] -= load(x + n + half * W) != T(0); // true is -1
    for (; n < size; n += W) counts[0] -= load(x + n) != T(0);
    for (int64_t l = 0; l < W; ++l) total += int64_t(counts[0][l]) + int64_t(counts[1][l]);
    return total;
}

// Those of `count` numbers that are not zero, at the end of a list; `first`: the row of the packed factor that the first belongs to.
template <class T> WF_INLINE int64_t list_scalar(int64_t count, const T *x, int64_t first, Entry<T> *to) {
    int64_t n = 0;
    for (int64_t k = 0; k < count; ++k) {
        to[n] = {x[k], decltype(to->at)((first + k) * LISTED_STEP<T>)};
        n += x[k] != T(0);
    }
    return n;
}
#if defined(__AVX2__)
// the lanes of each mask of eight, brought to the front
constexpr struct Front {
    uint8_t lanes[256][8] = {};
    constexpr Front() {
        for (int mask = 0; mask < 256; ++mask)
            for (int lane = 0, n = 0; lane < 8; ++lane)
                if (mask >> lane & 1) lanes[mask][n++] = uint8_t(lane);
    }
} FRONT;
WF_INLINE int64_t list_eight(__m256 x, __m256i at, Entry<float> *to) {
    unsigned kept = unsigned(_mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NEQ_UQ)));
    __m256i order = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(FRONT.lanes[kept])));
    __m256 values = _mm256_permutevar8x32_ps(x, order), places = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(at, order));
    __m256 low = _mm256_unpacklo_ps(values, places), high = _mm256_unpackhi_ps(values, places);
    float *p = &to->value;
    _mm256_storeu_ps(p, _mm256_permute2f128_ps(low, high, 0x20));
    _mm256_storeu_ps(p + 8, _mm256_permute2f128_ps(low, high, 0x31));
    return __builtin_popcount(kept);
}
#endif
template <class T> WF_INLINE int64_t list(int64_t count, const T *x, int64_t first, Entry<T> *to) {
    int64_t n = 0, k = 0;
#if defined(__AVX2__)
    if constexpr (sizeof(T) == 4) {
        __m256i ramp = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(int32_t(LISTED_STEP<T>)));
        for (; k + 8 <= count; k += 8) {
            __m256i begin = _mm256_set1_epi32(int32_t((first + k) * LISTED_STEP<T>));
            n += list_eight(_mm256_loadu_ps(x + k), _mm256_add_epi32(ramp, begin), to + n);
        }
    }
#endif
    return n + list_scalar(count - k, x + k, first + k, to + n);
}

// lists of the rows of x
template <class T>
inline void list_rows(int64_t rows, int64_t count, const T *x, int64_t stride, Lists<T> &to) {
    to.rows = rows;
    for (int64_t block = 0; block * LISTED_ROWS < count; ++block) {
        int64_t first = block * LISTED_ROWS, own = std::min(LISTED_ROWS, count - first);
        for (int64_t r = 0; r < rows; ++r) {
            int64_t number = block * rows + r;
            to.ends[number] = int32_t(list(own, x + r * stride + first, int64_t(0), to.entries + number * to.capacity));
        }
    }
}
// lists of the columns of x, of which there are `rows`, a multiple of the vector width
template <class T>
inline void list_columns(int64_t rows, int64_t count, const T *x, int64_t stride, Lists<T> &to) {
    constexpr int64_t W = width<T>;
    alignas(64) T tile[W * W];
    to.rows = rows;
    for (int64_t block = 0; block * LISTED_ROWS < count; ++block) {
        int64_t first = block * LISTED_ROWS, own = std::min(LISTED_ROWS, count - first);
        for (int64_t c = 0; c < rows; c += W) {
            Entry<T> *entries = to.entries + (block * rows + c) * to.capacity;
            int64_t ends[W] = {};
            for (int64_t b = 0; b < own; b += W) {
                int64_t some = std::min(W, own - b);
                const T *from = x + (first + b) * stride + c;
                if (some == W) {
                    transpose_tile(from, stride, tile, W);
                    for (int64_t j = 0; j < W; ++j)
                        ends[j] += list(W, tile + j * W, b, entries + j * to.capacity + ends[j]);
                } else {
                    for (int64_t j = 0; j < W; ++j) {
                        for (int64_t i = 0; i < some; ++i) tile[i] = from[i * stride + j];
                        ends[j] += list(some, tile, b, entries + j * to.capacity + ends[j]);
                    }
                }
            }
            for (int64_t j = 0; j < W; ++j) to.ends[block * rows + c + j] = int32_t(ends[j]);
        }
    }
}

// Where the result of a product lies: row r of vector n at c + n / VECTORS * panel + r * row + n % VECTORS * width.
template <class T, int N>
inline void listed(int64_t rows, const Entry<T> *entries, const int32_t *ends, const T *packed, T *c, int64_t row, int64_t panel,
                   bool begin, const T *bias) {
    constexpr int64_t W = width<T>;
    for (int64_t r = 0; r < rows; ++r) {
        T *to = c + r * row;
        vec<T> sums[N];
        for (int n = 0; n < N; ++n)
            sums[n] = !begin ? load(to + n / VECTORS * panel + n % VECTORS * W) : bias ? load(bias + n * W) : vec<T>{};
        const Entry<T> *entry = entries + r * Lists<T>::capacity, *end = entry + ends[r];
        for (; entry < end; ++entry) {
            const T *factor = reinterpret_cast<const T *>(reinterpret_cast<const char *>(packed) + entry->at);
            T x = entry->value;
            for (int n = 0; n < N; ++n) sums[n] += x * load(factor + n * W);
        }
        for (int n = 0; n < N; ++n) store(to + n / VECTORS * panel + n % VECTORS * W, sums[n]);
    }
}

// c = (bias | 0) + lists * factor, `wide` columns. `pack(first, own, column, vectors, to)` copies `own` rows of the factor from
// `first` on, so many vectors of each from `column` on, one row after the other at a distance of LISTED_VECTORS.
// RESULT: c in panels; otherwise row by row at a distance of ldc.
template <class T, Panelled WHICH, class Pack>
inline void listed_product(int64_t rows, int64_t wide, int64_t count, const Lists<T> &lists, Pack pack, T *packed, T *c, int64_t ldc,
                           const T *bias = nullptr) {
    constexpr int64_t W = width<T>;
    constexpr decltype(&listed<T, 1>) kernels[] = {listed<T, 1>, listed<T, 2>, listed<T, 4>, listed<T, 6>,
                                                   listed<T, 8>, listed<T, 10>, listed<T, 12>};
    for (int64_t column = 0, vectors; column < wide; column += vectors * W) {
        int64_t left = (wide - column) / W, parts = (left + LISTED_VECTORS - 1) / LISTED_VECTORS;
        // whole panels, about equally many at a time; a last one of a single vector by itself
        vectors = left == 1 ? 1 : std::min((left / parts + 1) / 2 * 2, left / 2 * 2);
        int64_t row = WHICH == RESULT ? std::min(PANEL<T>, vectors * W) : ldc, panel = WHICH == RESULT ? rows * PANEL<T> : PANEL<T>;
        T *to = WHICH == RESULT ? c + column * rows : c + column;
        for (int64_t block = 0; block * LISTED_ROWS < count; ++block) {
            int64_t first = block * LISTED_ROWS, number = block * lists.rows;
            pack(first, std::min(LISTED_ROWS, count - first), column, vectors, packed);
            kernels[vectors / 2](rows, lists.entries + number * lists.capacity, lists.ends + number, packed, to, row, panel,
                                 block == 0, bias ? bias + column : nullptr);
        }
    }
}

// ---- factors to pack

// a matrix in panels, `count` rows and `wide` columns
template <class T> struct Panels {
    const T *from;
    int64_t count, wide;
    void operator()(int64_t first, int64_t own, int64_t column, int64_t vectors, T *to) const {
        constexpr int64_t W = width<T>;
        for (int64_t n = 0; n < vectors; n += VECTORS) {
            int64_t start = column + n * W, step = std::min(PANEL<T>, wide - start);
            const T *source = from + start * count + first * step;
            for (int64_t k = 0; k < own; ++k)
                for (int64_t v = 0; v < step; v += W) store(to + (k * LISTED_VECTORS + n) * W + v, load(source + k * step + v));
        }
    }
};
// the same matrix turned: its rows are the columns of the panels
template <class T> struct TurnedPanels {
    const T *from;
    int64_t count, wide;
    void operator()(int64_t first, int64_t own, int64_t column, int64_t vectors, T *to) const {
        constexpr int64_t W = width<T>;
        static_assert(LISTED_ROWS % W == 0);
        for (int64_t o = 0; o < own; o += W) { // the last ones may be padding
            int64_t panel = (first + o) / PANEL<T> * PANEL<T>, step = std::min(PANEL<T>, wide - panel);
            const T *source = from + panel * count + (first + o - panel);
            for (int64_t n = 0; n < vectors; ++n) {
                int64_t row = column + n * W;
                turn_tile(source + row * step, step, count - row, W, to + (o * LISTED_VECTORS + n) * W, LISTED_VECTORS * W);
            }
        }
    }
};
// a matrix row by row
template <class T> struct Rows {
    const T *from;
    int64_t stride;
    void operator()(int64_t first, int64_t own, int64_t column, int64_t vectors, T *to) const {
        constexpr int64_t W = width<T>;
        for (int64_t k = 0; k < own; ++k)
            for (int64_t n = 0; n < vectors; ++n)
                store(to + (k * LISTED_VECTORS + n) * W, load(from + (first + k) * stride + column + n * W));
    }
};

} // namespace wf
