// Gradients of weights and biases from a chunk's gate gradients: dW += d(gates)^T source, in partial sums
// over blocks of kSumBlock (t, n) pairs, each from zero, added in order. Threads split the rows of W, never
// this sum.
#pragma once

#include <algorithm>
#include <vector>

#include "input.hpp"
#include "parallel.hpp"
#include "plan.hpp"
#include "problem.hpp"

namespace pyrnnfast {

template <class T> class WeightGradientSum {
 public:
  WeightGradientSum(Tape<T> &tape, int threads) : tape_(tape), pack_(*tape.pack), clock_(tape.clock) {
    const Size lanes2 = 2 * pack_.kernels.lanes;
    Size widest = std::max(pack_.inputs, pack_.hidden);
    if (pack_.layers > 1) widest = std::max(widest, pack_.directions * pack_.hidden);
    const Size gate_rows = pack_.cell.slots * pack_.hidden;
    ld_source_ = row_stride<T>(widest);
    for (int i = 0; i < threads; ++i) {
      const Size most = gate_rows * (i + 1) / threads - gate_rows * i / threads;
      // one thread's share may become the whole when thread 0 goes on alone
      const Size rows = i == 0 ? gate_rows : most;
      scratch_.push_back({Buffer<T>(rows * kLdGates), Buffer<T>(kSumBlock * ld_source_),
                          Buffer<T>((widest + lanes2 - 1) / lanes2 * lanes2 * kSumBlock),
                          Buffer<int64_t>(rows)});
    }
    for (Size i = 0; i < pack_.layers * pack_.directions; ++i) bias_.emplace_back(pack_.columns(), true);
  }

  // One thread's part of a chunk, as long as `go_on` is true. dgates: [rows of the chunk][row], in the order
  // of the clock.
  template <class GoOn>
  void add(const Job &job, const T *dgates, const WeightGradients<T> &out, Member member, const GoOn &go_on) {
    const Size first = clock_.offset(job.begin), last = clock_.offset(job.end);
    RowWalk walk(clock_, job.begin, job.end, 0, clock_.rows());
    for (Size at = first; at < last && go_on(); at += kSumBlock) {
      const Size count = std::min(kSumBlock, last - at);
      add_block(job, walk, dgates + (at - first) * pack_.row(), count, out, member);
      for (Size i = 0; i < count; ++i) walk.next();
    }
  }

  // After the last chunk: the padded sums into the user's biases.
  void finish(Size i, const WeightGradients<T> &out) const {
    if (out.bias_ih == nullptr) return;
    const Size H = pack_.hidden;
    for (int slot = 0; slot < pack_.cell.slots; ++slot) {
      const T *sum = bias_[i].data() + slot * pack_.padded;
      const int input = slot < pack_.cell.projected ? pack_.cell.input_gate[slot] : kNone;
      const int hidden = pack_.cell.hidden_gate[slot];
      for (Size u = 0; u < H; ++u) {
        if (input != kNone) out.bias_ih[input * H + u] += sum[u];
        if (hidden != kNone) out.bias_hh[hidden * H + u] += sum[u];
      }
    }
  }

 private:
  static constexpr Size kLdGates = kSumBlock + kAlignment / Size(sizeof(T));
  struct Scratch {
    Buffer<T> gates;    // [gate rows of the share][kLdGates]: d(gates) transposed
    Buffer<T> source;   // [kSumBlock][ld_source]: rows of x, h' or r * h'
    Buffer<T> strips;   // the same, packed
    Buffer<int64_t> rows;
  };

  void add_block(const Job &job, const RowWalk &start, const T *dgates, Size count,
                 const WeightGradients<T> &out, Member member) {
    Scratch &scratch = scratch_[member.id];
    const Cell &cell = pack_.cell;
    const Size H = pack_.hidden, all = cell.slots * H;
    const Size begin = all * member.id / member.threads, end = all * (member.id + 1) / member.threads;
    for (Size r = begin; r < end;) {
      const Size slot = r / H, stop = std::min(end, (slot + 1) * H);
      pack_.kernels.transpose(dgates + slot * pack_.padded + r % H, pack_.row(), count, stop - r,
                              scratch.gates.data() + (r - begin) * kLdGates, kLdGates);
      r = stop;
    }
    const LayerInput<T> input(tape_, job.layer, job.direction == 1);
    pack_source(start, count, input.width(), scratch,
                [&](Size s, Size n, T *dst) { input.gather(s, n, dst); });
    multiply(0, cell.projected, cell.input_gate, input.width(), count, out.weight_ih, begin, end, scratch);
    const History<T> &history = tape_.at(job.layer, job.direction);
    for (int p = 0; p < cell.phases; ++p) {
      const ForwardPhase &phase = cell.forward[p];
      pack_source(start, count, H, scratch, [&](Size s, Size n, T *dst) {
        const T *from = phase.source == Source::reset
                            ? history.reset.data() + (clock_.offset(s) + n) * tape_.ld
                        : s == 0 ? history.h0.data() + n * tape_.ld
                                 : history.h.data() + (clock_.offset(s - 1) + n) * tape_.ld;
        std::copy_n(from, H, dst);
      });
      multiply(phase.first, phase.last, cell.hidden_gate, H, count, out.weight_hh, begin, end, scratch);
    }
    const Size lanes = pack_.kernels.lanes, vectors = pack_.columns() / lanes;
    const Size v0 = vectors * member.id / member.threads, v1 = vectors * (member.id + 1) / member.threads;
    pack_.kernels.add_column_sums(dgates + v0 * lanes, pack_.row(), count, (v1 - v0) * lanes,
                                  bias_[job.layer * pack_.directions + job.direction].data() + v0 * lanes);
  }

  template <class Row>
  void pack_source(RowWalk walk, Size count, Size width, Scratch &scratch, const Row &row) const {
    for (Size i = 0; i < count; ++i, walk.next()) row(walk.s, walk.n, scratch.source.data() + i * ld_source_);
    pack_.kernels.pack(
        {scratch.source.data(), ld_source_, 1, count, width, scratch.strips.data(), count, 2, 0, 0});
  }

  // dW[gate of slot][:] += gates^T source for the slots [first, last), as far as they lie in rows [begin,
  // end).
  void multiply(Size first, Size last, const int *gate, Size width, Size count, T *dW, Size begin, Size end,
                Scratch &scratch) const {
    const Size H = pack_.hidden, lanes2 = 2 * pack_.kernels.lanes;
    const Size r0 = std::max(begin, first * H), r1 = std::min(end, last * H);
    if (r0 >= r1) return;
    for (Size r = r0; r < r1; ++r) scratch.rows.data()[r - r0] = gate[r / H] * H + r % H;
    GemmArgs<T> gemm{};
    gemm.rows = r1 - r0;
    gemm.cols = width;
    gemm.depth = count;
    gemm.a = scratch.gates.data() + (r0 - begin) * kLdGates;
    gemm.lda = kLdGates;
    gemm.b = scratch.strips.data();
    gemm.strip_end = (width + lanes2 - 1) / lanes2;
    gemm.c = dW;
    gemm.ldc = width;
    gemm.c_rows = scratch.rows.data();
    gemm.start = Start::zero;
    gemm.add = true;
    pack_.kernels.gemm(gemm);
  }

  Tape<T> &tape_;
  const Pack<T> &pack_;
  const Clock &clock_;
  Size ld_source_;
  std::vector<Scratch> scratch_;
  std::vector<Buffer<T>> bias_;  // [layers * directions] of [slots][Hp]
};

}  // namespace pyrnnfast
