// The matrix product beside the recurrence, and the packing that feeds it.
#pragma once

#include "tile.hpp"

namespace pyrnnfast {
namespace {

constexpr Size kBlockDepth = 256;  // K of a block: a strip of two vectors is 16 KiB at AVX2's width
constexpr Size kBlockRows = 128;   // rows whose block of A stays in the second-level cache

void pack_strips(const PackArgs<real> &p) {
  const Size strip_lanes = p.width * kLanes;
  const Size padded = (p.cols + kLanes - 1) / kLanes * kLanes;
  for (Size j0 = 0; j0 < padded; j0 += kLanes) {
    const Size col = p.col0 + j0;
    real *dst = p.dst + col / strip_lanes * strip_lanes * p.strip_depth + p.k0 * strip_lanes + col % strip_lanes;
    const Size lanes = p.cols - j0 < kLanes ? p.cols - j0 : kLanes;
    const real *src = p.src + j0 * p.col_stride;
    for (Size k = 0; k < p.depth; ++k, dst += strip_lanes, src += p.row_stride) {
      for (Size j = 0; j < lanes; ++j) dst[j] = src[j * p.col_stride];
      for (Size j = lanes; j < kLanes; ++j) dst[j] = 0;
    }
  }
}

// One tile of C, columns of one strip, depth [k0, k1).
inline void gemm_tile(const GemmArgs<real> &g, Size row, Size rows, Size strip, Size k0, Size k1) {
  alignas(kBytes) real acc[2 * kLanes * kMaxRows<2>];
  const Size col = strip * 2 * kLanes;
  const auto output = [&](Size r) { return g.c + (g.c_rows == nullptr ? row + r : g.c_rows[row + r]) * g.ldc + col; };
  const bool reload = k0 > 0 && !g.add;
  for (Size r = 0; r < rows; ++r) {
    const real *c = output(r);
    real *to = acc + r * 2 * kLanes;
    for (Size v = 0; v < 2; ++v) {
      const Size left = g.cols - col - v * kLanes;
      vec from = splat(0);
      if (left > 0 && (reload || g.start == Start::output)) from = load_part(c + v * kLanes, left);
      else if (left > 0 && g.start == Start::bias) from = load(g.bias + col + v * kLanes);
      store(to + v * kLanes, from);
    }
  }
  product<2>(rows, g.a + row * g.lda + k0, g.lda, k1 - k0, g.b + (strip * g.depth + k0) * 2 * kLanes, 1, acc, 2 * kLanes);
  for (Size r = 0; r < rows; ++r) {
    real *c = output(r);
    const real *from = acc + r * 2 * kLanes;
    for (Size v = 0; v < 2; ++v) {
      const Size left = g.cols - col - v * kLanes;
      if (left <= 0) continue;
      const vec sum = load(from + v * kLanes);
      store_part(c + v * kLanes, g.add ? load_part(c + v * kLanes, left) + sum : sum, left);
    }
  }
}

void gemm(const GemmArgs<real> &g) {
  // A sum that is added to C runs over its whole depth in registers; else blocks of K reload the accumulator from C.
  const Size block_depth = g.add ? (g.depth > 0 ? g.depth : 1) : kBlockDepth;
  for (Size row0 = 0; row0 < g.rows; row0 += kBlockRows) {
    const Size rows = g.rows - row0 < kBlockRows ? g.rows - row0 : kBlockRows;
    const RowTiles tiles(rows, kMaxRows<2>);
    Size k0 = 0;
    do {
      const Size k1 = g.depth - k0 < block_depth ? g.depth : k0 + block_depth;
      for (Size strip = g.strip_begin; strip < g.strip_end; ++strip)
        for (Size i = 0; i < tiles.count; ++i)
          gemm_tile(g, row0 + tiles.begin(i), tiles.begin(i + 1) - tiles.begin(i), strip, k0, k1);
      k0 = k1;
    } while (k0 < g.depth);
  }
}

void transpose(const real *src, Size ld_src, Size rows, Size cols, real *dst, Size ld_dst) {
  constexpr Size block = 8;
  for (Size i0 = 0; i0 < rows; i0 += block)
    for (Size j0 = 0; j0 < cols; j0 += block) {
      const Size i1 = rows - i0 < block ? rows : i0 + block, j1 = cols - j0 < block ? cols : j0 + block;
      for (Size j = j0; j < j1; ++j)
        for (Size i = i0; i < i1; ++i) dst[j * ld_dst + i] = src[i * ld_src + j];
    }
}

void add_column_sums(const real *src, Size ld, Size rows, Size cols, real *sum) {
  for (Size j = 0; j < cols; j += kLanes) {
    vec total = splat(0);
    for (Size i = 0; i < rows; ++i) total = total + load(src + i * ld + j);
    store(sum + j, load(sum + j) + total);
  }
}

}  // namespace
}  // namespace pyrnnfast
