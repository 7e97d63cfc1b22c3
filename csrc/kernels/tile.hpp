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
// With `rows`, row r of the tile is rows[r] of both.
struct Ends {
  const real *start;
  Size ld_start;
  real *c;
  Size ldc;
  const int64_t *rows = nullptr;

  Size row(Size r) const { return rows == nullptr ? r : rows[r]; }
};

// Weights that are soon needed: while a tile works it asks for `lines` cache lines from `from` on in every
// kPace steps of K, so that they reach the second-level cache in time.
struct Ahead {
  const real *from = nullptr;
  Size lines = 0;
};
constexpr Size kPace = 16;
constexpr Size kFarElements = Size(6 << 20) / sizeof(real);  // more than stays near: they come from memory

// For the i-th of `tiles` tiles that share a strip, the next strip: each asks for an equal part of it.
inline Ahead ahead_of(const real *next, Size strip_width, Size depth, Size i, Size tiles) {
  constexpr Size line = 64 / sizeof(real);
  const Size lines = (kPace * strip_width + line * tiles - 1) / (line * tiles);
  return {next + i * (depth / kPace) * lines * line, lines};
}

// c[r][s * V + v] = start[r][s * V + v] + sum_k a[r][k] w[s][k][v]
// Never inlined: in some callers GCC would leave the accumulators in memory, at a twentieth of the speed.
// K is unrolled by four where registers allow: a core that is shared with another thread is limited by the
// number of instructions first, and ten of a hundred were the loop's own.
template <int V, int R, int S>
__attribute__((noinline, noclone)) void tile(const real *a, Size lda, Size depth, const real *w, Size strip,
                                             const Ends &e, Size column, Ahead ahead) {
  constexpr bool unrolled = R == 1 || S == 1, tall = S == 1 && R > 3;
  vec acc[R][S * V];
  PYRNNFAST_UNROLL
  for (int r = 0; r < R; ++r) {
    const real *start = e.start + e.row(r) * e.ld_start + column;
    PYRNNFAST_UNROLL
    for (int v = 0; v < S * V; ++v) acc[r][v] = load_any(start + v * kLanes);
  }
  const auto multiply = [&](Size k) __attribute__((always_inline)) {
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
  };
  Size k = 0;
  if constexpr (tall)
    for (; ahead.lines > 0 && k + kPace <= depth; k += kPace) {
      for (Size i = 0; i < ahead.lines; ++i, ahead.from += 64 / sizeof(real))
        __builtin_prefetch(ahead.from, 0, 2);
      PYRNNFAST_UNROLL_4
      for (Size j = k; j < k + kPace; ++j) multiply(j);
    }
  if constexpr (unrolled) {
    PYRNNFAST_UNROLL_4
    for (Size j = k; j < depth; ++j) multiply(j);
  } else {
    for (Size j = k; j < depth; ++j) multiply(j);
  }
  PYRNNFAST_UNROLL
  for (int r = 0; r < R; ++r) {
    real *c = e.c + e.row(r) * e.ldc + column;
    PYRNNFAST_UNROLL
    for (int v = 0; v < S * V; ++v) store_any(c + v * kLanes, acc[r][v]);
  }
}

template <int V, int R, int S>
inline void tiles(const real *a, Size lda, Size depth, const real *w, Size strip, Size strips, const Ends &e,
                  const Ahead &ahead, Size done = 0) {
  for (; strips - done >= S; done += S) {
    const Size column = done * V * kLanes;
    tile<V, R, S>(a, lda, depth, w + done * strip, strip, e, column, ahead);
  }
  if constexpr (S > 1)
    if (done < strips) tiles<V, R, S - 1>(a, lda, depth, w, strip, strips, e, ahead, done);
}

// The product of rows a[rows][depth] (at most kMaxRows<V>) with strips that are `strip` elements apart.
template <int V, int R = kMaxRows<V>>
void product(Size rows, const real *a, Size lda, Size depth, const real *w, Size strip, Size strips,
             const Ends &e, const Ahead &ahead) {
  if (rows == R) return tiles<V, R, kWide<V, R>>(a, lda, depth, w, strip, strips, e, ahead);
  if constexpr (R > 1) product<V, R - 1>(rows, a, lda, depth, w, strip, strips, e, ahead);
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
