// One member on its way through an epoch: the twin of population/reference.py for a single row of the population.
#pragma once
#include "depot.h"
#include "draws.h"
#include "judge.h"
#include "parts.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace wf {

// Memory for one member at a time, taken once per call: nothing is allocated inside a step.
class Arena {
    std::vector<int64_t> purpose_;
    unsigned char *memory_ = nullptr;
    size_t used_ = 0, size_ = 0;

  public:
    // `purpose`: all that the arrangement depends on
    explicit Arena(std::vector<int64_t> purpose) : purpose_(std::move(purpose)) {}
    Arena(const Arena &) = delete;
    Arena &operator=(const Arena &) = delete;
    ~Arena() {
        if (memory_) Depot::shared().keep({std::move(purpose_), memory_, size_});
    }
    // Called twice: first to add up, then to hand out.
    template <class T> T *take(int64_t count) {
        used_ = (used_ + 63) / 64 * 64;
        T *out = memory_ ? reinterpret_cast<T *>(memory_ + used_) : nullptr;
        used_ += size_t(count) * sizeof(T);
#if defined(__SANITIZE_ADDRESS__) // the pieces are apart, and what lies between them is nobody's
        size_t end = (used_ + 7) / 8 * 8;
        used_ = (used_ + 63) / 64 * 64 + 64;
        if (memory_) ASAN_POISON_MEMORY_REGION(memory_ + end, used_ - end);
#endif
        return out;
    }
    void provide() {
        size_ = used_ + 128;
        memory_ = Depot::shared().find(purpose_, size_);
        if (!memory_) {
            memory_ = Depot::fresh(size_);
            std::memset(memory_, 0, size_);
        }
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
    Lists<T> lists_; // of what a product leaves zeros out of, one after the other
    T *packed_;
    std::vector<char> listed_; // whether what entered layer i has zeros enough
    uint64_t *room_, *keys_;
    int64_t *order_, *starts_, *labels_, *segments_;
    int64_t *group_starts_, *group_columns_; // of the features that have several columns: where each group begins, and all in order
    std::vector<Touch> touches_;
    Judge<T> judge_;

  public:
    Worker(const wf_problem &problem, bool norm, bool training, int64_t rows, int64_t most_train_rows)
        : problem_(problem), layout_(problem, norm), norm_(norm), arena_(purpose(problem, norm, training, rows, most_train_rows)),
          rows_(rows), judge_(problem) {
        arrange(training, most_train_rows);
        arena_.provide();
        arrange(training, most_train_rows);
        if (training && problem.feature_groups) sort_columns();
    }

    // ---- evaluation

    void evaluate(const wf_evaluation &item) {
        layout_.enter(static_cast<const T *>(item.weights), weights_);
        if (norm_ && !item.fresh) std::memcpy(statistics_, item.statistics, size_t(layout_.statistics) * sizeof(T));
        if (item.fresh) {
            forward_evaluating(item.rows, item.count, item.skip != 0, static_cast<T *>(item.fresh));
            return;
        }
        const Layer &last = layout_.layers.back();
        T *out = static_cast<T *>(item.outputs), *z = before_.back();
        if (item.scores) judge_.begin();
        for (int64_t done = 0; done < item.count; done += rows_) {
            const int64_t own = std::min(rows_, item.count - done), *rows = item.rows + done;
            forward_evaluating(rows, own, item.skip != 0, nullptr);
            if (out)
                for (int64_t b = 0; b < own; ++b)
                    std::memcpy(out + (done + b) * last.out, z + b * last.out_wide, size_t(last.out) * sizeof(T));
            if (item.scores) judge_.add(rows, own, z, last.out_wide);
        }
        if (item.scores) judge_.finish(item.rows, item.scores);
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
    static std::vector<int64_t> purpose(const wf_problem &p, bool norm, bool training, int64_t rows, int64_t most_train_rows) {
        std::vector<int64_t> out{sizeof(T), norm, training, rows, most_train_rows, p.columns, p.sources, p.feature_groups != nullptr};
        out.insert(out.end(), p.widths, p.widths + p.depth + 1);
        return out;
    }

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
        int64_t entries = 0; // a layer that is not listable itself has fewer outputs than the one below, whose lists are counted
        for (const Layer &layer : layers) {
            if (!listable(layer.out_wide)) continue;
            entries = std::max(entries, Lists<T>::lists(rows_, std::max(layer.in, layer.out)));
            if (training) entries = std::max(entries, Lists<T>::lists(layer.in_wide, rows_));
        }
        lists_ = {arena_.take<Entry<T>>(entries * Lists<T>::capacity), arena_.take<int32_t>(entries), 0};
        packed_ = arena_.take<T>(entries ? LISTED_ROWS * LISTED_VECTORS * W : 0);
        listed_.resize(size_t(depth));
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
        segments_ = arena_.take<int64_t>((problem_.columns + 1) * (layout_.widest / W + 1));
        if (problem_.feature_groups) {
            group_starts_ = arena_.take<int64_t>(problem_.sources + 1);
            group_columns_ = arena_.take<int64_t>(problem_.columns);
        }
        touches_.resize(layout_.parameters.size());
    }

    // Columns by the feature they come from (a counting sort).
    void sort_columns() {
        const int64_t *group = problem_.feature_groups;
        int64_t *ends = group_starts_, groups = problem_.sources;
        std::fill_n(ends, groups + 1, int64_t(0));
        for (int64_t c = 0; c < problem_.columns; ++c) ++ends[group[c] + 1];
        for (int64_t g = 0; g < groups; ++g) ends[g + 1] += ends[g];
        for (int64_t c = 0; c < problem_.columns; ++c) group_columns_[ends[group[c]]++] = c;
        for (int64_t g = groups; g > 0; --g) group_starts_[g] = ends[g - 1]; // where one ends the next begins
        group_starts_[0] = 0;
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

    void rows_of(const int64_t *rows, int64_t count, T *to);

    // whether a product that leaves zeros out may pay for that many columns of the result; and with these rows
    static bool listable(int64_t wide) { return wide >= LISTED_LEAST * W; }
    static bool worth_listing(int64_t rows, int64_t count, const T *x, int64_t stride, int64_t wide) {
        return listable(wide) && double(nonzeros(rows * stride, x)) <= LISTED_SHARE * double(rows * count);
    }

    void linear(int64_t number, int64_t rows, const T *x, T *z);

    void column_sums(const T *z, int64_t rows, int64_t wide, T *sums);
    // mean and variance (biased) of each column of z
    void moments(const T *z, int64_t rows, int64_t wide, T *mean, T *variance);

    // the outputs are left in the last of `before_`
    void forward_evaluating(const int64_t *rows, int64_t count, bool skip, T *fresh);

    // ---- one step

    void gather(const wf_member &member, const int64_t *order);

    // targets <- own share of the row's own, the rest of its partner's (kernels.mix.mix)
    template <class Share> void mix_targets(int64_t shift, Share share);

    void transform(const wf_member &member, int64_t step);
    void lottery(Draw &draw, double rate, T *applied);

    // entering <- incoming with dropout (kernels.noise.drop); the factors are kept for the way back
    void drop(Draw draw, double rate, const Layer &layer, const T *x, T *to, T *kept);

    void forward(const wf_member &member, int64_t step);

    // torch's batch norm in training: z becomes the scaled value, `normal` the standardised one
    void normalise(const Layer &layer, T *z, T *normal);

    // delta <- derivative of the batch's mean loss by the outputs (kernels.objective)
    void loss(const wf_member &member);

    void backward(const wf_member &member);

    void through_norm(const Layer &layer, T *d, const T *normal);

    // gradient phase, optimizer, step phase, average: population/reference.py's _apply
    void update(const wf_member &member, int64_t step);

    template <bool FADES>
    void shrink_groups(const Parameter &p, bool is_first, int64_t kind, double strength, double root_scale, double fades);
};

} // namespace wf
