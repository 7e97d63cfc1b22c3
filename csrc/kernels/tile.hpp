// The register tile: R rows times S strips of V vectors, accumulators in registers, one FMA chain per output.
//
// Peak needs latency x throughput = 4 x 2 = 8 independent chains, so tiles of few rows take several strips at
// once (never a split of K: the order of a chain is part of the results' contract). Most rows per tile (the
// build's PYRNNFAST_ROWS_2 and _3) is what leaves V + 1 registers for weights and the broadcast: 14 x 2 + 3 =
// 31 of 32, 6 x 2 + 3 = 15 of 16.
#pragma once

#include "vec.hpp"

namespace pyrnnfast {
namespace {

template <int V> constexpr int kMaxRows = V == 2 ? PYRNNFAST_ROWS_2 : PYRNNFAST_ROWS_3;

// Strips taken at once by a tile of R rows.
template <int V, int R> constexpr int kWide = R * V >= 8 ? 1 : 12 / (R * V);

// What the accumulators start from, and where they go: rows of `ld`; a start with ld 0 is one row for all.
struct Ends {
  const real *start;
  Size ld_start;
  real *c;
  Size ldc;
};

// c[r][s * V + v] = start[r][s * V + v] + sum_k a[r][k] w[s][k][v]
// Never inlined: in some callers GCC would leave the accumulators in memory, at a twentieth of the speed.
template <int V, int R, int S>
__attribute__((noinline, noclone)) void tile(const real *a, Size lda, Size depth, const real *w, Size strip,
                                             const real *start, Size ld_start, real *c, Size ldc) {
  vec acc[R][S * V];
  PYRNNFAST_UNROLL
  for (int r = 0; r < R; ++r) {
    PYRNNFAST_UNROLL
    for (int v = 0; v < S * V; ++v) acc[r][v] = load_any(start + r * ld_start + v * kLanes);
  }
  for (Size k = 0; k < depth; ++k) {
    if constexpr (R == 1) {  // each weight is used once: straight from memory
      const vec x = splat(a[k]);
      PYRNNFAST_UNROLL
      for (int v = 0; v < S * V; ++v)
        acc[0][v] = fma(x, load(w + (v / V) * strip + (v % V) * kLanes), acc[0][v]);
    } else {
      vec b[S * V];
      PYRNNFAST_UNROLL
      for (int v = 0; v < S * V; ++v) b[v] = load(w + (v / V) * strip + (v % V) * kLanes);
      PYRNNFAST_UNROLL
      for (int r = 0; r < R; ++r) {
        const vec x = splat(a[r * lda + k]);
        PYRNNFAST_UNROLL
        for (int v = 0; v < S * V; ++v) acc[r][v] = fma(x, b[v], acc[r][v]);
      }
    }
    w += V * kLanes;
  }
  PYRNNFAST_UNROLL
  for (int r = 0; r < R; ++r) {
    PYRNNFAST_UNROLL
    for (int v = 0; v < S * V; ++v) store_any(c + r * ldc + v * kLanes, acc[r][v]);
  }
}

template <int V, int R, int S>
inline void tiles(const real *a, Size lda, Size depth, const real *w, Size strip, Size strips, const Ends &e,
                  Size done = 0) {
  for (; strips - done >= S; done += S) {
    const Size column = done * V * kLanes;
    tile<V, R, S>(a, lda, depth, w + done * strip, strip, e.start + column, e.ld_start, e.c + column, e.ldc);
  }
  if constexpr (S > 1)
    if (done < strips) tiles<V, R, S - 1>(a, lda, depth, w, strip, strips, e, done);
}

// The product of rows a[rows][depth] (at most kMaxRows<V>) with strips that are `strip` elements apart.
template <int V, int R = kMaxRows<V>>
void product(Size rows, const real *a, Size lda, Size depth, const real *w, Size strip, Size strips,
             const Ends &e) {
  if (rows == R) return tiles<V, R, kWide<V, R>>(a, lda, depth, w, strip, strips, e);
  if constexpr (R > 1) product<V, R - 1>(rows, a, lda, depth, w, strip, strips, e);
}

constexpr Size wide(Size rows, Size width) {  // kWide at run time
  return rows * width >= 8 ? 1 : 12 / (rows * width);
}

// Rows split evenly over the fewest tiles: 16 = 8 + 8, not 14 + 2. But 8 = 5 + 3: two tiles of 4 x 2 vectors
// have exactly the 8 chains that peak needs, and lose a sixth to anything else that happens on the core.
struct RowTiles {
  Size rows, count;
  bool shifted;
  constexpr RowTiles(Size n, Size most)
      : rows(n), count((n + most - 1) / most), shifted(n == 8 && count == 2 && most > 4) {}
  constexpr Size begin(Size i) const { return rows * i / count + (shifted && i == 1 ? 1 : 0); }
  constexpr Size fewest() const { return rows / count - (shifted ? 1 : 0); }  // rows of the smallest tile
};

}  // namespace
}  // namespace pyrnnfast
