// The arguments of one forward and one backward call. The bindings have checked every shape.
//
// T steps, N rows, C inputs, H hidden units, R outputs (H, or P of a projection), L layers, D directions. c
// is there where the state is a pair. All arrays are C-contiguous and belong to the caller.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "tape.hpp"

namespace pyrnnfast {

template <class T> struct ForwardArgs {
  std::shared_ptr<const Pack<T>> pack;
  Size steps, rows;                // T, N
  const T *x;                      // [T][N][C] in; with ids [V][C], a table
  const T *h0, *c0;                // [L*D][N][R], [L*D][N][H] in; null: zero
  const int64_t *lengths;          // [N] in, 0..T; null: all T
  T *y;                            // [T][N][D*R] out; must be zero where a row has ended. May be null
  T *h, *c;                        // as h0, c0, out: final states
  LayerDropout<T> dropout;         // between layers, in training
  bool training;                   // make a tape
  int threads;                     // at least 1
  std::function<bool()> interrupted;  // polled by the calling thread; true: give up. May be empty
  const int64_t *ids = nullptr;    // [T][N] in: the row of the table that is read; null: x is no table
  Size table = 0;                  // V
  Order order = Order::steps_first;  // of x, y and their gradients, where there are no ids
  Size x_step = -1, x_next = -1;  // strides of x, in elements, as the tape names them; negative: [T][N][C]
  T *memory = nullptr;  // of the tape, Tape::elements, aligned, to be handed to `reopen`; null: its own
  T *cells = nullptr;  // [T][N][D*H] out: the top layer's c of every step, as y. LSTM; may be null
};

template <class T> struct WeightGradients {
  T *weight_ih, *weight_hh;  // [G*H, C], [G*H, R] out
  T *bias_ih, *bias_hh;  // [G*H] out; null without biases, the second with an output layer too
  T *peephole;  // [3*H] out; null without peepholes
  T *weight_hr = nullptr;  // [R, H] out; null without a projection
  T *bias_hr = nullptr;  // [R] out; of an output layer, or null
  T *norm_ih = nullptr, *norm_hh = nullptr;  // [G*H] out; null without layer normalisation
  T *norm_c = nullptr, *norm_c_bias = nullptr;  // [H] out; LSTM, or null
};

template <class T> struct BackwardArgs {
  Tape<T> *tape;  // read only in effect
  const T *dy;  // [T][N][D*R] in; null: zero. Read only where a row has not ended
  const T *dh, *dc;  // as h0, c0, in: gradients of the final states; null: zero
  T *dx;  // out, of x's shape, must be zero; null: not wanted
  T *dh0, *dc0;  // as h0, c0, out; null: not wanted
  std::vector<WeightGradients<T>> weights;  // [L * D]
  int threads;
  std::function<bool()> interrupted;
  double *grad_norms = nullptr;  // [L*D][T] out: norm of dL/dh at each step; null: not wanted
  const T *dcells = nullptr;  // [T][N][D*H] in; null: zero. Read as dy
};

// Null in inference. Throws Interrupted when `interrupted` said so, std::bad_alloc before anything is
// written.
struct Interrupted {};
template <class T> std::unique_ptr<Tape<T>> forward(const ForwardArgs<T> &args);
// The tape that forward wrote to args.memory; the pack may be another one of the same weights. Only x, the
// sizes, lengths, order and dropout of args are read.
template <class T> Tape<T> reopen(const ForwardArgs<T> &args);
template <class T> void backward(const BackwardArgs<T> &args);

}  // namespace pyrnnfast
