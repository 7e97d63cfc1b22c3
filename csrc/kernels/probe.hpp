// What the machine can do at most: arithmetic in registers, and reading.
//
// Peak needs latency x throughput independent chains: 4 x 2 where there is FMA, (3 + 3) x 2 where it is a
// multiplication and an addition, 4 x 4 on wide Arm cores. Some more keep the ports busy when the scheduler
// errs.
#pragma once

#include "vec.hpp"

namespace pyrnnfast {
namespace {

constexpr int kChains = PYRNNFAST_ROWS_2 >= 14 ? 28 : 14;  // and two constants in 32 or 16 registers
#define PYRNNFAST_EACH_CHAIN _Pragma("GCC unroll 32") for (int i = 0; i < kChains; ++i)

void fma_chains(Size steps, real a, real b, real *x) {
  const vec factor = splat(a), summand = splat(b);
  vec chain[kChains];
  PYRNNFAST_EACH_CHAIN chain[i] = load_any(x + i * kLanes);
  for (Size step = 0; step < steps; ++step) PYRNNFAST_EACH_CHAIN chain[i] = fma(chain[i], factor, summand);
  PYRNNFAST_EACH_CHAIN store_any(x + i * kLanes, chain[i]);
}

// Exclusive or: every processor does as many a cycle as it loads, and the order does not matter.
uint64_t read_words(const uint64_t *words, Size count) {
  typedef uint64_t block __attribute__((vector_size(kBytes), may_alias));
  constexpr int kWords = kBytes / 8, kAtOnce = 8;
  static_assert(kReadWords % (kAtOnce * kWords) == 0, "no remainder");
  block sums[kAtOnce] = {};
  for (Size i = 0; i < count; i += kAtOnce * kWords) {
    PYRNNFAST_UNROLL
    for (int j = 0; j < kAtOnce; ++j) sums[j] ^= *reinterpret_cast<const block *>(words + i + j * kWords);
  }
  block all{};
  PYRNNFAST_UNROLL
  for (int j = 0; j < kAtOnce; ++j) all ^= sums[j];
  uint64_t result = 0;
  PYRNNFAST_UNROLL
  for (int j = 0; j < kWords; ++j) result ^= all[j];
  return result;
}

}  // namespace
}  // namespace pyrnnfast
