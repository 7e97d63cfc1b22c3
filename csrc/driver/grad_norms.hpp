// The norm of dL/dh at each step, over all rows and units, for whoever looks for vanishing or exploding
// gradients. Backward keeps dL/dh for one chunk; each row's sum of squares is made by one thread, and the
// rows are added in the user's order: the same bits for any number of threads.
#pragma once

#include <cmath>
#include <vector>

#include "input.hpp"
#include "parallel.hpp"
#include "plan.hpp"

namespace pyrnnfast {

template <class T> class GradNorms {
 public:
  // norms [L*D][T] out, in the user's order of steps; null: not wanted, then nothing is allocated.
  GradNorms(const Tape<T> &tape, Size chunk, double *norms) : tape_(tape), norms_(norms) {
    for (std::size_t i = 0; norms != nullptr && i < tape.histories.size(); ++i) {
      gradients_.emplace_back(chunk * tape.rows * tape.pack->padded_outputs);
      squares_.emplace_back(tape.steps * tape.rows, 0.0);
    }
  }
  // Where the gradient of row n at step s of a job goes; null: not wanted.
  T *at(const Job &job, Size s, Size n) {
    if (norms_ == nullptr) return nullptr;
    const Size row = tape_.clock.offset(s) - tape_.clock.offset(job.begin) + n;
    return gradients_[run(job)].data() + row * tape_.pack->padded_outputs;
  }
  // One thread's part of a job whose gradients are all there.
  void add(const Job &job, Member member) {
    if (norms_ == nullptr) return;
    const Clock &clock = tape_.clock;
    const Size first = clock.offset(job.begin), count = clock.offset(job.end) - first;
    const Size begin = first + count * member.id / member.threads;
    const Size end = first + count * (member.id + 1) / member.threads;
    for (RowWalk walk(clock, job.begin, job.end, 0, clock.rows()); !walk.done(); walk.next()) {
      if (walk.index() < begin || walk.index() >= end) continue;
      const T *gradient = at(job, walk.s, walk.n);
      double sum = 0;
      for (Size u = 0; u < tape_.pack->outputs; ++u) sum += double(gradient[u]) * double(gradient[u]);
      const Size time = clock.time(job.direction == 1, walk.s, walk.n);
      squares_[run(job)][time * tape_.rows + clock.user(walk.n)] = sum;
    }
  }
  void finish() {
    for (std::size_t i = 0; i < squares_.size(); ++i)
      for (Size t = 0; t < tape_.steps; ++t) {
        double sum = 0;
        for (Size n = 0; n < tape_.rows; ++n) sum += squares_[i][t * tape_.rows + n];
        norms_[Size(i) * tape_.steps + t] = std::sqrt(sum);
      }
  }

 private:
  Size run(const Job &job) const { return job.layer * tape_.pack->directions + job.direction; }

  const Tape<T> &tape_;
  double *norms_;
  std::vector<Buffer<T>> gradients_;  // [L*D] of [rows of a chunk][Rp]
  std::vector<std::vector<double>> squares_;  // [L*D] of [T][N], zero past a row's end
};

}  // namespace pyrnnfast
