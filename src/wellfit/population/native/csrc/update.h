// Gradient phase, optimizer, step phase and average of one step: the twin of population/reference.py's _apply.
#pragma once
#include <limits>

#include "member.h"

namespace wf {

// gradient phase, optimizer, step phase, average: population/stack.py's _apply
template <class T>
void Worker<T>::update(const wf_member &member, int64_t step) {
    const auto &parameters = layout_.parameters;
    double rate = member.learning_rate * problem_.rates[step];
    int64_t t = epoch_start_ + step + 1;
    for (Touch &touch : touches_) touch = Touch{};
    for (int64_t n = 0; n < member.part_count; ++n) {
        const wf_part &part = member.parts[n];
        for (size_t p = 0; p < parameters.size(); ++p) {
            if (!part.touches[p]) continue;
            double a = at(part.a, step);
            Touch &touch = touches_[p];
            if (part.kind == WF_SHRINK) touch.shrink *= a;
            if (part.kind == WF_SOFT) touch.soft += a;
            if (part.kind == WF_ELASTIC) {
                double ratio = at(part.b, step);
                touch.soft += a * ratio;
                touch.ridge += 2 * a * (1 - ratio);
            }
            if (part.kind == WF_RIDGE) {
                T twice = T(2 * a), *g = gradient(int64_t(p));
                const T *w = weight(int64_t(p));
                for (int64_t i = 0; i < parameters[p].size; i += W) store(g + i, load(g + i) + load(w + i) * twice);
            }
        }
    }
    double clip = 1;
    if (member.clip.values) {
        double square = 0;
        for (const Parameter &p : parameters) {
            vec<T> squares{};
            for (int64_t i = p.inside; i < p.inside + p.size; i += W) squares += load(gradient_ + i) * load(gradient_ + i);
            square += double(sum<T>(squares));
        }
        double most = at(member.clip, step), norm = std::sqrt(square);
        if (norm > most) clip = most / norm;
    }
    double correction1 = 1 - std::pow(problem_.beta1, double(t)), correction2 = 1 - std::pow(problem_.beta2, double(t));
    double root_scale = 1 / std::sqrt(correction2);
    for (size_t p = 0; p < parameters.size(); ++p) {
        int64_t from = parameters[p].inside, size = parameters[p].size;
        const Touch &touch = touches_[p];
        T *w = weights_ + from, *m = first_ + from, *v = second_ + from;
        const T *g = gradient_ + from;
        if (problem_.optimizer == WF_SGD) {
            sgd<T>(size, w, m, g, T(clip), T(problem_.beta1), T(rate), touch);
            continue;
        }
        auto pass = touch.ridge > 0 ? adam<T, true, true> : touch.soft > 0 ? adam<T, true, false> : adam<T, false, false>;
        pass(size, w, m, v, g, T(clip), T(1 - problem_.beta1), T(problem_.beta2), T(1 - problem_.beta2), T(rate / correction1),
             T(root_scale), T(problem_.epsilon), T(rate), touch);
    }
    for (int64_t n = 0; n < member.part_count; ++n) {
        const wf_part &part = member.parts[n];
        if (part.kind < WF_GROUP_INPUTS) continue;
        for (size_t p = 0; p < parameters.size(); ++p) {
            if (!part.touches[p]) continue;
            if (part.kind == WF_BALL) project<T>(parameters[p], weights_ + parameters[p].inside, T(at(part.a, step)));
            else if (double fades = at(part.b, step); fades > 0)
                shrink_groups<true>(parameters[p], p == 0, part.kind, at(part.a, step) * rate, root_scale, fades);
            else shrink_groups<false>(parameters[p], p == 0, part.kind, at(part.a, step) * rate, root_scale, 0);
        }
    }
    if (member.average_shares) {
        T share = T(member.average_shares[step]);
        for (int64_t i = 0; i < layout_.inside; i += W) {
            vec<T> old = load(average_ + i), now = load(weights_ + i);
            store(average_ + i, share < T(0.5) ? old + share * (now - old) : now - (now - old) * (T(1) - share));
        }
    }
}

template <class T>
template <bool FADES>
void Worker<T>::shrink_groups(const Parameter &p, bool is_first, int64_t kind, double strength, double root_scale, double fades) {
    if (strength == 0) return;
    fades *= std::sqrt(double(p.in)); // release is in units of 1 / sqrt(inputs)
    T *w = weights_ + p.inside, *c = metric_ + p.inside;
    const T *v = second_ + p.inside;
    bool sgd = problem_.optimizer == WF_SGD;
    T constant = T(strength / (1 - problem_.beta1)), scale = T(root_scale), epsilon = T(problem_.epsilon), s = T(strength);
    auto metric = [&](T root) { // c <- strength * root(group size) * step size
        constexpr T tiny = std::numeric_limits<T>::min(); // as in kernels/prox.py: no division by a threshold of nothing
        for (int64_t i = 0; i < p.size; ++i)
            c[i] = std::max(sgd ? constant * root : s * root / (std::sqrt(v[i]) * scale + epsilon), tiny);
    };
    int64_t wide = round_up(p.unit_major ? p.in : p.out, W);
    if (kind == WF_GROUP_UNITS) {
        double inverse = fades / std::sqrt(double(p.in));
        metric(T(std::sqrt(double(p.in))));
        if (p.unit_major) {
            for (int64_t o = 0, start = 0; o < p.out; ++o, start += wide) group_in_metric<FADES, T>(&start, 1, wide, w, c, inverse);
        } else {
            for (int64_t o = 0; o < wide; o += W) {
                int64_t panel = o / PANEL<T> * PANEL<T>, own = std::min(PANEL<T>, wide - panel), from = panel * p.in + (o - panel);
                groups_in_lanes<FADES, T>(p.in, own, w + from, c + from, inverse);
            }
        }
        return;
    }
    if (p.unit_major) { // never the first layer, so no grouped columns
        metric(T(std::sqrt(double(p.out))));
        double inverse = fades / std::sqrt(double(p.out));
        for (int64_t i = 0; i < wide; i += W) groups_in_lanes<FADES, T>(p.out, wide, w + i, c + i, inverse);
        return;
    }
    bool grouped = is_first && problem_.feature_groups;
    if (!grouped) metric(T(std::sqrt(double(p.out))));
    else metric(T(1));
    int64_t groups = grouped ? problem_.sources : p.in;
    for (int64_t group = 0; group < groups; ++group) {
        int64_t columns = grouped ? group_starts_[group + 1] - group_starts_[group] : 1, count = 0;
        // whole vectors of each row of each panel; the last panel may be narrower
        int64_t length = wide % PANEL<T> ? W : PANEL<T>;
        for (int64_t k = 0; k < columns; ++k) {
            int64_t i = grouped ? group_columns_[group_starts_[group] + k] : group;
            for (int64_t o = 0; o < wide; o += length) {
                int64_t panel = o / PANEL<T> * PANEL<T>, own = std::min(PANEL<T>, wide - panel);
                segments_[count++] = panel * p.in + i * own + (o - panel);
            }
        }
        if (grouped) {
            T root = T(std::sqrt(double(p.out * columns)));
            for (int64_t k = 0; k < count; ++k)
                for (int64_t i = segments_[k]; i < segments_[k] + length; i += W) store(c + i, load(c + i) * root);
        }
        group_in_metric<FADES, T>(segments_, count, length, w, c, fades / std::sqrt(double(p.out * columns)));
    }
}

} // namespace wf
