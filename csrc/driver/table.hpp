// The first layer's input where ids name rows of a table (an embedding) and more rows are read than the table
// has: each row of the table is projected once, and each id gathers its own. Backward sums the gate gradients
// of each id first; the gradients of W_ih and of the table follow from these sums.
#pragma once

#include <algorithm>
#include <vector>

#include "input.hpp"
#include "parallel.hpp"
#include "plan.hpp"

namespace pyrnnfast {

template <class T> class TableProjection {
 public:
  explicit TableProjection(const Tape<T> &tape) : tape_(tape), pack_(*tape.pack) {
    if (tape.by_table())
      for (Size d = 0; d < pack_.directions; ++d) projected_.emplace_back(tape.table * pack_.row());
  }
  bool used() const { return !projected_.empty(); }

  // One thread's columns, as long as `go_on` is true.
  template <class GoOn> void compute(Member member, const GoOn &go_on) {
    const Size lanes2 = 2 * pack_.kernels.lanes;
    for (Size d = 0; d < pack_.directions; ++d) {
      const LayerPack<T> &weights = pack_.at(0, d);
      GemmArgs<T> gemm{};
      gemm.cols = pack_.cell.projected * pack_.padded;
      gemm.depth = gemm.lda = pack_.inputs;
      gemm.b = weights.input.data();
      const Size strips = (gemm.cols + lanes2 - 1) / lanes2;
      gemm.strip_begin = strips * member.id / member.threads;
      gemm.strip_end = strips * (member.id + 1) / member.threads;
      gemm.ldc = pack_.row();
      gemm.bias = weights.input_bias.data();
      gemm.start = Start::bias;
      for (Size v = 0; v < tape_.table && go_on(); v += kProductRows) {
        gemm.rows = std::min(kProductRows, tape_.table - v);
        gemm.a = tape_.x + v * gemm.lda;
        gemm.c = projected_[d].data() + v * gemm.ldc;
        pack_.kernels.gemm(gemm);
      }
    }
  }

  // The projection for step s and sorted row n of a direction's clock.
  const T *row(Size direction, Size s, Size n) const {
    return projected_[direction].data() + tape_.x_row(direction == 1, s, n) * pack_.row();
  }

 private:
  const Tape<T> &tape_;
  const Pack<T> &pack_;
  std::vector<Buffer<T>> projected_;  // [directions] of [V][row]
};

// The gradient of the projection: each id's sum of gate gradients. Ids of a block are taken together: each
// one's sum begins from zero and is then added, so that all threads, which split columns, give the same bits.
template <class T> class TableGradient {
 public:
  TableGradient(const Tape<T> &tape, int threads) : tape_(tape), pack_(*tape.pack) {
    if (!tape.by_table()) return;
    used_.assign(tape.table, 0);
    for (RowWalk walk(tape.clock, 0, tape.clock.steps(), 0, tape.clock.rows()); !walk.done(); walk.next())
      used_[tape.x_row(false, walk.s, walk.n)] = 1;
    for (Size d = 0; d < pack_.directions; ++d) sums_.emplace_back(tape.table * pack_.row(), true);
    for (int i = 0; i < threads; ++i)
      scratch_.push_back({Buffer<int64_t>(tape.table + 1), Buffer<int64_t>(kSumBlock)});
  }
  bool used() const { return !sums_.empty(); }
  // Row v of the table for products with the sums, which are zero where no id is v: so is the row, even if it
  // holds NaN.
  void gather(Size v, T *dst) const {
    if (used_[v])
      std::copy_n(tape_.x + v * pack_.inputs, pack_.inputs, dst);
    else
      std::fill_n(dst, pack_.inputs, T(0));
  }
  const T *row(Size direction, Size v) const { return sums_[direction].data() + v * pack_.row(); }

  // One thread's columns of the `count` (at most kSumBlock) rows of gate gradients that `walk` begins with.
  void add(Size direction, RowWalk walk, const T *dgates, Size count, Member member) {
    Scratch &scratch = scratch_[member.id];
    int64_t *ends = scratch.ends.data(), *order = scratch.order.data();  // a counting sort of the rows by id
    std::fill_n(ends, tape_.table + 1, int64_t{0});
    int64_t ids[kSumBlock];
    for (Size i = 0; i < count; ++i, walk.next())
      ++ends[1 + (ids[i] = tape_.x_row(direction == 1, walk.s, walk.n))];
    for (Size v = 0; v < tape_.table; ++v) ends[v + 1] += ends[v];
    for (Size i = 0; i < count; ++i) order[ends[ids[i]]++] = i;
    const Size vectors = pack_.cell.projected * pack_.groups, lanes = pack_.kernels.lanes;
    const Size begin = vectors * member.id / member.threads * lanes;
    const Size end = vectors * (member.id + 1) / member.threads * lanes;
    for (Size v = 0, first = 0; v < tape_.table; first = ends[v++])
      if (ends[v] > first)
        pack_.kernels.add_column_sums(dgates + begin, pack_.row(), order + first, ends[v] - first,
                                      end - begin, sums_[direction].data() + v * pack_.row() + begin);
  }

 private:
  struct Scratch {
    Buffer<int64_t> ends;  // [V + 1] where an id's rows end in `order`
    Buffer<int64_t> order;  // [kSumBlock] rows of a block by id
  };
  const Tape<T> &tape_;
  const Pack<T> &pack_;
  std::vector<char> used_;  // [V] whether any id is v
  std::vector<Buffer<T>> sums_;  // [directions] of [V][row]
  std::vector<Scratch> scratch_;
};

}  // namespace pyrnnfast
