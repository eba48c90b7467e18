// The native engine without Python, for the sanitizers: networks of many shapes with every part, trained and evaluated.
//
// Every array that Python would hand over is an allocation of its own and no longer than it has to be, so that the address
// sanitizer sees a step beyond it. Each problem is trained by one thread, by three, and by one that takes the members from the
// last to the first: the results are the same bit for bit, whoever was trained before in the same memory, a member that diverges
// included. Exits with 1, and says where, if they are not, or are no numbers. With any argument: one problem of each shape, for
// the slower checkers.
#include "engine.cpp"

#include <cstdio>
#include <string>

namespace {

struct Shape {
    std::vector<int64_t> widths; // inputs, hidden, outputs
    int64_t batch, rows;
    int64_t sources; // features behind the columns, 0: every column is its own
};

// Around the widths of vectors and panels: 2, 4, 8, 16, 32 numbers; the last two are wide enough for products that leave zeros out.
// A norm needs batches of two rows or more.
const std::vector<Shape> SHAPES = {
    {{1, 1, 1}, 1, 3, 0},         {{3, 5, 2}, 7, 20, 2},        {{16, 8, 8, 3}, 8, 24, 0},     {{17, 33, 17, 7}, 11, 40, 5},
    {{4, 9, 9, 9, 17}, 5, 15, 1}, {{6, 2, 2, 3, 4, 4, 9}, 4, 9, 3}, {{30, 80, 4, 2}, 3, 7, 1}, {{24, 33, 40}, 17, 17, 2},
    {{2, 16, 16, 16, 1}, 9, 27, 0}, {{40, 72, 31, 1}, 6, 12, 1}, {{5, 100, 100, 3}, 70, 140, 0}, {{70, 136, 33, 2}, 130, 130, 0},
};

const char *const NAMES[] = {"shrink", "ridge", "soft", "elastic", "groups of inputs", "groups of units", "ball", "dropout",
    "stochastic depth", "noise", "mixup", "cut mix", "cutout", "smoothing", "clipping", "average", "nothing",
    "everything, diverging", "everything"};
enum { DROPOUT = 7, DEPTH, NOISE, MIXUP, CUT_MIX, CUTOUT, SMOOTHING, CLIPPING, AVERAGE, NOTHING, DIVERGING, EVERYTHING, MEMBERS };
static_assert(sizeof NAMES / sizeof *NAMES == MEMBERS, "a name for each");
constexpr int64_t PART_KINDS = WF_BALL + 1; // the first names are those of enum wf_part_kind
static_assert(PART_KINDS == DROPOUT, "and no other");

uint64_t seed = 1;
uint64_t word() { return wf::mix64(seed += wf::GOLDEN); }
double uniform(double low, double high) { return low + (high - low) * wf::Draw::unit(word()); }

struct Options {
    int64_t activation, optimizer;
    bool norm, skip, scheduled, weighted;
};

template <class T> struct Problem {
    std::vector<T> inputs, numbers, class_weights;
    std::vector<int64_t> labels, groups, widths;
    std::vector<double> branch_depths, rates;
    std::vector<int64_t> sizes, fan_ins; // of the parameters; fan in 0: a vector
    int64_t parameters = 0, statistics = 0, branches = 0, steps = 1;
    wf_problem plain{};

    Problem(const Shape &shape, const Options &options) : widths(shape.widths) {
        int64_t depth = int64_t(widths.size()) - 1, columns = widths[0], outputs = widths.back();
        for (int64_t i = 0; i < shape.rows * columns; ++i) inputs.push_back(T(uniform(-2, 2)));
        for (int64_t i = 0; i < shape.rows; ++i) {
            labels.push_back(int64_t(word() % uint64_t(outputs)));
            numbers.push_back(T(uniform(-1, 1)));
        }
        for (int64_t c = 0; c < outputs; ++c) class_weights.push_back(T(uniform(0.5, 1.5)));
        for (int64_t c = 0; c < columns; ++c) groups.push_back(shape.sources ? c % shape.sources : c);
        branch_depths.assign(size_t(depth), 0.0);
        for (int64_t i = 1; i + 1 < depth; ++i)
            if (widths[size_t(i)] == widths[size_t(i) + 1]) branch_depths[size_t(i)] = 1.0 / double(depth - i), ++branches;
        for (int64_t i = 0; i < depth; ++i) add(widths[size_t(i) + 1], widths[size_t(i)]);
        for (int64_t i = 0; i < depth; ++i) {
            int64_t out = widths[size_t(i) + 1];
            add(out, 0);
            if (!options.norm || i + 1 == depth) continue;
            add(out, 0);
            add(out, 0);
            statistics += 2 * out;
        }
        int64_t batch = std::min(shape.batch, shape.rows);
        steps = shape.rows / batch;
        for (int64_t s = 0; s < steps; ++s) rates.push_back(uniform(0.5, 1));
        bool classes = outputs > 1;
        plain.inputs = inputs.data();
        plain.labels = classes ? labels.data() : nullptr;
        plain.numbers = classes ? nullptr : numbers.data();
        plain.class_weights = classes && options.weighted ? class_weights.data() : nullptr;
        plain.feature_groups = shape.sources ? groups.data() : nullptr;
        plain.widths = widths.data();
        plain.branch_depths = branch_depths.data();
        plain.rates = rates.data();
        plain.beta1 = 0.9, plain.beta2 = 0.999, plain.epsilon = 1e-8, plain.norm_momentum = 0.1, plain.norm_epsilon = 1e-5;
        plain.rows = shape.rows, plain.columns = columns, plain.sources = shape.sources ? shape.sources : columns;
        plain.depth = depth, plain.activation = options.activation, plain.classes = classes ? outputs : 0;
        plain.batch = batch, plain.steps = steps, plain.optimizer = options.optimizer;
        plain.metric = classes ? options.activation % 3 : WF_RMSE + options.activation % 2;
    }
    void add(int64_t out, int64_t in) {
        sizes.push_back(in ? out * in : out);
        fan_ins.push_back(in);
        parameters += sizes.back();
    }
};

// One member with its memory; a copy has memory of its own.
template <class T> struct Member {
    const Problem<T> *problem;
    int64_t what;
    Options options;
    std::vector<T> weights, first, second, statistics, averages;
    std::vector<int64_t> train_rows;
    std::vector<double> average_shares, mixup_shares;
    std::vector<uint64_t> dropout_keys, depth_keys, keys;
    std::vector<std::vector<double>> values;
    std::vector<std::vector<uint8_t>> touches;
    std::vector<wf_part> parts;

    Member(const Problem<T> &of, const Options &with, int64_t number) : problem(&of), what(number), options(with) {
        size_t depth = size_t(of.plain.depth);
        first.assign(size_t(of.parameters), T(0));
        second = first;
        for (size_t p = 0; p < of.sizes.size(); ++p) {
            double bound = 1 / std::sqrt(double(std::max(of.fan_ins[p], int64_t(1))));
            for (int64_t i = 0; i < of.sizes[p]; ++i) weights.push_back(T(uniform(-bound, bound)));
        }
        averages = weights;
        for (size_t i = 0; i + 1 < depth && options.norm; ++i)
            for (int64_t n = 0; n < 2 * of.widths[i + 1]; ++n) statistics.push_back(T(n < of.widths[i + 1] ? 0 : 1));
        for (int64_t row = of.plain.rows; row-- > 0;) train_rows.push_back(row);
        for (size_t i = 0; i + 1 < depth; ++i) dropout_keys.push_back(word());
        for (int64_t i = 0; i < of.branches; ++i) depth_keys.push_back(word());
        for (int i = 0; i < 5; ++i) keys.push_back(word());
        for (int64_t s = 0; s < of.steps; ++s) {
            average_shares.push_back(uniform(0, 1));
            mixup_shares.push_back(s % 2 ? uniform(0.5, 1) : 1.0);
        }
    }

    bool has(int64_t number) const { return what == number || what >= DIVERGING; }
    wf_value value(double low, double high) {
        bool moves = options.scheduled;
        std::vector<double> own;
        for (int64_t s = 0; s < (moves ? problem->steps : 1); ++s) own.push_back(uniform(low, high));
        values.push_back(own);
        return {values.back().data(), moves ? 1 : 0};
    }
    wf_value if_present(int64_t number, double low, double high) { return has(number) ? value(low, high) : wf_value{nullptr, 0}; }

    // What the engine is given. Called once, where the member stays.
    wf_member plain() {
        values.reserve(64);
        for (int64_t kind = 0; kind < PART_KINDS; ++kind) {
            if (!has(kind) || (what >= DIVERGING && kind == WF_ELASTIC)) continue; // soft is there already
            bool groups = kind == WF_GROUP_INPUTS || kind == WF_GROUP_UNITS;
            touches.emplace_back();
            for (int64_t in : problem->fan_ins) touches.back().push_back(in > 0 || (!groups && what < DIVERGING));
            wf_value a = kind == WF_SHRINK ? value(0.9, 1) : kind == WF_BALL ? value(0.2, 1) : value(1e-3, 3e-2);
            // groups are pulled at all the time, or up to a size
            bool fades = groups && (kind == WF_GROUP_INPUTS) == options.scheduled;
            wf_value b = kind == WF_ELASTIC || fades ? value(0.1, 0.9) : groups ? value(0, 0) : wf_value{nullptr, 0};
            parts.push_back({kind, nullptr, a, b});
        }
        for (size_t p = 0; p < parts.size(); ++p) parts[p].touches = touches[p].data();
        wf_member out{};
        out.weights = weights.data(), out.first = first.data(), out.second = second.data();
        out.statistics = options.norm ? statistics.data() : nullptr;
        out.averages = has(AVERAGE) ? averages.data() : nullptr;
        out.train_rows = train_rows.data(), out.train_count = int64_t(train_rows.size());
        out.parts = parts.data(), out.part_count = int64_t(parts.size());
        out.average_shares = has(AVERAGE) ? average_shares.data() : nullptr;
        out.mixup_shares = has(MIXUP) ? mixup_shares.data() : nullptr;
        out.dropout_keys = dropout_keys.data(), out.depth_keys = depth_keys.data();
        out.order_key = keys[0], out.mixup_key = keys[1], out.cut_mix_key = keys[2];
        out.cutout_key = keys[3], out.noise_key = keys[4];
        out.dropout = if_present(DROPOUT, 0, 0.9), out.stochastic_depth = if_present(DEPTH, 0, 0.9);
        out.noise = if_present(NOISE, 0, 1), out.cut_mix = if_present(CUT_MIX, 0, 1);
        out.cutout = if_present(CUTOUT, 0, 1), out.cutout_share = if_present(CUTOUT, 0, 1);
        out.smoothing = if_present(SMOOTHING, 0, 1), out.clip = if_present(CLIPPING, 0.01, 1);
        out.learning_rate = what == DIVERGING ? 1e200 : uniform(1e-3, 1e-2);
        out.norm = options.norm, out.skip = options.skip || has(DEPTH);
        out.soft = problem->plain.labels && (has(MIXUP) || has(CUT_MIX) || has(SMOOTHING));
        return out;
    }
};

template <class T> int train(const wf_problem *p, wf_member *m, int64_t count, int64_t epoch, int64_t step, int64_t threads) {
    return sizeof(T) == 4 ? wf_train_f32(p, m, count, epoch, step, threads) : wf_train_f64(p, m, count, epoch, step, threads);
}
template <class T> int evaluate(const wf_problem *p, const wf_evaluation *items, int64_t count, int64_t threads) {
    return sizeof(T) == 4 ? wf_evaluate_f32(p, items, count, threads) : wf_evaluate_f64(p, items, count, threads);
}

// What is left of the members, each in its place: state, outputs and scores on all rows and again from fresh statistics.
template <class T>
std::vector<std::vector<T>> run(const Problem<T> &problem, const Options &options, int64_t threads, bool backwards) {
    seed = 7;
    std::vector<std::unique_ptr<Member<T>>> members;
    std::vector<wf_member> plain;
    for (int64_t n = 0; n < MEMBERS; ++n) {
        members.push_back(std::make_unique<Member<T>>(problem, options, n));
        plain.push_back(members.back()->plain());
    }
    if (backwards) std::reverse(members.begin(), members.end()), std::reverse(plain.begin(), plain.end());
    for (int64_t epoch = 0; epoch < 2; ++epoch)
        if (train<T>(&problem.plain, plain.data(), MEMBERS, epoch, epoch * problem.steps, threads)) std::exit(2);
    std::vector<int64_t> rows; // more than one round of the evaluation, in no order
    for (int64_t r = 0; r < 70; ++r) rows.push_back(r * 7 % problem.plain.rows);
    std::vector<std::vector<T>> out;
    for (int again = 0; again < (options.norm ? 2 : 1); ++again) {
        std::vector<wf_evaluation> items;
        std::vector<std::vector<T>> outputs, fresh;
        std::vector<std::vector<double>> scores;
        for (auto &member : members) {
            outputs.emplace_back(rows.size() * size_t(problem.widths.back()));
            fresh.emplace_back(size_t(problem.statistics));
            scores.emplace_back(2);
            wf_evaluation item{};
            item.weights = member->averages.data(), item.statistics = options.norm ? member->statistics.data() : nullptr;
            item.rows = rows.data(), item.count = int64_t(rows.size());
            item.outputs = outputs.back().data(), item.scores = scores.back().data(), item.norm = options.norm, item.skip = plain[size_t(items.size())].skip;
            items.push_back(item);
        }
        if (evaluate<T>(&problem.plain, items.data(), MEMBERS, threads)) std::exit(2);
        for (size_t n = 0; n < members.size() && options.norm; ++n)
            items[n].outputs = nullptr, items[n].fresh = fresh[n].data(), items[n].count = 33;
        if (options.norm && evaluate<T>(&problem.plain, items.data(), MEMBERS, threads)) std::exit(2);
        for (size_t n = 0; n < members.size(); ++n) {
            Member<T> &own = *members[n];
            if (!again) out.emplace_back();
            for (const auto *some : {&own.weights, &own.first, &own.second, &own.averages, &own.statistics, &outputs[n], &fresh[n]})
                out[n].insert(out[n].end(), some->begin(), some->end());
            for (double score : scores[n]) out[n].push_back(T(score));
            if (options.norm) own.statistics = fresh[n];
        }
    }
    if (backwards) std::reverse(out.begin(), out.end());
    return out;
}

template <class T> int64_t check(const Shape &shape, const Options &options, bool brief, const std::string &where) {
    seed = 3;
    Problem<T> problem(shape, options);
    auto expected = run(problem, options, 1, false), threaded = run(problem, options, 3, false);
    auto reversed = brief ? expected : run(problem, options, 1, true);
    int64_t wrong = 0;
    for (size_t n = 0; n < expected.size(); ++n) {
        auto differs = [&](const std::vector<T> &other) {
            return other.size() != expected[n].size() || std::memcmp(other.data(), expected[n].data(), other.size() * sizeof(T));
        };
        auto trouble = [&](const char *what) {
            std::printf("%s, %s: %s\n", where.c_str(), NAMES[n], what);
            ++wrong;
        };
        if (differs(threaded[n])) trouble("depends on threads");
        if (differs(reversed[n])) trouble("depends on its neighbours");
        for (T x : expected[n])
            if (n != DIVERGING && !std::isfinite(x)) {
                trouble("is no number");
                break;
            }
    }
    return wrong;
}

} // namespace

int main(int count, char **) {
    bool brief = count > 1;
    int64_t wrong = 0, problems = 0;
    for (size_t s = 0; s < SHAPES.size(); ++s)
        for (int64_t variant = 0; variant < 5; ++variant) {
            if (brief && variant != int64_t(s % 5)) continue;
            // Every shape with every activation; the other choices in turn.
            int64_t turn = int64_t(s) * 5 + variant;
            bool norm = turn % 2 && SHAPES[s].batch > 1;
            int64_t optimizer = turn / 4 % 3 == 2 ? WF_SGD : WF_ADAM;
            Options options{variant, optimizer, norm, turn / 2 % 2 == 0, turn / 3 % 2 == 0, variant % 2 == 0};
            std::string where = "shape " + std::to_string(s) + ", activation " + std::to_string(variant);
            where += std::string(norm ? ", normed" : "") + (optimizer == WF_SGD ? ", SGD" : "");
            wrong += check<float>(SHAPES[s], options, brief, where + ", float");
            wrong += check<double>(SHAPES[s], options, brief, where + ", double");
            ++problems;
        }
    std::printf("%lld problems of %lld members, vectors of %lld bytes: %s\n", (long long)problems, (long long)MEMBERS,
                (long long)wf_vector_bytes(), wrong ? "WRONG" : "all the same");
    return wrong != 0;
}
