// What forward keeps. In training it is the tape, whole; in inference the same fields hold a chunk or the
// last state.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "clock.hpp"
#include "pack.hpp"

namespace pyrnnfast {

// How the user's sequences lie in memory: [T][N], [N][T], or without the steps past a row's end, all rows of
// step 0, then those of step 1 and so on, longest rows first (PyTorch's PackedSequence).
enum class Order { steps_first, rows_first, packed };

// What layer normalisation keeps, [total]; inference: [N], and of the input only the scales. Rows of gates
// are in their slots, without gain and bias.
template <class T> struct NormHistory {
  Buffer<T> input, hidden;  // [..][row]
  Buffer<T> cell;           // [..][ld] LSTM
  Buffer<T> input_scale, hidden_scale[kMaxPhases], cell_scale;  // [..] 1 / sqrt(variance + eps)
};

// One layer and direction, in the order of its own clock: index offset(s) + n for step s and sorted row n.
template <class T> struct History {
  Buffer<T> h0, c0;  // [N][ld] initial states, sorted
  Buffer<T> gates;   // training: [total][row] gates after their activation (general: sums before it);
                     // inference: [chunk's rows][row]
  Buffer<T> h;       // [total][ld] hidden states; inference, last layer: [2][N][ld], the last two steps
  Buffer<T> c;       // LSTM. training: [total][ld] cell states; inference: [N][ld]
  Buffer<T> reset;   // GRU with reset before. training: [total][ld] r * h'; inference: [N][ld]
  Buffer<T> p0, p;   // with a projection: its states, as h0 and h, which are what it projects
  Buffer<T> sums;    // training, where a projection has an activation: [total][ld_out] its sums
  Buffer<T> input_mask, recurrent_mask;  // [N][C of the layer], [N][ld_out], sorted: factors; empty: none
  NormHistory<T> normed;
  bool whole_h = false, whole_p = false, training = false;

  T *h_at(const Clock &clock, Size s, Size ld) {
    return h.data() + (whole_h ? clock.offset(s) : (s & 1) * clock.rows()) * ld;
  }
  const T *h_before(const Clock &clock, Size s, Size ld) {
    return s == 0 ? h0.data() : h_at(clock, s - 1, ld);
  }
  T *p_at(const Clock &clock, Size s, Size ld) {
    return p.data() + (whole_p ? clock.offset(s) : (s & 1) * clock.rows()) * ld;
  }
  const T *p_before(const Clock &clock, Size s, Size ld) {
    return s == 0 ? p0.data() : p_at(clock, s - 1, ld);
  }
  T *c_at(const Clock &clock, Size s, Size ld) { return c.data() + (training ? clock.offset(s) * ld : 0); }
  const T *c_before(const Clock &clock, Size s, Size ld) {
    return s == 0 ? c0.data() : c_at(clock, s - 1, ld);
  }
  T *reset_at(const Clock &clock, Size s, Size ld) {
    return reset.data() + (training ? clock.offset(s) * ld : 0);
  }
};

// What draws are for: the upper half of the last word of Philox's counter (2: sampling).
enum class Purpose : uint32_t { between_layers = 1, input = 3, recurrent = 4, zoneout = 5 };  // 6: of h

// Dropout: kept values are multiplied by 1 / (1 - p).
template <class T> struct LayerDropout {
  double p = 0;  // of what a layer gives to the one above, each step anew
  uint64_t seed = 0;
  // The same at each step of a sequence (Gal & Ghahramani 2016): of a layer's input, of h' in its recurrent
  // product.
  double input = 0, recurrent = 0;

  bool active() const { return p > 0; }
  // Applies the mask of the outputs of `layer` at the user's time and row.
  void apply(const KernelTable<T> &kernels, Size layer, Size time, Size row, T *x, Size count) const {
    drop(kernels, p, Purpose::between_layers, layer, time, row, x, count);
  }
  // The factors of every row's `count` units, the same at each step, `stride` apart; empty where p is 0.
  Buffer<T> sequence_mask(const KernelTable<T> &kernels, double probability, Purpose purpose, Size run,
                          const Clock &clock, Size count, Size stride) const {
    if (probability == 0) return {};
    Buffer<T> factors(clock.rows() * stride, true);
    for (Size n = 0; n < clock.rows(); ++n) {
      T *row = factors.data() + n * stride;
      std::fill_n(row, count, T(1));
      drop(kernels, probability, purpose, run, 0, clock.user(n), row, count);
    }
    return factors;
  }

 private:
  void drop(const KernelTable<T> &kernels, double probability, Purpose purpose, Size number, Size time,
            Size row, T *x, Size count) const {
    const double threshold = probability * 4294967296.0;
    const DropoutArgs args{seed, uint32_t(time), uint32_t(row), uint32_t(number) + (uint32_t(purpose) << 16),
                           threshold >= 4294967295.0 ? 0xFFFFFFFFu : uint32_t(threshold)};
    kernels.dropout(args, probability < 1 ? T(1.0 / (1.0 - probability)) : T(0), x, count);
  }
};

template <class T> struct Tape {
  std::shared_ptr<const Pack<T>> pack;
  Clock clock;
  Size steps, rows;  // T and N of the input
  const T *x;        // [T][N][C], or with ids the table [V][C]; the user's, as it was until backward
  const int64_t *ids;  // [T][N] row of x at each step and row; null: its own
  Size table;        // V; 0 without ids
  LayerDropout<T> dropout;
  Size ld, ld_out;   // stride of states; of those that are put out
  std::vector<History<T>> histories;  // [layers * directions]
  Order order = Order::steps_first;
  Size x_step = 0, x_next = 0;  // elements of x from a step, from a row, to the next; packed: x_next alone

  // The states that are put out, and recurrent: those of a projection, else h.
  const T *out_before(Size layer, Size direction, Size s) {
    History<T> &history = at(layer, direction);
    return pack->projects() ? history.p_before(clock, s, ld_out) : history.h_before(clock, s, ld_out);
  }
  const T *out_at(Size layer, Size direction, Size s) { return out_before(layer, direction, s + 1); }

  // Index in the user's sequences of sorted row n at a time.
  Size user_row(Size time, Size n) const {
    if (order == Order::packed) return clock.offset(time) + n;
    return order == Order::rows_first ? clock.user(n) * steps + time : time * rows + clock.user(n);
  }
  // Row of x, or with ids of the table, that sorted row n reads at step s of a direction's clock.
  Size x_row(bool reverse, Size s, Size n) const {
    const Size row = user_row(clock.time(reverse, s, n), n);
    return ids == nullptr ? row : ids[row];
  }
  const T *x_at(bool reverse, Size s, Size n) const {
    if (ids != nullptr) return x + x_row(reverse, s, n) * x_next;
    const Size time = clock.time(reverse, s, n);
    if (order == Order::packed) return x + user_row(time, n) * x_next;
    return x + time * x_step + clock.user(n) * x_next;
  }
  // Whether the table is projected whole, instead of the rows that are read. A row that is read once or twice
  // is not worth its share of two more buffers; and a masked row is another one for each sequence.
  bool by_table() const {
    return ids != nullptr && !pack->normed && dropout.input == 0 && 2 * table <= clock.total();
  }

  // Elements of a tape in training, without a projection: all of a layer's and direction's history, each
  // piece aligned.
  static Size elements(const Cell &cell, Size padded, Size runs, Size rows, Size total) {
    const Size ld = row_stride<T>(padded), row = row_stride<T>(cell.slots * padded);
    const Size kept = 1 + cell.cell_state;
    return runs * (rows * ld * kept + total * (row + ld * (kept + cell.reset_state)));
  }

  // Where the draws of the rows from n0 on stand, at step s in training.
  Draws draws(Size layer, Size direction, Size s, Size n0) const {
    const Size run = layer * pack->directions + direction;
    return {dropout.seed, uint32_t(s), uint32_t(run) + (uint32_t(Purpose::zoneout) << 16), clock.users(n0)};
  }

  History<T> &at(Size layer, Size direction) { return histories[layer * pack->directions + direction]; }
  const History<T> &at(Size layer, Size direction) const {
    return histories[layer * pack->directions + direction];
  }
};

}  // namespace pyrnnfast
