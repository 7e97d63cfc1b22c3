// Forward of a whole stack: stages of jobs (a chunk of steps of one layer and direction). A job projects its
// input with one GEMM per chunk, then walks its steps. The time loop runs inside one parallel region.
#include <algorithm>
#include <tuple>
#include <utility>

#include "crew.hpp"
#include "forward.hpp"
#include "input.hpp"
#include "states.hpp"
#include "table.hpp"

namespace pyrnnfast {

namespace {

template <class T> class Forward {
 public:
  Forward(const ForwardArgs<T> &args, Tape<T> &tape, Workspace<T> &workspace)
      : args_(args), tape_(tape), pack_(*tape.pack), clock_(tape.clock), plan_(workspace.plan),
        schedule_(pack_.layers, pack_.directions, clock_.steps(), plan_.chunk), ld_input_(workspace.ld_input),
        scratch_(workspace.scratch), table_(tape), crew_(plan_, clock_, args.interrupted) {}

  bool run() {
    return crew_.run([&](Share &share) { work(share); });
  }

 private:
  void work(Share &share) {
    if (table_.used()) {
      table_.compute(share.member, [&] { return crew_.go_on(share); });
      if (!crew_.meet(share)) return;
    }
    for (Size stage = 0; stage < schedule_.stages(); ++stage) {
      for (Size j = share.job; j < schedule_.jobs(stage); j += share.jobs)
        if (!run_job(schedule_.job(stage, j), share)) return;
      if (!crew_.end_stage(share, false)) return;
    }
  }

  bool run_job(const Job &job, Share &share) {
    Scratch<T> &scratch = scratch_[share.member.id];
    if (job.layer == 0 && table_.used())
      gather_projection(job, share);
    else
      project(job, share, scratch);
    if (!crew_.meet_units(share)) return false;
    for (Size s = job.begin; s < job.end; ++s)
      for (int phase = 0; phase < pack_.cell.phases; ++phase) {
        crew_.in_pieces(share, share.row_begin, std::min(share.row_end, clock_.active(s)), plan_.piece,
                        [&](Size n0, Size n1) { step(job, s, phase, share, n0, n1, scratch); });
        if (!crew_.meet_units(share)) return false;
      }
    return true;
  }

  // In inference each share has a part of the buffer of its own, for threads that split rows may be in
  // different chunks, and in it its rows lie together, so that the projection writes whole tiles.
  Size gates_row(const Job &job, const Share &share, Size s, Size n) const {
    if (args_.training) return clock_.offset(s) + n;
    return share.row_begin * plan_.chunk + (s - job.begin) * (share.row_end - share.row_begin) +
           (n - share.row_begin);
  }

  // The input projection of a chunk into its gate slots.
  void project(const Job &job, const Share &share, Scratch<T> &scratch) {
    const LayerPack<T> &weights = pack_.at(job.layer, job.direction);
    const LayerInput<T> input(tape_, job.layer, job.direction == 1);
    const Size lanes2 = 2 * pack_.kernels.lanes, columns = pack_.cell.projected * pack_.padded;
    const Size strips = (columns + lanes2 - 1) / lanes2;
    GemmArgs<T> gemm{};
    gemm.cols = columns;
    gemm.depth = weights.inputs;
    gemm.a = scratch.input.data();
    gemm.lda = ld_input_;
    gemm.b = weights.input.data();
    gemm.strip_begin = strips * share.part / share.parts;
    gemm.strip_end = strips * (share.part + 1) / share.parts;
    gemm.c = tape_.at(job.layer, job.direction).gates.data();
    gemm.ldc = pack_.row();
    gemm.c_rows = scratch.rows.data();
    gemm.bias = weights.input_bias.data();
    gemm.start = Start::bias;
    for (RowWalk walk(clock_, job.begin, job.end, share.row_begin, share.row_end);
         !walk.done() && crew_.go_on(share);) {
      for (gemm.rows = 0; gemm.rows < kProductRows && !walk.done(); walk.next(), ++gemm.rows) {
        input.gather(walk.s, walk.n, scratch.input.data() + gemm.rows * ld_input_);
        scratch.rows.data()[gemm.rows] = gates_row(job, share, walk.s, walk.n);
      }
      pack_.kernels.gemm(gemm);
    }
  }

  // The same from the table's.
  void gather_projection(const Job &job, const Share &share) {
    T *gates = tape_.at(0, job.direction).gates.data();
    const Size columns = pack_.cell.projected * pack_.padded;
    const Size begin = columns * share.part / share.parts, end = columns * (share.part + 1) / share.parts;
    for (RowWalk walk(clock_, job.begin, job.end, share.row_begin, share.row_end); !walk.done(); walk.next())
      std::copy_n(table_.row(job.direction, walk.s, walk.n) + begin, end - begin,
                  gates + gates_row(job, share, walk.s, walk.n) * pack_.row() + begin);
  }

  // One phase of step s for the sorted rows [n0, n1).
  void step(const Job &job, Size s, int phase, const Share &share, Size n0, Size n1, Scratch<T> &scratch) {
    const LayerPack<T> &weights = pack_.at(job.layer, job.direction);
    History<T> &history = tape_.at(job.layer, job.direction);
    const Size ld = tape_.ld;
    ForwardStep<T> k{};
    k.rows = n1 - n0;
    std::tie(k.group_begin, k.group_end) = share.groups(pack_.groups);
    k.hidden = pack_.hidden;
    k.padded = pack_.padded;
    k.depth = pack_.hidden;
    k.weights = weights.hidden[phase].data();
    k.bias = weights.hidden_bias.data();
    k.gates = history.gates.data() + gates_row(job, share, s, n0) * pack_.row();
    k.ld_gates = pack_.row();
    k.h_prev = history.h_before(clock_, s, ld) + n0 * ld;
    k.h_next = history.h_at(clock_, s, ld) + n0 * ld;
    if (pack_.cell.cell_state) {
      k.c_prev = history.c_before(clock_, s, ld) + n0 * ld;
      k.c_next = history.c_at(clock_, s, ld) + n0 * ld;
    }
    if (pack_.cell.reset_state) k.reset = history.reset_at(clock_, s, ld) + n0 * ld;
    k.ld = ld;
    k.a = pack_.cell.forward[phase].source == Source::hidden ? k.h_prev : k.reset;
    k.lda = ld;
    if (const T *mask = history.recurrent_mask.data()) k.a = drop(k, mask + n0 * ld, scratch.dropped.data());
    k.keep = args_.training;
    if (job.layer + 1 == pack_.layers && args_.y != nullptr) {
      const bool reverse = job.direction == 1;
      k.ldy = pack_.directions * pack_.hidden;
      k.y = args_.y + job.direction * pack_.hidden;
      if (clock_.ragged()) {
        k.y_rows = scratch.rows.data();
        for (Size n = 0; n < k.rows; ++n)
          scratch.rows.data()[n] = tape_.user_row(clock_.time(reverse, s, n0 + n), n0 + n);
      } else {
        k.y += tape_.user_row(clock_.time(reverse, s, n0), n0) * k.ldy;
        if (tape_.order == Order::rows_first) k.ldy *= tape_.steps;
      }
    }
    k.options = &weights.options;
    if (args_.training) k.draws = tape_.draws(job.layer, job.direction, s, n0);
    pack_.kernels.forward[pack_.general][int(pack_.cell.kind)][phase](k);
  }

  // The rows of a product's source, masked. Threads that split units each make all of them: that is sooner
  // done than a barrier.
  const T *drop(const ForwardStep<T> &k, const T *mask, T *out) const {
    for (Size n = 0; n < k.rows; ++n)
      pack_.kernels.mask(k.a + n * k.lda, mask + n * k.ld, out + n * k.lda, k.depth);
    return out;
  }

  const ForwardArgs<T> &args_;
  Tape<T> &tape_;
  const Pack<T> &pack_;
  const Clock &clock_;
  const Plan &plan_;
  const Schedule schedule_;
  const Size ld_input_;
  std::vector<Scratch<T>> &scratch_;
  TableProjection<T> table_;
  Crew crew_;
};

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
    history.whole_h = args.training || i / pack.directions + 1 < pack.layers;
    history.h0 = take(N * ld);
    history.h = take((history.whole_h ? clock.total() : 2 * N) * ld);
    history.gates = take((args.training ? clock.total() : chunk * N) * pack.row());
    if (pack.cell.cell_state) {
      history.c0 = take(N * ld);
      history.c = take(kept * ld);
    }
    if (pack.cell.reset_state) history.reset = take(kept * ld);
  }
}

template <class T> void begin_states(const ForwardArgs<T> &args, Tape<T> &tape) {
  const Size H = tape.pack->hidden, state = tape.rows * H;
  for (std::size_t i = 0; i < tape.histories.size(); ++i) {
    History<T> &history = tape.histories[i];
    const auto from = [&](const T *user) { return user == nullptr ? nullptr : user + Size(i) * state; };
    sort_state(from(args.h0), tape.clock, H, tape.ld, history.h0.data());
    if (tape.pack->cell.cell_state) sort_state(from(args.c0), tape.clock, H, tape.ld, history.c0.data());
  }
}

template <class T> void final_states(const ForwardArgs<T> &args, Tape<T> &tape, Size i) {
  const Pack<T> &pack = *tape.pack;
  const Clock &clock = tape.clock;
  History<T> &history = tape.histories[i];
  const Size state = clock.rows() * pack.hidden, ld = tape.ld;
  for (Size n = 0; n < clock.rows(); ++n) {
    const Size end = clock.length(n);
    unsorted_row(history.h_before(clock, end, ld) + n * ld, clock, n, pack.hidden, args.h + i * state);
    if (pack.cell.cell_state)
      unsorted_row(history.c_before(clock, end, ld) + n * ld, clock, n, pack.hidden, args.c + i * state);
  }
}

}  // namespace

template <class T>
Workspace<T>::Workspace(const ForwardArgs<T> &args, Tape<T> &tape)
    : plan(make_plan(*tape.pack, tape.clock, args.threads, false)) {
  const Pack<T> &pack = *tape.pack;
  allocate(args, plan.chunk, tape);
  begin_states(args, tape);
  ld_input = row_stride<T>(pack.widest());
  const Size gathered = std::min(kProductRows, plan.chunk * tape.rows);
  const Size dropped = tape.dropout.recurrent > 0 ? std::min(plan.piece, tape.rows) * tape.ld : 0;
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
               {}};
  tape.histories.resize(args.pack->layers * args.pack->directions);
  for (std::size_t i = 0; i < tape.histories.size(); ++i) {
    const LayerDropout<T> &dropout = args.dropout;
    const auto mask = [&](double p, Purpose purpose, Size count, Size stride) {
      return dropout.sequence_mask(args.pack->kernels, p, purpose, Size(i), tape.clock, count, stride);
    };
    const Size inputs = args.pack->packs[i].inputs;
    tape.histories[i].input_mask = mask(dropout.input, Purpose::input, inputs, inputs);
    tape.histories[i].recurrent_mask =
        mask(dropout.recurrent, Purpose::recurrent, args.pack->hidden, tape.ld);
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

template <class T> bool run_forward(const ForwardArgs<T> &args, Tape<T> &tape, Workspace<T> &workspace) {
  return Forward<T>(args, tape, workspace).run();
}

template <class T> std::unique_ptr<Tape<T>> forward(const ForwardArgs<T> &args) {
  auto tape = std::make_unique<Tape<T>>(new_tape(args));
  Workspace<T> workspace(args, *tape);
  if (!run_forward(args, *tape, workspace)) throw Interrupted();
  for (std::size_t i = 0; i < tape->histories.size(); ++i) final_states(args, *tape, Size(i));
  if (!args.training) tape.reset();
  return tape;
}

template struct Workspace<float>;
template struct Workspace<double>;
template Tape<float> reopen(const ForwardArgs<float> &);
template Tape<double> reopen(const ForwardArgs<double> &);
template Tape<float> new_tape(const ForwardArgs<float> &);
template Tape<double> new_tape(const ForwardArgs<double> &);
template bool run_forward(const ForwardArgs<float> &, Tape<float> &, Workspace<float> &);
template bool run_forward(const ForwardArgs<double> &, Tape<double> &, Workspace<double> &);
template std::unique_ptr<Tape<float>> forward(const ForwardArgs<float> &);
template std::unique_ptr<Tape<double>> forward(const ForwardArgs<double> &);

}  // namespace pyrnnfast
