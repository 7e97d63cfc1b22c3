// A stack that is fed one step at a time: packed weights, state and buffers stay.
#pragma once

#include "forward.hpp"

namespace pyrnnfast {

template <class T> class Stream {
 public:
  // One direction. y [N][H] belongs to the caller and takes the output of every step; the state is zero.
  // Throws std::bad_alloc.
  Stream(std::shared_ptr<const Pack<T>> pack, Size rows, T *y, int threads,
         std::function<bool()> interrupted);

  // One step of all layers on x [N][C]; allocates nothing. Throws Interrupted; the state then stays.
  void step(const T *x);
  // Goes on with other weights. False, and nothing is changed, where the pack is of another cell or size or
  // instruction set.
  bool use(std::shared_ptr<const Pack<T>> pack);

  void get_state(T *h, T *c) const;  // [L][N][R], [L][N][H] out; c where the state is a pair, else null
  void set_state(const T *h, const T *c);  // the same in; null: zero

 private:
  ForwardArgs<T> args_;
  Tape<T> tape_;
  Workspace<T> workspace_;
};

}  // namespace pyrnnfast
