// What regularizers do to the parameters of one member: the formulas of kernels/prox.py, kernels/project.py and kernels/clip.py.
#pragma once
#include "layout.h"

namespace wf {

WF_INLINE double at(const wf_value &value, int64_t step) { return value.values[step * value.stride]; }

// What the fused pass over a parameter does besides the optimizer's own step.
struct Touch {
    double shrink = 1, soft = 0, ridge = 0; // w <- shrink * w before; thresholds by soft * step size, divides by 1 + ridge * step size
};

// Adam with decoupled shrinking before and the elastic prox (kernels.prox.elastic_threshold_) in its own metric after: one pass.
template <class T, bool SOFT, bool RIDGE>
inline void adam(int64_t n, T *__restrict w, T *__restrict m, T *__restrict v, const T *__restrict g, T clip, T share1, T beta2,
                 T share2, T step, T root_scale, T epsilon, T rate, const Touch &touch) {
    T shrink = T(touch.shrink), soft = rate * T(touch.soft), ridge = rate * T(touch.ridge);
    for (int64_t i = 0; i < n; ++i) {
        T gradient = g[i] * clip;
        T first = m[i] + share1 * (gradient - m[i]);
        T second = beta2 * v[i] + share2 * gradient * gradient;
        m[i] = first;
        v[i] = second;
        T metric = T(1) / (std::sqrt(second) * root_scale + epsilon);
        T x = w[i] * shrink - step * first * metric;
        if (SOFT) {
            T t = soft * metric;
            T inside = x > t ? t : x;
            inside = inside < -t ? -t : inside;
            x = x - inside;
        }
        if (RIDGE) x = x / (T(1) + ridge * metric); // a division by one, left out without a ridge
        w[i] = x;
    }
}

// torch.optim.SGD with momentum, and the same prox in its metric, rate / (1 - momentum).
template <class T>
inline void sgd(int64_t n, T *__restrict w, T *__restrict m, const T *__restrict g, T clip, T momentum, T rate,
                const Touch &touch) {
    T metric = rate / (T(1) - momentum);
    T shrink = T(touch.shrink), t = metric * T(touch.soft), ridge = T(1) + metric * T(touch.ridge);
    for (int64_t i = 0; i < n; ++i) {
        T gradient = g[i] * clip;
        T buffer = momentum * m[i] + gradient;
        m[i] = buffer;
        T x = w[i] * shrink - rate * buffer;
        T inside = x > t ? t : x;
        inside = inside < -t ? -t : inside;
        w[i] = (x - inside) / ridge;
    }
}

// One group in a diagonal metric, spread over segments: kernels.prox.group_threshold_in_metric_, and with FADES, where the pull ends at
// a norm of 1 / inverse, kernels.threshold.group_firm_threshold_. They are derived there.
template <bool FADES, class T>
inline void group_in_metric(const int64_t *starts, int64_t segments, int64_t length, T *w, const T *c, double inverse) {
    constexpr int64_t W = width<T>;
    auto total = [&](auto term) {
        vec<T> sums{};
        for (int64_t s = 0; s < segments; ++s)
            for (int64_t i = starts[s], end = starts[s] + length; i < end; i += W) sums += term(load(w + i), load(c + i));
        return double(sum<T>(sums));
    };
    auto absolute = [](vec<T> x) { return pick<T>(x < T(0), -x, x); };
    bool alive = total([](vec<T> x, vec<T> t) { return (x / t) * (x / t); }) > 1;
    double t = 0;
    if (alive) {
        t = std::sqrt(total([&](vec<T> x, vec<T> t_) {
            vec<T> over = absolute(x) - t_;
            over = pick<T>(over > T(0), over, vec<T>{});
            return over * over;
        }));
        for (int iteration = 0; iteration < (FADES ? 8 : 7); ++iteration) {
            vec<T> squares{}, slopes{};
            T fade = FADES ? T(1 - t * inverse) : T(1);
            for (int64_t s = 0; s < segments; ++s)
                for (int64_t i = starts[s], end = starts[s] + length; i < end; i += W) {
                    vec<T> own = load(c + i), shifted = (FADES ? own * fade : own) + T(t), ratio = load(w + i) / shifted;
                    ratio *= ratio;
                    squares += ratio;
                    slopes += (FADES ? ratio * (T(1) - own * T(inverse)) : ratio) / shifted;
                }
            double square = double(sum<T>(squares)), slope = double(sum<T>(slopes));
            double step = square * (std::sqrt(square) - 1) / slope;
            if (!std::isfinite(step) || (FADES && !(slope > 0))) break;
            t += step;
            if (FADES && t * inverse > 1) t = 1 / inverse;
            if (std::abs(step) < (sizeof(T) == 4 ? 1e-7 : 1e-16) * t) break; // seven are enough for any group
        }
    }
    T fade = FADES ? T(1 - t * inverse) : T(1);
    auto inside = [&](vec<T> x, vec<T> own) {
        return alive ? x * (T(t) / ((FADES ? own * fade : own) + T(t))) : x * T(0);
    };
    if (FADES && total([](vec<T> x, vec<T>) { return x * x; }) * inverse * inverse >= 1) {
        double norm = std::sqrt(total([&](vec<T> x, vec<T> own) { return inside(x, own) * inside(x, own); })), limit = 1 / inverse;
        double value = total([&](vec<T> x, vec<T> own) { vec<T> move = inside(x, own) - x; return move * move / own; });
        norm = norm < limit ? norm : limit;
        if (value + 2 * norm - norm * norm * inverse >= limit) return; // large enough to be left alone
    }
    for (int64_t s = 0; s < segments; ++s)
        for (int64_t i = starts[s], end = starts[s] + length; i < end; i += W) store(w + i, inside(load(w + i), load(c + i)));
}

// The same with a group per lane: element k of the group is `stride` further on.
template <bool FADES, class T> inline void groups_in_lanes(int64_t count, int64_t stride, T *w, const T *c, double inverse) {
    vec<T> norm{}, start{}, squared{};
    T fading = T(inverse);
    for (int64_t k = 0; k < count; ++k) {
        vec<T> x = load(w + k * stride), t = load(c + k * stride), ratio = x / t;
        norm += ratio * ratio;
        if (FADES) squared += x * x;
        vec<T> over = pick<T>(x < T(0), -x, x) - t;
        over = pick<T>(over > T(0), over, vec<T>{});
        start += over * over;
    }
    maskv<T> alive = norm > T(1);
    vec<T> t = vsqrt<T>(start);
    for (int iteration = 0; iteration < (FADES ? 8 : 7); ++iteration) {
        vec<T> squares{}, slopes{}, fade = T(1) - t * fading;
        for (int64_t k = 0; k < count; ++k) {
            vec<T> own = load(c + k * stride), shifted = (FADES ? own * fade : own) + t, ratio = load(w + k * stride) / shifted;
            ratio *= ratio;
            squares += ratio;
            slopes += (FADES ? ratio * (T(1) - own * fading) : ratio) / shifted;
        }
        vec<T> step = squares * (vsqrt<T>(squares) - T(1)) / slopes;
        maskv<T> use = alive & (step - step == T(0)); // finite
        if (FADES) use = use & (slopes > T(0));
        t += pick<T>(use, step, vec<T>{});
        if (FADES) t = pick<T>(t * fading > T(1), vec<T>{} + T(1 / inverse), t);
    }
    vec<T> fade = T(1) - t * fading;
    auto scale = [&](vec<T> own) { return pick<T>(alive, t / ((FADES ? own * fade : own) + t), vec<T>{}); };
    maskv<T> leave{};
    if (FADES) {
        vec<T> inside{}, value{};
        for (int64_t k = 0; k < count; ++k) {
            vec<T> own = load(c + k * stride), x = load(w + k * stride), found = x * scale(own);
            inside += found * found;
            value += (found - x) * (found - x) / own;
        }
        inside = vsqrt<T>(inside);
        inside = pick<T>(inside * fading > T(1), vec<T>{} + T(1 / inverse), inside);
        value += T(2) * inside - inside * inside * fading;
        leave = (squared * fading * fading >= T(1)) & (value * fading >= T(1));
    }
    for (int64_t k = 0; k < count; ++k) {
        vec<T> x = load(w + k * stride), found = x * scale(load(c + k * stride));
        store(w + k * stride, FADES ? pick<T>(leave, x, found) : found);
    }
}

// Every unit's incoming weights projected onto the ball (kernels.project.project_l2_ball_); a vector's entries are a ball each.
template <class T> inline void project(const Parameter &p, T *w, T radius) {
    constexpr int64_t W = width<T>;
    if (!p.in) {
        for (int64_t i = 0; i < p.out; ++i)
            if (T norm = std::abs(w[i]); norm > radius) w[i] *= radius / norm;
    } else if (p.unit_major) {
        int64_t wide = round_up(p.in, W);
        for (int64_t o = 0; o < p.out; ++o) {
            vec<T> squares{};
            for (int64_t i = 0; i < wide; i += W) squares += load(w + o * wide + i) * load(w + o * wide + i);
            T norm = std::sqrt(sum<T>(squares));
            if (norm > radius)
                for (int64_t i = 0; i < wide; i += W) store(w + o * wide + i, load(w + o * wide + i) * (radius / norm));
        }
    } else {
        int64_t wide = round_up(p.out, W);
        for (int64_t o = 0; o < wide; o += W) {
            int64_t panel = o / PANEL<T> * PANEL<T>, own = std::min(PANEL<T>, wide - panel);
            T *lane = w + panel * p.in + (o - panel);
            vec<T> squares{};
            for (int64_t i = 0; i < p.in; ++i) squares += load(lane + i * own) * load(lane + i * own);
            vec<T> norm = vsqrt<T>(squares);
            maskv<T> outside = norm > radius;
            bool any = false;
            for (int64_t l = 0; l < W; ++l) any |= outside[l] != 0;
            if (!any) continue;
            vec<T> scale = pick<T>(outside, radius / norm, splat(T(1)));
            for (int64_t i = 0; i < p.in; ++i) store(lane + i * own, load(lane + i * own) * scale);
        }
    }
}

} // namespace wf
