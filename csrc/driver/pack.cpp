#include "pack.hpp"

#include <algorithm>
#include <atomic>

#include "parallel.hpp"

namespace pyrnnfast {

namespace {

constexpr Size kParallelElements = 1 << 17;

// Strips of `width` vectors that hold `vectors` columns. Packing writes all but the last strip's missing
// vectors and the rows of padding units; where there are any, everything begins from zero.
template <class T> Buffer<T> strips(Size vectors, Size width, Size depth, Size lanes, bool padding) {
  return Buffer<T>((vectors + width - 1) / width * width * lanes * depth, padding || vectors % width != 0);
}

}  // namespace

template <class T>
Pack<T>::Pack(const KernelTable<T> &table, const Cell &c, Size C, Size H, Size L, Size D,
              const std::vector<LayerWeights<T>> &weights, int threads, Use serves,
              const std::vector<Options<T>> &options, Outputs out)
    : kernels(table), cell(c), inputs(C), hidden(H), layers(L), directions(D), use(serves),
      padded(padded_units(table, H)), groups(padded / table.lanes), projection(out.projection),
      outputs(projects() ? projection : H), padded_outputs(padded_units(table, outputs)), limit(T(out.clip)),
      merge(out.merge), width(merges() ? outputs : D * outputs), general(!options.empty()),
      normed(weights[0].norm_ih != nullptr) {
  std::vector<PackArgs<T>> work;
  Size elements = 0;
  for (Size i = 0; i < L * D; ++i) {
    packs.push_back(allocate(i < D ? C : width, use));
    if (use != Use::backward) {
      add_forward(weights[i], packs.back(), work);
      add_biases(weights[i], packs.back());
    }
    if (use != Use::forward) add_backward(weights[i], packs.back(), work);
    if (general) add_options(weights[i], options[i % D], packs.back());
    if (normed) add_norm(weights[i], packs.back());
    elements += c.gates * H * (packs.back().inputs + outputs);
  }
  std::atomic<std::size_t> next{0};
  run_team(elements < kParallelElements ? 1 : threads, [&](Member) {
    for (std::size_t i = next++; i < work.size(); i = next++) kernels.pack(work[i]);
  });
}

template <class T> LayerPack<T> Pack<T>::allocate(Size C, Use use) const {
  LayerPack<T> out;
  out.inputs = C;
  const bool padding = padded != hidden;
  const Size out_groups = padded_outputs / kernels.lanes;
  if (use != Use::backward) {
    out.input = strips<T>(cell.projected * groups, 2, C, kernels.lanes, padding);
    for (int p = 0; p < cell.phases; ++p) {
      const ForwardPhase &phase = cell.forward[p];
      out.hidden[p] = strips<T>(groups * (phase.last - phase.first), normed ? 2 : phase.width, outputs,
                                kernels.lanes, padding);
    }
    out.input_bias = Buffer<T>(cell.projected * padded, true);
    out.hidden_bias = Buffer<T>(cell.slots * padded, true);
    if (projects()) {
      out.project = strips<T>(out_groups, 2, hidden, kernels.lanes, false);
      out.project_bias = Buffer<T>(padded_outputs, true);
    }
  }
  if (use != Use::forward) {
    out.input_back = strips<T>((C + kernels.lanes - 1) / kernels.lanes, 2, cell.projected * padded,
                               kernels.lanes, padding);
    for (int p = 0; p < cell.phases; ++p) {
      const BackwardPhase &back = cell.backward[p];
      out.hidden_back[p] =
          strips<T>(out_groups, 2, (back.last - back.first) * padded, kernels.lanes, padding);
    }
    if (projects()) out.project_back = strips<T>(groups, 2, outputs, kernels.lanes, false);
  }
  return out;
}

template <class T>
void Pack<T>::add_forward(const LayerWeights<T> &w, LayerPack<T> &out, std::vector<PackArgs<T>> &work) const {
  const Size C = out.inputs, H = hidden, R = outputs, lanes = kernels.lanes;
  for (int slot = 0; slot < cell.projected; ++slot)
    work.push_back(
        {w.weight_ih + cell.input_gate[slot] * H * C, 1, C, C, H, out.input.data(), C, 2, 0, slot * padded});
  for (int p = 0; p < cell.phases; ++p) {
    const ForwardPhase &phase = cell.forward[p];
    const Size count = phase.last - phase.first;
    for (Size slot = phase.first; normed && slot < phase.last; ++slot)
      work.push_back({w.weight_hh + cell.hidden_gate[slot] * H * R, 1, R, R, H, out.hidden[p].data(), R, 2, 0,
                      (slot - phase.first) * padded});
    for (Size group = 0; !normed && group < groups; ++group)
      for (Size slot = phase.first; slot < phase.last; ++slot) {
        const T *rows = w.weight_hh + (cell.hidden_gate[slot] * H + group * lanes) * R;
        const Size column = (group * count + slot - phase.first) * lanes;
        work.push_back({rows, 1, R, R, std::min(lanes, H - group * lanes), out.hidden[p].data(), R,
                        phase.width, 0, column});
      }
  }
  if (projects()) work.push_back({w.weight_hr, 1, H, H, R, out.project.data(), H, 2, 0, 0});
}

template <class T>
void Pack<T>::add_backward(const LayerWeights<T> &w, LayerPack<T> &out,
                           std::vector<PackArgs<T>> &work) const {
  const Size C = out.inputs, H = hidden, R = outputs;
  for (int slot = 0; slot < cell.projected; ++slot)
    work.push_back({w.weight_ih + cell.input_gate[slot] * H * C, C, 1, H, C, out.input_back.data(),
                    cell.projected * padded, 2, slot * padded, 0});
  for (int p = 0; p < cell.phases; ++p) {
    const BackwardPhase &back = cell.backward[p];
    for (Size slot = back.first; slot < back.last; ++slot)
      work.push_back({w.weight_hh + cell.hidden_gate[slot] * H * R, R, 1, H, R, out.hidden_back[p].data(),
                      (back.last - back.first) * padded, 2, (slot - back.first) * padded, 0});
  }
  if (projects()) work.push_back({w.weight_hr, H, 1, R, H, out.project_back.data(), R, 2, 0, 0});
}

template <class T>
void Pack<T>::add_options(const LayerWeights<T> &w, const Options<T> &options, LayerPack<T> &out) const {
  out.options = out.project_options = options;
  if (projects()) out.options.zoneout[1] = 0;  // h is zoned where it is whole
  if (w.peephole == nullptr) return;
  out.peephole = Buffer<T>(3 * padded, true);
  for (int k = 0; k < 3; ++k) std::copy_n(w.peephole + k * hidden, hidden, out.peephole.data() + k * padded);
  out.options.peephole = out.peephole.data();
}

template <class T> void Pack<T>::add_norm(const LayerWeights<T> &w, LayerPack<T> &out) const {
  const Size H = hidden;
  out.options.normed = true;
  for (Buffer<T> *each : {&out.input_gain, &out.hidden_gain, &out.no_bias})
    *each = Buffer<T>(cell.slots * padded, true);
  for (int slot = 0; slot < cell.slots; ++slot) {
    const int input = cell.input_gate[slot], recurrent = cell.hidden_gate[slot];
    if (input != kNone) std::copy_n(w.norm_ih + input * H, H, out.input_gain.data() + slot * padded);
    if (recurrent != kNone) std::copy_n(w.norm_hh + recurrent * H, H, out.hidden_gain.data() + slot * padded);
  }
  if (!cell.cell_state) return;
  out.cell_norm = Buffer<T>(2 * padded, true);
  std::copy_n(w.norm_c, H, out.cell_norm.data());
  if (w.norm_c_bias != nullptr) std::copy_n(w.norm_c_bias, H, out.cell_norm.data() + padded);
  out.options.cell_norm = out.cell_norm.data();
}

template <class T> void Pack<T>::add_biases(const LayerWeights<T> &w, LayerPack<T> &out) const {
  if (w.bias_ih == nullptr) return;
  const Size H = hidden;
  if (w.bias_hr != nullptr) std::copy_n(w.bias_hr, outputs, out.project_bias.data());
  for (int slot = 0; slot < cell.slots; ++slot)
    for (Size u = 0; u < H; ++u) {
      const bool recurrent = cell.hidden_gate[slot] != kNone && w.bias_hh != nullptr;
      const T hidden_part = recurrent ? w.bias_hh[cell.hidden_gate[slot] * H + u] : T(0);
      if (slot >= cell.projected) {
        out.hidden_bias.data()[slot * padded + u] = hidden_part;
        continue;
      }
      const T input_part = w.bias_ih[cell.input_gate[slot] * H + u];
      out.input_bias.data()[slot * padded + u] = recurrent ? input_part + hidden_part : input_part;
    }
}

template struct Pack<float>;
template struct Pack<double>;

}  // namespace pyrnnfast
