// Elman RNN (Elman 1990): h = f(W x + b + U h' + c), f = tanh or relu. One phase; slot 0 keeps h.
#pragma once

#include "activation.hpp"
#include "step.hpp"
#include "zoneout.hpp"

namespace pyrnnfast {
namespace {

template <bool relu> struct ElmanForward {
  static constexpr int vectors = 1, strip = 2;
  static void start(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    start_slots<0, 1, 1>(s, row, group, acc);
  }
  static void finish(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec a = load(acc);
    const vec h = relu ? (a <= splat(0) ? splat(0) : a) : tanh(a);  // NaN stays NaN
    if (s.keep) put_slot(s, row, 0, group, h);
    put_hidden(s, row, group, h);
  }
};

template <bool relu> struct ElmanBackward {
  static constexpr int vectors = 1, strip = 2;
  static void start(const BackwardStep<real> &s, Size row, Size group, real *acc) {
    start_hidden(s, row, group, acc);
  }
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec dh = load(acc), h = get_slot(s.gates, s.ld_gates, s.padded, row, 0, group);
    // relu: h > 0; tanh: 1 - h^2
    const vec da = relu ? (h <= splat(0) ? splat(0) : dh) : dh * (splat(1) - h * h);
    put_gradient(s, row, 0, group, da);
    store(s.dh + row * s.padded + group * kLanes, splat(0));
  }
};

// With any activation, of the clipped sum; slot 0 keeps the sum.
struct GeneralElmanForward : ElmanForward<false> {
  static void finish(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec sum = load(acc);
    if (s.keep) put_slot(s, row, 0, group, sum);
    put_zoned_hidden(s, row, group, gate(*s.options, 0, sum).value);
  }
};

struct GeneralElmanBackward : ElmanBackward<false> {
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec sum = get_slot(s.gates, s.ld_gates, s.padded, row, 0, group);
    const Parts dh = parts(s, zone_h, row, group, load(acc));
    put_gradient(s, row, 0, group, sum_gradient(*s.options, dh.after, gate(*s.options, 0, sum)));
    store(s.dh + row * s.padded + group * kLanes, dh.before);
  }
};

}  // namespace
}  // namespace pyrnnfast
