// Random values, bit for bit those of core/draws.py over kernels/bits.py: SplitMix64 of (stream, step, counter).
#pragma once
#include <algorithm>

#include "vector.h"

namespace wf {

constexpr uint64_t GOLDEN = 0x9E3779B97F4A7C15ull, STEP = 0xD1342543DE82EF95ull;

template <class U> WF_INLINE U mix64(U z) {
    z ^= z >> 30;
    z *= 0xBF58476D1CE4E5B9ull;
    z ^= z >> 27;
    z *= 0x94D049BB133111EBull;
    z ^= z >> 31;
    return z;
}

// The draws of one component at one step, in the order they are asked for (core.draws.Draw).
class Draw {
    uint64_t key_, used_ = 0;

  public:
    Draw(uint64_t stream, int64_t step) : key_(mix64(stream + uint64_t(step) * STEP)) {}

    // `out` has room for round_up(count, words_wide)
    WF_INLINE void take(int64_t count, uint64_t *out) {
        words ramp;
        for (int64_t l = 0; l < words_wide; ++l) ramp[l] = (used_ + 1 + uint64_t(l)) * GOLDEN + key_;
        for (int64_t i = 0; i < count; i += words_wide, ramp += GOLDEN * uint64_t(words_wide)) {
            words z = mix64(ramp);
            std::memcpy(out + i, &z, sizeof z);
        }
        used_ += uint64_t(count);
    }
    // (count,) int16; room for round_up(ceil(count / 4), words_wide) words
    WF_INLINE const int16_t *bits16(int64_t count, uint64_t *room) {
        take((count + 3) / 4, room);
        return reinterpret_cast<const int16_t *>(room);
    }
    static WF_INLINE double unit(uint64_t word) { return (double(word >> 12) + 0.5) * 0x1p-52; }
    WF_INLINE double uniform() {
        uint64_t word = mix64((used_ + 1) * GOLDEN + key_);
        ++used_;
        return unit(word);
    }
    WF_INLINE int64_t integer(int64_t high) { return std::min(int64_t(uniform() * double(high)), high - 1); }
};

// kernels.noise.threshold16; nearbyint rounds half to even, as torch does
WF_INLINE int threshold16(double probability) {
    double cells = std::nearbyint(probability * 65536.0);
    return int(std::min(std::max(cells, 0.0), 65535.0)) - 32768;
}
// what kernels.noise.drop multiplies the survivors by
WF_INLINE double keep_scale(int threshold) { return 65536.0 / (65536.0 - (threshold + 32768)); }

// core.draws.Draw.normal, added to `count` values with a factor; `room` as for count/2 words
inline void add_normal(Draw draw, int64_t count, double factor, double *values, uint64_t *room) {
    int64_t pairs = (count + 1) / 2;
    draw.take(pairs, room);
    for (int64_t i = 0; i < pairs; ++i) {
        double radius = std::sqrt(-2.0 * std::log((double(room[i] >> 32) + 0.5) * 0x1p-32));
        double angle = double(room[i] & 0xFFFFFFFFull) * (2.0 * M_PI * 0x1p-32);
        values[i] += factor * (radius * std::cos(angle));
        if (pairs + i < count) values[pairs + i] += factor * (radius * std::sin(angle));
    }
}
inline void add_normal(Draw draw, int64_t count, double factor, float *values, uint64_t *room) {
    constexpr int64_t W = width<float>;
    int64_t pairs = (count + 1) / 2;
    draw.take(pairs, room);
    float f = float(factor);
    for (int64_t i = 0; i < pairs; i += W) {
        float high[W];
        int32_t low[W];
        int64_t n = std::min(W, pairs - i);
        for (int64_t l = 0; l < W; ++l) {
            uint64_t word = room[i + std::min(l, n - 1)];
            high[l] = (float(uint32_t(word >> 32)) + 0.5f) * 0x1p-32f;
            low[l] = int32_t(uint32_t(word));
        }
        vec<float> u = load(high), sine, cosine;
        maskv<float> turn;
        std::memcpy(&turn, low, sizeof turn);
        vec<float> radius = vsqrt<float>(vlog(u) * -2.0f);
        vsincos(turn, sine, cosine);
        cosine *= radius * f;
        sine *= radius * f;
        for (int64_t l = 0; l < n; ++l) values[i + l] += cosine[l];
        for (int64_t l = 0; l < n && pairs + i + l < count; ++l) values[pairs + i + l] += sine[l];
    }
}

// core.draws.Draw.permutation: the stable argsort of n signed words. Random words spread evenly over buckets by their top bits,
// so that one pass and a little insertion sort do.
inline void permutation(Draw draw, int64_t n, uint64_t *room, int64_t *order, uint64_t *keys, int64_t *starts) {
    draw.take(n, room);
    int bits = 0;
    while ((int64_t(1) << bits) < n) ++bits;
    int64_t buckets = int64_t(1) << bits;
    auto bucket = [&](uint64_t key) { return bits ? int64_t(key >> (64 - bits)) : 0; };
    std::fill(starts, starts + buckets + 1, 0);
    for (int64_t i = 0; i < n; ++i) {
        room[i] ^= uint64_t(1) << 63; // signed order
        ++starts[bucket(room[i]) + 1];
    }
    for (int64_t b = 0; b < buckets; ++b) starts[b + 1] += starts[b];
    for (int64_t i = 0; i < n; ++i) {
        int64_t at = starts[bucket(room[i])]++;
        keys[at] = room[i];
        order[at] = i;
    }
    for (int64_t i = 1; i < n; ++i) {
        uint64_t key = keys[i];
        int64_t row = order[i], j = i;
        for (; j > 0 && keys[j - 1] > key; --j) {
            keys[j] = keys[j - 1];
            order[j] = order[j - 1];
        }
        keys[j] = key;
        order[j] = row;
    }
}

} // namespace wf
