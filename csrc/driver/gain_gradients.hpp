// Gradients of the gains and biases of layer normalisation, summed over a chunk as those of biases are.
#pragma once

#include <algorithm>
#include <vector>

#include "flow.hpp"
#include "parallel.hpp"
#include "problem.hpp"

namespace pyrnnfast {

template <class T> class GainGradients {
 public:
  explicit GainGradients(Tape<T> &tape) : tape_(tape), pack_(*tape.pack) {
    for (Size i = 0; i < (pack_.normed ? pack_.layers * pack_.directions : 0); ++i)
      sums_.push_back({Buffer<T>(pack_.columns(), true), Buffer<T>(pack_.columns(), true),
                       Buffer<T>(2 * pack_.padded, true)});
  }

  // Sums of gradients times what was normalised, this thread's columns; of the bias of c, sums alone. The
  // rows begin with that of `index` in the tape.
  void add(const Job &job, Size index, const ChunkGradients<T> &d, Size count, Member member) {
    const NormHistory<T> &normed = tape_.at(job.layer, job.direction).normed;
    Sums &sums = sums_[job.layer * pack_.directions + job.direction];
    const Size lanes = pack_.kernels.lanes, row = pack_.row();
    const auto add = [&](const T *gradients, Size ld, const T *factors, Size ld_factors, int slot, int slots,
                         T *to) {
      const Size from = slot * pack_.padded, vectors = slots * pack_.groups;
      const Size v0 = from + vectors * member.id / member.threads * lanes;
      const Size v1 = from + vectors * (member.id + 1) / member.threads * lanes;
      if (factors == nullptr)
        pack_.kernels.add_column_sums(gradients + v0, ld, nullptr, count, v1 - v0, to + v0);
      else
        pack_.kernels.add_product_sums(gradients + v0, ld, factors + index * ld_factors + v0, ld_factors,
                                       count, v1 - v0, to + v0);
    };
    add(d.gates, row, normed.input.data(), row, 0, pack_.cell.projected, sums.input.data());
    for (int p = 0; p < pack_.cell.phases; ++p) {
      const ForwardPhase &phase = pack_.cell.forward[p];
      add(d.gates, row, normed.hidden.data(), row, phase.first, phase.last - phase.first, sums.hidden.data());
    }
    if (!pack_.cell.cell_state) return;
    add(d.cell, pack_.padded, normed.cell.data(), tape_.ld, 0, 1, sums.cell.data());
    add(d.cell, pack_.padded, nullptr, 0, 0, 1, sums.cell.data() + pack_.padded);
  }

  // After the last chunk, to the user.
  void finish(Size i, const WeightGradients<T> &out) const {
    const Sums &sums = sums_[i];
    const Size H = pack_.hidden, padded = pack_.padded;
    for (int slot = 0; slot < pack_.cell.slots; ++slot) {
      const int input = pack_.cell.input_gate[slot], hidden = pack_.cell.hidden_gate[slot];
      if (input != kNone) copy(sums.input.data() + slot * padded, out.norm_ih, input * H);
      if (hidden != kNone) copy(sums.hidden.data() + slot * padded, out.norm_hh, hidden * H);
    }
    copy(sums.cell.data(), out.norm_c, 0);
    copy(sums.cell.data() + padded, out.norm_c_bias, 0);
  }

 private:
  struct Sums {
    Buffer<T> input, hidden;  // [slots][Hp]
    Buffer<T> cell;  // [2][Hp] gain and bias of c
  };
  void copy(const T *sums, T *out, Size at) const {
    if (out != nullptr) std::copy_n(sums, pack_.hidden, out + at);
  }

  Tape<T> &tape_;
  const Pack<T> &pack_;
  std::vector<Sums> sums_;  // [layers * directions]
};

}  // namespace pyrnnfast
