// What flows back through one layer and direction: buffers that backward's chunks go on from.
#pragma once

#include "input.hpp"
#include "merge.hpp"
#include "norm.hpp"
#include "parallel.hpp"
#include "plan.hpp"
#include "problem.hpp"
#include "states.hpp"

namespace pyrnnfast {

// Gradients of a chunk, in the order of the clock, each [rows][row] but for the last: those of the gates, of
// the input's projection and of the recurrent products. These are the same but with layer normalisation,
// which has those of the normalised c too, [rows][Hp].
template <class T> struct ChunkGradients {
  const T *gates, *input, *hidden, *cell;
};

template <class T> struct Flow {
  Buffer<T> dgates;  // [rows of the chunk][row]
  Buffer<T> carried;  // [N][row]: what the product of the chunk before reads
  NormFlow<T> normed;
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
    if (pack.normed) normed = NormFlow<T>(pack, chunk * N);
    dh = begin(!pack.projects() ? args.dh : cells ? nullptr : args.dc, pack.hidden, pack.padded);
    if (cells) dc = begin(args.dc, pack.hidden, pack.padded);
    if (!pack.projects()) return;
    doutputs = Buffer<T>(chunk * N * tape.ld_out);
    dp = begin(args.dh, pack.outputs, pack.padded_outputs);
  }

  ChunkGradients<T> gradients(bool with_norm) const {
    const T *gates = dgates.data();
    if (!with_norm) return {gates, gates, gates, nullptr};
    return {gates, normed.input.data(), normed.hidden.data(), normed.cell.data()};
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

// The gradient of a layer's merged outputs, as one of each direction's: this thread's part of the steps.
// inner: dX of the layer above, null for the top layer, which has dy, null for zeros.
template <class T>
void unmerge_gradient(Tape<T> &tape, Size layer, const T *inner, const T *dy, Member member, T *sides) {
  if (inner == nullptr && dy == nullptr) return;
  const Pack<T> &pack = *tape.pack;
  const Clock &clock = tape.clock;
  const Size R = pack.outputs, steps = clock.steps(), from = steps * member.id / member.threads;
  const Size to = steps * (member.id + 1) / member.threads;
  for (RowWalk walk(clock, from, to, 0, clock.rows()); !walk.done(); walk.next()) {
    const auto out = [&](Size d) {
      return tape.out_at(layer, d, clock.time(d == 1, walk.s, walk.n)) + walk.n * tape.ld_out;
    };
    const T *d = inner == nullptr ? dy + tape.user_row(walk.s, walk.n) * R : inner + walk.index() * R;
    unmerge(pack.merge, d, out(0), out(1), R, sides + walk.index() * 2 * R);
  }
}

// The gradient of a step's cell states, the part of `k`, to what flows back into them.
template <class T>
void add_cells(const BackwardArgs<T> &args, const Job &job, Size s, Size n0, const BackwardStep<T> &k) {
  const Tape<T> &tape = *args.tape;
  const Pack<T> &pack = *tape.pack;
  const Size H = pack.hidden, begin = k.group_begin * pack.kernels.lanes;
  const Size end = std::min(H, k.group_end * pack.kernels.lanes);
  for (Size n = 0; n < k.rows; ++n) {
    const Size row = tape.user_row(tape.clock.time(job.direction == 1, s, n0 + n), n0 + n);
    const T *from = args.dcells + (row * pack.directions + job.direction) * H;
    for (Size u = begin; u < end; ++u) k.dc[n * pack.padded + u] += from[u];
  }
}

}  // namespace pyrnnfast
