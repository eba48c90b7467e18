// A member's batch: gathered, transformed by the batch phase of its parts (regularizers/inputs, regularizers/targets).
#pragma once
#include "member.h"

namespace wf {

template <class T>
void Worker<T>::gather(const wf_member &member, const int64_t *order) {
    int64_t batch = problem_.batch;
    for (int64_t b = 0; b < batch; ++b) labels_[b] = member.train_rows[order[b]];
    rows_of(labels_, batch, incoming_[0]);
    if (!problem_.labels) {
        const T *numbers = static_cast<const T *>(problem_.numbers);
        for (int64_t b = 0; b < batch; ++b) values_[b] = numbers[labels_[b]];
        return;
    }
    for (int64_t b = 0; b < batch; ++b) labels_[b] = problem_.labels[labels_[b]];
    if (member.soft) {
        int64_t wide = layout_.layers.back().out_wide;
        std::fill(soft_, soft_ + batch * wide, T(0));
        for (int64_t b = 0; b < batch; ++b) soft_[b * wide + labels_[b]] = 1;
    }
}

// targets <- own share of the row's own, the rest of its partner's (kernels.mix.mix)
template <class T>
template <class Share>
void Worker<T>::mix_targets(int64_t shift, Share share) {
    int64_t batch = problem_.batch, wide = problem_.labels ? layout_.layers.back().out_wide : 1;
    T *own = problem_.labels ? soft_ : values_, *mixed = problem_.labels ? soft_spare_ : values_ + rows_;
    for (int64_t b = 0; b < batch; ++b) {
        const T *other = own + (b + shift) % batch * wide;
        T s = share(b);
        for (int64_t c = 0; c < wide; ++c) { // torch.lerp: share 1 gives the own bit for bit
            T mine = own[b * wide + c], away = mine - other[c];
            mixed[b * wide + c] = s < T(0.5) ? other[c] + s * away : mine - away * (T(1) - s);
        }
    }
    if (problem_.labels) std::swap(soft_, soft_spare_);
    else std::copy(mixed, mixed + batch, own);
}

template <class T>
void Worker<T>::transform(const wf_member &member, int64_t step) {
    int64_t batch = problem_.batch, columns = problem_.columns, wide = layout_.layers[0].in_wide, now = epoch_start_ + step;
    T *&x = incoming_[0];
    if (member.mixup_shares && member.mixup_shares[step] < 1) {
        Draw draw(member.mixup_key, now);
        draw.uniform(); // the share, which the caller has turned into a quantile
        int64_t shift = draw.integer(std::max(batch - 1, int64_t(1))) + 1;
        T share = T(member.mixup_shares[step]);
        for (int64_t b = 0; b < batch; ++b) {
            const T *own = x + b * wide, *other = x + (b + shift) % batch * wide;
            for (int64_t c = 0; c < wide; c += W)
                store(mixed_ + b * wide + c, load(other + c) + share * (load(own + c) - load(other + c)));
        }
        std::swap(x, mixed_);
        mix_targets(shift, [&](int64_t) { return share; });
    }
    if (member.cut_mix.values) {
        Draw draw(member.cut_mix_key, now);
        int64_t shift = draw.integer(std::max(batch - 1, int64_t(1))) + 1;
        T *cut = branch_scale_; // free until the forward pass
        lottery(draw, at(member.cut_mix, step), cut);
        for (int64_t b = 0; b < batch; ++b) {
            double u = draw.uniform();
            cut[b] = cut[b] != 0 ? T(1 - u) : T(0);
        }
        const int16_t *bits = draw.bits16(batch * problem_.sources, room_);
        for (int64_t b = 0; b < batch; ++b) {
            const T *own = x + b * wide, *other = x + (b + shift) % batch * wide;
            T *to = mixed_ + b * wide;
            int threshold = threshold16(double(cut[b]));
            const int16_t *mine = bits + b * problem_.sources;
            for (int64_t c = 0; c < columns; ++c)
                to[c] = mine[problem_.feature_groups ? problem_.feature_groups[c] : c] < threshold ? other[c] : own[c];
            for (int64_t c = columns; c < wide; ++c) to[c] = 0;
            int64_t taken = 0;
            for (int64_t s = 0; s < problem_.sources; ++s) taken += mine[s] < threshold;
            cut[b] = T(1 - double(taken) / double(problem_.sources));
        }
        std::swap(x, mixed_);
        mix_targets(shift, [&](int64_t b) { return cut[b]; });
    }
    if (member.cutout.values) {
        Draw draw(member.cutout_key, now);
        T *cut = branch_scale_; // free until the forward pass
        lottery(draw, at(member.cutout, step), cut);
        double share = at(member.cutout_share, step);
        const int16_t *bits = draw.bits16(batch * problem_.sources, room_);
        for (int64_t b = 0; b < batch; ++b) {
            int threshold = threshold16(double(cut[b]) * share);
            const int16_t *mine = bits + b * problem_.sources;
            for (int64_t c = 0; c < columns; ++c)
                if (mine[problem_.feature_groups ? problem_.feature_groups[c] : c] < threshold) x[b * wide + c] = 0;
        }
    }
    if (member.noise.values) {
        double std = at(member.noise, step);
        if (wide == columns) {
            add_normal(Draw(member.noise_key, now), batch * columns, std, x, room_);
        } else { // the draws know nothing of padding
            for (int64_t b = 0; b < batch; ++b) std::memcpy(spare_ + b * columns, x + b * wide, size_t(columns) * sizeof(T));
            add_normal(Draw(member.noise_key, now), batch * columns, std, spare_, room_);
            for (int64_t b = 0; b < batch; ++b) std::memcpy(x + b * wide, spare_ + b * columns, size_t(columns) * sizeof(T));
        }
    }
    if (member.smoothing.values && problem_.labels) {
        int64_t classes = problem_.classes, out_wide = layout_.layers.back().out_wide;
        T amount = T(at(member.smoothing, step));
        for (int64_t b = 0; b < batch; ++b)
            for (int64_t c = 0; c < classes; ++c)
                soft_[b * out_wide + c] = soft_[b * out_wide + c] * (T(1) - amount) + amount / T(classes);
    }
}

template <class T>
void Worker<T>::lottery(Draw &draw, double rate, T *applied) {
    const int16_t *bits = draw.bits16(problem_.batch, room_);
    int threshold = threshold16(rate);
    for (int64_t b = 0; b < problem_.batch; ++b) applied[b] = bits[b] < threshold ? T(1) : T(0);
}

} // namespace wf
