// The state that is recurrent and put out where it is a projection of the cell's: h = W_hr h~ (Sak et al.
// 2014), o = g(V h + c) (Jordan 1986). Phases of every cell: one after its own in forward, one before them in
// backward. Zoneout of h is theirs.
#pragma once

#include "activation.hpp"
#include "step.hpp"
#include "zoneout.hpp"

namespace pyrnnfast {
namespace {

struct ProjectForward {
  static constexpr int vectors = 1, strip = 2;
  static void start(const ForwardStep<real> &s, Size, Size group, real *acc) {
    store(acc, load(s.bias + group * kLanes));
  }
  static void finish(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    put_zoned_hidden(s, row, group, clamp(load(acc), -s.limit, s.limit));
  }
};

// What is at the limit has no gradient.
struct ProjectBackward {
  static constexpr int vectors = 1, strip = 2;
  static void start(const BackwardStep<real> &s, Size row, Size group, real *acc) {
    start_hidden(s, row, group, acc);
  }
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const Parts part = parts(s, zone_h, row, group, load(acc));
    vec dh = part.after;
    if (s.limit < real(__builtin_inf())) {
      const vec h = get_slot(s.gates, s.ld_gates, s.padded, row, 0, group);
      dh = absolute(h) >= splat(s.limit) ? splat(0) : dh;
    }
    put_gradient(s, row, 0, group, dh);
    store(s.dh + row * s.padded + group * kLanes, part.before);
  }
};

// With any activation, of the clipped sum; slot 0 keeps the sum.
struct ActivatedProjectForward : ProjectForward {
  static void finish(const ForwardStep<real> &s, Size row, Size group, const real *acc) {
    const vec sum = load(acc);
    if (s.keep) put_slot(s, row, 0, group, sum);
    put_zoned_hidden(s, row, group, gate(*s.options, 1, sum).value);
  }
};

struct ActivatedProjectBackward : ProjectBackward {
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    const Parts part = parts(s, zone_h, row, group, load(acc));
    const vec sum = get_slot(s.gates, s.ld_gates, s.padded, row, 0, group);
    put_gradient(s, row, 0, group, sum_gradient(*s.options, part.after, gate(*s.options, 1, sum)));
    store(s.dh + row * s.padded + group * kLanes, part.before);
  }
};

}  // namespace
}  // namespace pyrnnfast
