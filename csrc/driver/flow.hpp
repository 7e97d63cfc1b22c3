// What flows back through one layer and direction: buffers that backward's chunks go on from.
#pragma once

#include "plan.hpp"
#include "problem.hpp"
#include "states.hpp"

namespace pyrnnfast {

template <class T> struct Flow {
  Buffer<T> dgates;  // [rows of the chunk][row]
  Buffer<T> carried;  // [N][row]: those of the step after the chunk
  Buffer<T> dh, dc;  // [N][Hp], sorted
  Buffer<T> doutputs;  // with a projection: [rows of the chunk][ld_out] gradients of its states
  Buffer<T> dp;  // [N][Rp], likewise, sorted

  // From the gradients of the final states of layer and direction `run`.
  Flow(const BackwardArgs<T> &args, Size run, Size chunk) {
    const Tape<T> &tape = *args.tape;
    const Pack<T> &pack = *tape.pack;
    const Size N = tape.clock.rows();
    const auto begin = [&](const T *user, Size units, Size padded) {
      return sorted_state(user == nullptr ? nullptr : user + run * N * units, tape.clock, units, padded);
    };
    const bool cells = pack.cell.cell_state;
    dgates = Buffer<T>(chunk * N * pack.row());
    carried = Buffer<T>(N * pack.row());
    dh = begin(!pack.projects() ? args.dh : cells ? nullptr : args.dc, pack.hidden, pack.padded);
    if (cells) dc = begin(args.dc, pack.hidden, pack.padded);
    if (!pack.projects()) return;
    doutputs = Buffer<T>(chunk * N * tape.ld_out);
    dp = begin(args.dh, pack.outputs, pack.padded_outputs);
  }

  // After the first step: the gradients of the initial states, to the user.
  void finish(const BackwardArgs<T> &args, Size run) const {
    const Clock &clock = args.tape->clock;
    const Pack<T> &pack = *args.tape->pack;
    const auto end = [&](const Buffer<T> &state, Size units, Size padded, T *user) {
      for (Size n = 0; n < clock.rows() && user != nullptr; ++n)
        unsorted_row(state.data() + n * padded, clock, n, units, user + run * clock.rows() * units);
    };
    end(pack.projects() ? dp : dh, pack.outputs, pack.padded_outputs, args.dh0);
    if (pack.pair()) end(pack.cell.cell_state ? dc : dh, pack.hidden, pack.padded, args.dc0);
  }
};

}  // namespace pyrnnfast
