// Vectors of `real` by GCC/Clang vector extensions: one source for every instruction set.
// The build gives PYRNNFAST_REAL (float or double) and PYRNNFAST_VECTOR_BYTES.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "../dispatch/kernel_table.hpp"

#define PYRNNFAST_UNROLL _Pragma("GCC unroll 16")  // without it the accumulators of a tile go to memory
#define PYRNNFAST_UNROLL_4 _Pragma("GCC unroll 4")

namespace pyrnnfast {
namespace {

using real = PYRNNFAST_REAL;
constexpr int kBytes = PYRNNFAST_VECTOR_BYTES;
constexpr int kLanes = kBytes / static_cast<int>(sizeof(real));
constexpr bool kSingle = sizeof(real) == 4;

template <bool single> struct IntegerOf {
  using type = int32_t;
};
template <> struct IntegerOf<false> {
  using type = int64_t;
};
using integer = IntegerOf<kSingle>::type;

typedef real vec __attribute__((vector_size(kBytes)));
typedef integer ivec __attribute__((vector_size(kBytes)));
typedef vec vec_aligned __attribute__((may_alias));
typedef vec vec_unaligned __attribute__((aligned(1), may_alias));

inline vec load(const real *p) { return *reinterpret_cast<const vec_aligned *>(p); }
inline void store(real *p, vec v) { *reinterpret_cast<vec_aligned *>(p) = v; }
inline vec load_any(const real *p) { return *reinterpret_cast<const vec_unaligned *>(p); }
inline void store_any(real *p, vec v) { *reinterpret_cast<vec_unaligned *>(p) = v; }
inline vec splat(real x) { return x - vec{}; }
inline real lane_fma(real a, real b, real c) {
  if constexpr (kSingle)
    return __builtin_fmaf(a, b, c);
  else
    return __builtin_fma(a, b, c);
}

inline real square_root(real x) {
  if constexpr (kSingle)
    return __builtin_sqrtf(x);
  else
    return __builtin_sqrt(x);
}

// a * b + c: fused where the target has it, a multiplication and an addition where it does not.
inline vec fma(vec a, vec b, vec c) {
#if defined(__FP_FAST_FMAF) && defined(__FP_FAST_FMA)
  vec r;
  for (int i = 0; i < kLanes; ++i) r[i] = lane_fma(a[i], b[i], c[i]);
  return r;
#else
  return a * b + c;
#endif
}

// The greater and the lesser of a bound and x; x where it is NaN. GCC makes two instructions of the general
// form, AVX has one, which gives its second operand then.
#if PYRNNFAST_VECTOR_BYTES == 32 && defined(__AVX__)
inline __m256 at_least(__m256 low, __m256 x) { return _mm256_max_ps(low, x); }
inline __m256d at_least(__m256d low, __m256d x) { return _mm256_max_pd(low, x); }
inline __m256 at_most(__m256 high, __m256 x) { return _mm256_min_ps(high, x); }
inline __m256d at_most(__m256d high, __m256d x) { return _mm256_min_pd(high, x); }
#else
inline vec at_least(vec low, vec x) { return x < low ? low : x; }
inline vec at_most(vec high, vec x) { return x > high ? high : x; }
#endif

inline vec clamp(vec x, real low, real high) { return at_most(splat(high), at_least(splat(low), x)); }

// The first `count` lanes (none if it is negative) from memory, zero in the others.
inline vec load_part(const real *p, Size count) {
  if (count >= kLanes) return load_any(p);
  alignas(kBytes) real part[kLanes] = {};
  for (Size i = 0; i < count; ++i) part[i] = p[i];
  return load(part);
}
inline void store_part(real *p, vec v, Size count) {
  if (count >= kLanes) return store_any(p, v);
  alignas(kBytes) real part[kLanes];
  store(part, v);
  for (Size i = 0; i < count; ++i) p[i] = part[i];
}
inline vec keep_lanes(vec v, Size count) {
  if (count >= kLanes) return v;
  for (int i = 0; i < kLanes; ++i) v[i] = i < count ? v[i] : real(0);
  return v;
}

inline real sum_lanes(vec v) {
  real total = 0;
  for (int i = 0; i < kLanes; ++i) total += v[i];
  return total;
}

}  // namespace
}  // namespace pyrnnfast
