// The plain C interface: what Python hands over (mirrored by native/library.py, which checks the sizes when it loads).
//
// All memory belongs to the caller. Parameters lie as in population/network.py: K rows of P numbers, each row the parameters in
// torch's layout one after the other. `real` is float or double, by the name of the function called.
#pragma once
#include <cstdint>

extern "C" {

// A hyperparameter over the steps of one epoch: values[step * stride]. Stride 0 is a constant. Null: the part is absent.
typedef struct {
    const double *values;
    int64_t stride;
} wf_value;

enum wf_activation { WF_RELU = 0, WF_SELU = 1, WF_SILU = 2, WF_GELU = 3, WF_TANH = 4 };
enum wf_optimizer { WF_ADAM = 0, WF_SGD = 1 };
enum wf_metric { WF_BALANCED_ACCURACY = 0, WF_ACCURACY = 1, WF_LOG_LOSS = 2, WF_RMSE = 3, WF_R2 = 4 };

// What a part does to the parameters it touches.
enum wf_part_kind {
    WF_SHRINK = 0,       // w <- a * w before the optimizer (WeightDecay.factor)
    WF_RIDGE = 1,        // g <- g + 2 a w (L2)
    WF_SOFT = 2,         // kernels.prox.soft_threshold_ by a * step size (L1)
    WF_ELASTIC = 3,      // kernels.prox.elastic_threshold_, strength a and l1_ratio b
    WF_GROUP_INPUTS = 4, // kernels.prox.group_threshold_in_metric_ over what leaves one input, strength a; where b > 0
                         // kernels.threshold.group_firm_threshold_, and the pull ends at a root mean square of 1 / (b sqrt(in))
    WF_GROUP_UNITS = 5,  // the same over each unit's incoming weights
    WF_BALL = 6,         // kernels.project.project_l2_ball_ per unit, radius a
};

typedef struct {
    int64_t kind;
    const uint8_t *touches; // per parameter (in the order of the flat memory): whether it is touched
    wf_value a, b;
} wf_part;

typedef struct {
    const void *inputs;             // (rows, columns) real
    const int64_t *labels;          // (rows,) classes, or null for a regression
    const void *numbers;            // (rows,) real targets of a regression, or null
    const void *class_weights;      // (classes,) real, or null
    const int64_t *feature_groups;  // (columns,) source feature of each column, or null: each its own
    const int64_t *widths;          // (depth + 1,)
    const double *branch_depths;    // (depth,) relative depth of a hidden layer that may carry a skip, or 0
    const double *rates;            // (steps,) factor on the learning rate
    double beta1, beta2, epsilon;   // Adam; for SGD beta1 is the momentum
    double norm_momentum, norm_epsilon;
    int64_t rows, columns, sources, depth, activation, classes, batch, steps, optimizer, metric;
} wf_problem;

typedef struct {
    void *weights, *first, *second; // (P,) real
    void *statistics;               // running means and variances of the norms, layer by layer, or null
    void *averages;                 // (P,) real, or null
    const int64_t *train_rows;      // rows this member may be trained on, in the order of its fold
    const wf_part *parts;           // in the order in which they act
    const double *average_shares;   // (steps,) share of the current weights in the average, or null
    const double *mixup_shares;     // (steps,) or null
    const uint64_t *dropout_keys;   // (depth - 1,) random stream of each site
    const uint64_t *depth_keys;     // (branches,)
    uint64_t order_key, mixup_key, cut_mix_key, cutout_key, noise_key;
    wf_value dropout, stochastic_depth, noise, cut_mix, cutout, cutout_share, smoothing, clip;
    double learning_rate;
    int64_t train_count, part_count, norm, skip, soft;
} wf_member;

// Of one network in evaluation mode on some rows: its outputs, its loss and error, or both; or, with `fresh`, its batch-norm
// statistics over these rows.
typedef struct {
    const void *weights, *statistics;
    const int64_t *rows;
    void *outputs;  // (count, outputs) real, or null
    void *fresh;    // statistics to fill, or null
    double *scores; // (2,) loss and error, or null
    int64_t count, norm, skip;
} wf_evaluation;

// One parameter of any network, contiguous in torch's layout, with the state that torch.optim.AdamW keeps for it.
typedef struct {
    void *weight, *first, *second; // (size,) real
    void *average;                 // (size,) real, or null
    const void *gradient;          // (size,) real; null: no step, the average alone
    float *steps;                  // steps so far; counted on
    int64_t size, unit;            // every `unit` numbers are projected onto a ball; 0: none are
    double rate, beta1, beta2, epsilon, shrink, soft, ridge, radius; // shrink, soft, ridge: see parts.h
} wf_fused;

}
