// BPTT of a whole stack: the stages of forward, last first. In a stage the recurrences of its jobs run first,
// split like forward's; then all threads together turn each job's gate gradients into dX and dW. Gate
// gradients live one chunk.
#include <algorithm>
#include <tuple>

#include "crew.hpp"
#include "grad_norms.hpp"
#include "input.hpp"
#include "problem.hpp"
#include "states.hpp"
#include "weight_gradients.hpp"

namespace pyrnnfast {

namespace {

template <class T> class Backward {
 public:
  explicit Backward(const BackwardArgs<T> &args)
      : args_(args), tape_(*args.tape), pack_(*tape_.pack), clock_(tape_.clock),
        plan_(make_plan(pack_, clock_, args.threads, true)),
        schedule_(pack_.layers, pack_.directions, clock_.steps(), plan_.chunk),
        apart_(tape_.dropout.active() || tape_.dropout.input > 0 || pack_.directions > 1),
        sums_(tape_, plan_.threads), norms_(tape_, plan_.chunk, args.grad_norms),
        crew_(plan_, clock_, args.interrupted) {
    const Size N = clock_.rows(), L = pack_.layers, D = pack_.directions, state = N * pack_.hidden;
    for (Size i = 0; i < L * D; ++i) {
      Flow flow;
      flow.dgates = Buffer<T>(plan_.chunk * N * pack_.row());
      flow.carried = Buffer<T>(N * pack_.row());
      flow.dh = sorted_state(args.dh ? args.dh + i * state : nullptr, clock_, pack_.hidden, pack_.padded);
      if (pack_.cell.cell_state)
        flow.dc = sorted_state(args.dc ? args.dc + i * state : nullptr, clock_, pack_.hidden, pack_.padded);
      flows_.push_back(std::move(flow));
    }
    for (Size layer = 1; layer < L; ++layer) dinput_.emplace_back(clock_.total() * D * pack_.hidden, apart_);
    ld_input_ = row_stride<T>(pack_.widest());
    for (int i = 0; i < plan_.threads; ++i)
      scratch_.push_back(
          {Buffer<T>(apart(0) ? kProductRows * ld_input_ : 0), Buffer<int64_t>(std::max(kProductRows, N))});
  }

  bool run() {
    if (!crew_.run([&](Share &share) { work(share); })) return false;
    for (Size i = 0; i < pack_.layers * pack_.directions; ++i) initial_state(i);
    norms_.finish();
    return true;
  }

 private:
  // What flows back through one layer and direction.
  struct Flow {
    Buffer<T> dgates;  // [rows of the chunk][row]
    Buffer<T> carried;  // [N][row]: those of the step after the chunk
    Buffer<T> dh, dc;  // [N][Hp], sorted
  };
  struct Scratch {
    Buffer<T> apart;  // [kProductRows][ld_input]: one direction's dX, before its mask
    Buffer<int64_t> rows;
  };
  // Whether a layer's dX is added to, or masked.
  bool apart(Size layer) const { return apart_ || (layer == 0 && tape_.ids != nullptr); }
  Flow &flow_of(const Job &job) { return flows_[job.layer * pack_.directions + job.direction]; }

  void work(Share &share) {
    for (Size stage = schedule_.stages() - 1; stage >= 0; --stage) {
      const Size jobs = schedule_.jobs(stage);
      for (Size j = share.job; j < jobs; j += share.jobs)
        if (!recur(schedule_.job(stage, j), share)) return;
      if (!crew_.meet(share)) return;
      for (Size j = 0; j < jobs; ++j) {
        const Job job = schedule_.job(stage, j);
        sums_.add(job, flow_of(job).dgates.data(),
                  args_.weights[job.layer * pack_.directions + job.direction], share.member,
                  [&] { return crew_.go_on(share); });
        norms_.add(job, share.member);
        input_gradient(job, share);
      }
      if (!crew_.end_stage(share, true)) return;
    }
    if (sums_.table().used()) table_gradients(share);
  }

  bool recur(const Job &job, Share &share) {
    for (Size s = job.end - 1; s >= job.begin; --s)
      for (int phase = 0; phase < pack_.cell.phases; ++phase) {
        step(job, s, phase, share);
        if (!crew_.meet_units(share)) return false;
      }
    if (job.begin == 0)
      first_state(job, share);
    else
      carry(job, share);
    return true;
  }

  T *dgates_at(const Job &job, Size s) {
    return flow_of(job).dgates.data() + (clock_.offset(s) - clock_.offset(job.begin)) * pack_.row();
  }

  // The arguments of a phase over this share's units; rows and pointers are set by the caller.
  BackwardStep<T> common(const Job &job, int phase, const Share &share) {
    const BackwardPhase &back = pack_.cell.backward[phase];
    BackwardStep<T> k{};
    std::tie(k.group_begin, k.group_end) = share.groups(pack_.groups);
    k.hidden = pack_.hidden;
    k.padded = pack_.padded;
    k.depth = (back.last - back.first) * pack_.padded;
    k.lda = k.ld_gates = pack_.row();
    const LayerPack<T> &weights = pack_.at(job.layer, job.direction);
    k.weights = weights.hidden_back[phase].data();
    k.options = &weights.options;
    k.ld = tape_.ld;
    return k;
  }

  // One phase of step s. Rows whose last step is s have no following step: no product.
  void step(const Job &job, Size s, int phase, const Share &share) {
    const BackwardPhase &back = pack_.cell.backward[phase];
    const Size begin = share.row_begin, end = std::min(share.row_end, clock_.active(s));
    const Size following =
        back.following ? std::clamp(clock_.active(s + 1), begin, std::max(begin, end)) : end;
    crew_.in_pieces(share, begin, following, plan_.piece,
                    [&](Size n0, Size n1) { run_rows(job, s, phase, share, n0, n1, true); });
    crew_.in_pieces(share, following, end, plan_.piece,
                    [&](Size n0, Size n1) { run_rows(job, s, phase, share, n0, n1, false); });
  }

  void run_rows(const Job &job, Size s, int phase, const Share &share, Size n0, Size n1, bool product) {
    const BackwardPhase &back = pack_.cell.backward[phase];
    History<T> &history = tape_.at(job.layer, job.direction);
    Flow &flow = flow_of(job);
    const Size ld = tape_.ld, row = pack_.row();
    BackwardStep<T> k = common(job, phase, share);
    k.rows = n1 - n0;
    k.dgates = dgates_at(job, s) + n0 * row;
    if (!product)
      k.depth = 0;
    else if (!back.following)
      k.a = k.dgates + back.first * pack_.padded;
    else
      k.a = (s + 1 == job.end ? flow.carried.data() : dgates_at(job, s + 1)) + n0 * row +
            back.first * pack_.padded;
    k.gates = history.gates.data() + (clock_.offset(s) + n0) * row;
    k.h_prev = history.h_before(clock_, s, ld) + n0 * ld;
    if (pack_.cell.cell_state) {
      k.c_prev = history.c_before(clock_, s, ld) + n0 * ld;
      k.c_next = history.c_at(clock_, s, ld) + n0 * ld;
      k.dc = flow.dc.data() + n0 * pack_.padded;
    }
    k.dh = flow.dh.data() + n0 * pack_.padded;
    k.draws = tape_.draws(job.layer, job.direction, s, n0);
    set_mask(history, n0, k);
    if (phase == 0) k.record = norms_.at(job, s, n0);
    if (phase == 0) output_gradient(job, s, n0, k, scratch_[share.member.id]);
    pack_.kernels.backward[pack_.general][int(pack_.cell.kind)][phase](k);
  }

  static void set_mask(const History<T> &history, Size n0, BackwardStep<T> &k) {
    if (const T *mask = history.recurrent_mask.data()) k.mask = mask + n0 * k.ld;
  }

  // Where the gradient of this step's outputs lies: the user's dy, or dX of the layer above (in the forward
  // clock's order).
  void output_gradient(const Job &job, Size s, Size n0, BackwardStep<T> &k, Scratch &scratch) const {
    const bool top = job.layer + 1 == pack_.layers, reverse = job.direction == 1;
    if (top && args_.dy == nullptr) return;
    k.ldy = pack_.directions * pack_.hidden;
    k.dy = (top ? args_.dy : dinput_[job.layer].data()) + job.direction * pack_.hidden;
    if (!clock_.ragged()) {
      k.dy += input_row(job.layer + 1, reverse, s, n0) * k.ldy;
      if (top && tape_.order == Order::rows_first) k.ldy *= tape_.steps;
    } else if (!top && !reverse) {
      k.dy += (clock_.offset(s) + n0) * k.ldy;
    } else {
      k.dy_rows = scratch.rows.data();
      for (Size n = 0; n < k.rows; ++n) scratch.rows.data()[n] = input_row(job.layer + 1, reverse, s, n0 + n);
    }
  }

  // Row of the gradient of a layer's input: that of x for the first, the user's order for dy (the "input" of
  // no layer), else the forward clock's.
  Size input_row(Size layer, bool reverse, Size s, Size n) const {
    const Size time = clock_.time(reverse, s, n);
    if (layer == 0) return tape_.x_row(reverse, s, n);
    return layer == pack_.layers ? tape_.user_row(time, n) : clock_.offset(time) + n;
  }

  // d(gates) of the chunk's first step, which the chunk before it continues from.
  void carry(const Job &job, const Share &share) {
    const Size row = pack_.row(), end = std::min(share.row_end, clock_.active(job.begin));
    if (share.part == 0 && share.row_begin < end)
      std::copy(dgates_at(job, job.begin) + share.row_begin * row, dgates_at(job, job.begin) + end * row,
                flow_of(job).carried.data() + share.row_begin * row);
  }

  // The state before the first step.
  void first_state(const Job &job, const Share &share) {
    const Size end = std::min(share.row_end, clock_.active(0));
    crew_.in_pieces(share, share.row_begin, end, plan_.piece, [&](Size n0, Size n1) {
      BackwardStep<T> k = common(job, 0, share);
      k.rows = n1 - n0;
      k.a = dgates_at(job, 0) + n0 * pack_.row() + pack_.cell.backward[0].first * pack_.padded;
      k.dh = flow_of(job).dh.data() + n0 * pack_.padded;
      set_mask(tape_.at(job.layer, job.direction), n0, k);
      pack_.kernels.backward_state(k);
    });
  }

  // This thread's columns of dX = d(gates) W_ih, summed over the directions. Each direction's sum begins from
  // zero and is then added: which of the two comes first depends on where the chunks end.
  void input_gradient(const Job &job, const Share &share) {
    if (job.layer == 0 && (args_.dx == nullptr || sums_.table().used())) return;
    const bool apart = this->apart(job.layer);
    const LayerPack<T> &weights = pack_.at(job.layer, job.direction);
    const Size row = pack_.row(), lanes2 = 2 * pack_.kernels.lanes, width = weights.inputs;
    const Member member = share.member;
    Scratch &scratch = scratch_[member.id];
    T *dx = job.layer == 0 ? args_.dx : dinput_[job.layer - 1].data();
    GemmArgs<T> gemm{};
    gemm.cols = width;
    gemm.depth = pack_.cell.projected * pack_.padded;
    gemm.lda = row;
    gemm.b = weights.input_back.data();
    const Size strips = (width + lanes2 - 1) / lanes2;
    gemm.strip_begin = strips * member.id / member.threads;
    gemm.strip_end = strips * (member.id + 1) / member.threads;
    const Size col0 = gemm.strip_begin * lanes2, col1 = std::min(width, gemm.strip_end * lanes2);
    if (col0 >= col1) return;
    gemm.c = apart ? scratch.apart.data() : dx;
    gemm.ldc = apart ? ld_input_ : width;
    gemm.c_rows = apart ? nullptr : scratch.rows.data();
    gemm.start = Start::zero;
    const Size most = std::min(kProductRows, plan_.piece);
    for (RowWalk walk(clock_, job.begin, job.end, 0, clock_.rows()); !walk.done() && crew_.go_on(share);) {
      const RowWalk begin = walk;
      gemm.a = dgates_at(job, job.begin) + (walk.index() - clock_.offset(job.begin)) * row;
      for (gemm.rows = 0; gemm.rows < most && !walk.done(); walk.next())
        scratch.rows.data()[gemm.rows++] = input_row(job.layer, job.direction == 1, walk.s, walk.n);
      pack_.kernels.gemm(gemm);
      if (!apart) continue;
      mask(begin, gemm.rows, job, scratch);
      for (Size i = 0; i < gemm.rows; ++i) {
        const T *from = scratch.apart.data() + i * ld_input_;
        T *to = dx + scratch.rows.data()[i] * width;
        for (Size k = col0; k < col1; ++k) to[k] += from[k];
      }
    }
  }

  // After the last chunk: this thread's part of dW_ih and of the table's gradient, from each id's sums.
  void table_gradients(const Share &share) {
    const auto go_on = [&] { return crew_.go_on(share); };
    const Size lanes2 = 2 * pack_.kernels.lanes, strips = (pack_.inputs + lanes2 - 1) / lanes2;
    for (Size d = 0; d < pack_.directions; ++d) {
      sums_.add_table(d, args_.weights[d], share.member, go_on);
      if (args_.dx == nullptr) continue;
      GemmArgs<T> gemm{};
      gemm.cols = gemm.ldc = pack_.inputs;
      gemm.depth = pack_.cell.projected * pack_.padded;
      gemm.lda = pack_.row();
      gemm.b = pack_.at(0, d).input_back.data();
      gemm.strip_begin = strips * share.member.id / share.member.threads;
      gemm.strip_end = strips * (share.member.id + 1) / share.member.threads;
      gemm.start = Start::zero;
      gemm.add = true;
      for (Size v = 0; v < tape_.table && go_on(); v += kProductRows) {
        gemm.rows = std::min(kProductRows, tape_.table - v);
        gemm.a = sums_.table().row(d, v);
        gemm.c = args_.dx + v * gemm.ldc;
        pack_.kernels.gemm(gemm);
      }
    }
  }

  void mask(RowWalk walk, Size count, const Job &job, Scratch &scratch) const {
    const Size width = pack_.at(job.layer, 0).inputs;
    const T *factors = tape_.at(job.layer, job.direction).input_mask.data();
    const bool between = job.layer > 0 && tape_.dropout.active();
    for (Size i = 0; (factors != nullptr || between) && i < count; ++i, walk.next()) {
      T *dx = scratch.apart.data() + i * ld_input_;
      if (factors != nullptr) pack_.kernels.mask(dx, factors + walk.n * width, dx, width);
      if (!between) continue;
      tape_.dropout.apply(pack_.kernels, job.layer - 1, clock_.time(job.direction == 1, walk.s, walk.n),
                          clock_.user(walk.n), dx, width);
    }
  }

  void initial_state(Size i) {
    const Size state = clock_.rows() * pack_.hidden;
    for (Size n = 0; n < clock_.rows(); ++n) {
      if (args_.dh0 != nullptr)
        unsorted_row(flows_[i].dh.data() + n * pack_.padded, clock_, n, pack_.hidden, args_.dh0 + i * state);
      if (args_.dc0 != nullptr)
        unsorted_row(flows_[i].dc.data() + n * pack_.padded, clock_, n, pack_.hidden, args_.dc0 + i * state);
    }
    sums_.finish(i, args_.weights[i]);
  }

  const BackwardArgs<T> &args_;
  Tape<T> &tape_;
  const Pack<T> &pack_;
  const Clock &clock_;
  const Plan plan_;
  const Schedule schedule_;
  const bool apart_;  // every layer's dX is added to, or masked
  WeightGradientSum<T> sums_;
  GradNorms<T> norms_;
  std::vector<Flow> flows_;
  std::vector<Buffer<T>> dinput_;  // [layers - 1] of [total][D*H]: dX of layers 1, 2, ...
  Size ld_input_;
  std::vector<Scratch> scratch_;
  Crew crew_;
};

}  // namespace

template <class T> void backward(const BackwardArgs<T> &args) {
  if (!Backward<T>(args).run()) throw Interrupted();
}

template void backward(const BackwardArgs<float> &);
template void backward(const BackwardArgs<double> &);

}  // namespace pyrnnfast
