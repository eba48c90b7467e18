// Vectors of the widest registers of this build, through the compiler's vector extensions (GCC and Clang, any processor).
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__)
#define WF_VECTOR_BYTES 64
#elif defined(__AVX__)
#define WF_VECTOR_BYTES 32
#else
#define WF_VECTOR_BYTES 16
#endif
#define WF_INLINE inline __attribute__((always_inline))

namespace wf {

template <class T> struct Lanes;
template <> struct Lanes<float> {
    typedef float vec __attribute__((vector_size(WF_VECTOR_BYTES)));
    typedef int32_t mask __attribute__((vector_size(WF_VECTOR_BYTES)));
    typedef int16_t narrow __attribute__((vector_size(WF_VECTOR_BYTES / 2)));
};
template <> struct Lanes<double> {
    typedef double vec __attribute__((vector_size(WF_VECTOR_BYTES)));
    typedef int64_t mask __attribute__((vector_size(WF_VECTOR_BYTES)));
    typedef int16_t narrow __attribute__((vector_size(WF_VECTOR_BYTES / 4)));
};
template <class T> using vec = typename Lanes<T>::vec;
template <class T> using maskv = typename Lanes<T>::mask;
template <class T> constexpr int64_t width = WF_VECTOR_BYTES / int64_t(sizeof(T));
typedef uint64_t words __attribute__((vector_size(WF_VECTOR_BYTES)));
constexpr int64_t words_wide = WF_VECTOR_BYTES / 8;

template <class T> WF_INLINE vec<T> load(const T *p) {
    vec<T> v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
template <class T> WF_INLINE void store(T *p, vec<T> v) { std::memcpy(p, &v, sizeof v); }
template <class T> WF_INLINE vec<T> splat(T x) { return x - vec<T>{}; } // x - 0 is x, also for -0
// torch.where: the mask's lanes are 0 or all ones
template <class T> WF_INLINE vec<T> pick(maskv<T> m, vec<T> a, vec<T> b) { return m ? a : b; }

template <class T> WF_INLINE T sum(vec<T> v) {
    T out = 0;
    for (int64_t l = 0; l < width<T>; ++l) out += v[l];
    return out;
}

inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// ---- transposing one square tile in registers: log2(width) rounds of block swaps

template <int H, class V, size_t... L> WF_INLINE V upper_half(V a, V b, std::index_sequence<L...>) {
    return __builtin_shufflevector(a, b, ((L & H) ? int(sizeof...(L) + L - H) : int(L))...);
}
template <int H, class V, size_t... L> WF_INLINE V lower_half(V a, V b, std::index_sequence<L...>) {
    return __builtin_shufflevector(a, b, ((L & H) ? int(sizeof...(L) + L) : int(L + H))...);
}
template <class T, int H> WF_INLINE void swap_blocks(vec<T> *rows) {
    constexpr int W = int(width<T>);
    typedef std::make_index_sequence<size_t(W)> all;
    for (int r = 0; r < W; ++r) {
        if (r & H) continue;
        vec<T> a = rows[r], b = rows[r + H];
        rows[r] = upper_half<H>(a, b, all{});
        rows[r + H] = lower_half<H>(a, b, all{});
    }
    if constexpr (H > 1) swap_blocks<T, H / 2>(rows);
}
// to[j * to_stride + i] = from[i * from_stride + j] for i, j < width
template <class T> WF_INLINE void transpose_tile(const T *from, int64_t from_stride, T *to, int64_t to_stride) {
    vec<T> rows[width<T>];
    for (int64_t i = 0; i < width<T>; ++i) rows[i] = load(from + i * from_stride);
    if constexpr (width<T> > 1) swap_blocks<T, int(width<T> / 2)>(rows);
    for (int64_t j = 0; j < width<T>; ++j) store(to + j * to_stride, rows[j]);
}

// ---- functions; float by polynomials to about one unit in the last place, double by the C library

WF_INLINE vec<double> vexp(vec<double> x) {
    for (int64_t l = 0; l < width<double>; ++l) x[l] = std::exp(x[l]);
    return x;
}
WF_INLINE vec<float> vexp(vec<float> x) {
    typedef vec<float> V;
    typedef maskv<float> I;
    V top = splat(88.3f), low = splat(-87.3f);
    x = pick<float>(x > top, top, pick<float>(x < low, low, x)); // nan passes
    V rounded = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    V r = x - rounded * 0.693359375f;
    r = r + rounded * 2.12194440e-4f;
    V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    V safe = pick<float>(rounded == rounded, rounded, V{}); // the integer of a nan is undefined
    I power = (__builtin_convertvector(safe, I) + 127) << 23;
    V scale;
    std::memcpy(&scale, &power, sizeof scale);
    return p * scale;
}

WF_INLINE vec<float> vlog(vec<float> x) { // of numbers in (0, 1]
    typedef vec<float> V;
    typedef maskv<float> I;
    I whole;
    std::memcpy(&whole, &x, sizeof x);
    I exponent = ((whole >> 23) & 0xff) - 126;
    I fraction = (whole & 0x007fffff) | 0x3f000000;
    V m, e = __builtin_convertvector(exponent, V);
    std::memcpy(&m, &fraction, sizeof m);
    I small = m < 0.707106781186547524f;
    e = pick<float>(small, e - 1.0f, e);
    m = pick<float>(small, m + m - 1.0f, m - 1.0f);
    V z = m * m;
    V p = m * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    p = p * m * z - e * 2.12194440e-4f - z * 0.5f;
    return m + p + e * 0.693359375f;
}

// sine and cosine of 2 pi * turn / 2^32
WF_INLINE void vsincos(maskv<float> turn, vec<float> &sine, vec<float> &cosine) {
    typedef vec<float> V;
    typedef maskv<float> I;
    typedef uint32_t U __attribute__((vector_size(WF_VECTOR_BYTES)));
    U u = (U)turn;
    U quadrant = (u + (1u << 29)) >> 30;
    I rest = (I)(u - (quadrant << 30));
    V a = __builtin_convertvector(rest, V) * 1.46291807926715968e-9f; // 2 pi / 2^32
    V z = a * a;
    V s = ((z * -1.9515295891e-4f + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * a + a;
    V c = ((z * 2.443315711809948e-5f - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z - z * 0.5f + 1.0f;
    I q = (I)(quadrant & 3u);
    I odd = (q & 1) != 0;
    V s1 = pick<float>(odd, c, s), c1 = pick<float>(odd, s, c);
    sine = pick<float>(q >= 2, -s1, s1);
    I flip = (q == 1) | (q == 2);
    cosine = pick<float>(flip, -c1, c1);
}

WF_INLINE vec<double> vtanh(vec<double> x) {
    for (int64_t l = 0; l < width<double>; ++l) x[l] = std::tanh(x[l]);
    return x;
}
WF_INLINE vec<float> vtanh(vec<float> x) { // odd: by exp for large arguments, by a polynomial near 0 where exp cancels
    typedef vec<float> V;
    V far = splat(1.0f) - 2.0f / (vexp(x + x) + 1.0f);
    V z = x * x;
    V near = ((((z * -5.70498872745e-3f + 2.06390887954e-2f) * z - 5.37397155531e-2f) * z + 1.33314422036e-1f) * z
              - 3.33332819422e-1f) * z * x + x;
    maskv<float> small = z < 0.390625f;
    return pick<float>(small, near, far);
}

template <class T> WF_INLINE vec<T> verf(vec<T> x) {
    for (int64_t l = 0; l < width<T>; ++l) x[l] = std::erf(x[l]);
    return x;
}

template <class T> WF_INLINE vec<T> vsqrt(vec<T> x) {
    for (int64_t l = 0; l < width<T>; ++l) x[l] = std::sqrt(x[l]);
    return x;
}

} // namespace wf
