// Dropout whose mask is a function of where the value stands (Srivastava et al. 2014, inverted).
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

}  // namespace
}  // namespace pyrnnfast
