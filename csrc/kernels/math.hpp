// sigmoid and tanh as vector polynomials: Cody-Waite reduction x = n ln2 + r, then expm1(r) by its Taylor
// series on |r| <= ln2 / 2 (the first term left out is below a quarter ULP), in pairs (Estrin), for a chain
// of FMAs would take twice as long. At most 4 ULP over the whole range (2.5 is the most that AVX2 has in any
// float32); NaN stays NaN; results that would be subnormal are zero, for the kernels run with subnormals
// flushed.
#pragma once

#include "vec.hpp"

namespace pyrnnfast {
namespace {

template <bool single> struct ExpConstants;
template <> struct ExpConstants<true> {
  static constexpr real magic = real(12582912.0);  // 1.5 * 2^23: adding it rounds to an integer
  static constexpr real ln2_high = real(0.693359375), ln2_low = real(-2.12194440e-4);
  static constexpr int mantissa = 23, bias = 127, terms = 7;
  static constexpr real exp_limit = real(88), tanh_limit = real(10);
};
template <> struct ExpConstants<false> {
  static constexpr real magic = real(6755399441055744.0);  // 1.5 * 2^52
  static constexpr real ln2_high = real(6.93145751953125e-1), ln2_low = real(1.42860682030941723212e-6);
  static constexpr int mantissa = 52, bias = 1023, terms = 13;
  static constexpr real exp_limit = real(709), tanh_limit = real(20);
};
using Exp = ExpConstants<kSingle>;

constexpr real kInverseFactorial[] = {real(1),
                                      real(1),
                                      real(1) / 2,
                                      real(1) / 6,
                                      real(1) / 24,
                                      real(1) / 120,
                                      real(1) / 720,
                                      real(1) / 5040,
                                      real(1) / 40320,
                                      real(1) / 362880,
                                      real(1) / 3628800,
                                      real(1) / 39916800,
                                      real(1) / 479001600,
                                      real(1) / 6227020800};

// sum of c[i] x^i, i < count: the upper half times a power of x, plus the lower half.
constexpr int lower_half(int count) {
  int half = 1;
  while (2 * half < count) half *= 2;
  return half;
}
template <int count> inline vec power(vec x) {
  if constexpr (count == 1) {
    return x;
  } else {
    const vec root = power<count / 2>(x);
    return root * root;
  }
}
template <int count> inline vec polynomial(const real *c, vec x) {
  if constexpr (count == 1) {
    return splat(c[0]);
  } else {
    constexpr int half = lower_half(count);
    return fma(polynomial<count - half>(c + half, x), power<half>(x), polynomial<half>(c, x));
  }
}

struct ExpParts {
  vec power;  // 2^n
  vec expm1;  // exp(r) - 1
};

inline ExpParts exp_parts(vec x) {
  const vec shifted = fma(x, splat(real(1.44269504088896340736)), splat(Exp::magic));
  const vec n = shifted - splat(Exp::magic);
  vec r = fma(n, splat(-Exp::ln2_high), x);
  r = fma(n, splat(-Exp::ln2_low), r);
  const vec p = polynomial<Exp::terms - 1>(kInverseFactorial + 2, r);
  const ivec exponent =
      reinterpret_cast<ivec>(shifted) - reinterpret_cast<ivec>(splat(Exp::magic)) + Exp::bias;
  return {reinterpret_cast<vec>(exponent << Exp::mantissa), fma(p, r * r, r)};
}

// 1 / (1 + exp(-x))
inline vec sigmoid(vec x) {
  const ExpParts e = exp_parts(clamp(-x, -Exp::exp_limit, Exp::exp_limit));
  return splat(1) / (splat(1) + fma(e.power, e.expm1, e.power));
}

// expm1(2x) / (expm1(2x) + 2)
inline vec tanh(vec x) {
  x = clamp(x, -Exp::tanh_limit, Exp::tanh_limit);
  const ExpParts e = exp_parts(x + x);
  const vec m = fma(e.power, e.expm1, e.power - splat(1));
  return m / (m + splat(2));
}

}  // namespace
}  // namespace pyrnnfast
