// LSTM (Hochreiter & Schmidhuber 1997, forget gate of Gers et al. 2000), gates i f g o:
//   i, f, o = sigmoid(a_i, a_f, a_o); g = tanh(a_g); c = f c' + i g; h = o tanh(c).
// One phase; slots 0..3 keep i, f, g, o.
#pragma once

#include "math.hpp"
#include "step.hpp"

namespace pyrnnfast {
namespace {

struct LstmForward {
  static constexpr int vectors = 4, strip = 2;
  static void start(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    start_slots<0, 4, 4>(s, row, group, acc);
  }
  static void finish(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    const vec i = sigmoid(load(acc)), f = sigmoid(load(acc + kLanes));
    const vec g = tanh(load(acc + 2 * kLanes)), o = sigmoid(load(acc + 3 * kLanes));
    const vec c = fma(f, load(s.c_prev + row * s.ld + group * kLanes), i * g);
    store(s.c_next + row * s.ld + group * kLanes, c);
    if (s.keep) {
      put_slot(s, row, 0, group, i);
      put_slot(s, row, 1, group, f);
      put_slot(s, row, 2, group, g);
      put_slot(s, row, 3, group, o);
    }
    store(acc, o);
  }
  static void output(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    put_hidden(s, row, group, load(acc) * tanh(load(s.c_next + row * s.ld + group * kLanes)));
  }
};

struct LstmBackward {
  static constexpr int vectors = 1, strip = 2;
  static void start(const BackwardStep<real> &s, Size row, Size group, real *acc) {
    start_hidden(s, row, group, acc);
  }
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const auto slot = [&](int k) { return get_slot(s.gates, s.ld_gates, s.padded, row, k, group); };
    const Size at = row * s.padded + group * kLanes, state = row * s.ld + group * kLanes;
    const vec one = splat(1), dh = load(acc), i = slot(0), f = slot(1), g = slot(2), o = slot(3);
    const vec tc = tanh(load(s.c_next + state));  // h = o tanh(c)
    const vec dc = fma(dh * o, one - tc * tc, load(s.dc + at));
    put_gradient(s, row, 0, group, dc * g * i * (one - i));  // c = f c' + i g
    put_gradient(s, row, 1, group, dc * load(s.c_prev + state) * f * (one - f));
    put_gradient(s, row, 2, group, dc * i * (one - g * g));
    put_gradient(s, row, 3, group, dh * tc * o * (one - o));
    store(s.dc + at, dc * f);
    store(s.dh + at, splat(0));
  }
};

}  // namespace
}  // namespace pyrnnfast
