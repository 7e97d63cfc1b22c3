// Jordan RNN (Jordan 1986): h = f(W x + b + U o' + d), o = g(V h + c); the output o is what goes back. Slots
// h and o keep their sums. Two phases, for V needs the whole of h; o takes the place that h has in the other
// cells, h that of r * h'. Plain: f = tanh, g the identity.
#pragma once

#include "activation.hpp"
#include "step.hpp"
#include "zoneout.hpp"

namespace pyrnnfast {
namespace {

template <bool general> inline Activated jordan_hidden(const Options<real> *options, vec sum) {
  if constexpr (general) return gate(*options, 0, sum);
  const vec h = tanh(sum);
  return {h, splat(1) - h * h};
}
template <bool general> inline Activated jordan_output(const Options<real> *options, vec sum) {
  if constexpr (general) return gate(*options, 1, sum);
  return {sum, splat(1)};
}
// The gradient of a sum.
template <bool general> inline vec jordan_sum(const Options<real> *options, vec gradient,
                                              const Activated &a) {
  if constexpr (general) return sum_gradient(*options, gradient, a);
  return gradient * a.slope;
}

template <bool general> struct JordanHidden {
  static constexpr int vectors = 1, strip = 2;
  static void start(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    start_slots<0, 1, 1>(s, row, group, acc);
  }
  static void finish(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    if (s.keep) put_slot(s, row, 0, group, load(acc));
    store(s.reset + row * s.ld + group * kLanes, jordan_hidden<general>(s.options, load(acc)).value);
  }
};

template <bool general> struct JordanOutput {
  static constexpr int vectors = 1, strip = 2;
  static void start(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    start_slots<1, 2, 1>(s, row, group, acc);
  }
  static void finish(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    if (s.keep) put_slot(s, row, 1, group, load(acc));
    const vec o = jordan_output<general>(s.options, load(acc)).value;
    if constexpr (general)
      put_zoned_hidden(s, row, group, o);
    else
      put_hidden(s, row, group, o);
  }
};

// First d(o) with the h of the step after it; then d(h) = d(o's sum) V.
template <bool general> struct JordanOutputBackward {
  static constexpr int vectors = 1, strip = 2;
  static void start(const BackwardStep<real> &s, Size row, Size group, real *acc) {
    start_hidden(s, row, group, acc);
  }
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec sum = get_slot(s.gates, s.ld_gates, s.padded, row, 1, group);
    Parts d{load(acc), splat(0)};
    if constexpr (general) d = parts(s, zone_h, row, group, d.after);
    put_gradient(s, row, 1, group,
                 jordan_sum<general>(s.options, d.after, jordan_output<general>(s.options, sum)));
    store(s.dh + row * s.padded + group * kLanes, d.before);
  }
};

template <bool general> struct JordanHiddenBackward {
  static constexpr int vectors = 1, strip = 2;
  static void start(const BackwardStep<real> &, Size, Size, real *acc) { store(acc, splat(0)); }
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec sum = get_slot(s.gates, s.ld_gates, s.padded, row, 0, group);
    put_gradient(s, row, 0, group,
                 jordan_sum<general>(s.options, load(acc), jordan_hidden<general>(s.options, sum)));
  }
};

}  // namespace
}  // namespace pyrnnfast
