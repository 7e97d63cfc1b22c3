// The matrix product beside the recurrence.
#pragma once

#include "tile.hpp"

namespace pyrnnfast {
namespace {

constexpr Size kGemmDepth = 512;         // K of a block: a strip of two vectors is 32 KiB at AVX2's width
constexpr Size kGemmElements =
    1 << 16;  // of A: 256 KiB, which stay in the second-level cache while all strips pass by

// One tile of C: rows [row, row + rows), the columns of one strip, depth [k0, k1).
inline void gemm_tile(const GemmArgs<real> &g, Size row, Size rows, Size strip, Size k0, Size k1,
                      const Ahead &ahead) {
  constexpr Size width = 2 * kLanes;
  alignas(kBytes) real acc[width * kMaxRows<2>], zero[width];
  store(zero, splat(0));
  store(zero + kLanes, splat(0));
  const Size col = strip * width, left = g.cols - col;
  const auto output = [&](Size r) {
    return g.c + (g.c_rows == nullptr ? row + r : g.c_rows[row + r]) * g.ldc + col;
  };
  const auto multiply = [&](const Ends &ends) {
    product<2>(rows, g.a + row * g.lda + k0, g.lda, k1 - k0, g.b + (strip * g.depth + k0) * width,
               g.depth * width, 1, ends, ahead);
  };
  const bool from_output = g.start == Start::output || k0 > 0;
  if (!g.add && left >= width) {
    const int64_t *at = g.c_rows == nullptr ? nullptr : g.c_rows + row;
    real *c = g.c + (at == nullptr ? row * g.ldc : 0) + col;
    if (from_output) return multiply({c, g.ldc, c, g.ldc, at});
    return multiply({g.start == Start::bias ? g.bias + col : zero, 0, c, g.ldc, at});
  }
  // The last columns of C are fewer than a strip, or it is added to: by way of `acc`.
  const bool from_zero = g.add || (!from_output && g.start == Start::zero);
  for (Size r = 0; r < rows; ++r) {
    __builtin_prefetch(output(r), 1);
    __builtin_prefetch(output(r) + (left < width ? left : width) - 1, 1);
    for (Size v = 0; v < 2 && !from_zero; ++v)
      store(acc + r * width + v * kLanes, from_output ? load_part(output(r) + v * kLanes, left - v * kLanes)
                                          : v * kLanes < left ? load(g.bias + col + v * kLanes)
                                                              : splat(0));
  }
  multiply({from_zero ? zero : acc, from_zero ? 0 : width, acc, width});
  if (g.add && left >= width) {
    for (Size r = 0; r < rows; ++r) {
      real *c = output(r);
      store_any(c, load_any(c) + load(acc + r * width));
      store_any(c + kLanes, load_any(c + kLanes) + load(acc + r * width + kLanes));
    }
    return;
  }
  for (Size r = 0; r < rows; ++r)
    for (Size v = 0; v < 2; ++v) {
      real *c = output(r) + v * kLanes;
      const vec sum = load(acc + r * width + v * kLanes);
      store_part(c, g.add ? load_part(c, left - v * kLanes) + sum : sum, left - v * kLanes);
    }
}

// Few rows, in one tile: several strips at once, for one alone has too few chains.
// Depth [k0, k1) of all whole strips; returns the first that is left.
inline Size gemm_strips(const GemmArgs<real> &g, Size row, Size rows, Size k0, Size k1) {
  constexpr Size width = 2 * kLanes;
  const bool from_bias = k0 == 0 && g.start == Start::bias;
  if (wide(rows, 2) == 1 || g.add || (k0 == 0 && g.start == Start::zero)) return g.strip_begin;
  const Size whole = g.cols / width, end = g.strip_end < whole ? g.strip_end : whole;
  if (end <= g.strip_begin) return g.strip_begin;
  const Size col = g.strip_begin * width;
  const int64_t *at = g.c_rows == nullptr ? nullptr : g.c_rows + row;
  real *c = g.c + (at == nullptr ? row * g.ldc : 0) + col;
  product<2>(rows, g.a + row * g.lda + k0, g.lda, k1 - k0, g.b + (g.strip_begin * g.depth + k0) * width,
             g.depth * width, end - g.strip_begin,
             {from_bias ? g.bias + col : c, from_bias ? 0 : g.ldc, c, g.ldc, at}, Ahead());
  return end;
}

void gemm(const GemmArgs<real> &g) {
  // A sum that is added to C runs over its whole depth in registers; else blocks of K go on from C.
  const Size block_depth = g.add ? (g.depth > 0 ? g.depth : 1) : kGemmDepth;
  const Size most =
      kGemmElements / (g.depth < kGemmDepth ? g.depth + 1 : kGemmDepth) / kMaxRows<2> * kMaxRows<2>;
  const Size block_rows = most > 2 * kMaxRows<2> ? most : 2 * kMaxRows<2>;
  const bool far = g.depth * g.cols > kFarElements;
  const Size blocks = (g.rows + block_rows - 1) / block_rows;
  for (Size block = 0; block < blocks; ++block) {
    const Size row0 = g.rows * block / blocks;
    const RowTiles tiles(g.rows * (block + 1) / blocks - row0, kMaxRows<2>);
    Size k0 = 0;
    do {
      const Size k1 = g.depth - k0 < block_depth ? g.depth : k0 + block_depth;
      for (Size strip = tiles.count == 1 ? gemm_strips(g, row0, tiles.rows, k0, k1) : g.strip_begin;
           strip < g.strip_end; ++strip)
        for (Size i = 0; i < tiles.count; ++i) {
          const real *next = g.b + ((strip + 1) * g.depth + k0) * 2 * kLanes;
          gemm_tile(g, row0 + tiles.begin(i), tiles.begin(i + 1) - tiles.begin(i), strip, k0, k1,
                    far ? ahead_of(next, 2 * kLanes, k1 - k0, i, tiles.count) : Ahead());
        }
      k0 = k1;
    } while (k0 < g.depth);
  }
}

// W vectors of columns; returns how many elements.
template <int W>
inline Size add_sums(const real *src, Size ld, const int64_t *at, Size rows, real *sum) {
  vec total[W];
  PYRNNFAST_UNROLL
  for (int w = 0; w < W; ++w) total[w] = splat(0);
  for (Size i = 0; i < rows; ++i) {
    const real *row = src + (at == nullptr ? i : at[i]) * ld;
    PYRNNFAST_UNROLL
    for (int w = 0; w < W; ++w) total[w] = total[w] + load(row + w * kLanes);
  }
  PYRNNFAST_UNROLL
  for (int w = 0; w < W; ++w) store(sum + w * kLanes, load(sum + w * kLanes) + total[w]);
  return W * kLanes;
}

void add_column_sums(const real *src, Size ld, const int64_t *at, Size rows, Size cols, real *sum) {
  Size j = 0;
  while (cols - j >= 8 * kLanes) j += add_sums<8>(src + j, ld, at, rows, sum + j);
  while (j < cols) j += add_sums<1>(src + j, ld, at, rows, sum + j);
}

template <int W>
inline Size add_products(const real *a, Size lda, const real *b, Size ldb, Size rows, real *sum) {
  vec total[W];
  PYRNNFAST_UNROLL
  for (int w = 0; w < W; ++w) total[w] = splat(0);
  for (Size i = 0; i < rows; ++i) {
    PYRNNFAST_UNROLL
    for (int w = 0; w < W; ++w)
      total[w] = fma(load(a + i * lda + w * kLanes), load(b + i * ldb + w * kLanes), total[w]);
  }
  PYRNNFAST_UNROLL
  for (int w = 0; w < W; ++w) store(sum + w * kLanes, load(sum + w * kLanes) + total[w]);
  return W * kLanes;
}

void add_product_sums(const real *a, Size lda, const real *b, Size ldb, Size rows, Size cols, real *sum) {
  Size j = 0;
  while (cols - j >= 8 * kLanes) j += add_products<8>(a + j, lda, b + j, ldb, rows, sum + j);
  while (j < cols) j += add_products<1>(a + j, lda, b + j, ldb, rows, sum + j);
}

}  // namespace
}  // namespace pyrnnfast
