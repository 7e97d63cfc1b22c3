// BPTT of a whole stack: the stages of forward, last first. In a stage the recurrences of its jobs run first,
// split like forward's; then all threads together turn each job's gate gradients into dX and dW. Gate
// gradients live one chunk.
#include <algorithm>
#include <tuple>

#include "crew.hpp"
#include "flow.hpp"
#include "grad_norms.hpp"
#include "input.hpp"
#include "input_gradients.hpp"
#include "norm.hpp"
#include "problem.hpp"
#include "weight_gradients.hpp"

namespace pyrnnfast {

namespace {

template <class T> class Backward {
 public:
  explicit Backward(const BackwardArgs<T> &args)
      : args_(args), tape_(*args.tape), pack_(*tape_.pack), clock_(tape_.clock),
        plan_(make_plan(pack_, clock_, args.threads, true)),
        schedule_(pack_.layers, pack_.directions, clock_.steps(), plan_.chunk),
        first_phase_(pack_.projects() ? kProjection : 0), sums_(tape_, plan_.threads), inputs_(args, plan_),
        norms_(tape_, plan_.chunk, args.grad_norms), crew_(plan_, clock_, args.interrupted) {
    const Size N = clock_.rows(), L = pack_.layers, D = pack_.directions;
    for (Size i = 0; i < L * D; ++i) flows_.emplace_back(args, i, plan_.chunk);
    if (pack_.merges()) dsides_ = Buffer<T>(clock_.total() * D * pack_.outputs);
    for (int i = 0; i < plan_.threads; ++i) rows_.emplace_back(N);
  }

  bool run() {
    if (!crew_.run([&](Share &share) { work(share); })) return false;
    for (Size i = 0; i < pack_.layers * pack_.directions; ++i) {
      flows_[i].finish(args_, i);
      sums_.finish(i, args_.weights[i]);
    }
    norms_.finish();
    return true;
  }

 private:
  static constexpr int kProjection = -1;  // a phase, before those of the cell

  Flow<T> &flow_of(const Job &job) { return flows_[job.layer * pack_.directions + job.direction]; }

  void work(Share &share) {
    for (Size stage = schedule_.stages() - 1; stage >= 0; --stage) {
      const Size jobs = schedule_.jobs(stage);
      if (pack_.merges() && schedule_.job(stage, 0).end == clock_.steps()) {
        const Size layer = schedule_.job(stage, 0).layer;
        unmerge_gradient(tape_, layer, layer + 1 == pack_.layers ? nullptr : inputs_.of_outputs(layer),
                         args_.dy, share.member, dsides_.data());
        if (!crew_.meet(share)) return;
      }
      for (Size j = share.job; j < jobs; j += share.jobs)
        if (!recur(schedule_.job(stage, j), share)) return;
      if (!crew_.meet(share)) return;
      for (Size j = 0; j < jobs; ++j) {
        const Job job = schedule_.job(stage, j);
        const WeightGradients<T> &out = args_.weights[job.layer * pack_.directions + job.direction];
        const ChunkGradients<T> d = flow_of(job).gradients(pack_.normed);
        const auto go_on = [&] { return crew_.go_on(share); };
        sums_.add(job, d, flow_of(job).doutputs.data(), out, share.member, go_on);
        norms_.add(job, share.member);
        if (job.layer > 0 || !sums_.table().used()) inputs_.add(job, d.input, share.member, go_on);
      }
      if (!crew_.end_stage(share, true)) return;
    }
    const auto go_on = [&] { return crew_.go_on(share); };
    for (Size d = 0; sums_.table().used() && d < pack_.directions; ++d) {
      sums_.add_table(d, args_.weights[d], share.member, go_on);
      inputs_.add_table(sums_.table(), d, share.member, go_on);
    }
  }

  bool recur(const Job &job, Share &share) {
    for (Size s = job.end - 1; s >= job.begin; --s)
      for (int phase = first_phase_; phase < pack_.cell.phases; ++phase) {
        step(job, s, phase, share);
        if (!crew_.meet_units(share)) return false;
        if (pack_.normed && !normalize(job, s, phase, share)) return false;
      }
    if (job.begin == 0)
      first_state(job, share);
    else
      carry(job, share);
    return true;
  }

  Size in_chunk(const Job &job, Size s) const { return clock_.offset(s) - clock_.offset(job.begin); }
  T *dgates_at(const Job &job, Size s) { return flow_of(job).dgates.data() + in_chunk(job, s) * pack_.row(); }
  // What a product with W_hh reads, from a slot on.
  const T *dhidden_at(const Job &job, Size s, Size n, int slot) {
    return flow_of(job).gradients(pack_.normed).hidden + (in_chunk(job, s) + n) * pack_.row() +
           slot * pack_.padded;
  }

  bool normalize(const Job &job, Size s, int phase, Share &share) {
    const auto [begin, end] = share.rows(clock_.active(s));
    Flow<T> &flow = flow_of(job);
    crew_.in_pieces(share, begin, end, plan_.piece, [&](Size n0, Size n1) {
      LayerNorm<T>(tape_, job)
          .back(s, phase, n0, n1, in_chunk(job, s) + n0, flow.dgates.data(), flow.dc.data(), flow.normed);
    });
    return crew_.meet_units(share);
  }
  T *doutputs_at(const Job &job, Size s) {
    return flow_of(job).doutputs.data() + in_chunk(job, s) * tape_.ld_out;
  }

  // The product of a phase over this share's columns: with W_hh, or below a projection with W_hr. Rows and
  // other pointers are set by the caller.
  BackwardStep<T> common(const Job &job, int phase, const Share &share) {
    const LayerPack<T> &weights = pack_.at(job.layer, job.direction);
    const bool outputs = phase == kProjection;
    BackwardStep<T> k{};
    k.hidden = outputs ? pack_.outputs : pack_.hidden;
    k.padded = outputs ? pack_.padded_outputs : pack_.padded;
    std::tie(k.group_begin, k.group_end) = share.groups(k.padded / pack_.kernels.lanes);
    k.lda = k.ld_gates = pack_.row();
    if (phase == first_phase_ || !pack_.projects()) {
      const BackwardPhase &back = pack_.cell.backward[std::max(phase, 0)];
      k.depth = (back.last - back.first) * pack_.padded;
      k.weights = weights.hidden_back[std::max(phase, 0)].data();
    } else {
      k.depth = pack_.outputs;
      k.lda = tape_.ld_out;
      k.weights = weights.project_back.data();
    }
    k.options = &weights.options;
    k.ld = outputs ? tape_.ld_out : tape_.ld;
    return k;
  }

  // One phase of step s. Rows whose last step is s have no following step: no product.
  void step(const Job &job, Size s, int phase, const Share &share) {
    const bool later = phase == first_phase_ || (!pack_.projects() && pack_.cell.backward[phase].following);
    const Size begin = share.row_begin, end = std::min(share.row_end, clock_.active(s));
    const Size following = later ? std::clamp(clock_.active(s + 1), begin, std::max(begin, end)) : end;
    crew_.in_pieces(share, begin, following, plan_.piece,
                    [&](Size n0, Size n1) { run_rows(job, s, phase, share, n0, n1, true); });
    crew_.in_pieces(share, following, end, plan_.piece,
                    [&](Size n0, Size n1) { run_rows(job, s, phase, share, n0, n1, false); });
  }

  void run_rows(const Job &job, Size s, int phase, const Share &share, Size n0, Size n1, bool product) {
    const BackwardPhase &back = pack_.cell.backward[std::max(phase, 0)];
    History<T> &history = tape_.at(job.layer, job.direction);
    Flow<T> &flow = flow_of(job);
    const Size ld = tape_.ld, row = pack_.row();
    BackwardStep<T> k = common(job, phase, share);
    k.rows = n1 - n0;
    k.dgates = dgates_at(job, s) + n0 * row;
    if (!product)
      k.depth = 0;
    else if (pack_.projects() && phase == 0)
      k.a = doutputs_at(job, s) + n0 * tape_.ld_out;
    else if (!back.following)
      k.a = dhidden_at(job, s, n0, back.first);
    else if (s + 1 == job.end)
      k.a = flow.carried.data() + n0 * row + back.first * pack_.padded;
    else
      k.a = dhidden_at(job, s + 1, n0, back.first);
    if (phase == first_phase_) {
      output_gradient(job, s, n0, k, rows_[share.member.id].data());
      k.record = norms_.at(job, s, n0);
    }
    set_mask(job, phase, n0, k);
    k.draws = tape_.draws(job.layer, job.direction, s, n0);
    if (phase == kProjection) {
      k.gates = pack_.activates() ? history.sums.data() + (clock_.offset(s) + n0) * tape_.ld_out
                                  : history.p_at(clock_, s, tape_.ld_out) + n0 * tape_.ld_out;
      k.dgates = doutputs_at(job, s) + n0 * tape_.ld_out;
      k.ld_gates = tape_.ld_out;
      k.dh = flow.dp.data() + n0 * k.padded;
      k.limit = pack_.limit;
      k.options = &pack_.at(job.layer, job.direction).project_options;
      return pack_.kernels.backward_project[pack_.activates()](k);
    }
    k.gates = history.gates.data() + (clock_.offset(s) + n0) * row;
    k.h_prev = history.h_before(clock_, s, ld) + n0 * ld;
    if (pack_.cell.cell_state) {
      k.c_prev = history.c_before(clock_, s, ld) + n0 * ld;
      k.c_next = history.c_at(clock_, s, ld) + n0 * ld;
      k.dc = flow.dc.data() + n0 * pack_.padded;
      if (pack_.normed) {
        k.c_normed = LayerNorm<T>(tape_, job).cell_at(s, n0);
        k.dc_normed = flow.normed.cell.data() + (in_chunk(job, s) + n0) * pack_.padded;
      }
    }
    k.dh = flow.dh.data() + n0 * pack_.padded;
    if (args_.dcells != nullptr && job.layer + 1 == pack_.layers) add_cells(args_, job, s, n0, k);
    pack_.kernels.backward[pack_.general][int(pack_.cell.kind)][phase](k);
  }

  // The mask of the state that W_hh saw, of a product with it.
  void set_mask(const Job &job, int phase, Size n0, BackwardStep<T> &k) {
    const T *mask = tape_.at(job.layer, job.direction).recurrent_mask.data();
    if (mask != nullptr && (phase == first_phase_ || !pack_.projects())) k.mask = mask + n0 * tape_.ld_out;
  }

  // Where the gradient of this step's outputs lies: the user's dy, or dX of the layer above (in the forward
  // clock's order).
  void output_gradient(const Job &job, Size s, Size n0, BackwardStep<T> &k, int64_t *rows) const {
    const bool last = job.layer + 1 == pack_.layers, reverse = job.direction == 1;
    if (last && args_.dy == nullptr) return;
    const bool top = last && !pack_.merges();
    const Size above = top ? pack_.layers : InputGradients<T>::kInner;
    const T *from = top ? args_.dy : pack_.merges() ? dsides_.data() : inputs_.of_outputs(job.layer);
    k.ldy = pack_.directions * pack_.outputs;
    k.dy = from + job.direction * pack_.outputs;
    if (!clock_.ragged()) {
      k.dy += inputs_.row(above, reverse, s, n0) * k.ldy;
      if (top && tape_.order == Order::rows_first) k.ldy *= tape_.steps;
    } else if (!top && !reverse) {
      k.dy += (clock_.offset(s) + n0) * k.ldy;
    } else {
      k.dy_rows = rows;
      for (Size n = 0; n < k.rows; ++n) rows[n] = inputs_.row(above, reverse, s, n0 + n);
    }
  }

  // What the product of the chunk before it reads of the chunk's first step.
  void carry(const Job &job, const Share &share) {
    const Size row = pack_.row(), end = std::min(share.row_end, clock_.active(job.begin));
    if (share.part == 0 && share.row_begin < end)
      std::copy(dhidden_at(job, job.begin, share.row_begin, 0), dhidden_at(job, job.begin, end, 0),
                flow_of(job).carried.data() + share.row_begin * row);
  }

  // The state before the first step.
  void first_state(const Job &job, const Share &share) {
    const Size end = std::min(share.row_end, clock_.active(0));
    crew_.in_pieces(share, share.row_begin, end, plan_.piece, [&](Size n0, Size n1) {
      BackwardStep<T> k = common(job, first_phase_, share);
      k.rows = n1 - n0;
      k.a = dhidden_at(job, 0, n0, pack_.cell.backward[0].first);
      k.dh = (pack_.projects() ? flow_of(job).dp : flow_of(job).dh).data() + n0 * k.padded;
      set_mask(job, first_phase_, n0, k);
      pack_.kernels.backward_state(k);
    });
  }

  const BackwardArgs<T> &args_;
  Tape<T> &tape_;
  const Pack<T> &pack_;
  const Clock &clock_;
  const Plan plan_;
  const Schedule schedule_;
  const int first_phase_;  // of a step
  WeightGradientSum<T> sums_;
  InputGradients<T> inputs_;
  GradNorms<T> norms_;
  std::vector<Flow<T>> flows_;
  Buffer<T> dsides_;  // [total][D*R] of a layer whose outputs are merged, as dX is otherwise
  std::vector<Buffer<int64_t>> rows_;  // [threads] of [N]
  Crew crew_;
};

}  // namespace

template <class T> void backward(const BackwardArgs<T> &args) {
  if (!Backward<T>(args).run()) throw Interrupted();
}

template void backward(const BackwardArgs<float> &);
template void backward(const BackwardArgs<double> &);

}  // namespace pyrnnfast
