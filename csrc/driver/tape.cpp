// Tapes as they begin: their buffers, and the initial states in them.
#include <algorithm>
#include <utility>

#include "forward.hpp"
#include "input.hpp"
#include "states.hpp"

namespace pyrnnfast {

namespace {

// The histories' buffers, still empty: pieces of args.memory, or their own.
template <class T> void allocate(const ForwardArgs<T> &args, Size chunk, Tape<T> &tape) {
  const Pack<T> &pack = *tape.pack;
  const Clock &clock = tape.clock;
  const Size N = clock.rows(), ld = tape.ld, kept = args.training ? clock.total() : N;
  T *memory = args.memory;
  const auto take = [&](Size count) {
    return args.memory == nullptr ? Buffer<T>(count) : Buffer<T>::over(std::exchange(memory, memory + count));
  };
  for (Size i = 0; i < pack.layers * pack.directions; ++i) {
    History<T> &history = tape.histories[i];
    history.training = args.training;
    const bool whole = args.training || i / pack.directions + 1 < pack.layers || pack.merges();
    history.whole_h = pack.projects() ? args.training : whole;
    history.whole_p = whole;
    history.h0 = take(N * ld);
    history.h = take((history.whole_h ? clock.total() : 2 * N) * ld);
    history.gates = take((args.training ? clock.total() : chunk * N) * pack.row());
    if (pack.cell.cell_state) {
      history.c0 = take(N * ld);
      history.c = take(kept * ld);
    }
    if (pack.cell.reset_state) history.reset = take(kept * ld);
    if (pack.projects()) {
      history.p0 = take(N * tape.ld_out);
      history.p = take((whole ? clock.total() : 2 * N) * tape.ld_out);
      if (args.training && pack.activates()) history.sums = take(kept * tape.ld_out);
    }
    if (!pack.normed) continue;
    NormHistory<T> &normed = history.normed;
    if (args.training) normed.input = take(kept * pack.row());
    normed.hidden = take(kept * pack.row());
    normed.input_scale = take(kept);
    for (int phase = 0; phase < pack.cell.phases; ++phase) normed.hidden_scale[phase] = take(kept);
    if (!pack.cell.cell_state) continue;
    normed.cell = take(kept * ld);
    normed.cell_scale = take(kept);
  }
}

}  // namespace

template <class T> void begin_states(const ForwardArgs<T> &args, Tape<T> &tape) {
  const Pack<T> &pack = *tape.pack;
  for (std::size_t i = 0; i < tape.histories.size(); ++i) {
    History<T> &history = tape.histories[i];
    const auto begin = [&](Buffer<T> &state, const T *user, Size width, Size ld) {
      sort_state(user == nullptr ? nullptr : user + Size(i) * tape.rows * width, tape.clock, width, ld,
                 state.data());
    };
    begin(pack.projects() ? history.p0 : history.h0, args.h0, pack.outputs, tape.ld_out);
    if (pack.cell.cell_state) begin(history.c0, args.c0, pack.hidden, tape.ld);
    if (pack.projects()) begin(history.h0, pack.cell.cell_state ? nullptr : args.c0, pack.hidden, tape.ld);
  }
}

template <class T>
Workspace<T>::Workspace(const ForwardArgs<T> &args, Tape<T> &tape)
    : plan(make_plan(*tape.pack, tape.clock, args.threads, false)) {
  const Pack<T> &pack = *tape.pack;
  allocate(args, plan.chunk, tape);
  begin_states(args, tape);
  ld_input = row_stride<T>(pack.widest());
  const Size gathered = std::min(kProductRows, plan.chunk * tape.rows);
  const Size dropped =
      tape.dropout.recurrent > 0 ? std::min(plan.piece, tape.rows) * std::max(tape.ld, tape.ld_out) : 0;
  for (int i = 0; i < plan.threads; ++i)
    scratch.push_back(
        {Buffer<T>(gathered * ld_input), Buffer<int64_t>(std::max(gathered, tape.rows)), Buffer<T>(dropped)});
}

template <class T> Tape<T> new_tape(const ForwardArgs<T> &args) {
  Tape<T> tape{args.pack,
               Clock(args.steps, args.rows, args.lengths),
               args.steps,
               args.rows,
               args.x,
               args.ids,
               args.table,
               args.dropout,
               row_stride<T>(args.pack->padded),
               row_stride<T>(args.pack->padded_outputs),
               {}};
  tape.histories.resize(args.pack->layers * args.pack->directions);
  for (std::size_t i = 0; i < tape.histories.size(); ++i) {
    const auto mask = [&](double p, Purpose purpose, Size count, Size stride) {
      return args.dropout.sequence_mask(args.pack->kernels, p, purpose, Size(i), tape.clock, count, stride);
    };
    const LayerDropout<T> &p = args.dropout;
    const Size inputs = args.pack->packs[i].inputs;
    tape.histories[i].input_mask = mask(p.input, Purpose::input, inputs, inputs);
    tape.histories[i].recurrent_mask = mask(p.recurrent, Purpose::recurrent, args.pack->outputs, tape.ld_out);
  }
  tape.order = args.order;
  tape.x_next = args.x_next < 0 ? args.pack->inputs : args.x_next;
  tape.x_step = args.x_step < 0 ? args.rows * args.pack->inputs : args.x_step;
  return tape;
}

template <class T> Tape<T> reopen(const ForwardArgs<T> &args) {
  Tape<T> tape = new_tape(args);
  allocate(args, 0, tape);
  return tape;
}

template struct Workspace<float>;
template struct Workspace<double>;
template Tape<float> reopen(const ForwardArgs<float> &);
template Tape<double> reopen(const ForwardArgs<double> &);
template Tape<float> new_tape(const ForwardArgs<float> &);
template Tape<double> new_tape(const ForwardArgs<double> &);
template void begin_states(const ForwardArgs<float> &, Tape<float> &);
template void begin_states(const ForwardArgs<double> &, Tape<double> &);

}  // namespace pyrnnfast
