// Packing: matrices as strips, and transposed, by squares of vectors.
#pragma once

#include "vec.hpp"

namespace pyrnnfast {
namespace {

template <int... lane> struct LaneList {};
template <int n, int... lane> struct AllLanes : AllLanes<n - 1, n - 1, lane...> {};
template <int... lane> struct AllLanes<0, lane...> {
  using list = LaneList<lane...>;
};

// The lanes of two vectors in turn, from lane `first` on.
template <int first, int... lane> inline vec in_turn(vec a, vec b, LaneList<lane...>) {
  return __builtin_shufflevector(a, b, (first + lane / 2 + lane % 2 * kLanes)...);
}

// A square of kLanes vectors, in place: each round puts its two halves together, lane by lane.
inline void transpose_square(vec *v) {
  using All = AllLanes<kLanes>::list;
  PYRNNFAST_UNROLL
  for (int round = 1; round < kLanes; round *= 2) {
    vec next[kLanes];
    PYRNNFAST_UNROLL
    for (int i = 0; i < kLanes / 2; ++i) {
      next[2 * i] = in_turn<0>(v[i], v[i + kLanes / 2], All());
      next[2 * i + 1] = in_turn<kLanes / 2>(v[i], v[i + kLanes / 2], All());
    }
    PYRNNFAST_UNROLL
    for (int i = 0; i < kLanes; ++i) v[i] = next[i];
  }
}

// Rows [0, depth) of kLanes whole columns: copies where a row lies together, squares where a column does.
inline Size pack_whole(const PackArgs<real> &p, const real *src, real *dst, Size distance) {
  Size k = 0;
  if (p.col_stride == 1)
    for (; k < p.depth; ++k) store(dst + k * distance, load_any(src + k * p.row_stride));
  else if (p.row_stride == 1)
    for (; k + kLanes <= p.depth; k += kLanes) {
      vec square[kLanes];
      PYRNNFAST_UNROLL
      for (int j = 0; j < kLanes; ++j) square[j] = load_any(src + j * p.col_stride + k);
      transpose_square(square);
      PYRNNFAST_UNROLL
      for (int i = 0; i < kLanes; ++i) store(dst + (k + i) * distance, square[i]);
    }
  return k;  // rows that are done
}

void pack_strips(const PackArgs<real> &p) {
  const Size strip_lanes = p.width * kLanes;
  const Size padded = (p.cols + kLanes - 1) / kLanes * kLanes;
  for (Size j0 = 0; j0 < padded; j0 += kLanes) {
    const Size col = p.col0 + j0;
    real *dst =
        p.dst + col / strip_lanes * strip_lanes * p.strip_depth + p.k0 * strip_lanes + col % strip_lanes;
    const Size lanes = p.cols - j0 < kLanes ? p.cols - j0 : kLanes;
    const real *src = p.src + j0 * p.col_stride;
    for (Size k = lanes == kLanes ? pack_whole(p, src, dst, strip_lanes) : 0; k < p.depth; ++k) {
      for (Size j = 0; j < lanes; ++j) dst[k * strip_lanes + j] = src[k * p.row_stride + j * p.col_stride];
      for (Size j = lanes; j < kLanes; ++j) dst[k * strip_lanes + j] = 0;
    }
  }
}

void transpose(const real *src, Size ld_src, Size rows, Size cols, real *dst, Size ld_dst) {
  for (Size i0 = 0; i0 < rows; i0 += kLanes)
    for (Size j0 = 0; j0 < cols; j0 += kLanes) {
      const Size i1 = rows - i0 < kLanes ? rows : i0 + kLanes, j1 = cols - j0 < kLanes ? cols : j0 + kLanes;
      if (i1 - i0 == kLanes && j1 - j0 == kLanes) {
        vec square[kLanes];
        PYRNNFAST_UNROLL
        for (int i = 0; i < kLanes; ++i) square[i] = load_any(src + (i0 + i) * ld_src + j0);
        transpose_square(square);
        PYRNNFAST_UNROLL
        for (int j = 0; j < kLanes; ++j) store_any(dst + (j0 + j) * ld_dst + i0, square[j]);
        continue;
      }
      for (Size j = j0; j < j1; ++j)
        for (Size i = i0; i < i1; ++i) dst[j * ld_dst + i] = src[i * ld_src + j];
    }
}

}  // namespace
}  // namespace pyrnnfast
