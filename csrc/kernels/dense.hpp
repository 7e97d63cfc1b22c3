// What surrounds the recurrence in a training step: softmax with cross-entropy, and Adam. Elementwise or per
// row, so that any split over threads gives the same bits.
#pragma once

#include "math.hpp"

namespace pyrnnfast {
namespace {

inline vec exp_nonpositive(vec x) {  // exp(x) for x <= 0; NaN stays NaN
  const ExpParts e = exp_parts(clamp(x, -Exp::exp_limit, 0));
  return fma(e.power, e.expm1, e.power);
}

// The largest of x[0], x[1], ...; NaN if there is one.
inline real largest_of(const real *x, Size count) {
  real largest = x[0];
  const auto take = [&](real y) { largest = y <= largest || largest != largest ? largest : y; };
  Size j = 0;
  if (count >= kLanes) {
    vec most = load_any(x);
    for (j = kLanes; j + kLanes <= count; j += kLanes) {
      const vec v = load_any(x + j);
      most = (v <= most) | (most != most) ? most : v;
    }
    for (int lane = 0; lane < kLanes; ++lane) take(most[lane]);
  }
  for (; j < count; ++j) take(x[j]);
  return largest;
}

// One row: p = exp(x - max x), returned in `gradient` with its sum; padding lanes count for nothing.
inline real softmax_row(const real *x, Size classes, real largest, real *gradient) {
  vec total = splat(0);
  for (Size j = 0; j < classes; j += kLanes) {
    const Size left = classes - j;
    const vec p = keep_lanes(exp_nonpositive(load_part(x + j, left) - splat(largest)), left);
    store_part(gradient + j, p, left);
    total = total + p;
  }
  return sum_lanes(total);
}

void softmax_cross_entropy(const SoftmaxArgs<real> &s) {
  for (Size m = 0; m < s.tokens; ++m) {
    const real *x = s.logits + m * s.classes;
    real *gradient = s.gradient + m * s.classes;
    const double weight = s.weights[m];
    s.losses[m] = 0;
    if (weight == 0) {
      for (Size j = 0; j < s.classes; ++j) gradient[j] = 0;
      continue;
    }
    const real largest = largest_of(x, s.classes);
    const real total = softmax_row(x, s.classes, largest, gradient);
    s.partition[m] = total;
    s.losses[m] = weight * double(largest - x[s.targets[m]]);  // the caller adds weight * log(partition)
    const real scale = real(weight / double(total));
    for (Size j = 0; j < s.classes; j += kLanes) {
      const Size left = s.classes - j;
      store_part(gradient + j, load_part(gradient + j, left) * splat(scale), left);
    }
    gradient[s.targets[m]] -= real(weight);
  }
}

void adam(const AdamArgs<real> &a) {
  const vec grow_m = splat(1 - a.beta1), keep_v = splat(a.beta2), grow_v = splat(1 - a.beta2);
  for (Size i = 0; i < a.count; i += kLanes) {
    const Size left = a.count - i;
    vec p = load_part(a.parameter + i, left), g = load_part(a.gradient + i, left);
    if (a.decoupled)
      p = p * splat(a.shrink);
    else
      g = fma(splat(a.weight_decay), p, g);
    vec m = load_part(a.mean + i, left), v = load_part(a.square + i, left);
    m = fma(grow_m, g - m, m);
    v = fma(grow_v, g * g, keep_v * v);
    store_part(a.mean + i, m, left);
    store_part(a.square + i, v, left);
    alignas(kBytes) real root[kLanes];
    store(root, v);
    for (int lane = 0; lane < kLanes; ++lane) root[lane] = square_root(root[lane]);
    store_part(a.parameter + i, p - splat(a.rate) * m / (load(root) + splat(a.eps)), left);
  }
}

}  // namespace
}  // namespace pyrnnfast
