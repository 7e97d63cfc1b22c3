// The loop of one phase of one step: for each tile of rows and block of groups, start the accumulators, multiply, and let
// the cell's pointwise function finish while the tile is in the first-level cache.
//
// A Phase has: `vectors` (columns of a group, in vectors), `strip` (vectors of a strip),
// start(args, row, group, acc) and finish(args, row, group, acc).
#pragma once

#include "tile.hpp"

namespace pyrnnfast {
namespace {

// Groups of a block: whole strips, and enough of them to fill the widest tile.
template <class Phase> inline Size block_groups(Size rows) {
  const Size strips = wide(rows, Phase::strip);
  Size groups = 1;
  while (groups * Phase::vectors % (Phase::strip * strips) != 0) ++groups;
  return groups;
}

template <class Phase, class Args>
inline void run_block(const Args &s, Size row, Size rows, Size group, Size groups) {
  alignas(kBytes) real acc[12 * kLanes * kAnyMaxRows];
  const Size strips = (groups * Phase::vectors + Phase::strip - 1) / Phase::strip;
  const Size ldc = strips * Phase::strip * kLanes;
  for (Size r = 0; r < rows; ++r)
    for (Size g = 0; g < groups; ++g)
      Phase::start(s, row + r, group + g, acc + r * ldc + g * Phase::vectors * kLanes);
  if (s.depth > 0)
    product<Phase::strip>(rows, s.a + row * s.lda, s.lda, s.depth,
                          s.weights + group * Phase::vectors * kLanes * s.depth, strips, acc, ldc);
  for (Size r = 0; r < rows; ++r)
    for (Size g = 0; g < groups; ++g)
      Phase::finish(s, row + r, group + g, acc + r * ldc + g * Phase::vectors * kLanes);
}

template <class Phase, class Args> void run_phase(const Args &s) {
  const RowTiles tiles(s.rows, kMaxRows<Phase::strip>);
  if (s.rows == 0) return;
  const Size block = block_groups<Phase>(s.rows / tiles.count);
  const auto run = [&](Size i, Size group) {
    const Size left = s.group_end - group;
    run_block<Phase>(s, tiles.begin(i), tiles.begin(i + 1) - tiles.begin(i), group, left < block ? left : block);
  };
  if (s.weights_outer) {
    for (Size group = s.group_begin; group < s.group_end; group += block)
      for (Size i = 0; i < tiles.count; ++i) run(i, group);
  } else {
    for (Size i = 0; i < tiles.count; ++i)
      for (Size group = s.group_begin; group < s.group_end; group += block) run(i, group);
  }
}

// The slots [first, last) of a forward phase start from the input projection where there is one (slots below
// `projected`), else from the recurrent bias.
template <int first, int last, int projected>
inline void start_slots(const ForwardStep<real> &s, Size row, Size group, real *acc) {
  PYRNNFAST_UNROLL
  for (int slot = first; slot < last; ++slot) {
    const Size at = slot * s.padded + group * kLanes;
    store(acc + (slot - first) * kLanes, load(slot < projected ? s.gates + row * s.ld_gates + at : s.bias + at));
  }
}

inline void put_hidden(const ForwardStep<real> &s, Size row, Size group, vec h) {
  store(s.h_next + row * s.ld + group * kLanes, h);
  if (s.y == nullptr) return;
  const Size out = s.y_rows == nullptr ? row : s.y_rows[row];
  store_part(s.y + out * s.ldy + group * kLanes, h, s.hidden - group * kLanes);
}

// A slot of one row and group, in the tape or among the gradients.
inline vec get_slot(const real *gates, Size ld, Size padded, Size row, int slot, Size group) {
  return load(gates + row * ld + slot * padded + group * kLanes);
}
inline void put_slot(const ForwardStep<real> &s, Size row, int slot, Size group, vec v) {
  store(s.gates + row * s.ld_gates + slot * s.padded + group * kLanes, v);
}
// Padding lanes of gate gradients are zero, so that an infinity elsewhere in the row cannot become NaN through them.
inline void put_gradient(const BackwardStep<real> &s, Size row, int slot, Size group, vec v) {
  store(s.dgates + row * s.ld_gates + slot * s.padded + group * kLanes,
        keep_lanes(v, s.hidden - group * kLanes));
}

// dh starts from what reaches h other than through the product: the output's gradient and the direct path.
inline void start_hidden(const BackwardStep<real> &s, Size row, Size group, real *acc) {
  vec dh = load(s.dh + row * s.padded + group * kLanes);
  if (s.dy != nullptr) {
    const Size in = s.dy_rows == nullptr ? row : s.dy_rows[row];
    dh = dh + load_part(s.dy + in * s.ldy + group * kLanes, s.hidden - group * kLanes);
  }
  store(acc, dh);
}

// The gradient of the state before the first step: no pointwise function, the product is added to dh.
struct StateBackward {
  static constexpr int vectors = 1, strip = 2;
  static void start(const BackwardStep<real> &s, Size row, Size group, real *acc) {
    store(acc, load(s.dh + row * s.padded + group * kLanes));
  }
  static void finish(const BackwardStep<real> &s, Size row, Size group, const real *acc) {
    store(s.dh + row * s.padded + group * kLanes, load(acc));
  }
};

}  // namespace
}  // namespace pyrnnfast
