// Gradients of weights, biases, peepholes and gains from a chunk's gate gradients: dW += d(gates)^T source,
// in partial sums over blocks of kSumBlock (t, n) pairs, each from zero, added in order. Threads split the
// rows of W, never this sum. A null pointer among the gradients is one that nobody wants.
#pragma once

#include <algorithm>
#include <vector>

#include "gain_gradients.hpp"
#include "input.hpp"
#include "parallel.hpp"
#include "plan.hpp"
#include "problem.hpp"
#include "table.hpp"

namespace pyrnnfast {

template <class T> class WeightGradientSum {
 public:
  WeightGradientSum(Tape<T> &tape, int threads)
      : tape_(tape), pack_(*tape.pack), clock_(tape.clock), gains_(tape), table_(tape, threads) {
    const Size lanes2 = 2 * pack_.kernels.lanes;
    const Size widest = std::max({pack_.widest(), pack_.hidden, pack_.outputs});
    const Size gate_rows = pack_.cell.slots * pack_.hidden, R = pack_.outputs;
    ld_source_ = row_stride<T>(widest);
    for (int i = 0; i < threads; ++i) {
      const Size most = std::max(gate_rows * (i + 1) / threads - gate_rows * i / threads,
                                 R * (i + 1) / threads - R * i / threads);
      // one thread's share may become the whole when thread 0 goes on alone
      const Size rows = i == 0 ? std::max(gate_rows, R) : most;
      scratch_.push_back({Buffer<T>(rows * kLdGates), Buffer<T>(kSumBlock * ld_source_),
                          Buffer<T>((widest + lanes2 - 1) / lanes2 * lanes2 * kSumBlock),
                          Buffer<int64_t>(rows)});
    }
    for (Size i = 0; i < pack_.layers * pack_.directions; ++i) {
      bias_.emplace_back(pack_.columns(), true);
      project_bias_.emplace_back(pack_.cell.output_layer ? pack_.padded_outputs : 0, true);
    }
    for (const LayerPack<T> &weights : pack_.packs)
      peephole_.emplace_back(weights.options.peephole == nullptr ? 0 : 3 * pack_.padded, true);
  }

  // One thread's part of a chunk, as long as `go_on` is true. doutputs: with a projection, the gradients of
  // its states, [rows of the chunk][ld_out].
  template <class GoOn>
  void add(const Job &job, const ChunkGradients<T> &d, const T *doutputs, const WeightGradients<T> &out,
           Member member, const GoOn &go_on) {
    const Size first = clock_.offset(job.begin), last = clock_.offset(job.end);
    RowWalk walk(clock_, job.begin, job.end, 0, clock_.rows());
    for (Size at = first; at < last && go_on(); at += kSumBlock) {
      const Size count = std::min(kSumBlock, last - at);
      const bool more = at > first || last < clock_.total();  // the last chunk comes first
      const Size row = (at - first) * pack_.row();
      add_block(job, walk,
                {d.gates + row, d.input + row, d.hidden + row,
                 d.cell == nullptr ? nullptr : d.cell + (at - first) * pack_.padded},
                count, out, member, more, go_on);
      if (pack_.projects())
        add_projection(job, walk, doutputs + (at - first) * tape_.ld_out, count, out, member, more, go_on);
      for (Size i = 0; i < count; ++i) walk.next();
    }
  }

  // After the last chunk, where the table is projected: one thread's part of dW_ih from each id's sums.
  template <class GoOn>
  void add_table(Size direction, const WeightGradients<T> &out, Member member, const GoOn &go_on) {
    const Size width = pack_.inputs;
    for (Size at = 0; at < tape_.table && go_on(); at += kSumBlock) {
      const Size count = std::min(kSumBlock, tape_.table - at);
      const Rows share = transpose_gates(table_.row(direction, at), count, member);
      pack_source(count, width, scratch_[member.id], [&](Size i, T *dst) { table_.gather(at + i, dst); });
      multiply(0, pack_.cell.projected, pack_.cell.input_gate, width, count, out.weight_ih, share, member,
               at > 0, go_on);
    }
  }
  const TableGradient<T> &table() const { return table_; }

  // After the last chunk: the padded sums into the user's biases; zeros where there was no chunk.
  void finish(Size i, const WeightGradients<T> &out) const {
    const Size H = pack_.hidden;
    if (clock_.total() == 0) {
      if (out.weight_ih) std::fill_n(out.weight_ih, pack_.cell.gates * H * pack_.packs[i].inputs, T(0));
      if (out.weight_hh) std::fill_n(out.weight_hh, pack_.cell.gates * H * pack_.outputs, T(0));
      if (pack_.projects()) std::fill_n(out.weight_hr, pack_.outputs * H, T(0));
    }
    if (out.bias_hr != nullptr) std::copy_n(project_bias_[i].data(), pack_.outputs, out.bias_hr);
    if (out.peephole != nullptr)
      for (int k = 0; k < 3; ++k)
        std::copy_n(peephole_[i].data() + k * pack_.padded, H, out.peephole + k * H);
    if (pack_.normed) gains_.finish(i, out);
    for (int slot = 0; slot < pack_.cell.slots; ++slot) {
      const T *sum = bias_[i].data() + slot * pack_.padded;
      const int input = slot < pack_.cell.projected ? pack_.cell.input_gate[slot] : kNone;
      const int hidden = pack_.cell.hidden_gate[slot];
      for (Size u = 0; u < H; ++u) {
        if (out.bias_ih && input != kNone) out.bias_ih[input * H + u] = sum[u];
        if (out.bias_hh && hidden != kNone) out.bias_hh[hidden * H + u] = sum[u];
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

  struct Rows {
    Size begin, end;  // of all slots' rows
    Size units;  // of a slot
  };

  template <class GoOn>
  void add_block(const Job &job, const RowWalk &start, const ChunkGradients<T> &d, Size count,
                 const WeightGradients<T> &out, Member member, bool more, const GoOn &go_on) {
    Scratch &scratch = scratch_[member.id];
    const Cell &cell = pack_.cell;
    const Rows share = out.weight_ih || out.weight_hh ? transpose_gates(d.input, count, member) : Rows{};
    if (job.layer == 0 && table_.used()) {
      table_.add(job.direction, start, d.gates, count, member);
    } else if (out.weight_ih) {
      const LayerInput<T> input(tape_, job.layer, job.direction == 1);
      pack_source(count, input.width(), scratch, [&, walk = start](Size, T *dst) mutable {
        input.gather(walk.s, walk.n, dst);
        walk.next();
      });
      multiply(0, cell.projected, cell.input_gate, input.width(), count, out.weight_ih, share, member, more,
               go_on);
    }
    if (out.weight_hh && d.hidden != d.input) transpose_gates(d.hidden, count, member);
    const History<T> &history = tape_.at(job.layer, job.direction);
    for (int p = 0; p < (out.weight_hh ? cell.phases : 0); ++p) {
      const ForwardPhase &phase = cell.forward[p];
      const bool reset = phase.source != Source::hidden;
      const Size width = reset ? pack_.hidden : pack_.outputs;
      const T *mask = history.recurrent_mask.data();
      pack_source(count, width, scratch, [&, walk = start](Size, T *dst) mutable {
        const T *from = reset ? history.reset.data() + walk.index() * tape_.ld
                              : tape_.out_before(job.layer, job.direction, walk.s) + walk.n * tape_.ld_out;
        if (mask == nullptr)
          std::copy_n(from, width, dst);
        else
          pack_.kernels.mask(from, mask + walk.n * tape_.ld_out, dst, width);
        walk.next();
      });
      multiply(phase.first, phase.last, cell.hidden_gate, width, count, out.weight_hh, share, member, more,
               go_on);
    }
    if (out.peephole != nullptr) add_peepholes(job, start, d.gates, count, member);
    if (pack_.normed) gains_.add(job, start.index(), d, count, member);
    if (!out.bias_ih && !out.bias_hh) return;
    add_biases(d.gates, pack_.row(), pack_.columns(), count, member, bias_[run(job)].data());
  }

  // This thread's columns.
  void add_biases(const T *d, Size ld, Size columns, Size count, Member member, T *sums) const {
    const Size lanes = pack_.kernels.lanes, vectors = columns / lanes;
    const Size v0 = vectors * member.id / member.threads, v1 = vectors * (member.id + 1) / member.threads;
    pack_.kernels.add_column_sums(d + v0 * lanes, ld, nullptr, count, (v1 - v0) * lanes, sums + v0 * lanes);
  }

  // h = W_hr h~ (+ b)
  template <class GoOn>
  void add_projection(const Job &job, const RowWalk &start, const T *doutputs, Size count,
                      const WeightGradients<T> &out, Member member, bool more, const GoOn &go_on) {
    constexpr int kOnly[] = {0};
    const T *source = tape_.at(job.layer, job.direction).h.data() + start.index() * tape_.ld;
    const Rows share =
        transpose(doutputs, tape_.ld_out, 1, pack_.outputs, pack_.padded_outputs, count, member);
    pack_source(count, pack_.hidden, scratch_[member.id],
                [&](Size i, T *dst) { std::copy_n(source + i * tape_.ld, pack_.hidden, dst); });
    multiply(0, 1, kOnly, pack_.hidden, count, out.weight_hr, share, member, more, go_on);
    if (out.bias_hr != nullptr)
      add_biases(doutputs, tape_.ld_out, pack_.padded_outputs, count, member, project_bias_[run(job)].data());
  }

  // i and f have seen c', o has seen c: sums of d(gate) times its cell state, this thread's units.
  void add_peepholes(const Job &job, const RowWalk &start, const T *dgates, Size count, Member member) {
    constexpr int kSlots[] = {0, 1, 3};
    const History<T> &history = tape_.at(job.layer, job.direction);
    T *sums = peephole_[run(job)].data();
    T *products = scratch_[member.id].source.data();
    const Size lanes = pack_.kernels.lanes;
    const Size u0 = pack_.groups * member.id / member.threads * lanes;
    const Size u1 = pack_.groups * (member.id + 1) / member.threads * lanes;
    for (int k = 0; k < 3; ++k) {
      RowWalk walk = start;
      for (Size i = 0; i < count; ++i, walk.next()) {
        const T *c = k == 2        ? history.c.data() + walk.index() * tape_.ld
                     : walk.s == 0 ? history.c0.data() + walk.n * tape_.ld
                                   : history.c.data() + (clock_.offset(walk.s - 1) + walk.n) * tape_.ld;
        const T *gate = dgates + i * pack_.row() + kSlots[k] * pack_.padded;
        for (Size u = u0; u < u1; ++u) products[i * ld_source_ + u] = gate[u] * c[u];
      }
      pack_.kernels.add_column_sums(products + u0, ld_source_, nullptr, count, u1 - u0,
                                    sums + k * pack_.padded + u0);
    }
  }

  // This thread's rows of W, as columns of `count` rows of gate gradients, into its scratch.
  Rows transpose_gates(const T *dgates, Size count, Member member) {
    return transpose(dgates, pack_.row(), pack_.cell.slots, pack_.hidden, pack_.padded, count, member);
  }
  Rows transpose(const T *d, Size ld, Size slots, Size units, Size padded, Size count, Member member) {
    const Size all = slots * units;
    const Rows share{all * member.id / member.threads, all * (member.id + 1) / member.threads, units};
    for (Size r = share.begin; r < share.end;) {
      const Size slot = r / units, stop = std::min(share.end, (slot + 1) * units);
      pack_.kernels.transpose(d + slot * padded + r % units, ld, count, stop - r,
                              scratch_[member.id].gates.data() + (r - share.begin) * kLdGates, kLdGates);
      r = stop;
    }
    return share;
  }

  // row(i, dst) copies row i of the source, for i = 0, 1, ...
  template <class Row> void pack_source(Size count, Size width, Scratch &scratch, Row row) const {
    for (Size i = 0; i < count; ++i) row(i, scratch.source.data() + i * ld_source_);
    pack_.kernels.pack(
        {scratch.source.data(), ld_source_, 1, count, width, scratch.strips.data(), count, 2, 0, 0});
  }

  // dW[gate of slot][:] = gates^T source, with `more` += it, for the slots [first, last), as far as they lie
  // in this thread's rows and as long as `go_on` is true.
  template <class GoOn>
  void multiply(Size first, Size last, const int *gate, Size width, Size count, T *dW, Rows share,
                Member member, bool more, const GoOn &go_on) {
    Scratch &scratch = scratch_[member.id];
    const Size units = share.units, lanes2 = 2 * pack_.kernels.lanes;
    const Size r0 = std::max(share.begin, first * units), r1 = std::min(share.end, last * units);
    if (r0 >= r1) return;
    for (Size r = r0; r < r1; ++r) scratch.rows.data()[r - r0] = gate[r / units] * units + r % units;
    GemmArgs<T> gemm{};
    gemm.cols = width;
    gemm.depth = count;
    gemm.lda = kLdGates;
    gemm.b = scratch.strips.data();
    gemm.strip_end = (width + lanes2 - 1) / lanes2;
    gemm.c = dW;
    gemm.ldc = width;
    gemm.start = Start::zero;
    gemm.add = more;
    for (Size r = r0; r < r1 && go_on(); r += kProductRows) {
      gemm.rows = std::min(kProductRows, r1 - r);
      gemm.a = scratch.gates.data() + (r - share.begin) * kLdGates;
      gemm.c_rows = scratch.rows.data() + (r - r0);
      pack_.kernels.gemm(gemm);
    }
  }

  Size run(const Job &job) const { return job.layer * pack_.directions + job.direction; }

  Tape<T> &tape_;
  const Pack<T> &pack_;
  const Clock &clock_;
  Size ld_source_;
  std::vector<Scratch> scratch_;
  std::vector<Buffer<T>> bias_;  // [layers * directions] of [slots][Hp]
  std::vector<Buffer<T>> project_bias_;  // [layers * directions] of [Rp], of an output layer
  std::vector<Buffer<T>> peephole_;  // [layers * directions] of [3][Hp], where there are any
  GainGradients<T> gains_;
  TableGradient<T> table_;
};

}  // namespace pyrnnfast
