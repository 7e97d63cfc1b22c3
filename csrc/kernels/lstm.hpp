// LSTM (Hochreiter & Schmidhuber 1997, forget gate of Gers et al. 2000), gates i f g o:
//   i, f, o = sigmoid(a_i, a_f, a_o); g = tanh(a_g); c = f c' + i g; h = o tanh(c).
// One phase; slots 0..3 keep i, f, g, o.
#pragma once

#include "activation.hpp"
#include "step.hpp"
#include "zoneout.hpp"

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

// With any activations f g h, of clipped sums; with peepholes i, f += p c' and o += p c in the sums (Gers et
// al. 2002), or with f = 1 - i (coupled). Slots keep the sums. With zoneout h sees the new cell state, before
// it is zoned, and the peephole of o the one after.
struct GeneralLstmForward : LstmForward {
  static void finish(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    const Options<real> &options = *s.options;
    const Size state = row * s.ld + group * kLanes;
    const vec c_prev = load(s.c_prev + state);
    vec sum[4];
    for (int slot = 0; slot < 4; ++slot) sum[slot] = load(acc + slot * kLanes);
    const real *p = options.peephole == nullptr ? nullptr : options.peephole + group * kLanes;
    if (p != nullptr) {
      sum[0] = fma(load(p), c_prev, sum[0]);
      sum[1] = fma(load(p + s.padded), c_prev, sum[1]);
    }
    const vec i = gate(options, 0, sum[0]).value;
    const vec f = options.coupled ? splat(1) - i : gate(options, 0, sum[1]).value;
    const vec c_new = fma(f, c_prev, i * gate(options, 1, sum[2]).value);
    const vec c = zoned(s, zone_c, row, group, c_prev, c_new);
    store(s.c_next + state, c);
    if (p != nullptr) sum[3] = fma(load(p + 2 * s.padded), c, sum[3]);
    if (s.keep)
      for (int slot = 0; slot < 4; ++slot) put_slot(s, row, slot, group, sum[slot]);
    store(acc, sum[3]);
    store(acc + kLanes, c_new);
  }
  static void output(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec c_new = load(acc + kLanes);
    put_zoned_hidden(s, row, group,
                     gate(*s.options, 0, load(acc)).value *
                         activated(s.options->activations[2], c_new).value);
  }
};

struct GeneralLstmBackward : LstmBackward {
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const Options<real> &options = *s.options;
    const auto slot = [&](int which, int k) {
      return gate(options, which, get_slot(s.gates, s.ld_gates, s.padded, row, k, group));
    };
    const Size at = row * s.padded + group * kLanes, state = row * s.ld + group * kLanes;
    const Parts dh = parts(s, zone_h, row, group, load(acc));
    const vec c_prev = load(s.c_prev + state);
    const real *p = options.peephole == nullptr ? nullptr : options.peephole + group * kLanes;
    const Activated i = slot(0, 0),
                    f = options.coupled ? Activated{splat(1) - i.value, splat(0)} : slot(0, 1);
    const Activated g = slot(1, 2), o = slot(0, 3),
                    h = activated(options.activations[2], fma(f.value, c_prev, i.value * g.value));
    const vec da_o = sum_gradient(options, dh.after * h.value, o);
    vec dc = load(s.dc + at);
    if (p != nullptr) dc = fma(da_o, load(p + 2 * s.padded), dc);
    const Parts dc_part = parts(s, zone_c, row, group, dc);
    dc = fma(dh.after * o.value, h.slope, dc_part.after);
    const vec df = dc * c_prev, di = options.coupled ? dc * g.value - df : dc * g.value;
    const vec da_i = sum_gradient(options, di, i);
    const vec da_f = options.coupled ? splat(0) : sum_gradient(options, df, f);
    put_gradient(s, row, 0, group, da_i);
    put_gradient(s, row, 1, group, da_f);
    put_gradient(s, row, 2, group, sum_gradient(options, dc * i.value, g));
    put_gradient(s, row, 3, group, da_o);
    dc = fma(dc, f.value, dc_part.before);
    if (p != nullptr) dc = fma(da_i, load(p), fma(da_f, load(p + s.padded), dc));
    store(s.dc + at, dc);
    store(s.dh + at, dh.before);
  }
};

}  // namespace
}  // namespace pyrnnfast
