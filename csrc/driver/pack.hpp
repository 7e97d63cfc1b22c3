// The weights of a stack in the kernels' layout, made once for a call or kept between calls by their owner.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "cell.hpp"
#include "workspace.hpp"

namespace pyrnnfast {

// PyTorch's parameters of one layer and direction, row-major; biases may be null together. Peepholes are for
// the general instantiation. Owned by the caller.
template <class T> struct LayerWeights {
  const T *weight_ih;  // [G*H, C]
  const T *weight_hh;  // [G*H, R]
  const T *bias_ih;    // [G*H]
  const T *bias_hh;    // [G*H]; null with an output layer
  const T *weight_hr = nullptr;  // [R, H] with a projection
  const T *bias_hr = nullptr;  // [R] of an output layer
  const T *peephole = nullptr;  // [3*H] i f o; LSTM, null: none
  // Gains of layer normalisation, null: none; the biases come after it. norm_c and its bias for the LSTM
  const T *norm_ih = nullptr, *norm_hh = nullptr;  // [G*H]
  const T *norm_c = nullptr, *norm_c_bias = nullptr;  // [H]
};

template <class T> struct LayerPack {
  Size inputs = 0;                 // C of this layer
  Buffer<T> input;                 // strips of 2, depth C, columns [projected][Hp]
  Buffer<T>
      input_bias;  // [projected][Hp]; holds both biases where the recurrence goes on from the projection
  Buffer<T> hidden_bias;  // [slots][Hp]; for the slots that have no projection
  Buffer<T> hidden[kMaxPhases];  // strips, depth R (r * h': H), columns [group][slot of the phase][VL]
  Buffer<T> input_back;  // strips of 2, depth projected * Hp, columns C
  Buffer<T> hidden_back[kMaxPhases];  // strips of 2, depth (slots of the phase) * Hp, columns R
  Buffer<T> project, project_back;  // strips of 2, depth H, columns R; depth R, columns H
  Buffer<T> project_bias;  // [Rp]
  Buffer<T> peephole;  // [3][Hp], where there are any
  // With layer normalisation, whose products are no phases of kernels: `hidden` has strips of 2, columns
  // [slot of the phase][Hp].
  Buffer<T> input_gain, hidden_gain, no_bias;  // [slots][Hp]; zeros
  Buffer<T> cell_norm;  // [2][Hp] gain and bias of c
  Options<T> options{}, project_options{};  // of the general instantiation; of a projection
};

enum class Merge { concat, sum, mean, mul };  // of two directions' outputs

// What a direction of a layer puts out: R numbers, which are its recurrent state too.
struct Outputs {
  Size projection = 0;  // R = P, where h = W_hr h~, or O of an output layer; 0: R = H, none
  double clip = std::numeric_limits<double>::infinity();  // its states are held to -clip..clip
  Merge merge = Merge::concat;
};

enum class Use { both, forward, backward };  // which calls a pack serves; the other's operands stay empty

template <class T> Size padded_units(const KernelTable<T> &kernels, Size hidden) {
  return (hidden + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
}

template <class T> struct Pack {
  // `weights` has layers * directions entries, the layer first; `options` one for each direction, or none:
  // the plain instantiation. Throws std::bad_alloc.
  Pack(const KernelTable<T> &kernels, const Cell &cell, Size inputs, Size hidden, Size layers,
       Size directions, const std::vector<LayerWeights<T>> &weights, int threads, Use use = Use::both,
       const std::vector<Options<T>> &options = {}, Outputs out = {});

  bool merges() const { return merge != Merge::concat; }
  bool projects() const { return projection > 0; }
  bool activates() const { return cell.output_layer && general; }  // what it projects
  // Whether the state is a pair: h, and c or what the projection reads, where the next step does so too.
  bool pair() const { return cell.cell_state || (projects() && cell.blends); }
  const LayerPack<T> &at(Size layer, Size direction) const { return packs[layer * directions + direction]; }
  Size widest() const { return std::max(packs.front().inputs, packs.back().inputs); }  // input of a layer
  Size columns() const { return cell.slots * padded; }  // of a row of gates
  Size row() const { return row_stride<T>(columns()); }  // distance of two rows of gates

  const KernelTable<T> &kernels;
  const Cell &cell;
  Size inputs, hidden, layers, directions;
  Use use;
  Size padded, groups;  // Hp and Hp / VL
  Size projection, outputs, padded_outputs;  // P or 0; R and Rp
  T limit;  // of a projection
  Merge merge;
  Size width;  // of y at each step: D * R, merged R
  bool general;  // which instantiation of the cell runs
  bool normed;  // layer normalisation
  std::vector<LayerPack<T>> packs;

 private:
  LayerPack<T> allocate(Size layer_inputs, Use use) const;
  void add_forward(const LayerWeights<T> &w, LayerPack<T> &out, std::vector<PackArgs<T>> &work) const;
  void add_backward(const LayerWeights<T> &w, LayerPack<T> &out, std::vector<PackArgs<T>> &work) const;
  void add_norm(const LayerWeights<T> &w, LayerPack<T> &out) const;
  void add_options(const LayerWeights<T> &w, const Options<T> &options, LayerPack<T> &out) const;
  void add_biases(const LayerWeights<T> &w, LayerPack<T> &out) const;
};

}  // namespace pyrnnfast
