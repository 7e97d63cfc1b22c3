// Layer normalisation (Ba, Kiros & Hinton 2016): which rows of a layer and direction the kernel normalises.
//
// The input's projection is normalised once a chunk, a recurrent product at its step, the LSTM's c before it
// gives h. The statistics are of whole rows: threads that split units meet after a product, and share the
// rows out until the next.
#pragma once

#include <algorithm>

#include "crew.hpp"
#include "tape.hpp"

namespace pyrnnfast {

// What backward keeps of a chunk: gradients of the projection and of the recurrent products in their slots,
// and, by way of h, of the new c, after gain and bias and before the normalisation.
template <class T> struct NormFlow {
  Buffer<T> input, hidden;  // [rows][row]
  Buffer<T> cell, cell_raw;  // [rows][Hp] LSTM

  NormFlow() = default;
  NormFlow(const Pack<T> &pack, Size rows)
      : input(rows * pack.row()), hidden(rows * pack.row()),
        cell(pack.cell.cell_state ? rows * pack.padded : 0),
        cell_raw(pack.cell.cell_state ? rows * pack.padded : 0) {}
};

template <class T> class LayerNorm {
 public:
  LayerNorm(Tape<T> &tape, const Job &job)
      : pack_(*tape.pack), cell_(pack_.cell), weights_(pack_.at(job.layer, job.direction)),
        history_(tape.at(job.layer, job.direction)), clock_(tape.clock), tape_(tape), job_(job),
        ld_(tape.ld) {}

  // --- Forward: sorted rows [n0, n1) of step s

  // Where the projection goes before it is normalised: the tape, if it is kept.
  static T *projection(History<T> &history) {
    return (history.training ? history.normed.input : history.gates).data();
  }
  void input(Size s, Size n0, Size n1, T *gates) {
    NormArgs<T> n = sizes<NormArgs<T>>(n1 - n0, cell_.projected);
    n.x = history_.training ? history_.normed.input.data() + (clock_.offset(s) + n0) * pack_.row() : gates;
    n.ld = n.ld_y = pack_.row();
    n.scale = history_.normed.input_scale.data() + index(s, n0);
    n.gain = weights_.input_gain.data();
    n.bias = weights_.input_bias.data();
    n.y = gates;
    pack_.kernels.normalize(n);
  }

  // This share's columns of the product of `k`, whose rows begin with n0.
  void product(Size s, int phase, Size n0, const ForwardStep<T> &k, const Share &share) {
    const Size first = cell_.forward[phase].first, count = cell_.forward[phase].last - first;
    const Size lanes2 = 2 * pack_.kernels.lanes, strips = (count * pack_.padded + lanes2 - 1) / lanes2;
    GemmArgs<T> gemm{};
    gemm.rows = k.rows;
    gemm.cols = count * pack_.padded;
    gemm.depth = k.depth;
    gemm.a = k.a;
    gemm.lda = k.lda;
    gemm.b = weights_.hidden[phase].data();
    gemm.strip_begin = strips * share.part / share.parts;
    gemm.strip_end = strips * (share.part + 1) / share.parts;
    gemm.c = hidden_at(s, n0) + first * pack_.padded;
    gemm.ldc = pack_.row();
    gemm.bias = weights_.no_bias.data();
    gemm.start = Start::bias;
    pack_.kernels.gemm(gemm);
  }
  // The product joins the gates, which hold the projection, or begin from the bias; `k` is left with the
  // rest.
  void hidden(Size s, int phase, Size n0, ForwardStep<T> &k) {
    const Size first = cell_.forward[phase].first, last = cell_.forward[phase].last;
    const Size at = first * pack_.padded;
    NormArgs<T> n = sizes<NormArgs<T>>(k.rows, last - first);
    n.x = hidden_at(s, n0) + at;
    n.ld = n.ld_y = pack_.row();
    n.scale = history_.normed.hidden_scale[phase].data() + index(s, n0);
    n.gain = weights_.hidden_gain.data() + at;
    n.bias = weights_.hidden_bias.data() + at;
    n.y = k.gates + at;
    n.added = std::min<Size>(last, cell_.projected) - first;
    pack_.kernels.normalize(n);
    k.depth = 0;
    k.group_begin = 0;
    k.group_end = pack_.groups;
    k.keep = true;
    if (cell_.cell_state) k.c_normed = cell_at(s, n0);
  }
  // The new c of these rows.
  void cell(Size s, Size n0, Size n1) {
    NormArgs<T> n = sizes<NormArgs<T>>(n1 - n0, 1);
    n.x = cell_at(s, n0);
    n.ld = ld_;
    n.scale = history_.normed.cell_scale.data() + index(s, n0);
    pack_.kernels.normalize(n);
  }
  T *cell_at(Size s, Size n) { return history_.normed.cell.data() + index(s, n) * ld_; }

  // --- Backward: from gradients behind gains and biases to those of what was normalised

  // After a phase of step s: rows [n0, n1), the first of which is row `at` of the chunk.
  void back(Size s, int phase, Size n0, Size n1, Size at, T *dgates, T *dc, NormFlow<T> &flow) {
    dgates += at * pack_.row();
    if (cell_.cell_state) cell_back(s, n0, n1, at, dgates, dc, flow);
    const int product = cell_.phases - 1 - phase;  // forward's phases run the other way round
    const Size first = cell_.forward[product].first, to = first * pack_.padded;
    NormBackwardArgs<T> n = sizes<NormBackwardArgs<T>>(n1 - n0, cell_.forward[product].last - first);
    n.x = hidden_at(s, n0) + to;
    n.scale = history_.normed.hidden_scale[product].data() + index(s, n0);
    n.gain = weights_.hidden_gain.data() + to;
    n.dy = dgates + to;
    n.dx = flow.hidden.data() + at * pack_.row() + to;
    n.ld = n.ld_dy = n.ld_dx = pack_.row();
    pack_.kernels.normalize_back(n);
    if (phase + 1 < cell_.phases) return;
    n.slots = cell_.projected;
    n.x = history_.normed.input.data() + index(s, n0) * pack_.row();
    n.scale = history_.normed.input_scale.data() + index(s, n0);
    n.gain = weights_.input_gain.data();
    n.dy = dgates;
    n.dx = flow.input.data() + at * pack_.row();
    pack_.kernels.normalize_back(n);
  }

 private:
  // From the gradient of the c that h saw, whole now, to those of the gates.
  void cell_back(Size s, Size n0, Size n1, Size at, T *dgates, T *dc, NormFlow<T> &flow) {
    NormBackwardArgs<T> n = sizes<NormBackwardArgs<T>>(n1 - n0, 1);
    n.x = cell_at(s, n0);
    n.ld = ld_;
    n.scale = history_.normed.cell_scale.data() + index(s, n0);
    n.gain = weights_.cell_norm.data();
    n.dy = flow.cell.data() + at * pack_.padded;
    n.dx = flow.cell_raw.data() + at * pack_.padded;
    n.ld_dy = n.ld_dx = pack_.padded;
    pack_.kernels.normalize_back(n);
    BackwardStep<T> k{};
    k.rows = n.rows;
    k.group_end = pack_.groups;
    k.hidden = pack_.hidden;
    k.padded = pack_.padded;
    k.gates = history_.gates.data() + index(s, n0) * pack_.row();
    k.dgates = dgates;
    k.ld_gates = pack_.row();
    k.c_prev = history_.c_before(clock_, s, ld_) + n0 * ld_;
    k.c_next = history_.c_at(clock_, s, ld_) + n0 * ld_;
    k.ld = ld_;
    k.dc = dc + n0 * pack_.padded;
    k.dc_normed = n.dx;
    k.draws = tape_.draws(job_.layer, job_.direction, s, n0);
    k.options = &weights_.options;
    pack_.kernels.backward[pack_.general][int(cell_.kind)][1](k);
  }

  Size index(Size s, Size n) const { return (history_.training ? clock_.offset(s) : 0) + n; }
  T *hidden_at(Size s, Size n) { return history_.normed.hidden.data() + index(s, n) * pack_.row(); }
  template <class Args> Args sizes(Size rows, Size slots) const {
    Args n{};
    n.rows = rows;
    n.slots = slots;
    n.hidden = pack_.hidden;
    n.padded = pack_.padded;
    return n;
  }

  const Pack<T> &pack_;
  const Cell &cell_;
  const LayerPack<T> &weights_;
  History<T> &history_;
  const Clock &clock_;
  const Tape<T> &tape_;
  const Job job_;
  const Size ld_;
};

}  // namespace pyrnnfast
