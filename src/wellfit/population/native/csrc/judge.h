// Clean loss and error of a network from its outputs, a few rows after the other: the twin of population/problem.py's Objective.
#pragma once
#include "interface.h"
#include "vector.h"

#include <algorithm>
#include <vector>

namespace wf {

template <class T> class Judge {
    static constexpr int64_t W = width<T>;
    const wf_problem &problem_;
    const int64_t classes_;
    std::vector<int64_t> seen_, right_; // of each class
    double weighted_ = 0, plain_ = 0, target_sum_ = 0;
    int64_t rows_ = 0;

  public:
    explicit Judge(const wf_problem &problem)
        : problem_(problem), classes_(problem.labels ? problem.classes : 0), seen_(size_t(classes_)), right_(size_t(classes_)) {}

    void begin() {
        std::fill(seen_.begin(), seen_.end(), 0);
        std::fill(right_.begin(), right_.end(), 0);
        weighted_ = plain_ = target_sum_ = 0;
        rows_ = 0;
    }

    // Outputs of `count` more rows, `wide` apart; classes' outputs are overwritten.
    void add(const int64_t *rows, int64_t count, T *z, int64_t wide) {
        rows_ += count;
        if (!classes_) {
            const T *numbers = static_cast<const T *>(problem_.numbers);
            for (int64_t b = 0; b < count; ++b) {
                double away = double(z[b * wide]) - double(numbers[rows[b]]);
                plain_ += away * away;
                target_sum_ += double(numbers[rows[b]]);
            }
            return;
        }
        const T *weights = static_cast<const T *>(problem_.class_weights);
        for (int64_t b = 0; b < count; ++b) {
            T *row = z + b * wide;
            int64_t label = problem_.labels[rows[b]], top = 0;
            for (int64_t c = 1; c < classes_; ++c) // as torch.argmax has it: the first of equals, and a nan before all numbers
                if (row[c] > row[top] || (row[c] != row[c] && row[top] == row[top])) top = c;
            T highest = row[top], own = row[label] - highest;
            for (int64_t c = 0; c < wide; c += W) store(row + c, vexp(load(row + c) - highest));
            T total = 0;
            for (int64_t c = 0; c < classes_; ++c) total += row[c];
            double loss = std::log(double(total)) - double(own);
            plain_ += loss;
            weighted_ += weights ? double(weights[label]) * loss : loss;
            ++seen_[size_t(label)];
            right_[size_t(label)] += top == label;
        }
    }

    // scores[0]: the mean loss; scores[1]: the metric, turned so that smaller is better
    void finish(const int64_t *rows, double *scores) const {
        const double mean = plain_ / double(rows_);
        scores[0] = classes_ ? weighted_ / double(rows_) : mean;
        switch (problem_.metric) {
        case WF_LOG_LOSS: scores[1] = mean; break;
        case WF_RMSE: scores[1] = std::sqrt(mean); break;
        case WF_R2: scores[1] = mean / variance(rows); break;
        case WF_ACCURACY: {
            int64_t right = 0;
            for (int64_t r : right_) right += r;
            scores[1] = 1 - double(right) / double(rows_);
            break;
        }
        default: { // balanced: over the classes that there are
            double sum = 0;
            int64_t present = 0;
            for (size_t c = 0; c < seen_.size(); ++c) {
                if (!seen_[c]) continue;
                ++present;
                sum += double(right_[c]) / double(seen_[c]);
            }
            scores[1] = 1 - sum / double(present);
        }
        }
    }

  private:
    double variance(const int64_t *rows) const {
        const T *numbers = static_cast<const T *>(problem_.numbers);
        const double mean = target_sum_ / double(rows_);
        double squares = 0;
        for (int64_t b = 0; b < rows_; ++b) squares += (double(numbers[rows[b]]) - mean) * (double(numbers[rows[b]]) - mean);
        return squares / double(rows_);
    }
};

} // namespace wf
