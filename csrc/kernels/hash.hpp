// A hash of bytes that depends on where each stands: a chain of invertible steps for each lane of 64 bits, so
// that a change of one word always shows. Of changes of two, no two bits or signs cancel in words of one lane.
#pragma once

#include "vec.hpp"

namespace pyrnnfast {
namespace {

typedef uint64_t words __attribute__((vector_size(kBytes)));
typedef words words_unaligned __attribute__((aligned(1), may_alias));
typedef uint32_t halves __attribute__((vector_size(kBytes)));

// x = (1 + 2^21) swap(state ^ word), swap exchanging the halves of 64 bits; state -> x ^ (x >> 17). The product
// takes low bits up, the rest brings high ones down: a sign would else stay one bit, which the next sign cancels.
// Six instructions on every level; a product of 64 bits takes ten without AVX-512.
inline words hash_step(words state, words word) {
  halves swap;
  for (int i = 0; i < kBytes / 4; ++i) swap[i] = uint32_t(i ^ 1);
  words x = (words)__builtin_shuffle((halves)(state ^ word), swap);
  x += x << 21;
  return x ^ (x >> 17);
}

inline uint64_t hash_word(uint64_t state, uint64_t word) {
  const uint64_t x = state ^ word;
  return ((x << 29) | (x >> 35)) * 0x9E3779B97F4A7C15u;  // odd: invertible
}

uint64_t hash(const void *data, Size bytes, uint64_t seed) {
  constexpr int kWords = kBytes / 8, kAtOnce = 8;  // chains that hide the latency of a step
  const char *at = static_cast<const char *>(data), *const end = at + bytes;
  words states[kAtOnce];
  for (int j = 0; j < kAtOnce; ++j)
    for (int i = 0; i < kWords; ++i) states[j][i] = hash_word(seed, uint64_t(j * kWords + i));
  for (; end - at >= kAtOnce * kBytes; at += kAtOnce * kBytes) {
    PYRNNFAST_UNROLL
    for (int j = 0; j < kAtOnce; ++j)
      states[j] = hash_step(states[j], *reinterpret_cast<const words_unaligned *>(at + j * kBytes));
  }
  uint64_t result = seed + uint64_t(bytes);
  for (; at < end; at += 8) {
    uint64_t word = 0;
    __builtin_memcpy(&word, at, std::size_t(end - at < 8 ? end - at : 8));
    result = hash_word(result, word);
  }
  for (int j = 0; j < kAtOnce; ++j)
    for (int i = 0; i < kWords; ++i) result = hash_word(result, states[j][i]);
  return result ^ (result >> 32);
}

}  // namespace
}  // namespace pyrnnfast
