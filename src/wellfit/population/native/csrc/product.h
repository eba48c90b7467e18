// Matrix products for small networks, blocked for registers.
//
// A wide layer's weights lie input-major in panels of PANEL columns (element (o, i) at [panel][i][o in panel]), so that all three
// products of a step stream through memory and never need a transposed copy of activations. A layer with few outputs lies
// unit-major, (out, in), because a vector of its outputs would be mostly padding. Rows are padded to whole vectors with zeros.
#pragma once
#include <algorithm>

#include "vector.h"

namespace wf {

constexpr int64_t VECTORS = 2; // per panel
template <class T> constexpr int64_t PANEL = VECTORS * width<T>;
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int ROWS = 8; // of a register block: ROWS * VECTORS accumulators
#else
constexpr int ROWS = 4;
#endif

// c[m, :] = (bias | 0) + sum_k a(m, k) * b[k, :] for ROWS rows and N vectors; a(m, k) is a[m * stride + k], or with ALONG a[k * stride + m]
template <class T, bool ALONG, int M, int N>
WF_INLINE void tile(const T *a, int64_t stride, const T *b, int64_t ldb, T *c, int64_t ldc, int64_t count, const T *bias) {
    constexpr int64_t W = width<T>;
    vec<T> sums[M][N];
    for (int m = 0; m < M; ++m)
        for (int n = 0; n < N; ++n) sums[m][n] = bias ? load(bias + n * W) : vec<T>{};
    for (int64_t k = 0; k < count; ++k) {
        vec<T> row[N];
        for (int n = 0; n < N; ++n) row[n] = load(b + n * W);
        b += ldb;
        for (int m = 0; m < M; ++m) {
            T x = ALONG ? a[m] : a[m * stride];
            for (int n = 0; n < N; ++n) sums[m][n] += x * row[n];
        }
        a += ALONG ? stride : 1;
    }
    for (int m = 0; m < M; ++m)
        for (int n = 0; n < N; ++n) store(c + m * ldc + n * W, sums[m][n]);
}

template <class T, bool ALONG, int N>
inline void columns(int64_t rows, int64_t count, const T *a, int64_t stride, const T *b, int64_t ldb, T *c, int64_t ldc,
                    const T *bias) {
    int64_t m = 0;
    auto at = [&](int64_t row) { return ALONG ? a + row : a + row * stride; };
    for (; m + ROWS <= rows; m += ROWS) tile<T, ALONG, ROWS, N>(at(m), stride, b, ldb, c + m * ldc, ldc, count, bias);
    if constexpr (ROWS > 4)
        for (; m + 4 <= rows; m += 4) tile<T, ALONG, 4, N>(at(m), stride, b, ldb, c + m * ldc, ldc, count, bias);
    for (; m + 2 <= rows; m += 2) tile<T, ALONG, 2, N>(at(m), stride, b, ldb, c + m * ldc, ldc, count, bias);
    for (; m < rows; ++m) tile<T, ALONG, 1, N>(at(m), stride, b, ldb, c + m * ldc, ldc, count, bias);
}

// `wide` columns (a multiple of the vector width) at once; PANELLED says which of b and c lie in panels (c: the result; b: the factor)
enum Panelled { FACTOR, RESULT, NEITHER };

template <class T, bool ALONG, Panelled WHICH>
inline void product(int64_t rows, int64_t wide, int64_t count, const T *a, int64_t stride, const T *b, int64_t ldb, T *c,
                    int64_t ldc, const T *bias = nullptr) {
    for (int64_t first = 0; first < wide; first += PANEL<T>) {
        int64_t own = std::min(PANEL<T>, wide - first);
        const T *from = WHICH == FACTOR ? b + first * count : b + first;
        T *to = WHICH == RESULT ? c + first * rows : c + first;
        int64_t from_stride = WHICH == FACTOR ? own : ldb, to_stride = WHICH == RESULT ? own : ldc;
        const T *start = bias ? bias + first : nullptr;
        if (own == PANEL<T>) columns<T, ALONG, 2>(rows, count, a, stride, from, from_stride, to, to_stride, start);
        else columns<T, ALONG, 1>(rows, count, a, stride, from, from_stride, to, to_stride, start);
    }
}

// outputs[b, o] = bias[o] + <x_b, w_o> for a unit-major layer with few outputs; the padding of a row becomes zero
template <class T>
inline void dots(int64_t rows, int64_t out, int64_t in_wide, const T *x, int64_t ldx, const T *w, const T *bias, T *y, int64_t ldy) {
    constexpr int64_t W = width<T>;
    for (int64_t b = 0; b < rows; ++b) {
        for (int64_t o = 0; o < out; ++o) {
            vec<T> total{}, other{};
            const T *p = x + b * ldx, *q = w + o * in_wide;
            int64_t i = 0;
            for (; i + 2 * W <= in_wide; i += 2 * W) {
                total += load(p + i) * load(q + i);
                other += load(p + i + W) * load(q + i + W);
            }
            for (; i < in_wide; i += W) total += load(p + i) * load(q + i);
            y[b * ldy + o] = bias[o] + sum<T>(total + other);
        }
        for (int64_t o = out; o < ldy; ++o) y[b * ldy + o] = 0;
    }
}

// A tile turned, of which only so many rows and columns are there: for rows that are not, zeros; columns that are not are left out.
template <class T>
inline void turn_tile(const T *from, int64_t from_stride, int64_t rows, int64_t columns, T *to, int64_t to_stride) {
    constexpr int64_t W = width<T>;
    if (rows >= W && columns >= W) {
        transpose_tile(from, from_stride, to, to_stride);
        return;
    }
    for (int64_t j = 0; j < std::min(W, columns); ++j)
        for (int64_t i = 0; i < W; ++i) to[j * to_stride + i] = i < rows ? from[i * from_stride + j] : T(0);
}

// From panels over `columns` with `rows` rows to panels over `rows` with `columns` rows, tile by tile.
template <class T>
inline void transpose_panels(const T *from, int64_t rows, int64_t columns, T *to) {
    constexpr int64_t W = width<T>;
    int64_t wide = round_up(columns, W), tall = round_up(rows, W);
    for (int64_t r = 0; r < rows; r += W) {
        int64_t to_panel = r / PANEL<T> * PANEL<T>, to_own = std::min(PANEL<T>, tall - to_panel);
        for (int64_t c = 0; c < wide; c += W) {
            int64_t panel = c / PANEL<T> * PANEL<T>, own = std::min(PANEL<T>, wide - panel);
            const T *source = from + panel * rows + r * own + (c - panel);
            T *target = to + to_panel * columns + c * to_own + (r - to_panel);
            turn_tile(source, own, rows - r, columns - c, target, to_own);
        }
    }
}

} // namespace wf
