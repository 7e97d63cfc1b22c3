// The loop of one phase of one step: for each block, start the accumulators, multiply, and let the cell's
// pointwise function finish while they are in the first-level cache.
//
// A Phase has: `vectors` (columns of a group, in vectors), `strip` (vectors of a strip),
// start(args, row, group, acc) and finish(args, row, group, acc). Where the end of finish would wait for an
// activation of its beginning, that end is output(args, row, group, acc): the processor then works at several
// rows at once.
#pragma once

#include "dropout.hpp"
#include "tile.hpp"

namespace pyrnnfast {
namespace {

// A block is computed at once: up to kBlockRows rows times about kBlockVectors columns, in pieces of K. One
// strip of weights serves all its rows before the next comes, so that weights from the second-level cache or
// from further away are read once for many tiles; and each row's states and gates are read and written in
// whole cache lines, a few at a time. (More columns cost GRU's forward a tenth, fewer cost backward as much.)
constexpr Size kBlockRows = 64, kBlockVectors = 8, kBlockDepth = 1024;

// Strips that the smallest of the tiles takes at once.
template <class Phase> constexpr Size at_once(const RowTiles &tiles) {
  return wide(tiles.fewest(), Phase::strip);
}

// Groups of a block whose tiles take `strips` at once: whole cache lines, whole strips.
template <class Phase> constexpr Size block_groups(Size strips) {
  constexpr Size line = kBytes < 64 ? 64 / kBytes : 1, usual = kBlockVectors / Phase::vectors;
  Size groups = usual > line ? usual : line;
  while (groups * Phase::vectors % (Phase::strip * strips) != 0) ++groups;
  return groups;
}

// Vectors of the largest block.
template <class Phase> constexpr Size block_vectors() {
  Size most = 0;
  for (Size rows = 1; rows <= kBlockRows; ++rows) {
    const RowTiles tiles(rows, kMaxRows<Phase::strip>);
    const Size here = rows * block_groups<Phase>(at_once<Phase>(tiles)) * Phase::vectors;
    most = here > most ? here : most;
  }
  return most;
}

template <class Phase> constexpr auto has_output(int) -> decltype(&Phase::output, true) { return true; }
template <class Phase> constexpr bool has_output(...) { return false; }

// Whether the product is masked: then it is summed from zero, apart from what the accumulators start from.
inline bool is_masked(const ForwardStep<real> &) { return false; }
inline bool is_masked(const BackwardStep<real> &s) { return s.mask != nullptr; }
inline real *record_of(const ForwardStep<real> &) { return nullptr; }
inline real *record_of(const BackwardStep<real> &s) { return s.record; }
template <class Phase>
inline void add_start(const ForwardStep<real> &, Size, Size, const real *) {}
template <class Phase>
inline void add_start(const BackwardStep<real> &s, Size row, Size group, real *acc) {
  alignas(kBytes) real start[kLanes];
  Phase::start(s, row, group, start);
  store(acc, load(start) + dropped(load(acc), load(s.mask + row * s.ld + group * kLanes)));
}

template <class Phase, class Args>
inline void run_block(const Args &s, Size row, const RowTiles &tiles, Size group, Size groups) {
  constexpr Size width = Phase::strip * kLanes;
  const Size rows = tiles.rows;
  alignas(kBytes) real acc[kLanes * block_vectors<Phase>()];
  const Size strips = (groups * Phase::vectors + Phase::strip - 1) / Phase::strip, ldc = strips * width;
  const real *weights = s.weights + group * Phase::vectors * kLanes * s.depth;
  const bool masked = is_masked(s);
  for (Size r = 0; r < rows; ++r)
    for (Size g = 0; g < groups; ++g)
      if (masked)
        store(acc + r * ldc + g * kLanes, splat(0));  // backward: one vector a group
      else
        Phase::start(s, row + r, group + g, acc + r * ldc + g * Phase::vectors * kLanes);
  const Size step = at_once<Phase>(tiles);
  const bool far = s.depth * (s.group_end - s.group_begin) * Phase::vectors * kLanes > kFarElements;
  for (Size k = 0; k < s.depth; k += kBlockDepth) {
    const Size depth = s.depth - k < kBlockDepth ? s.depth - k : kBlockDepth;
    for (Size strip = 0; strip < strips; strip += step)
      for (Size i = 0; i < tiles.count; ++i) {
        const Size r = tiles.begin(i);
        const real *w = weights + (strip * s.depth + k) * width;
        real *c = acc + r * ldc + strip * width;
        product<Phase::strip>(
            tiles.begin(i + 1) - r, s.a + (row + r) * s.lda + k, s.lda, depth, w, s.depth * width,
            strips - strip < step ? strips - strip : step, {c, ldc, c, ldc},
            far ? ahead_of(w + step * s.depth * width, width, depth, i, tiles.count) : Ahead());
      }
  }
  if (masked)
    for (Size r = 0; r < rows; ++r)
      for (Size g = 0; g < groups; ++g) add_start<Phase>(s, row + r, group + g, acc + r * ldc + g * kLanes);
  if (real *record = record_of(s))
    for (Size r = 0; r < rows; ++r)
      for (Size g = 0; g < groups; ++g)
        store(record + (row + r) * s.padded + (group + g) * kLanes, load(acc + r * ldc + g * kLanes));
  for (Size r = 0; r < rows; ++r)
    for (Size g = 0; g < groups; ++g)
      Phase::finish(s, row + r, group + g, acc + r * ldc + g * Phase::vectors * kLanes);
  if constexpr (has_output<Phase>(0))
    for (Size r = 0; r < rows; ++r)
      for (Size g = 0; g < groups; ++g)
        Phase::output(s, row + r, group + g, acc + r * ldc + g * Phase::vectors * kLanes);
}

template <class Phase, class Args> void run_phase(const Args &s) {
  if (s.rows == 0) return;
  const RowTiles blocks(s.rows, kBlockRows);
  for (Size i = 0; i < blocks.count; ++i) {
    const Size row = blocks.begin(i);
    const RowTiles tiles(blocks.begin(i + 1) - row, kMaxRows<Phase::strip>);
    const Size block = block_groups<Phase>(at_once<Phase>(tiles));
    for (Size group = s.group_begin; group < s.group_end; group += block) {
      const Size left = s.group_end - group;
      run_block<Phase>(s, row, tiles, group, left < block ? left : block);
    }
  }
}

// The slots [first, last) of a forward phase start from the input projection where there is one (slots below
// `projected`), else from the recurrent bias.
template <int first, int last, int projected>
inline void start_slots(const ForwardStep<real> &s, Size row, Size group, real *acc) {
  PYRNNFAST_UNROLL
  for (int slot = first; slot < last; ++slot) {
    const Size at = slot * s.padded + group * kLanes;
    store(acc + (slot - first) * kLanes,
          load(slot < projected ? s.gates + row * s.ld_gates + at : s.bias + at));
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
// Padding lanes of gate gradients are zero, so that an infinity elsewhere in the row cannot become NaN
// through them.
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
