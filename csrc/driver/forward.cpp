// Forward of a whole stack: stages of jobs (a chunk of steps of one layer and direction). A job projects its
// input with one GEMM per chunk, then walks its steps. The time loop runs inside one parallel region.
#include <algorithm>
#include <tuple>

#include "crew.hpp"
#include "input.hpp"
#include "problem.hpp"
#include "states.hpp"
#include "table.hpp"

namespace pyrnnfast {

namespace {

constexpr Size kGatherRows = 256;

template <class T> class Forward {
 public:
  Forward(const ForwardArgs<T> &args, Tape<T> &tape)
      : args_(args), tape_(tape), pack_(*tape.pack), clock_(tape.clock),
        plan_(make_plan(pack_, clock_, args.threads, false)),
        schedule_(pack_.layers, pack_.directions, clock_.steps(), plan_.chunk), table_(tape),
        crew_(plan_, clock_, args.interrupted) {
    for (Size layer = 0; layer < pack_.layers; ++layer)
      for (Size d = 0; d < pack_.directions; ++d) allocate(layer, layer * pack_.directions + d);
    Size widest = pack_.inputs;
    if (pack_.layers > 1) widest = std::max(widest, pack_.directions * pack_.hidden);
    ld_input_ = row_stride<T>(widest);
    for (int i = 0; i < plan_.threads; ++i) {
      scratch_.push_back(
          {Buffer<T>(kGatherRows * ld_input_), Buffer<int64_t>(std::max(kGatherRows, clock_.rows()))});
    }
  }

  bool run() {
    if (!crew_.run([&](Share &share) { work(share); })) return false;
    for (Size i = 0; i < pack_.layers * pack_.directions; ++i) final_states(i);
    return true;
  }

 private:
  struct Scratch {
    Buffer<T> input;       // [kGatherRows][ld_input]
    Buffer<int64_t> rows;  // rows of the output
  };
  void allocate(Size layer, Size i) {
    History<T> &history = tape_.histories[i];
    const Size N = clock_.rows(), ld = tape_.ld, state = N * pack_.hidden;
    history.training = args_.training;
    history.whole_h = args_.training || layer + 1 < pack_.layers;
    const Size kept = args_.training ? clock_.total() : N;
    history.h0 = sorted_state(args_.h0 ? args_.h0 + i * state : nullptr, clock_, pack_.hidden, ld);
    history.h = Buffer<T>((history.whole_h ? clock_.total() : 2 * N) * ld);
    history.gates = Buffer<T>((args_.training ? clock_.total() : plan_.chunk * N) * pack_.row());
    if (pack_.cell.cell_state) {
      history.c0 = sorted_state(args_.c0 ? args_.c0 + i * state : nullptr, clock_, pack_.hidden, ld);
      history.c = Buffer<T>(kept * ld);
    }
    if (pack_.cell.reset_state) history.reset = Buffer<T>(kept * ld);
  }

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
    Scratch &scratch = scratch_[share.member.id];
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

  // A chunk's rows keep their distance in inference: threads that split rows may be in different chunks.
  Size gates_row(const Job &job, Size s, Size n) const {
    return args_.training ? clock_.offset(s) + n : (s - job.begin) * clock_.rows() + n;
  }

  // The input projection of a chunk into its gate slots.
  void project(const Job &job, const Share &share, Scratch &scratch) {
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
      for (gemm.rows = 0; gemm.rows < kGatherRows && !walk.done(); walk.next(), ++gemm.rows) {
        input.gather(walk.s, walk.n, scratch.input.data() + gemm.rows * ld_input_);
        scratch.rows.data()[gemm.rows] = gates_row(job, walk.s, walk.n);
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
                  gates + gates_row(job, walk.s, walk.n) * pack_.row() + begin);
  }

  // One phase of step s for the sorted rows [n0, n1).
  void step(const Job &job, Size s, int phase, const Share &share, Size n0, Size n1, Scratch &scratch) {
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
    k.gates = history.gates.data() + gates_row(job, s, n0) * pack_.row();
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
    k.keep = args_.training;
    if (job.layer + 1 == pack_.layers) {
      k.ldy = pack_.directions * pack_.hidden;
      k.y = args_.y + job.direction * pack_.hidden;
      if (clock_.ragged()) {
        k.y_rows = scratch.rows.data();
        for (Size n = 0; n < k.rows; ++n)
          scratch.rows.data()[n] =
              clock_.time(job.direction == 1, s, n0 + n) * tape_.rows + clock_.user(n0 + n);
      } else {
        k.y += (clock_.time(job.direction == 1, s, 0) * tape_.rows + n0) * k.ldy;
      }
    }
    pack_.kernels.forward[int(pack_.cell.kind)][phase](k);
  }

  void final_states(Size i) {
    History<T> &history = tape_.histories[i];
    const Size state = clock_.rows() * pack_.hidden, ld = tape_.ld;
    for (Size n = 0; n < clock_.rows(); ++n) {
      const Size end = clock_.length(n);
      unsorted_row(history.h_before(clock_, end, ld) + n * ld, clock_, n, pack_.hidden, args_.h + i * state);
      if (pack_.cell.cell_state)
        unsorted_row(history.c_before(clock_, end, ld) + n * ld, clock_, n, pack_.hidden,
                     args_.c + i * state);
    }
  }

  const ForwardArgs<T> &args_;
  Tape<T> &tape_;
  const Pack<T> &pack_;
  const Clock &clock_;
  const Plan plan_;
  const Schedule schedule_;
  Size ld_input_;
  std::vector<Scratch> scratch_;
  TableProjection<T> table_;
  Crew crew_;
};

}  // namespace

template <class T> std::unique_ptr<Tape<T>> forward(const ForwardArgs<T> &args) {
  std::unique_ptr<Tape<T>> tape(new Tape<T>{args.pack,
                                            Clock(args.steps, args.rows, args.lengths),
                                            args.steps,
                                            args.rows,
                                            args.x,
                                            args.ids,
                                            args.table,
                                            args.dropout,
                                            row_stride<T>(args.pack->padded),
                                            {}});
  tape->histories.resize(args.pack->layers * args.pack->directions);
  if (!Forward<T>(args, *tape).run()) throw Interrupted();
  if (!args.training) tape.reset();
  return tape;
}

template std::unique_ptr<Tape<float>> forward(const ForwardArgs<float> &);
template std::unique_ptr<Tape<double>> forward(const ForwardArgs<double> &);

}  // namespace pyrnnfast
