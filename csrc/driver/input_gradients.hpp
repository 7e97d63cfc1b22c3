// Gradients of the layers' inputs from a chunk's gate gradients, dX = d(gates) W_ih: that of x for the first
// layer, for the others that of what the layer below puts out, in the order of the forward clock.
#pragma once

#include <algorithm>
#include <vector>

#include "input.hpp"
#include "parallel.hpp"
#include "plan.hpp"
#include "problem.hpp"
#include "table.hpp"

namespace pyrnnfast {

template <class T> class InputGradients {
 public:
  static constexpr Size kInner = -1;  // any layer but the first, as far as the order of its inputs goes

  InputGradients(const BackwardArgs<T> &args, const Plan &plan)
      : args_(args), tape_(*args.tape), pack_(*tape_.pack), clock_(tape_.clock),
        most_(std::min(kProductRows, plan.piece)),
        apart_(tape_.dropout.active() || tape_.dropout.input > 0 || pack_.directions > 1),
        ld_(row_stride<T>(pack_.widest())) {
    for (Size layer = 1; layer < pack_.layers; ++layer)
      inner_.emplace_back(clock_.total() * pack_.width, apart_);
    for (int i = 0; i < plan.threads; ++i)
      scratch_.push_back({Buffer<T>(apart(0) ? kProductRows * ld_ : 0), Buffer<int64_t>(kProductRows)});
  }

  // The gradient of what a layer below the top puts out.
  const T *of_outputs(Size layer) const { return inner_[layer].data(); }

  // Row of the gradient of a layer's input: that of x for the first, the user's order for dy (the "input" of
  // no layer), else the forward clock's.
  Size row(Size layer, bool reverse, Size s, Size n) const {
    const Size time = clock_.time(reverse, s, n);
    if (layer == 0) return tape_.x_row(reverse, s, n);
    return layer == pack_.layers ? tape_.user_row(time, n) : clock_.offset(time) + n;
  }

  // This thread's columns of a chunk's dX, summed over the directions. Each direction's sum begins from zero
  // and is then added: which of the two comes first depends on where the chunks end. d: [rows of the
  // chunk][row].
  template <class GoOn> void add(const Job &job, const T *d, Member member, const GoOn &go_on) {
    if (job.layer == 0 && args_.dx == nullptr) return;
    const bool apart = this->apart(job.layer), reverse = job.direction == 1;
    const Size width = pack_.at(job.layer, 0).inputs;
    const LayerInput<T> input(tape_, job.layer, reverse);
    Scratch &scratch = scratch_[member.id];
    T *dx = job.layer == 0 ? args_.dx : inner_[job.layer - 1].data();
    GemmArgs<T> gemm = product(job.layer, job.direction, member);
    const Size lanes2 = 2 * pack_.kernels.lanes;
    const Size col0 = gemm.strip_begin * lanes2, col1 = std::min(width, gemm.strip_end * lanes2);
    if (col0 >= col1) return;
    gemm.c = apart ? scratch.apart.data() : dx;
    gemm.ldc = apart ? ld_ : width;
    gemm.c_rows = apart ? nullptr : scratch.rows.data();
    for (RowWalk walk(clock_, job.begin, job.end, 0, clock_.rows()); !walk.done() && go_on();) {
      RowWalk done = walk;
      gemm.a = d + (walk.index() - clock_.offset(job.begin)) * pack_.row();
      for (gemm.rows = 0; gemm.rows < most_ && !walk.done(); walk.next())
        scratch.rows.data()[gemm.rows++] = row(job.layer, reverse, walk.s, walk.n);
      pack_.kernels.gemm(gemm);
      if (!apart) continue;
      for (Size i = 0; i < gemm.rows; ++i, done.next()) {
        T *from = scratch.apart.data() + i * ld_, *to = dx + scratch.rows.data()[i] * width;
        input.mask(done.s, done.n, from);
        for (Size k = col0; k < col1; ++k) to[k] += from[k];
      }
    }
  }

  // After the last chunk: this thread's part of the gradient of the table that ids read, of one direction.
  template <class GoOn>
  void add_table(const TableGradient<T> &table, Size direction, Member member, const GoOn &go_on) {
    if (args_.dx == nullptr) return;
    GemmArgs<T> gemm = product(0, direction, member);
    gemm.ldc = pack_.inputs;
    gemm.add = true;
    for (Size v = 0; v < tape_.table && go_on(); v += kProductRows) {
      gemm.rows = std::min(kProductRows, tape_.table - v);
      gemm.a = table.row(direction, v);
      gemm.c = args_.dx + v * gemm.ldc;
      pack_.kernels.gemm(gemm);
    }
  }

 private:
  struct Scratch {
    Buffer<T> apart;  // [kProductRows][ld]: one direction's dX, before its mask
    Buffer<int64_t> rows;
  };

  // Whether a layer's dX is added to, or masked.
  bool apart(Size layer) const { return apart_ || (layer == 0 && tape_.ids != nullptr); }

  // This thread's columns of the product with W_ih; operands and rows are set by the caller.
  GemmArgs<T> product(Size layer, Size direction, Member member) const {
    const LayerPack<T> &weights = pack_.at(layer, direction);
    const Size lanes2 = 2 * pack_.kernels.lanes, strips = (weights.inputs + lanes2 - 1) / lanes2;
    GemmArgs<T> gemm{};
    gemm.cols = weights.inputs;
    gemm.depth = pack_.cell.projected * pack_.padded;
    gemm.lda = pack_.row();
    gemm.b = weights.input_back.data();
    gemm.strip_begin = strips * member.id / member.threads;
    gemm.strip_end = strips * (member.id + 1) / member.threads;
    gemm.start = Start::zero;
    return gemm;
  }

  const BackwardArgs<T> &args_;
  Tape<T> &tape_;
  const Pack<T> &pack_;
  const Clock &clock_;
  const Size most_;  // rows of one product
  const bool apart_;  // of every layer
  const Size ld_;
  std::vector<Buffer<T>> inner_;  // [layers - 1] of [total][width]: dX of layers 1, 2, ...
  std::vector<Scratch> scratch_;
};

}  // namespace pyrnnfast
