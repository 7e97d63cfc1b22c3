// The state that is recurrent and put out where it is a projection of the cell's (Sak et al. 2014): h = W_hr
// h~. Phases of every cell: one after its own in forward, one before them in backward. Zoneout of h is
// theirs.
#pragma once

#include "activation.hpp"
#include "step.hpp"
#include "zoneout.hpp"

namespace pyrnnfast {
namespace {

struct ProjectForward {
  static constexpr int vectors = 1, strip = 2;
  static void start(const ForwardStep<real> &, Size, Size, real *acc) { store(acc, splat(0)); }
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

}  // namespace
}  // namespace pyrnnfast
