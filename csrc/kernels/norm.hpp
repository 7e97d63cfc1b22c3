// Layer normalisation (Ba, Kiros & Hinton 2016): (x - mean) / sqrt(variance + eps), of one row after the
// other. Each sum over a row is made in four chains of vectors, always in the same order.
#pragma once

#include "vec.hpp"

namespace pyrnnfast {
namespace {

constexpr real kNormEps = real(1e-5);

// Sum over a row's units of term(place of a vector); lanes that only pad do not count.
template <class Args, class Term> inline real row_sum(const Args &n, const Term &term) {
  constexpr Size chains = 4;
  vec sum[chains] = {};
  for (Size slot = 0; slot < n.slots; ++slot) {
    const Size at = slot * n.padded;
    Size u = 0;
    for (; u + chains * kLanes <= n.hidden; u += chains * kLanes) {
      PYRNNFAST_UNROLL
      for (Size i = 0; i < chains; ++i) sum[i] = sum[i] + term(at + u + i * kLanes);
    }
    for (; u < n.hidden; u += kLanes) sum[0] = sum[0] + keep_lanes(term(at + u), n.hidden - u);
  }
  return sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

void normalize(const NormArgs<real> &n) {
  const real share = real(1) / real(n.slots * n.hidden);
  for (Size row = 0; row < n.rows; ++row) {
    real *x = n.x + row * n.ld, *y = n.y == nullptr ? nullptr : n.y + row * n.ld_y;
    const real mean = share * row_sum(n, [&](Size at) { return load(x + at); });
    const auto centred = [&](Size at) { return load(x + at) - splat(mean); };
    const auto square = [&](Size at) {
      const vec d = centred(at);
      return d * d;
    };
    const real scale = real(1) / square_root(share * row_sum(n, square) + kNormEps);
    n.scale[row] = scale;
    for (Size slot = 0; slot < n.slots; ++slot) {
      const real *start = slot < n.added ? y : n.bias;
      for (Size u = 0, at = slot * n.padded; u < n.hidden; u += kLanes, at += kLanes) {
        const vec normed = keep_lanes(centred(at) * splat(scale), n.hidden - u);
        store(x + at, normed);
        if (y != nullptr) store(y + at, fma(normed, load(n.gain + at), load(start + at)));
      }
    }
  }
}

// y = gain n, n = scale (x - mean): dx = scale (g - mean of g - n (mean of g n)), g = gain dy.
void normalize_back(const NormBackwardArgs<real> &n) {
  const real share = real(1) / real(n.slots * n.hidden);
  for (Size row = 0; row < n.rows; ++row) {
    const real *normed = n.x + row * n.ld, *dy = n.dy + row * n.ld_dy;
    real *dx = n.dx + row * n.ld_dx;
    const auto gradient = [&](Size at) { return load(n.gain + at) * load(dy + at); };
    const real mean = share * row_sum(n, gradient);
    const real along = share * row_sum(n, [&](Size at) { return gradient(at) * load(normed + at); });
    const vec scale = splat(n.scale[row]);
    for (Size slot = 0; slot < n.slots; ++slot)
      for (Size u = 0, at = slot * n.padded; u < n.hidden; u += kLanes, at += kLanes) {
        const vec d = scale * fma(splat(-along), load(normed + at), gradient(at) - splat(mean));
        store(dx + at, keep_lanes(d, n.hidden - u));
      }
  }
}

}  // namespace
}  // namespace pyrnnfast
