// Dropout whose mask is a function of where the value stands (Srivastava et al. 2014, inverted), and masks
// that are kept.
#pragma once

#include "../dispatch/philox.hpp"
#include "vec.hpp"

namespace pyrnnfast {
namespace {

void dropout(const DropoutArgs &d, real scale, real *x, Size count) {
  for (Size unit = 0; unit < count; unit += 4) {
    const Philox random = philox({{d.time, d.row, uint32_t(unit / 4), d.tag}}, d.seed);
    for (Size i = 0; i < 4 && unit + i < count; ++i)
      x[unit + i] = random.word[i] >= d.threshold ? x[unit + i] * scale : real(0);
  }
}

// What is dropped is zero, whatever it was.
inline vec dropped(vec x, vec factors) { return factors == splat(0) ? splat(0) : x * factors; }

void mask(const real *x, const real *factors, real *out, Size count) {
  for (Size i = 0; i < count; i += kLanes)
    store_part(out + i, dropped(load_part(x + i, count - i), load_part(factors + i, count - i)), count - i);
}

}  // namespace
}  // namespace pyrnnfast
