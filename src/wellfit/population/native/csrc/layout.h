// Where each parameter lies, outside (torch's layout, no padding) and inside (padded to whole vectors; see product.h).
#pragma once
#include <vector>

#include "interface.h"
#include "sparse.h"

namespace wf {

// A parameter: a matrix (out, in), or a vector of `out` numbers (in = 0).
struct Parameter {
    int64_t out, in, outside, inside, size; // size: padded
    bool unit_major;
    int64_t weights() const { return in ? out * in : out; }
};

struct Layer {
    int64_t in, out, in_wide, out_wide;
    bool unit_major;
    int64_t weight, bias, gain, shift; // numbers of parameters; gain and shift of the norm, or -1
    double branch_depth;               // 0: no skip here
    int64_t branch, statistics;        // number of the branch; where the norm's statistics begin, outside
};

template <class T> struct Layout {
    std::vector<Parameter> parameters;
    std::vector<Layer> layers;
    int64_t inside = 0, outside = 0, widest = 0, statistics = 0, most_columns = 0;

    Layout(const wf_problem &problem, bool norm) {
        constexpr int64_t W = width<T>;
        auto add = [&](int64_t out, int64_t in, bool unit_major) {
            int64_t size = !in ? round_up(out, W) : unit_major ? out * round_up(in, W) : in * round_up(out, W);
            parameters.push_back({out, in, outside, inside, size, unit_major});
            outside += in ? out * in : out;
            inside += size;
            return int64_t(parameters.size()) - 1;
        };
        int64_t branch = 0;
        for (int64_t i = 0; i < problem.depth; ++i) {
            int64_t in = problem.widths[i], out = problem.widths[i + 1];
            bool few = i > 0 && out <= W / 2; // the first layer's columns may form groups: they stay rows
            Layer layer{in, out, round_up(in, W), round_up(out, W), few, add(out, in, few), -1, -1, -1, problem.branch_depths[i], -1, -1};
            if (layer.branch_depth > 0) layer.branch = branch++;
            widest = std::max(widest, std::max(layer.in_wide, layer.out_wide));
            layers.push_back(layer);
        }
        for (int64_t i = 0; i < problem.depth; ++i) {
            Layer &layer = layers[size_t(i)];
            layer.bias = add(layer.out, 0, false);
            if (norm && i + 1 < problem.depth) {
                layer.gain = add(layer.out, 0, false);
                layer.shift = add(layer.out, 0, false);
                layer.statistics = statistics;
                statistics += 2 * layer.out;
            }
        }
    }

    // Between the two layouts; padding becomes zero.
    void enter(const T *out, T *in) const {
        constexpr int64_t W = width<T>;
        for (const Parameter &p : parameters) {
            const T *from = out + p.outside;
            T *to = in + p.inside;
            if (!p.in || p.unit_major) {
                int64_t row = p.in ? p.in : p.out, rows = p.in ? p.out : 1, wide = round_up(row, W);
                for (int64_t r = 0; r < rows; ++r) {
                    std::memcpy(to + r * wide, from + r * row, size_t(row) * sizeof(T));
                    std::fill(to + r * wide + row, to + (r + 1) * wide, T(0));
                }
                continue;
            }
            each_tile(p, [&](int64_t o, int64_t i, int64_t at, int64_t own) {
                if (o + W <= p.out && i + W <= p.in) {
                    transpose_tile(from + o * p.in + i, p.in, to + at, own);
                } else {
                    for (int64_t k = 0; k < std::min(W, p.in - i); ++k)
                        for (int64_t l = 0; l < W; ++l) to[at + k * own + l] = o + l < p.out ? from[(o + l) * p.in + i + k] : T(0);
                }
            });
        }
    }
    void leave(const T *in, T *out) const {
        constexpr int64_t W = width<T>;
        for (const Parameter &p : parameters) {
            T *to = out + p.outside;
            const T *from = in + p.inside;
            if (!p.in || p.unit_major) {
                int64_t row = p.in ? p.in : p.out, rows = p.in ? p.out : 1, wide = round_up(row, W);
                for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * row, from + r * wide, size_t(row) * sizeof(T));
                continue;
            }
            each_tile(p, [&](int64_t o, int64_t i, int64_t at, int64_t own) {
                if (o + W <= p.out && i + W <= p.in) {
                    transpose_tile(from + at, own, to + o * p.in + i, p.in);
                } else {
                    for (int64_t k = 0; k < std::min(W, p.in - i); ++k)
                        for (int64_t l = 0; l < std::min(W, p.out - o); ++l) to[(o + l) * p.in + i + k] = from[at + k * own + l];
                }
            });
        }
    }

  private:
    template <class Visit> static void each_tile(const Parameter &p, Visit visit) {
        constexpr int64_t W = width<T>;
        int64_t wide = round_up(p.out, W);
        for (int64_t o = 0; o < p.out; o += W) {
            int64_t panel = o / PANEL<T> * PANEL<T>, own = std::min(PANEL<T>, wide - panel);
            for (int64_t i = 0; i < p.in; i += W) visit(o, i, panel * p.in + i * own + (o - panel), own);
        }
    }
};

} // namespace wf
