// What the general instantiations read at run time: activations with their slopes, the clip of sums. Their
// tape keeps each gate's sum as it is before both, which is enough for the slope of any activation.
#pragma once

#include "math.hpp"

namespace pyrnnfast {
namespace {

struct Activated {
  vec value, slope;
};

constexpr int kLogTerms = kSingle ? 8 : 17;  // the first one left out is below a quarter ULP of log 2
struct LogSeries {
  real inverse[kLogTerms];  // 1, 1/3, 1/5, ...
  constexpr LogSeries() : inverse() {
    for (int i = 0; i < kLogTerms; ++i) inverse[i] = real(1) / real(2 * i + 1);
  }
};
constexpr LogSeries kLogSeries;

// log(1 + x) = 2 atanh(x / (2 + x)) for 0 <= x <= 1
inline vec log1p_of_unit(vec x) {
  const vec s = x / (splat(2) + x);
  return (s + s) * polynomial<kLogTerms>(kLogSeries.inverse, s * s);
}

inline vec exp_of_negative(vec x) {
  const ExpParts e = exp_parts(at_least(splat(-Exp::exp_limit), x));
  return fma(e.power, e.expm1, e.power);
}
inline vec expm1_of_negative(vec x) {
  const ExpParts e = exp_parts(at_least(splat(-Exp::exp_limit), x));
  return fma(e.power, e.expm1, e.power - splat(1));
}
inline vec absolute(vec x) { return x < splat(0) ? -x : x; }

// f(x) and f'(x). Never inlined: each cell would have a copy for each of its gates.
__attribute__((noinline, noclone)) Activated activated(const Activation<real> &f, vec x) {
  const vec zero = splat(0), one = splat(1), a = splat(f.alpha), b = splat(f.beta);
  switch (f.function) {
  case Function::sigmoid: {
    const vec y = sigmoid(x);
    return {y, y * (one - y)};
  }
  case Function::tanh: {
    const vec y = tanh(x);
    return {y, one - y * y};
  }
  case Function::relu:
    return {x <= zero ? zero : x, x <= zero ? zero : one};
  case Function::hard_sigmoid: {
    const vec y = clamp(fma(a, x, b), 0, 1);
    return {y, (y <= zero) | (y >= one) ? zero : a};
  }
  case Function::softsign: {
    const vec inverse = one / (one + absolute(x));
    return {x * inverse, inverse * inverse};
  }
  case Function::softplus:
    return {(x <= zero ? zero : x) + log1p_of_unit(exp_of_negative(-absolute(x))), sigmoid(x)};
  case Function::elu: {
    const vec below = a * expm1_of_negative(x <= zero ? x : zero);
    return {x <= zero ? below : x, x <= zero ? below + a : one};
  }
  case Function::leaky_relu:
    return {x <= zero ? a * x : x, x <= zero ? a : one};
  case Function::thresholded_relu:
    return {x < a ? zero : x, x < a ? zero : one};
  case Function::scaled_tanh: {
    const vec y = tanh(b * x);
    return {a * y, a * b * (one - y * y)};
  }
  case Function::affine:
    break;
  }
  return {fma(a, x, b), a};
}

// A gate from its sum, and what a gradient of the gate is multiplied by to be one of the sum.
inline Activated gate(const Options<real> &options, int which, vec sum) {
  Activated result = activated(options.activations[which], clamp(sum, -options.clip, options.clip));
  result.slope = absolute(sum) > splat(options.clip) ? splat(0) : result.slope;
  return result;
}

// The gradient of a gate's sum from that of the gate, held to -grad_clip..grad_clip (Graves 2013).
inline vec sum_gradient(const Options<real> &options, vec gradient, const Activated &gate) {
  return clamp(gradient * gate.slope, -options.grad_clip, options.grad_clip);
}

// Whole arrays, for tests.
void activate(const Activation<real> &f, const real *x, real *y, real *slope, Size count) {
  for (Size i = 0; i < count; i += kLanes) {
    const Activated result = activated(f, load_part(x + i, count - i));
    store_part(y + i, result.value, count - i);
    store_part(slope + i, result.slope, count - i);
  }
}

}  // namespace
}  // namespace pyrnnfast
