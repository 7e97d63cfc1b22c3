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
// al. 2002), or with f = 1 - i (coupled); with the new c held to a clip, at which it has no gradient. Slots
// keep the sums. With zoneout h sees the new c, clipped but not yet zoned, and the peephole of o the one
// after.
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
    const vec c_new =
        clamp(fma(f, c_prev, i * gate(options, 1, sum[2]).value), -options.cell_clip, options.cell_clip);
    const vec c = zoned(s, zone_c, row, group, c_prev, c_new);
    store(s.c_next + state, c);
    if (options.normed) store(s.c_normed + state, c_new);
    if (p != nullptr) sum[3] = fma(load(p + 2 * s.padded), c, sum[3]);
    if (s.keep)
      for (int slot = 0; slot < 4; ++slot) put_slot(s, row, slot, group, sum[slot]);
    store(acc, sum[3]);
    store(acc + kLanes, c_new);
  }
  static void output(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    if (!s.options->normed) put_output(s, row, group, load(acc), load(acc + kLanes));  // else c must be whole
  }
  static void put_output(const ForwardStep<real> &s, Size row, Size group, vec sum, vec c) {
    put_zoned_hidden(s, row, group,
                     gate(*s.options, 0, sum).value * activated(s.options->activations[2], c).value);
  }
};

// c as the output sees it: normalised over the units.
inline vec normed_cell(const Options<real> &options, const real *normed, Size padded, Size group) {
  const real *norm = options.cell_norm + group * kLanes;
  return fma(load(normed), load(norm), load(norm + padded));
}

struct NormedLstmOutput {
  static constexpr int vectors = 1, strip = 2;
  static void start(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    store(acc, get_slot(s.gates, s.ld_gates, s.padded, row, 3, group));
  }
  static void finish(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    const real *normed = s.c_normed + row * s.ld + group * kLanes;
    GeneralLstmForward::put_output(s, row, group, load(acc),
                                   normed_cell(*s.options, normed, s.padded, group));
  }
};

struct GeneralLstmBackward : LstmBackward {
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const Size at = row * s.padded + group * kLanes;
    const Parts dh = parts(s, zone_h, row, group, load(acc));
    store(s.dh + at, dh.before);
    if (s.options->normed) {
      const real *normed = s.c_normed + row * s.ld + group * kLanes;
      const vec dc =
          through_output(s, row, group, dh.after, normed_cell(*s.options, normed, s.padded, group));
      store(s.dc_normed + at, keep_lanes(dc, s.hidden - group * kLanes));
    } else {
      const NewCell cell(s, row, group);
      through_cell(s, row, group, cell, through_output(s, row, group, dh.after, cell.c));
    }
  }

  // The gates of a step, and the c that it made, before zoneout.
  struct NewCell {
    vec c_prev;
    Activated i, f, g;
    vec c;
    NewCell(const BackwardStep<real> &s, Size row, Size group) {
      const Options<real> &options = *s.options;
      const auto slot = [&](int which, int k) {
        return gate(options, which, get_slot(s.gates, s.ld_gates, s.padded, row, k, group));
      };
      c_prev = load(s.c_prev + row * s.ld + group * kLanes);
      i = slot(0, 0);
      f = options.coupled ? Activated{splat(1) - i.value, splat(0)} : slot(0, 1);
      g = slot(1, 2);
      c = clamp(fma(f.value, c_prev, i.value * g.value), -options.cell_clip, options.cell_clip);
    }
  };

  // From the gradient of h to that of the c that it saw, and of o's sum.
  static vec through_output(const BackwardStep<real> &s, Size row, Size group, vec dh, vec c) {
    const Options<real> &options = *s.options;
    const Activated o = gate(options, 0, get_slot(s.gates, s.ld_gates, s.padded, row, 3, group));
    const Activated h = activated(options.activations[2], c);
    put_gradient(s, row, 3, group, sum_gradient(options, dh * h.value, o));
    return dh * o.value * h.slope;
  }

  // From the gradient of the new c by way of h to those of the other sums and of c'.
  static void through_cell(const BackwardStep<real> &s, Size row, Size group, const NewCell &cell, vec dc_h) {
    const Options<real> &options = *s.options;
    const Size at = row * s.padded + group * kLanes;
    const real *p = options.peephole == nullptr ? nullptr : options.peephole + group * kLanes;
    vec dc = load(s.dc + at);
    if (p != nullptr)
      dc = fma(get_slot(s.dgates, s.ld_gates, s.padded, row, 3, group), load(p + 2 * s.padded), dc);
    const Parts part = parts(s, zone_c, row, group, dc);
    dc = part.after + dc_h;
    if (options.cell_clip < real(__builtin_inf()))
      dc = absolute(cell.c) >= splat(options.cell_clip) ? splat(0) : dc;
    const vec df = dc * cell.c_prev, di = options.coupled ? dc * cell.g.value - df : dc * cell.g.value;
    const vec da_i = sum_gradient(options, di, cell.i);
    const vec da_f = options.coupled ? splat(0) : sum_gradient(options, df, cell.f);
    put_gradient(s, row, 0, group, da_i);
    put_gradient(s, row, 1, group, da_f);
    put_gradient(s, row, 2, group, sum_gradient(options, dc * cell.i.value, cell.g));
    dc = fma(dc, cell.f.value, part.before);
    if (p != nullptr) dc = fma(da_i, load(p), fma(da_f, load(p + s.padded), dc));
    store(s.dc + at, dc);
  }
};

// What is left where c is normalised, once the gradient of the new c by way of h is whole.
struct NormedLstmBackward {
  static constexpr int vectors = 1, strip = 2;
  static void start(const BackwardStep<real> &s, Size row, Size group, real *acc) {
    store(acc, load(s.dc_normed + row * s.padded + group * kLanes));
  }
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    GeneralLstmBackward::through_cell(s, row, group, {s, row, group}, load(acc));
  }
};

}  // namespace
}  // namespace pyrnnfast
