// GRU (Cho et al. 2014): h = (1 - z) n + z h', with the reset gate after or before the recurrent product, or
// without one.
#pragma once

#include "activation.hpp"
#include "step.hpp"
#include "zoneout.hpp"

namespace pyrnnfast {
namespace {

// (1 - z) n + z h'
inline vec blend(vec z, vec n, vec h_prev) { return fma(z, h_prev - n, n); }

// Reset after (PyTorch, cuDNN): n = tanh(W_n x + b_n + r (U_n h' + c_n)). One phase; slots n, r, z and the
// hidden part U_n h' + c_n, so that the input projection is slots 0..2 and the recurrent product slots 1..3.
struct GruForward {
  static constexpr int vectors = 3, strip = 3;
  static void start(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    start_slots<1, 4, 3>(s, row, group, acc);
  }
  static void finish(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    const vec r = sigmoid(load(acc)), z = sigmoid(load(acc + kLanes)), hidden = load(acc + 2 * kLanes);
    if (s.keep) {
      put_slot(s, row, 1, group, r);
      put_slot(s, row, 2, group, z);
      put_slot(s, row, 3, group, hidden);
    }
    store(acc + kLanes, z);
    store(acc, fma(r, hidden, get_slot(s.gates, s.ld_gates, s.padded, row, 0, group)));
  }
  static void output(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec n = tanh(load(acc)), z = load(acc + kLanes);
    if (s.keep) put_slot(s, row, 0, group, n);
    put_hidden(s, row, group, blend(z, n, load(s.h_prev + row * s.ld + group * kLanes)));
  }
};

struct GruBackward {
  static constexpr int vectors = 1, strip = 2;
  static void start(const BackwardStep<real> &s, Size row, Size group, real *acc) {
    start_hidden(s, row, group, acc);
  }
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const auto slot = [&](int k) { return get_slot(s.gates, s.ld_gates, s.padded, row, k, group); };
    const vec one = splat(1), dh = load(acc), n = slot(0), r = slot(1), z = slot(2), hidden = slot(3);
    const vec h_prev = load(s.h_prev + row * s.ld + group * kLanes);
    const vec dn = dh * (one - z) * (one - n * n);
    put_gradient(s, row, 0, group, dn);
    put_gradient(s, row, 1, group, dn * hidden * r * (one - r));
    put_gradient(s, row, 2, group, dh * (h_prev - n) * z * (one - z));
    put_gradient(s, row, 3, group, dn * r);
    store(s.dh + row * s.padded + group * kLanes, dh * z);
  }
};

// Reset before (Cho et al. 2014): n = tanh(W_n x + b_n + U_n (r h') + c_n). Slots r, z, n. Two phases, for
// U_n needs the whole of r h'.
struct GruBeforeGates {
  static constexpr int vectors = 2, strip = 2;
  static void start(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    start_slots<0, 2, 3>(s, row, group, acc);
  }
  static void finish(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec r = sigmoid(load(acc)), z = sigmoid(load(acc + kLanes));
    put_slot(s, row, 0, group, r);
    put_slot(s, row, 1, group, z);  // read by the next phase
    store(s.reset + row * s.ld + group * kLanes, r * load(s.h_prev + row * s.ld + group * kLanes));
  }
};

struct GruBeforeCandidate {
  static constexpr int vectors = 1, strip = 2;
  static void start(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    start_slots<2, 3, 3>(s, row, group, acc);
  }
  static void finish(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec n = tanh(load(acc)), z = get_slot(s.gates, s.ld_gates, s.padded, row, 1, group);
    if (s.keep) put_slot(s, row, 2, group, n);
    put_hidden(s, row, group, blend(z, n, load(s.h_prev + row * s.ld + group * kLanes)));
  }
};

// First d(h) with the r and z of the step after it, which gives dz and dn; then d(r h') = dn U_n, which gives
// dr.
struct GruBeforeBackward {
  static constexpr int vectors = 1, strip = 2;
  static void start(const BackwardStep<real> &s, Size row, Size group, real *acc) {
    start_hidden(s, row, group, acc);
  }
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const auto slot = [&](int k) { return get_slot(s.gates, s.ld_gates, s.padded, row, k, group); };
    const vec one = splat(1), dh = load(acc), z = slot(1), n = slot(2);
    const vec h_prev = load(s.h_prev + row * s.ld + group * kLanes);
    put_gradient(s, row, 1, group, dh * (h_prev - n) * z * (one - z));
    put_gradient(s, row, 2, group, dh * (one - z) * (one - n * n));
    store(s.dh + row * s.padded + group * kLanes, dh * z);
  }
};

struct GruBeforeReset {
  static constexpr int vectors = 1, strip = 2;
  static void start(const BackwardStep<real> &, Size, Size, real *acc) { store(acc, splat(0)); }
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec d = load(acc), r = get_slot(s.gates, s.ld_gates, s.padded, row, 0, group);
    real *dh = s.dh + row * s.padded + group * kLanes;
    put_gradient(s, row, 0, group, d * load(s.h_prev + row * s.ld + group * kLanes) * r * (splat(1) - r));
    store(dh, fma(d, r, load(dh)));
  }
};

// One gate and no reset: g = sigmoid(..), n = tanh(..), h = g n + (1 - g) h'. One phase; slots g, n.
struct OneGateForward {
  static constexpr int vectors = 2, strip = 2;
  static void start(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    start_slots<0, 2, 2>(s, row, group, acc);
  }
  static void finish(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec g = sigmoid(load(acc)), n = tanh(load(acc + kLanes));
    if (s.keep) {
      put_slot(s, row, 0, group, g);
      put_slot(s, row, 1, group, n);
    }
    put_hidden(s, row, group, blend(g, load(s.h_prev + row * s.ld + group * kLanes), n));
  }
};

struct OneGateBackward {
  static constexpr int vectors = 1, strip = 2;
  static void start(const BackwardStep<real> &s, Size row, Size group, real *acc) {
    start_hidden(s, row, group, acc);
  }
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const auto slot = [&](int k) { return get_slot(s.gates, s.ld_gates, s.padded, row, k, group); };
    const vec one = splat(1), dh = load(acc), g = slot(0), n = slot(1);
    const vec h_prev = load(s.h_prev + row * s.ld + group * kLanes);
    put_gradient(s, row, 0, group, dh * (n - h_prev) * g * (one - g));
    put_gradient(s, row, 1, group, dh * g * (one - n * n));
    store(s.dh + row * s.padded + group * kLanes, dh * (one - g));
  }
};

// The same with any activations f g, of clipped sums; slots keep the sums.
struct GeneralGruForward : GruForward {
  static void start(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    if (s.options->normed)
      start_slots<1, 4, 4>(s, row, group, acc);
    else
      GruForward::start(s, row, group, acc);
  }
  static void finish(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    const vec r = load(acc), z = load(acc + kLanes), hidden = load(acc + 2 * kLanes);
    const vec n =
        fma(gate(*s.options, 0, r).value, hidden, get_slot(s.gates, s.ld_gates, s.padded, row, 0, group));
    if (s.keep) {
      put_slot(s, row, 0, group, n);
      put_slot(s, row, 1, group, r);
      put_slot(s, row, 2, group, z);
      put_slot(s, row, 3, group, hidden);
    }
    store(acc, n);
  }
  static void output(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec n = gate(*s.options, 1, load(acc)).value, z = gate(*s.options, 0, load(acc + kLanes)).value;
    put_zoned_hidden(s, row, group, blend(z, n, load(s.h_prev + row * s.ld + group * kLanes)));
  }
};

struct GeneralGruBackward : GruBackward {
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const auto slot = [&](int k) { return get_slot(s.gates, s.ld_gates, s.padded, row, k, group); };
    const Parts part = parts(s, zone_h, row, group, load(acc));
    const vec dh = part.after, h_prev = load(s.h_prev + row * s.ld + group * kLanes);
    const Activated n = gate(*s.options, 1, slot(0)), r = gate(*s.options, 0, slot(1));
    const Activated z = gate(*s.options, 0, slot(2));
    const vec dn = sum_gradient(*s.options, dh * (splat(1) - z.value), n);
    put_gradient(s, row, 0, group, dn);
    put_gradient(s, row, 1, group, sum_gradient(*s.options, dn * slot(3), r));
    put_gradient(s, row, 2, group, sum_gradient(*s.options, dh * (h_prev - n.value), z));
    put_gradient(s, row, 3, group, dn * r.value);
    store(s.dh + row * s.padded + group * kLanes, fma(dh, z.value, part.before));
  }
};

struct GeneralGruBeforeGates : GruBeforeGates {
  static void finish(const ForwardStep<real> &s, Size row, Size group, real *acc) {
    const vec r = load(acc), h_prev = load(s.h_prev + row * s.ld + group * kLanes);
    put_slot(s, row, 0, group, r);
    put_slot(s, row, 1, group, load(acc + kLanes));  // read by the next phase
    store(s.reset + row * s.ld + group * kLanes, gate(*s.options, 0, r).value * h_prev);
  }
};

struct GeneralGruBeforeCandidate : GruBeforeCandidate {
  static void finish(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec sum = load(acc), n = gate(*s.options, 1, sum).value;
    const vec z = gate(*s.options, 0, get_slot(s.gates, s.ld_gates, s.padded, row, 1, group)).value;
    if (s.keep) put_slot(s, row, 2, group, sum);
    put_zoned_hidden(s, row, group, blend(z, n, load(s.h_prev + row * s.ld + group * kLanes)));
  }
};

struct GeneralGruBeforeBackward : GruBeforeBackward {
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const auto slot = [&](int which, int k) {
      return gate(*s.options, which, get_slot(s.gates, s.ld_gates, s.padded, row, k, group));
    };
    const Parts part = parts(s, zone_h, row, group, load(acc));
    const vec dh = part.after, h_prev = load(s.h_prev + row * s.ld + group * kLanes);
    const Activated z = slot(0, 1), n = slot(1, 2);
    put_gradient(s, row, 1, group, sum_gradient(*s.options, dh * (h_prev - n.value), z));
    put_gradient(s, row, 2, group, sum_gradient(*s.options, dh * (splat(1) - z.value), n));
    store(s.dh + row * s.padded + group * kLanes, fma(dh, z.value, part.before));
  }
};

struct GeneralGruBeforeReset : GruBeforeReset {
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec d = load(acc), h_prev = load(s.h_prev + row * s.ld + group * kLanes);
    const Activated r = gate(*s.options, 0, get_slot(s.gates, s.ld_gates, s.padded, row, 0, group));
    real *dh = s.dh + row * s.padded + group * kLanes;
    put_gradient(s, row, 0, group, sum_gradient(*s.options, d * h_prev, r));
    store(dh, fma(d, r.value, load(dh)));
  }
};

struct GeneralOneGateForward : OneGateForward {
  static void finish(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec g = load(acc), n = load(acc + kLanes), h_prev = load(s.h_prev + row * s.ld + group * kLanes);
    if (s.keep) {
      put_slot(s, row, 0, group, g);
      put_slot(s, row, 1, group, n);
    }
    put_zoned_hidden(s, row, group,
                     blend(gate(*s.options, 0, g).value, h_prev, gate(*s.options, 1, n).value));
  }
};

struct GeneralOneGateBackward : OneGateBackward {
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const auto slot = [&](int k) {
      return gate(*s.options, k, get_slot(s.gates, s.ld_gates, s.padded, row, k, group));
    };
    const Parts part = parts(s, zone_h, row, group, load(acc));
    const vec dh = part.after, h_prev = load(s.h_prev + row * s.ld + group * kLanes);
    const Activated g = slot(0), n = slot(1);
    put_gradient(s, row, 0, group, sum_gradient(*s.options, dh * (n.value - h_prev), g));
    put_gradient(s, row, 1, group, sum_gradient(*s.options, dh * g.value, n));
    store(s.dh + row * s.padded + group * kLanes, fma(dh, splat(1) - g.value, part.before));
  }
};

}  // namespace
}  // namespace pyrnnfast
