// Rows of a layer's input, wherever they lie: the user's x for the first layer, the states of the layer below
// (dropped out in training) for the others. Of a layer above the top they are the stack's outputs.
#pragma once

#include <cstring>

#include "merge.hpp"
#include "tape.hpp"

namespace pyrnnfast {

constexpr Size kProductRows = 256;  // of one product, between two looks for a signal

template <class T> class LayerInput {
 public:
  LayerInput(Tape<T> &tape, Size layer, bool reverse) : tape_(tape), layer_(layer), reverse_(reverse) {}

  Size width() const { return tape_.pack->at(layer_, 0).inputs; }

  // Copies the input of step s and sorted row n of this direction's clock to dst.
  void gather(Size s, Size n, T *dst) const {
    gather_whole(s, n, dst);
    if (layer_ < tape_.pack->layers) mask(s, n, dst);
  }

  // Dropout of such a row in training: the same factors for its gradient.
  void mask(Size s, Size n, T *row) const {
    const KernelTable<T> &kernels = tape_.pack->kernels;
    const Clock &clock = tape_.clock;
    if (layer_ > 0 && tape_.dropout.active())
      tape_.dropout.apply(kernels, layer_ - 1, clock.time(reverse_, s, n), clock.user(n), row, width());
    if (const T *factors = tape_.at(layer_, reverse_).input_mask.data())
      kernels.mask(row, factors + n * width(), row, width());
  }

 private:
  void gather_whole(Size s, Size n, T *dst) const {
    const Clock &clock = tape_.clock;
    if (layer_ == 0) {
      std::memcpy(dst, tape_.x_at(reverse_, s, n), std::size_t(width()) * sizeof(T));
      return;
    }
    const Size time = clock.time(reverse_, s, n);
    const Pack<T> &pack = *tape_.pack;
    const Size R = pack.outputs;
    for (Size d = 0; d < pack.directions; ++d) {
      const Size step = clock.time(d == 1, time, n);  // its own inverse
      const T *from = tape_.out_at(layer_ - 1, d, step) + n * tape_.ld_out;
      if (d == 1 && pack.merges())
        merge(pack.merge, from, R, dst);
      else
        std::memcpy(dst + d * R, from, std::size_t(R) * sizeof(T));
    }
  }

  Tape<T> &tape_;
  Size layer_;
  bool reverse_;
};

// Walks the (step, sorted row) pairs of steps [s0, s1) and sorted rows [n0, n1) in the order of the clock.
class RowWalk {
 public:
  RowWalk(const Clock &clock, Size s0, Size s1, Size n0, Size n1)
      : clock_(clock), s(s0), n(n0), s1_(s1), n0_(n0), n1_(n1) {
    settle();
  }
  bool done() const { return s >= s1_; }
  void next() {
    ++n;
    settle();
  }
  Size index() const { return clock_.offset(s) + n; }

 private:
  const Clock &clock_;

 public:
  Size s, n;

 private:
  void settle() {
    while (s < s1_ && n >= std::min(n1_, clock_.active(s))) {
      ++s;
      n = n0_;
    }
  }
  Size s1_, n0_, n1_;
};

}  // namespace pyrnnfast
