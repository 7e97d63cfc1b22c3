// A hash of bytes that depends on where each stands: a chain of invertible steps for each lane, so that a
// change of one word always shows, and any other change but once in 2^64.
#pragma once

#include "vec.hpp"

namespace pyrnnfast {
namespace {

constexpr uint64_t kHashFactor = 0x9E3779B97F4A7C15u;  // odd: multiplication by it is invertible

template <class Word> inline Word hash_step(Word state, Word word) {
  const Word x = state ^ word;
  return ((x << 29) | (x >> 35)) * kHashFactor;  // rotated: high bits must reach the others
}

uint64_t hash(const void *data, Size bytes, uint64_t seed) {
  typedef uint64_t block __attribute__((vector_size(kBytes)));
  typedef block block_unaligned __attribute__((aligned(1), may_alias));
  constexpr int kWords = kBytes / 8, kAtOnce = 8;  // chains that hide the latency of a multiplication
  const char *at = static_cast<const char *>(data), *const end = at + bytes;
  block states[kAtOnce];
  for (int j = 0; j < kAtOnce; ++j)
    for (int i = 0; i < kWords; ++i) states[j][i] = seed + uint64_t(j * kWords + i);
  for (; end - at >= kAtOnce * kBytes; at += kAtOnce * kBytes) {
    PYRNNFAST_UNROLL
    for (int j = 0; j < kAtOnce; ++j)
      states[j] = hash_step<block>(states[j], *reinterpret_cast<const block_unaligned *>(at + j * kBytes));
  }
  uint64_t result = seed + uint64_t(bytes);
  for (; at < end; at += 8) {
    uint64_t word = 0;
    __builtin_memcpy(&word, at, std::size_t(end - at < 8 ? end - at : 8));
    result = hash_step(result, word);
  }
  for (int j = 0; j < kAtOnce; ++j)
    for (int i = 0; i < kWords; ++i) result = hash_step(result, states[j][i]);
  return result ^ (result >> 32);
}

}  // namespace
}  // namespace pyrnnfast
