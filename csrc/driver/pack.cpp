#include "pack.hpp"

#include <algorithm>

namespace pyrnnfast {

namespace {

// Strips of `width` vectors that hold `vectors` columns; the last one is filled with zeros.
template <class T> Buffer<T> strips(Size vectors, Size width, Size depth, Size lanes) {
  return Buffer<T>((vectors + width - 1) / width * width * lanes * depth, true);
}

}  // namespace

template <class T>
Pack<T>::Pack(const KernelTable<T> &table, const Cell &c, Size C, Size H, Size L, Size D,
              const std::vector<LayerWeights<T>> &weights)
    : kernels(table), cell(c), inputs(C), hidden(H), layers(L), directions(D),
      padded((H + table.lanes - 1) / table.lanes * table.lanes), groups(padded / table.lanes) {
  packs.reserve(weights.size());
  for (Size i = 0; i < L * D; ++i) packs.push_back(pack_layer(i < D ? C : D * H, weights[i]));
}

template <class T> LayerPack<T> Pack<T>::pack_layer(Size C, const LayerWeights<T> &w) const {
  const Size H = hidden, lanes = kernels.lanes;
  LayerPack<T> out;
  out.inputs = C;

  out.input = strips<T>(cell.projected * groups, 2, C, lanes);
  out.input_back = strips<T>((C + lanes - 1) / lanes, 2, cell.projected * padded, lanes);
  for (int slot = 0; slot < cell.projected; ++slot) {
    const T *rows = w.weight_ih + cell.input_gate[slot] * H * C;
    kernels.pack({rows, 1, C, C, H, out.input.data(), C, 2, 0, slot * padded});
    kernels.pack({rows, C, 1, H, C, out.input_back.data(), cell.projected * padded, 2, slot * padded, 0});
  }

  for (int p = 0; p < cell.phases; ++p) {
    const ForwardPhase &phase = cell.forward[p];
    const Size count = phase.last - phase.first;
    out.hidden[p] = strips<T>(groups * count, phase.width, H, lanes);
    for (Size group = 0; group < groups; ++group)
      for (Size slot = phase.first; slot < phase.last; ++slot) {
        const T *rows = w.weight_hh + (cell.hidden_gate[slot] * H + group * lanes) * H;
        const Size column = (group * count + slot - phase.first) * lanes;
        kernels.pack({rows, 1, H, H, std::min(lanes, H - group * lanes), out.hidden[p].data(), H, phase.width, 0, column});
      }
    const BackwardPhase &back = cell.backward[p];
    const Size depth = (back.last - back.first) * padded;
    out.hidden_back[p] = strips<T>(groups, 2, depth, lanes);
    for (int slot = back.first; slot < back.last; ++slot)
      kernels.pack({w.weight_hh + cell.hidden_gate[slot] * H * H, H, 1, H, H, out.hidden_back[p].data(), depth, 2,
                    (slot - back.first) * padded, 0});
  }

  out.input_bias = Buffer<T>(cell.projected * padded, true);
  out.hidden_bias = Buffer<T>(cell.slots * padded, true);
  if (w.bias_ih == nullptr) return out;
  for (int slot = 0; slot < cell.slots; ++slot)
    for (Size u = 0; u < H; ++u) {
      const T hidden_part = cell.hidden_gate[slot] == kNone ? T(0) : w.bias_hh[cell.hidden_gate[slot] * H + u];
      if (slot < cell.projected) {
        const T input_part = w.bias_ih[cell.input_gate[slot] * H + u];
        out.input_bias.data()[slot * padded + u] = cell.hidden_gate[slot] == kNone ? input_part : input_part + hidden_part;
      } else {
        out.hidden_bias.data()[slot * padded + u] = hidden_part;
      }
    }
  return out;
}

template struct Pack<float>;
template struct Pack<double>;

}  // namespace pyrnnfast
