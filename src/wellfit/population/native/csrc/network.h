// The network forward and backward, in training and in evaluation: the twin of population/network.py's forward.
#pragma once
#include "member.h"

namespace wf {

template <class T>
void Worker<T>::rows_of(const int64_t *rows, int64_t count, T *to) {
    const T *inputs = static_cast<const T *>(problem_.inputs);
    int64_t columns = problem_.columns, wide = layout_.layers[0].in_wide;
    for (int64_t b = 0; b < count; ++b) std::memcpy(to + b * wide, inputs + rows[b] * columns, size_t(columns) * sizeof(T));
}

template <class T>
void Worker<T>::linear(int64_t number, int64_t rows, const T *x, T *z) {
    const Layer &layer = layout_.layers[size_t(number)];
    if (layer.unit_major) {
        dots<T>(rows, layer.out, layer.in_wide, x, layer.in_wide, weight(layer.weight), weight(layer.bias), z, layer.out_wide);
        return;
    }
    listed_[size_t(number)] = worth_listing(rows, layer.in, x, layer.in_wide, layer.out_wide);
    if (listed_[size_t(number)]) {
        list_rows(rows, layer.in, x, layer.in_wide, lists_);
        listed_product<T, NEITHER>(rows, layer.out_wide, layer.in, lists_, Panels<T>{weight(layer.weight), layer.in, layer.out_wide},
                                   packed_, z, layer.out_wide, weight(layer.bias));
    } else {
        product<T, false, FACTOR>(rows, layer.out_wide, layer.in, x, layer.in_wide, weight(layer.weight), 0, z, layer.out_wide,
                                  weight(layer.bias));
    }
}

// Columns a few vectors at a time, some(first column, how many vectors): an addition waits for the one before it, those beside it do not.
template <class T, class Do> inline void by_columns(int64_t wide, Do some) {
    constexpr int64_t W = width<T>;
    int64_t c = 0;
    for (; c + 4 * W <= wide; c += 4 * W) some(c, std::integral_constant<int, 4>{});
    for (; c < wide; c += W) some(c, std::integral_constant<int, 1>{});
}

template <class T>
void Worker<T>::column_sums(const T *z, int64_t rows, int64_t wide, T *sums) {
    by_columns<T>(wide, [=](int64_t c, auto vectors) {
        constexpr int N = vectors;
        vec<T> total[N] = {};
        for (int64_t b = 0; b < rows; ++b)
            for (int n = 0; n < N; ++n) total[n] += load(z + b * wide + c + n * W);
        for (int n = 0; n < N; ++n) store(sums + c + n * W, total[n]);
    });
}

// mean and variance (biased) of each column of z
template <class T>
void Worker<T>::moments(const T *z, int64_t rows, int64_t wide, T *mean, T *variance) {
    by_columns<T>(wide, [=](int64_t c, auto vectors) {
        constexpr int N = vectors;
        vec<T> start[N], total[N] = {}, m[N], squares[N] = {};
        for (int n = 0; n < N; ++n) start[n] = load(z + c + n * W); // from the first row on: a column of equal numbers has them as its mean
        for (int64_t b = 1; b < rows; ++b)
            for (int n = 0; n < N; ++n) total[n] += load(z + b * wide + c + n * W) - start[n];
        for (int n = 0; n < N; ++n) m[n] = start[n] + total[n] * (T(1) / T(rows));
        for (int64_t b = 0; b < rows; ++b)
            for (int n = 0; n < N; ++n) {
                vec<T> away = load(z + b * wide + c + n * W) - m[n];
                squares[n] += away * away;
            }
        for (int n = 0; n < N; ++n) {
            store(mean + c + n * W, m[n]);
            store(variance + c + n * W, squares[n] * (T(1) / T(rows)));
        }
    });
}

template <class T>
void Worker<T>::forward_evaluating(const int64_t *rows, int64_t count, bool skip, T *fresh) {
    rows_of(rows, count, incoming_[0]);
    int64_t depth = int64_t(layout_.layers.size());
    for (int64_t i = 0; i < depth; ++i) {
        const Layer &layer = layout_.layers[size_t(i)];
        T *x = incoming_[size_t(i)], *z = before_[size_t(i)];
        int64_t wide = layer.out_wide;
        linear(i, count, x, z);
        if (i + 1 == depth) return;
        if (norm_) {
            T *mean = inverse_, *scale = inverse_ + layout_.widest;
            if (fresh) {
                moments(z, count, wide, mean, scale);
                for (int64_t c = 0; c < layer.out; ++c) {
                    fresh[layer.statistics + c] = mean[c];
                    fresh[layer.statistics + layer.out + c] = scale[c] * (T(count) / T(count - 1));
                }
            } else {
                for (int64_t c = 0; c < wide; ++c) {
                    mean[c] = c < layer.out ? statistics_[layer.statistics + c] : T(0);
                    scale[c] = c < layer.out ? statistics_[layer.statistics + layer.out + c] : T(1);
                }
            }
            const T *gain = weight(layer.gain), *shift = weight(layer.shift);
            for (int64_t c = 0; c < wide; ++c) scale[c] = gain[c] / std::sqrt(scale[c] + T(problem_.norm_epsilon));
            for (int64_t b = 0; b < count; ++b)
                for (int64_t c = 0; c < wide; c += W) {
                    T *p = z + b * wide + c;
                    store(p, (load(p) - load(mean + c)) * load(scale + c) + load(shift + c));
                }
        }
        T *y = incoming_[size_t(i) + 1];
        bool carries = skip && layer.branch_depth > 0;
        for (int64_t n = 0; n < count * wide; n += W) {
            vec<T> value = activate<T>(problem_.activation, load(z + n));
            store(y + n, carries ? load(x + n) + value : value);
        }
    }
}

// entering <- incoming with dropout (kernels.noise.drop); the factors are kept for the way back
template <class T>
void Worker<T>::drop(Draw draw, double rate, const Layer &layer, const T *x, T *to, T *kept) {
    int64_t batch = problem_.batch, columns = layer.in, wide = layer.in_wide;
    const int16_t *bits = draw.bits16(batch * columns, room_);
    int threshold = threshold16(rate);
    vec<T> scale = splat(T(keep_scale(threshold)));
    typedef typename Lanes<T>::narrow narrow;
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t c = 0; c < wide; c += W) {
            narrow some; // reads a little into the next row or the room's end: those lanes are padding
            std::memcpy(&some, bits + b * columns + c, sizeof some);
            maskv<T> stays = __builtin_convertvector(some, maskv<T>) >= threshold;
            vec<T> factor = pick<T>(stays, scale, vec<T>{});
            store(kept + b * wide + c, factor);
            store(to + b * wide + c, load(x + b * wide + c) * factor);
        }
}

template <class T>
void Worker<T>::forward(const wf_member &member, int64_t step) {
    int64_t batch = problem_.batch, depth = int64_t(layout_.layers.size()), now = epoch_start_ + step;
    for (int64_t i = 0; i < depth; ++i) {
        const Layer &layer = layout_.layers[size_t(i)];
        T *x = incoming_[size_t(i)], *z = before_[size_t(i)];
        int64_t wide = layer.out_wide;
        const T *entering = x;
        if (i > 0 && member.dropout.values) {
            drop(Draw(member.dropout_keys[i - 1], now), at(member.dropout, step), layer, x, entering_[size_t(i)], kept_[size_t(i)]);
            entering = entering_[size_t(i)];
        }
        linear(i, batch, entering, z);
        if (i + 1 == depth) return;
        if (norm_) normalise(layer, z, normal_[size_t(i)]);
        T *y = incoming_[size_t(i) + 1];
        bool carries = member.skip && layer.branch_depth > 0;
        if (!carries) {
            if (problem_.activation == WF_RELU)
                for (int64_t n = 0; n < batch * wide; n += W) store(y + n, activate<T>(WF_RELU, load(z + n)));
            else
                for (int64_t n = 0; n < batch * wide; n += W) store(y + n, activate<T>(problem_.activation, load(z + n)));
            continue;
        }
        T *scales = branch_scale_ + layer.branch * rows_;
        std::fill(scales, scales + batch, T(1));
        if (member.stochastic_depth.values) {
            int threshold = threshold16(at(member.stochastic_depth, step) * layer.branch_depth);
            const int16_t *bits = Draw(member.depth_keys[layer.branch], now).bits16(batch, room_);
            for (int64_t b = 0; b < batch; ++b) scales[b] = bits[b] >= threshold ? T(keep_scale(threshold)) : T(0);
        }
        for (int64_t b = 0; b < batch; ++b)
            for (int64_t c = 0; c < wide; c += W) {
                int64_t n = b * wide + c;
                store(y + n, load(x + n) + activate<T>(problem_.activation, load(z + n)) * scales[b]);
            }
    }
}

// torch's batch norm in training: z becomes the scaled value, `normal` the standardised one
template <class T>
void Worker<T>::normalise(const Layer &layer, T *z, T *normal) {
    int64_t batch = problem_.batch, wide = layer.out_wide;
    T *mean = inverse_, *variance = inverse_ + layout_.widest;
    moments(z, batch, wide, mean, variance);
    T momentum = T(problem_.norm_momentum), unbiased = T(batch) / T(batch - 1);
    T *running = statistics_ + layer.statistics;
    for (int64_t c = 0; c < layer.out; ++c) {
        running[c] += momentum * (mean[c] - running[c]);
        running[layer.out + c] += momentum * (variance[c] * unbiased - running[layer.out + c]);
    }
    T *inverse = gradient(layer.gain); // free until the way back reaches this layer, which reads it first
    for (int64_t c = 0; c < wide; ++c) inverse[c] = T(1) / std::sqrt(variance[c] + T(problem_.norm_epsilon));
    const T *gain = weight(layer.gain), *shift = weight(layer.shift);
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t c = 0; c < wide; c += W) {
            int64_t n = b * wide + c;
            vec<T> standard = (load(z + n) - load(mean + c)) * load(inverse + c);
            store(normal + n, standard);
            store(z + n, standard * load(gain + c) + load(shift + c));
        }
}

// delta <- derivative of the batch's mean loss by the outputs (kernels.objective)
template <class T>
void Worker<T>::loss(const wf_member &member) {
    const Layer &last = layout_.layers.back();
    int64_t batch = problem_.batch, wide = last.out_wide, depth = int64_t(layout_.layers.size());
    const T *z = before_[size_t(depth) - 1];
    T each = T(1) / T(batch);
    if (!problem_.labels) {
        for (int64_t b = 0; b < batch; ++b) {
            std::fill(delta_ + b * wide, delta_ + (b + 1) * wide, T(0));
            delta_[b * wide] = T(2) * (z[b * wide] - values_[b]) * each;
        }
        return;
    }
    const T *weights = static_cast<const T *>(problem_.class_weights);
    for (int64_t b = 0; b < batch; ++b) {
        const T *row = z + b * wide;
        T *to = delta_ + b * wide;
        T top = row[0];
        for (int64_t c = 1; c < last.out; ++c) top = row[c] > top ? row[c] : top;
        vec<T> total{};
        for (int64_t c = 0; c < wide; c += W) {
            vec<T> p = vexp(load(row + c) - top);
            store(to + c, p);
        }
        for (int64_t c = last.out; c < wide; ++c) to[c] = 0;
        for (int64_t c = 0; c < wide; c += W) total += load(to + c);
        T inverse = T(1) / sum<T>(total);
        if (!member.soft) {
            T w = each * (weights ? weights[labels_[b]] : T(1));
            for (int64_t c = 0; c < wide; c += W) store(to + c, load(to + c) * (inverse * w));
            to[labels_[b]] -= w;
        } else {
            const T *target = soft_ + b * wide;
            T mass = 0;
            for (int64_t c = 0; c < last.out; ++c) mass += target[c] * (weights ? weights[c] : T(1));
            for (int64_t c = 0; c < last.out; ++c)
                to[c] = (to[c] * inverse * mass - target[c] * (weights ? weights[c] : T(1))) * each;
        }
    }
}

template <class T>
void Worker<T>::backward(const wf_member &member) {
    int64_t batch = problem_.batch, depth = int64_t(layout_.layers.size());
    T *delta = delta_, *next = spare_;
    bool carrying = false;
    for (int64_t i = depth - 1; i >= 0; --i) {
        const Layer &layer = layout_.layers[size_t(i)];
        int64_t wide = layer.out_wide, in_wide = layer.in_wide;
        const T *entering = i > 0 && member.dropout.values ? entering_[size_t(i)] : incoming_[size_t(i)];
        T *bias = gradient(layer.bias);
        column_sums(delta, batch, wide, bias);
        if (layer.unit_major) {
            product<T, true, NEITHER>(layer.out, in_wide, batch, delta, wide, entering, in_wide, gradient(layer.weight), in_wide);
        } else if (listed_[size_t(i)]) {
            list_columns(in_wide, batch, entering, in_wide, lists_);
            listed_product<T, RESULT>(layer.in, wide, batch, lists_, Rows<T>{delta, wide}, packed_, gradient(layer.weight), 0);
        } else {
            product<T, true, RESULT>(layer.in, wide, batch, entering, in_wide, delta, wide, gradient(layer.weight), 0);
        }
        if (i == 0) break;
        if (layer.unit_major) {
            product<T, false, NEITHER>(batch, in_wide, layer.out, delta, wide, weight(layer.weight), in_wide, next, in_wide);
        } else if (worth_listing(batch, layer.out, delta, wide, in_wide)) {
            list_rows(batch, layer.out, delta, wide, lists_);
            listed_product<T, NEITHER>(batch, in_wide, layer.out, lists_, TurnedPanels<T>{weight(layer.weight), layer.in, wide}, packed_,
                                       next, in_wide);
        } else {
            transpose_panels<T>(weight(layer.weight), layer.in, layer.out, turned_);
            product<T, false, FACTOR>(batch, in_wide, layer.out, delta, wide, turned_, 0, next, in_wide);
        }
        // next: by what entered layer i; then by what layer i - 1 gave, and by its outcome before the activation
        const T *kept = member.dropout.values ? kept_[size_t(i)] : nullptr;
        const Layer &below = layout_.layers[size_t(i) - 1];
        bool carries = member.skip && below.branch_depth > 0;
        const T *scales = branch_scale_ + below.branch * rows_, *z = before_[size_t(i) - 1];
        if (!carrying && !carries && problem_.activation == WF_RELU) { // the common case in one light pass
            for (int64_t n = 0; n < batch * in_wide; n += W) {
                vec<T> d = load(next + n);
                if (kept) d *= load(kept + n);
                store(next + n, d * slope<T>(WF_RELU, load(z + n)));
            }
        } else {
            for (int64_t b = 0; b < batch; ++b)
                for (int64_t c = 0; c < in_wide; c += W) {
                    int64_t n = b * in_wide + c;
                    vec<T> d = load(next + n);
                    if (kept) d *= load(kept + n);
                    if (carrying) d += load(carried_ + n);
                    if (carries) {
                        store(carried_ + n, d);
                        d *= scales[b];
                    }
                    store(next + n, d * slope<T>(problem_.activation, load(z + n)));
                }
        }
        carrying = carries;
        if (norm_) through_norm(below, next, normal_[size_t(i) - 1]);
        std::swap(delta, next);
    }
}

template <class T>
void Worker<T>::through_norm(const Layer &layer, T *d, const T *normal) {
    int64_t batch = problem_.batch, wide = layer.out_wide;
    T *gain_slope = gradient(layer.gain), *shift_slope = gradient(layer.shift);
    const T *gain = weight(layer.gain);
    by_columns<T>(wide, [=](int64_t c, auto vectors) {
        constexpr int N = vectors;
        vec<T> total[N] = {}, along[N] = {};
        for (int64_t b = 0; b < batch; ++b)
            for (int n = 0; n < N; ++n) {
                vec<T> x = load(d + b * wide + c + n * W);
                total[n] += x;
                along[n] += x * load(normal + b * wide + c + n * W);
            }
        for (int n = 0; n < N; ++n) {
            int64_t own = c + n * W;
            vec<T> scale = load(gain + own) * load(gain_slope + own); // which held the inverse deviation so far
            store(gain_slope + own, along[n]);
            store(shift_slope + own, total[n]);
            T each = T(1) / T(batch);
            for (int64_t b = 0; b < batch; ++b) {
                T *p = d + b * wide + own;
                store(p, scale * (load(p) - total[n] * each - load(normal + b * wide + own) * (along[n] * each)));
            }
        }
    });
}

} // namespace wf
