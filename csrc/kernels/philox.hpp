// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") and dropout made of it.
#pragma once

#include "vec.hpp"

namespace pyrnnfast {
namespace {

struct Philox {
  uint32_t word[4];
};

inline Philox philox(Philox x, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t(0xD2511F53u) * x.word[0], b = uint64_t(0xCD9E8D57u) * x.word[2];
    x = {{uint32_t(b >> 32) ^ x.word[1] ^ key0, uint32_t(b), uint32_t(a >> 32) ^ x.word[3] ^ key1, uint32_t(a)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return x;
}

void dropout(const DropoutArgs &d, real scale, real *x, Size count) {
  for (Size unit = 0; unit < count; unit += 4) {
    const Philox random = philox({{d.time, d.row, uint32_t(unit / 4), d.tag}}, uint32_t(d.seed), uint32_t(d.seed >> 32));
    for (Size i = 0; i < 4 && unit + i < count; ++i)
      x[unit + i] = random.word[i] >= d.threshold ? x[unit + i] * scale : real(0);
  }
}

}  // namespace
}  // namespace pyrnnfast
