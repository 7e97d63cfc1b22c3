// Zoneout (Krueger et al. 2016): in training a unit keeps its old value with probability p; in inference it
// becomes the expectation, p old + (1 - p) new.
#pragma once

#include "../dispatch/philox.hpp"
#include "step.hpp"

namespace pyrnnfast {
namespace {

enum Zone { zone_c, zone_h };

constexpr int kDraws = kLanes < 4 ? 1 : kLanes / 4;  // of Philox, for one vector of units

// A random word where it can be compared as a signed number.
inline integer shifted(uint32_t word) { return integer(int64_t(word) - (int64_t(1) << 31)); }

// The old value's part: in training 0 or 1. Never inlined: each cell would have a copy for each direction.
__attribute__((noinline, noclone)) vec old_part(const Options<real> &options, const Draws &draws, Zone which,
                                                Size row, Size group) {
  if (draws.rows == nullptr) return splat(options.zoneout[which]);
  const Size unit = group * kLanes;
  const uint32_t user = uint32_t(draws.rows[row]), tag = draws.tag + (uint32_t(which) << 16);
  alignas(kBytes) integer words[4 * kDraws];
  for (int i = 0; i < kDraws; ++i) {
    const Philox random = philox({{draws.step, user, uint32_t(unit / 4) + uint32_t(i), tag}}, draws.seed);
    for (int j = 0; j < 4; ++j) words[4 * i + j] = shifted(random.word[j]);
  }
  ivec drawn, below;
  for (int i = 0; i < kLanes; ++i) {
    drawn[i] = words[unit % 4 + i];
    below[i] = shifted(options.zone_below[which]);
  }
  return drawn < below ? splat(1) : splat(0);
}

inline vec zoned(const ForwardStep<real> &s, Zone which, Size row, Size group, vec before, vec after) {
  if (s.options->zoneout[which] == 0) return after;
  const vec part = old_part(*s.options, s.draws, which, row, group);
  const vec both = fma(part, before, (splat(1) - part) * after);
  return part == splat(0) ? after : part == splat(1) ? before : both;
}

inline void put_zoned_hidden(const ForwardStep<real> &s, Size row, Size group, vec h) {
  put_hidden(s, row, group, zoned(s, zone_h, row, group, load(s.h_prev + row * s.ld + group * kLanes), h));
}

// A gradient's parts: of the new value, and of the old one beside it.
struct Parts {
  vec after, before;
};
inline Parts parts(const BackwardStep<real> &s, Zone which, Size row, Size group, vec gradient) {
  if (s.options->zoneout[which] == 0) return {gradient, splat(0)};
  const vec part = old_part(*s.options, s.draws, which, row, group);
  return {part == splat(0) ? gradient : splat(0), part == splat(0) ? splat(0) : gradient};
}

}  // namespace
}  // namespace pyrnnfast
