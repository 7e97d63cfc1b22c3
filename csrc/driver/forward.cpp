// Forward of a whole stack: stages of jobs (a chunk of steps of one layer and direction). A job projects its
// input with one GEMM per chunk, then walks its steps. The time loop runs inside one parallel region.
#include <algorithm>
#include <tuple>
#include <utility>

#include "crew.hpp"
#include "forward.hpp"
#include "input.hpp"
#include "norm.hpp"
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
    if (pack_.merges() && args_.y != nullptr) merge_outputs(share);
  }

  // y from both directions' states: this thread's rows, else its part of the steps.
  void merge_outputs(const Share &share) {
    const bool rows = plan_.split == Split::rows;
    const Size part = rows ? 0 : share.member.id, parts = rows ? 1 : share.member.threads;
    const LayerInput<T> top(tape_, pack_.layers, false);
    for (RowWalk walk(clock_, clock_.steps() * part / parts, clock_.steps() * (part + 1) / parts,
                      share.row_begin, share.row_end);
         !walk.done(); walk.next())
      top.gather(walk.s, walk.n, args_.y + tape_.user_row(walk.s, walk.n) * pack_.width);
  }

  bool run_job(const Job &job, Share &share) {
    Scratch<T> &scratch = scratch_[share.member.id];
    if (job.layer == 0 && table_.used())
      gather_projection(job, share);
    else
      project(job, share, scratch);
    if (!crew_.meet_units(share)) return false;
    if (pack_.normed && !normalize_projection(job, share)) return false;
    const int phases = pack_.cell.phases + pack_.projects();
    for (Size s = job.begin; s < job.end; ++s)
      for (int phase = 0; phase < phases; ++phase) {
        if (pack_.normed && !product(job, s, phase, share, scratch)) return false;
        const auto [begin, end] = pack_.normed
                                      ? share.rows(clock_.active(s))
                                      : std::pair(share.row_begin, std::min(share.row_end, clock_.active(s)));
        crew_.in_pieces(share, begin, end, plan_.piece,
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

  T *gates_at(const Job &job, const Share &share, Size s, Size n) {
    return tape_.at(job.layer, job.direction).gates.data() + gates_row(job, share, s, n) * pack_.row();
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
    gemm.c = projection_of(job);
    gemm.ldc = pack_.row();
    gemm.c_rows = scratch.rows.data();
    gemm.bias = weights.input_bias.data();
    gemm.start = pack_.normed ? Start::zero : Start::bias;
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

  T *projection_of(const Job &job) {
    History<T> &history = tape_.at(job.layer, job.direction);
    return pack_.normed ? LayerNorm<T>::projection(history) : history.gates.data();
  }

  bool normalize_projection(const Job &job, Share &share) {
    for (Size s = job.begin; s < job.end; ++s) {
      const auto [n0, n1] = share.rows(clock_.active(s));
      LayerNorm<T>(tape_, job).input(s, n0, n1, gates_at(job, share, s, n0));
    }
    return crew_.meet_units(share);
  }

  // Layer normalisation wants the product of a phase whole, before the rest of it.
  bool product(const Job &job, Size s, int phase, Share &share, Scratch<T> &scratch) {
    crew_.in_pieces(share, share.row_begin, std::min(share.row_end, clock_.active(s)), plan_.piece,
                    [&](Size n0, Size n1) {
                      ForwardStep<T> k = arguments(job, s, phase, share, n0, n1, scratch);
                      drop(job, n0, k, scratch);
                      LayerNorm<T>(tape_, job).product(s, phase, n0, k, share);
                    });
    return crew_.meet_units(share);
  }

  // One phase of step s for the sorted rows [n0, n1): the cell's, and a projection as the last.
  void step(const Job &job, Size s, int phase, const Share &share, Size n0, Size n1, Scratch<T> &scratch) {
    if (phase == pack_.cell.phases) return project_step(job, s, share, n0, n1, scratch);
    ForwardStep<T> k = arguments(job, s, phase, share, n0, n1, scratch);
    if (args_.training) k.draws = tape_.draws(job.layer, job.direction, s, n0);
    const auto &kernels = pack_.kernels.forward[pack_.general][int(pack_.cell.kind)];
    if (pack_.normed)
      LayerNorm<T>(tape_, job).hidden(s, phase, n0, k);
    else
      drop(job, n0, k, scratch);
    kernels[phase](k);
    if (pack_.normed && pack_.cell.cell_state) {
      LayerNorm<T>(tape_, job).cell(s, n0, n1);
      kernels[1](k);
    }
    if (args_.cells != nullptr && job.layer + 1 == pack_.layers) put_cells(job, s, n0, k);
  }

  ForwardStep<T> arguments(const Job &job, Size s, int phase, const Share &share, Size n0, Size n1,
                           Scratch<T> &scratch) {
    const LayerPack<T> &weights = pack_.at(job.layer, job.direction);
    History<T> &history = tape_.at(job.layer, job.direction);
    const Size ld = tape_.ld;
    ForwardStep<T> k{};
    k.rows = n1 - n0;
    std::tie(k.group_begin, k.group_end) = share.groups(pack_.groups);
    k.hidden = pack_.hidden;
    k.padded = pack_.padded;
    k.weights = weights.hidden[phase].data();
    k.bias = weights.hidden_bias.data();
    k.gates = gates_at(job, share, s, n0);
    k.ld_gates = pack_.row();
    k.h_prev = history.h_before(clock_, s, ld) + n0 * ld;
    k.h_next = history.h_at(clock_, s, ld) + n0 * ld;
    if (pack_.cell.cell_state) {
      k.c_prev = history.c_before(clock_, s, ld) + n0 * ld;
      k.c_next = history.c_at(clock_, s, ld) + n0 * ld;
    }
    if (pack_.cell.reset_state) k.reset = history.reset_at(clock_, s, ld) + n0 * ld;
    k.ld = ld;
    if (pack_.cell.forward[phase].source == Source::hidden) {
      k.a = tape_.out_before(job.layer, job.direction, s) + n0 * tape_.ld_out;
      k.lda = tape_.ld_out;
      k.depth = pack_.outputs;
    } else {
      k.a = k.reset;
      k.lda = ld;
      k.depth = pack_.hidden;
    }
    k.keep = args_.training;
    if (!pack_.projects()) put_outputs(job, s, n0, k, scratch);
    k.options = &weights.options;
    return k;
  }

  // This share's part of the cell states of a step, to the user.
  void put_cells(const Job &job, Size s, Size n0, const ForwardStep<T> &k) const {
    const Size H = pack_.hidden, u0 = k.group_begin * pack_.kernels.lanes;
    const Size count = std::min(H, k.group_end * pack_.kernels.lanes) - u0;
    for (Size n = 0; n < k.rows && count > 0; ++n) {
      const Size row = tape_.user_row(clock_.time(job.direction == 1, s, n0 + n), n0 + n);
      std::copy_n(k.c_next + n * k.ld + u0, count,
                  args_.cells + (row * pack_.directions + job.direction) * H + u0);
    }
  }

  // h = W_hr h~, or g(W_hr h~ + b)
  void project_step(const Job &job, Size s, const Share &share, Size n0, Size n1, Scratch<T> &scratch) {
    const LayerPack<T> &weights = pack_.at(job.layer, job.direction);
    History<T> &history = tape_.at(job.layer, job.direction);
    ForwardStep<T> k{};
    k.rows = n1 - n0;
    std::tie(k.group_begin, k.group_end) = share.groups(pack_.padded_outputs / pack_.kernels.lanes);
    k.hidden = pack_.outputs;
    k.padded = pack_.padded_outputs;
    k.depth = pack_.hidden;
    k.weights = weights.project.data();
    k.bias = weights.project_bias.data();
    k.a = history.h_at(clock_, s, tape_.ld) + n0 * tape_.ld;
    k.lda = tape_.ld;
    k.h_next = history.p_at(clock_, s, tape_.ld_out) + n0 * tape_.ld_out;
    k.ld = tape_.ld_out;
    k.limit = pack_.limit;
    k.h_prev = history.p_before(clock_, s, tape_.ld_out) + n0 * tape_.ld_out;
    k.options = &weights.project_options;
    k.keep = args_.training;
    if (k.keep) k.draws = tape_.draws(job.layer, job.direction, s, n0);
    if (k.keep && pack_.activates()) {
      k.gates = history.sums.data() + (clock_.offset(s) + n0) * tape_.ld_out;
      k.ld_gates = tape_.ld_out;
    }
    put_outputs(job, s, n0, k, scratch);
    pack_.kernels.project[pack_.activates()](k);
  }

  // Where a step of the top layer writes y.
  void put_outputs(const Job &job, Size s, Size n0, ForwardStep<T> &k, Scratch<T> &scratch) const {
    if (job.layer + 1 == pack_.layers && args_.y != nullptr && !pack_.merges()) {
      const bool reverse = job.direction == 1;
      k.ldy = pack_.directions * pack_.outputs;
      k.y = args_.y + job.direction * pack_.outputs;
      if (clock_.ragged()) {
        k.y_rows = scratch.rows.data();
        for (Size n = 0; n < k.rows; ++n)
          scratch.rows.data()[n] = tape_.user_row(clock_.time(reverse, s, n0 + n), n0 + n);
      } else {
        k.y += tape_.user_row(clock_.time(reverse, s, n0), n0) * k.ldy;
        if (tape_.order == Order::rows_first) k.ldy *= tape_.steps;
      }
    }
  }

  // The rows of a product's source, masked. Threads that split units each make all of them: that is sooner
  // done than a barrier.
  void drop(const Job &job, Size n0, ForwardStep<T> &k, Scratch<T> &scratch) {
    const T *mask = tape_.at(job.layer, job.direction).recurrent_mask.data();
    if (mask == nullptr) return;
    T *out = scratch.dropped.data();
    for (Size n = 0; n < k.rows; ++n)
      pack_.kernels.mask(k.a + n * k.lda, mask + (n0 + n) * tape_.ld_out, out + n * k.lda, k.depth);
    k.a = out;
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

template <class T> void final_states(const ForwardArgs<T> &args, Tape<T> &tape, Size i) {
  const Pack<T> &pack = *tape.pack;
  const Clock &clock = tape.clock;
  History<T> &history = tape.histories[i];
  const Size ld = tape.ld, H = pack.hidden, R = pack.outputs;
  T *h = args.h + i * clock.rows() * R, *c = pack.pair() ? args.c + i * clock.rows() * H : nullptr;
  for (Size n = 0; n < clock.rows(); ++n) {
    const Size end = clock.length(n);
    unsorted_row(tape.out_before(i / pack.directions, i % pack.directions, end) + n * tape.ld_out, clock, n,
                 R, h);
    if (pack.pair())
      unsorted_row(
          (pack.cell.cell_state ? history.c_before(clock, end, ld) : history.h_before(clock, end, ld)) +
              n * ld,
          clock, n, H, c);
  }
}

}  // namespace

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

template bool run_forward(const ForwardArgs<float> &, Tape<float> &, Workspace<float> &);
template bool run_forward(const ForwardArgs<double> &, Tape<double> &, Workspace<double> &);
template std::unique_ptr<Tape<float>> forward(const ForwardArgs<float> &);
template std::unique_ptr<Tape<double>> forward(const ForwardArgs<double> &);

}  // namespace pyrnnfast
