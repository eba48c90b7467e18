// One member on its way through an epoch: the twin of population/stack.py's reference for a single row of the population.
#pragma once
#include "draws.h"
#include "parts.h"

namespace wf {

// Memory for one member at a time, taken once per call: nothing is allocated inside a step.
class Arena {
    unsigned char *memory_ = nullptr;
    size_t used_ = 0, size_ = 0;

  public:
    Arena() = default;
    Arena(const Arena &) = delete;
    Arena &operator=(const Arena &) = delete;
    ~Arena() { ::operator delete[](memory_, std::align_val_t(64)); }
    // Called twice: first to add up, then to hand out.
    template <class T> T *take(int64_t count) {
        used_ = (used_ + 63) / 64 * 64;
        T *out = memory_ ? reinterpret_cast<T *>(memory_ + used_) : nullptr;
        used_ += size_t(count) * sizeof(T);
        return out;
    }
    void provide() {
        size_ = used_ + 128;
        memory_ = static_cast<unsigned char *>(::operator new[](size_, std::align_val_t(64)));
        std::memset(memory_, 0, size_);
        used_ = 0;
    }
};

template <class T> vec<T> activate(int64_t kind, vec<T> x) {
    switch (kind) {
    case WF_RELU: return pick<T>(x <= T(0), vec<T>{}, x); // a nan stays one
    case WF_SELU: {
        vec<T> below = (vexp(pick<T>(x > T(0), vec<T>{}, x)) - T(1)) * T(1.6732632423543772848170429916717);
        return pick<T>(x > T(0), x, below) * T(1.0507009873554804934193349852946);
    }
    case WF_SILU: return x / (vexp(-x) + T(1));
    case WF_GELU: return x * T(0.5) * (verf<T>(x * T(M_SQRT1_2)) + T(1));
    default: return vtanh(x);
    }
}

template <class T> vec<T> slope(int64_t kind, vec<T> x) {
    switch (kind) {
    case WF_RELU: return pick<T>(x > T(0), splat(T(1)), vec<T>{});
    case WF_SELU: {
        vec<T> below = vexp(pick<T>(x > T(0), vec<T>{}, x)) * T(1.6732632423543772848170429916717);
        return pick<T>(x > T(0), splat(T(1)), below) * T(1.0507009873554804934193349852946);
    }
    case WF_SILU: {
        vec<T> s = T(1) / (vexp(-x) + T(1));
        return s * ((splat(T(1)) - s) * x + T(1));
    }
    case WF_GELU:
        return (verf<T>(x * T(M_SQRT1_2)) + T(1)) * T(0.5) + x * vexp(x * x * T(-0.5)) * T(0.39894228040143267794);
    default: {
        vec<T> t = vtanh(x);
        return splat(T(1)) - t * t;
    }
    }
}

template <class T> class Worker {
    static constexpr int64_t W = width<T>;
    const wf_problem &problem_;
    const Layout<T> layout_;
    const bool norm_;
    Arena arena_;
    const int64_t rows_; // of the activation buffers
    int64_t epoch_start_ = 0;
    // parameters, padded
    T *weights_, *first_, *second_, *gradient_, *average_, *statistics_, *turned_, *metric_;
    // activations of layer i: what enters it (after dropout), before dropout, the dropout factors, before the activation, normalised
    std::vector<T *> entering_, incoming_, kept_, before_, normal_;
    T *spare_, *mixed_, *delta_, *carried_, *soft_, *soft_spare_, *values_, *inverse_, *branch_scale_;
    uint64_t *room_, *keys_;
    int64_t *order_, *starts_, *labels_, *segments_;
    std::vector<Touch> touches_;
    std::vector<std::vector<int64_t>> group_columns_;

  public:
    Worker(const wf_problem &problem, bool norm, bool training, int64_t rows, int64_t most_train_rows)
        : problem_(problem), layout_(problem, norm), norm_(norm), rows_(rows) {
        arrange(training, most_train_rows);
        arena_.provide();
        arrange(training, most_train_rows);
        if (problem.feature_groups) {
            group_columns_.resize(size_t(problem.sources));
            for (int64_t c = 0; c < problem.columns; ++c) group_columns_[size_t(problem.feature_groups[c])].push_back(c);
        }
    }

    // ---- evaluation

    void evaluate(const wf_evaluation &item) {
        layout_.enter(static_cast<const T *>(item.weights), weights_);
        if (norm_ && !item.fresh) std::memcpy(statistics_, item.statistics, size_t(layout_.statistics) * sizeof(T));
        if (item.fresh) {
            forward_evaluating(item.rows, item.count, item.skip != 0, static_cast<T *>(item.fresh), nullptr);
            return;
        }
        T *out = static_cast<T *>(item.outputs);
        for (int64_t done = 0; done < item.count; done += rows_) {
            int64_t own = std::min(rows_, item.count - done);
            forward_evaluating(item.rows + done, own, item.skip != 0, nullptr, out + done * layout_.layers.back().out);
        }
    }

    // ---- training

    // one epoch; `epoch` and `step` count from the start of training
    void train(wf_member &member, int64_t epoch, int64_t first_step) {
        epoch_start_ = first_step;
        enter(member);
        const int64_t batch = problem_.batch;
        permutation(Draw(member.order_key, epoch), member.train_count, room_, order_, keys_, starts_);
        for (int64_t step = 0; step < problem_.steps; ++step) {
            gather(member, order_ + step * batch);
            transform(member, step);
            forward(member, step);
            loss(member);
            backward(member);
            update(member, step);
        }
        leave(member);
    }

  private:
    void arrange(bool training, int64_t most_train_rows) {
        const auto &layers = layout_.layers;
        int64_t depth = int64_t(layers.size()), size = layout_.inside, out_wide = layers.back().out_wide;
        weights_ = arena_.take<T>(size);
        statistics_ = arena_.take<T>(layout_.statistics + W);
        inverse_ = arena_.take<T>(4 * layout_.widest);
        spare_ = arena_.take<T>(rows_ * layout_.widest);
        entering_.resize(size_t(depth));
        incoming_.resize(size_t(depth));
        kept_.resize(size_t(depth));
        before_.resize(size_t(depth));
        normal_.resize(size_t(depth));
        for (int64_t i = 0; i < depth; ++i) {
            const Layer &layer = layers[size_t(i)];
            incoming_[size_t(i)] = arena_.take<T>(rows_ * layer.in_wide);
            before_[size_t(i)] = arena_.take<T>(rows_ * layer.out_wide);
            if (!training) continue;
            entering_[size_t(i)] = arena_.take<T>(rows_ * layer.in_wide);
            kept_[size_t(i)] = arena_.take<T>(rows_ * layer.in_wide);
            if (norm_) normal_[size_t(i)] = arena_.take<T>(rows_ * layer.out_wide);
        }
        if (!training) return;
        for (T **p : {&first_, &second_, &gradient_, &average_, &metric_}) *p = arena_.take<T>(size);
        int64_t largest = 0;
        for (const Parameter &p : layout_.parameters)
            if (p.in) largest = std::max(largest, round_up(p.in, PANEL<T>) * p.out);
        turned_ = arena_.take<T>(largest);
        mixed_ = arena_.take<T>(rows_ * layers[0].in_wide);
        delta_ = arena_.take<T>(rows_ * layout_.widest);
        carried_ = arena_.take<T>(rows_ * layout_.widest);
        soft_ = arena_.take<T>(rows_ * out_wide);
        soft_spare_ = arena_.take<T>(rows_ * out_wide);
        values_ = arena_.take<T>(2 * rows_);
        branch_scale_ = arena_.take<T>(rows_ * depth);
        int64_t draws = std::max(most_train_rows, rows_ * std::max(layout_.widest, std::max(problem_.columns, problem_.sources)));
        room_ = arena_.take<uint64_t>(draws + 8 * words_wide);
        keys_ = arena_.take<uint64_t>(most_train_rows + 1);
        order_ = arena_.take<int64_t>(most_train_rows + 1);
        starts_ = arena_.take<int64_t>(2 * most_train_rows + 3);
        labels_ = arena_.take<int64_t>(rows_);
        segments_ = arena_.take<int64_t>((problem_.columns + 1) * (layout_.widest / PANEL<T> + 2));
        touches_.resize(layout_.parameters.size());
    }

    void enter(const wf_member &member) {
        layout_.enter(static_cast<const T *>(member.weights), weights_);
        layout_.enter(static_cast<const T *>(member.first), first_);
        layout_.enter(static_cast<const T *>(member.second), second_);
        if (member.average_shares) layout_.enter(static_cast<const T *>(member.averages), average_);
        if (norm_) std::memcpy(statistics_, member.statistics, size_t(layout_.statistics) * sizeof(T));
    }
    void leave(wf_member &member) {
        layout_.leave(weights_, static_cast<T *>(member.weights));
        layout_.leave(first_, static_cast<T *>(member.first));
        layout_.leave(second_, static_cast<T *>(member.second));
        if (member.average_shares) layout_.leave(average_, static_cast<T *>(member.averages));
        if (norm_) std::memcpy(member.statistics, statistics_, size_t(layout_.statistics) * sizeof(T));
    }

    T *weight(int64_t parameter) { return weights_ + layout_.parameters[size_t(parameter)].inside; }
    T *gradient(int64_t parameter) { return gradient_ + layout_.parameters[size_t(parameter)].inside; }

    void rows_of(const int64_t *rows, int64_t count, T *to) {
        const T *inputs = static_cast<const T *>(problem_.inputs);
        int64_t columns = problem_.columns, wide = layout_.layers[0].in_wide;
        for (int64_t b = 0; b < count; ++b) std::memcpy(to + b * wide, inputs + rows[b] * columns, size_t(columns) * sizeof(T));
    }

    void linear(int64_t number, int64_t rows, const T *x, T *z) {
        const Layer &layer = layout_.layers[size_t(number)];
        if (layer.unit_major)
            dots<T>(rows, layer.out, layer.in_wide, x, layer.in_wide, weight(layer.weight), weight(layer.bias), z, layer.out_wide);
        else
            product<T, false, FACTOR>(rows, layer.out_wide, layer.in, x, layer.in_wide, weight(layer.weight), 0, z, layer.out_wide,
                                      weight(layer.bias));
    }

    // mean and variance (biased) of each column of z
    void moments(const T *z, int64_t rows, int64_t wide, T *mean, T *variance) {
        for (int64_t c = 0; c < wide; c += W) {
            vec<T> total{}, squares{};
            for (int64_t b = 0; b < rows; ++b) total += load(z + b * wide + c);
            vec<T> m = total * (T(1) / T(rows));
            for (int64_t b = 0; b < rows; ++b) {
                vec<T> away = load(z + b * wide + c) - m;
                squares += away * away;
            }
            store(mean + c, m);
            store(variance + c, squares * (T(1) / T(rows)));
        }
    }

    void forward_evaluating(const int64_t *rows, int64_t count, bool skip, T *fresh, T *out) {
        rows_of(rows, count, incoming_[0]);
        int64_t depth = int64_t(layout_.layers.size());
        for (int64_t i = 0; i < depth; ++i) {
            const Layer &layer = layout_.layers[size_t(i)];
            T *x = incoming_[size_t(i)], *z = before_[size_t(i)];
            int64_t wide = layer.out_wide;
            linear(i, count, x, z);
            if (i + 1 == depth) {
                if (out)
                    for (int64_t b = 0; b < count; ++b) std::memcpy(out + b * layer.out, z + b * wide, size_t(layer.out) * sizeof(T));
                return;
            }
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

    // ---- one step

    void gather(const wf_member &member, const int64_t *order) {
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
    template <class Share> void mix_targets(int64_t shift, Share share) {
        int64_t batch = problem_.batch, wide = problem_.labels ? layout_.layers.back().out_wide : 1;
        T *own = problem_.labels ? soft_ : values_, *mixed = problem_.labels ? soft_spare_ : values_ + rows_;
        for (int64_t b = 0; b < batch; ++b) {
            const T *other = own + (b + shift) % batch * wide;
            T s = share(b);
            for (int64_t c = 0; c < wide; ++c) mixed[b * wide + c] = other[c] + s * (own[b * wide + c] - other[c]);
        }
        if (problem_.labels) std::swap(soft_, soft_spare_);
        else std::copy(mixed, mixed + batch, own);
    }

    void transform(const wf_member &member, int64_t step) {
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
    void lottery(Draw &draw, double rate, T *applied) {
        const int16_t *bits = draw.bits16(problem_.batch, room_);
        int threshold = threshold16(rate);
        for (int64_t b = 0; b < problem_.batch; ++b) applied[b] = bits[b] < threshold ? T(1) : T(0);
    }

    // entering <- incoming with dropout (kernels.noise.drop); the factors are kept for the way back
    void drop(Draw draw, double rate, const Layer &layer, const T *x, T *to, T *kept) {
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

    void forward(const wf_member &member, int64_t step) {
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
    void normalise(const Layer &layer, T *z, T *normal) {
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
    void loss(const wf_member &member) {
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

    void backward(const wf_member &member) {
        int64_t batch = problem_.batch, depth = int64_t(layout_.layers.size());
        T *delta = delta_, *next = spare_;
        bool carrying = false;
        for (int64_t i = depth - 1; i >= 0; --i) {
            const Layer &layer = layout_.layers[size_t(i)];
            int64_t wide = layer.out_wide, in_wide = layer.in_wide;
            const T *entering = i > 0 && member.dropout.values ? entering_[size_t(i)] : incoming_[size_t(i)];
            T *bias = gradient(layer.bias);
            for (int64_t c = 0; c < wide; c += W) {
                vec<T> total{};
                for (int64_t b = 0; b < batch; ++b) total += load(delta + b * wide + c);
                store(bias + c, total);
            }
            if (layer.unit_major)
                product<T, true, NEITHER>(layer.out, in_wide, batch, delta, wide, entering, in_wide, gradient(layer.weight), in_wide);
            else
                product<T, true, RESULT>(layer.in, wide, batch, entering, in_wide, delta, wide, gradient(layer.weight), 0);
            if (i == 0) break;
            if (layer.unit_major) {
                product<T, false, NEITHER>(batch, in_wide, layer.out, delta, wide, weight(layer.weight), in_wide, next, in_wide);
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

    void through_norm(const Layer &layer, T *d, const T *normal) {
        int64_t batch = problem_.batch, wide = layer.out_wide;
        T *gain_slope = gradient(layer.gain), *shift_slope = gradient(layer.shift);
        const T *gain = weight(layer.gain);
        for (int64_t c = 0; c < wide; c += W) {
            vec<T> inverse = load(gain_slope + c), total{}, along{};
            for (int64_t b = 0; b < batch; ++b) {
                vec<T> x = load(d + b * wide + c);
                total += x;
                along += x * load(normal + b * wide + c);
            }
            store(gain_slope + c, along);
            store(shift_slope + c, total);
            vec<T> scale = load(gain + c) * inverse;
            T each = T(1) / T(batch);
            for (int64_t b = 0; b < batch; ++b) {
                T *p = d + b * wide + c;
                store(p, scale * (load(p) - total * each - load(normal + b * wide + c) * (along * each)));
            }
        }
    }

    // gradient phase, optimizer, step phase, average: population/stack.py's _apply
    void update(const wf_member &member, int64_t step) {
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
            auto pass = touch.soft > 0 || touch.ridge > 0 ? adam<T, true> : adam<T, false>;
            pass(size, w, m, v, g, T(clip), T(1 - problem_.beta1), T(problem_.beta2), T(1 - problem_.beta2), T(rate / correction1),
                 T(root_scale), T(problem_.epsilon), T(rate), touch);
        }
        for (int64_t n = 0; n < member.part_count; ++n) {
            const wf_part &part = member.parts[n];
            if (part.kind < WF_GROUP_INPUTS) continue;
            for (size_t p = 0; p < parameters.size(); ++p) {
                if (!part.touches[p]) continue;
                if (part.kind == WF_BALL) project<T>(parameters[p], weights_ + parameters[p].inside, T(at(part.a, step)));
                else shrink_groups(parameters[p], p == 0, part.kind, at(part.a, step) * rate, root_scale);
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

    void shrink_groups(const Parameter &p, bool is_first, int64_t kind, double strength, double root_scale) {
        if (strength == 0) return;
        T *w = weights_ + p.inside, *c = metric_ + p.inside;
        const T *v = second_ + p.inside;
        bool sgd = problem_.optimizer == WF_SGD;
        T constant = T(strength / (1 - problem_.beta1)), scale = T(root_scale), epsilon = T(problem_.epsilon), s = T(strength);
        auto metric = [&](T root) { // c <- strength * root(group size) * step size
            for (int64_t i = 0; i < p.size; ++i) c[i] = sgd ? constant * root : s * root / (std::sqrt(v[i]) * scale + epsilon);
        };
        int64_t wide = round_up(p.unit_major ? p.in : p.out, W);
        if (kind == WF_GROUP_UNITS) {
            metric(T(std::sqrt(double(p.in))));
            if (p.unit_major) {
                for (int64_t o = 0, start = 0; o < p.out; ++o, start += wide) group_in_metric<T>(&start, 1, wide, w, c);
            } else {
                for (int64_t o = 0; o < wide; o += W) {
                    int64_t panel = o / PANEL<T> * PANEL<T>, own = std::min(PANEL<T>, wide - panel), from = panel * p.in + (o - panel);
                    groups_in_lanes<T>(p.in, own, w + from, c + from);
                }
            }
            return;
        }
        if (p.unit_major) { // never the first layer, so no grouped columns
            metric(T(std::sqrt(double(p.out))));
            for (int64_t i = 0; i < wide; i += W) groups_in_lanes<T>(p.out, wide, w + i, c + i);
            return;
        }
        bool grouped = is_first && !group_columns_.empty();
        if (!grouped) metric(T(std::sqrt(double(p.out))));
        else metric(T(1));
        int64_t groups = grouped ? int64_t(group_columns_.size()) : p.in;
        for (int64_t group = 0; group < groups; ++group) {
            int64_t columns = grouped ? int64_t(group_columns_[size_t(group)].size()) : 1, count = 0;
            // whole vectors of each row of each panel; the last panel may be narrower
            int64_t length = wide % PANEL<T> ? W : PANEL<T>;
            for (int64_t k = 0; k < columns; ++k) {
                int64_t i = grouped ? group_columns_[size_t(group)][size_t(k)] : group;
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
            group_in_metric<T>(segments_, count, length, w, c);
        }
    }
};

} // namespace wf
