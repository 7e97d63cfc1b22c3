// The tensors of a stack's calls: each found where it lies, or refused.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "../dispatch/select.hpp"
#include "dlpack.hpp"
#include "handles.hpp"
#include "reuse.hpp"

namespace pyrnnfast {

// The letters of x: "TNC", "NTC" (rows first), "TC" (one row), "PC" (packed), "NC" and "C" (one step of a
// cell).
enum class Form { TNC, NTC, TC, PC, NC, C };
constexpr const char *kForms[] = {"TNC", "NTC", "TC", "PC", "NC", "C"};

inline Form find_form(const std::string &name) {
  for (int i = 0; i < int(std::size(kForms)); ++i)
    if (name == kForms[i]) return Form(i);
  throw py::value_error("form: got '" + name + "', expected TNC, NTC, TC, PC, NC or C");
}

class StackTensors {
 public:
  StackTensors(const TensorReader &reader, const std::string &cell, Size inputs, Size hidden, Size layers,
               bool bidirectional, bool bias, const std::optional<std::string> &isa)
      : reader_(reader), cell_(find_cell(cell)), level_(find_level(isa.value_or(""))), C_(inputs), H_(hidden),
        L_(layers), D_(bidirectional ? 2 : 1), each_(bias ? 4 : 2) {
    if (C_ < 1 || H_ < 1 || L_ < 1)
      throw py::value_error("inputs, hidden, layers: got " + show({C_, H_, L_}) + ", expected at least 1");
  }

  // Elements of a tape for each row, and for each step of a row.
  py::tuple tape_sizes(bool single) const {
    const auto sizes = [&](auto zero) {
      using T = decltype(zero);
      return py::make_tuple(tape_size<T>(1, 0), tape_size<T>(0, 1));
    };
    return single ? sizes(0.0f) : sizes(0.0);
  }

 protected:
  struct Sizes {
    Form form = Form::TNC;
    Size steps = 1, rows = 1, total = 0;
    std::vector<int64_t> lengths;
  };

  // Fills what x says: sizes, order, where it lies. Null where x is not of type T, false where kernels cannot
  // read it.
  template <class T>
  std::optional<bool> read_input(Form form, const py::object &tensor, const py::object &batch_sizes,
                                 Sizes &sizes, ForwardArgs<T> &args) const {
    DLTensor x;
    if (!reader_.read<T>(tensor, x)) return std::nullopt;
    constexpr int kDims[] = {3, 3, 2, 2, 2, 1};
    const int last = kDims[int(form)] - 1;
    if (x.dims != last + 1 || x.shape[last] != C_ || (C_ > 1 && x.strides[last] != 1)) return false;
    sizes.form = form;
    const auto along = [&](int dim, Size &size, Size &stride) {
      size = x.shape[dim];
      stride = x.strides[dim];
    };
    args.x_step = args.x_next = 0;
    switch (form) {
    case Form::TNC:
      along(0, sizes.steps, args.x_step);
      along(1, sizes.rows, args.x_next);
      break;
    case Form::NTC:
      along(0, sizes.rows, args.x_next);
      along(1, sizes.steps, args.x_step);
      args.order = Order::rows_first;
      break;
    case Form::TC:
      along(0, sizes.steps, args.x_step);
      break;
    case Form::PC:
      along(0, sizes.total, args.x_next);
      args.order = Order::packed;
      if (!read_lengths(batch_sizes, sizes)) return false;
      break;
    case Form::NC:
      along(0, sizes.rows, args.x_next);
      break;
    case Form::C:
      break;
    }
    if (form != Form::PC) sizes.total = sizes.steps * sizes.rows;
    args.x = static_cast<const T *>(x.data);
    args.steps = sizes.steps;
    args.rows = sizes.rows;
    args.lengths = form == Form::PC ? sizes.lengths.data() : nullptr;
    return sizes.steps > 0;
  }

  bool read_lengths(const py::object &batch_sizes, Sizes &sizes) const {
    DLTensor t;
    if (!reader_.read<int64_t>(batch_sizes, t) || t.dims != 1 || t.shape[0] < 1) return false;
    sizes.steps = t.shape[0];
    const auto active = [&](Size s) { return static_cast<const int64_t *>(t.data)[s * t.strides[0]]; };
    Size sum = 0;
    for (Size s = 0; s < sizes.steps; ++s) {
      if (active(s) < 1 || (s > 0 && active(s) > active(s - 1)) || active(s) > sizes.total - sum)
        return false;
      sum += active(s);
    }
    if (sum != sizes.total) return false;
    sizes.rows = active(0);
    for (Size s = sizes.steps; s > 0; --s) sizes.lengths.resize(std::size_t(active(s - 1)), s);
    return true;
  }

  // Extents of weight i of the list: [G*H, C], [G*H, H], and [G*H] (inputs 0) of each bias.
  struct WeightShape {
    Size units, inputs;
  };
  WeightShape weight_shape(Size i) const {
    const Size below = i / each_ < D_ ? C_ : D_ * H_, kind = i % each_;
    return {cell_.gates * H_, kind == 0 ? below : kind == 1 ? H_ : 0};
  }
  // Weights or their gradients; empty where one is not of its shape.
  template <class T> std::vector<T *> read_weights(const py::list &list) const {
    std::vector<T *> found;
    if (Size(list.size()) != L_ * D_ * each_) return found;
    found.reserve(list.size());
    for (Size i = 0; i < L_ * D_ * each_; ++i) {
      const auto [units, inputs] = weight_shape(i);
      const py::handle weight = PyList_GET_ITEM(list.ptr(), i);
      T *data = inputs > 0 ? reader_.find<T>(weight, {units, inputs}) : reader_.find<T>(weight, {units});
      if (data == nullptr) return {};
      found.push_back(data);
    }
    return found;
  }
  template <class T> std::vector<Weight<T>> counted(const std::vector<T *> &weights) const {
    std::vector<Weight<T>> result;
    result.reserve(weights.size());
    for (T *data : weights) {
      const auto [units, inputs] = weight_shape(Size(result.size()));
      result.push_back({data, units * std::max<Size>(inputs, 1)});
    }
    return result;
  }

  template <class T> T *find_state(const py::object &state, const Sizes &sizes) const {
    if (sizes.form == Form::C) return reader_.find<T>(state, {H_});
    if (sizes.form == Form::NC) return reader_.find<T>(state, {sizes.rows, H_});
    if (sizes.form == Form::TC) return reader_.find<T>(state, {L_ * D_, H_});
    return reader_.find<T>(state, {L_ * D_, sizes.rows, H_});
  }
  template <class T> T *find_sequence(const py::object &value, const Sizes &sizes, Size width) const {
    switch (sizes.form) {
    case Form::TNC:
      return reader_.find<T>(value, {sizes.steps, sizes.rows, width});
    case Form::NTC:
      return reader_.find<T>(value, {sizes.rows, sizes.steps, width});
    case Form::C:
      return reader_.find<T>(value, {width});
    default:
      return reader_.find<T>(value, {sizes.total, width});
    }
  }
  template <class T> T *find_tape(const py::object &tape, const Sizes &sizes) const {
    T *memory = reader_.find<T>(tape, {tape_size<T>(sizes.rows, sizes.total)});
    return reinterpret_cast<std::uintptr_t>(memory) % kAlignment == 0 ? memory : nullptr;
  }
  // None is null; what else does not fit makes `good` false.
  template <class T, class Find> static T *optional(const py::object &value, const Find &find, bool &good) {
    if (value.is_none()) return nullptr;
    T *data = find(value);
    good = good && data != nullptr;
    return data;
  }

  template <class T> PackPtr<T> make_pack(const std::vector<T *> &weights, Use use, int threads) const {
    std::vector<LayerWeights<T>> layers;
    for (std::size_t i = 0; i < weights.size(); i += std::size_t(each_))
      layers.push_back({weights[i], weights[i + 1], each_ == 4 ? weights[i + 2] : nullptr,
                        each_ == 4 ? weights[i + 3] : nullptr});
    return std::make_shared<const Pack<T>>(kernels_of<T>(level_), cell_, C_, H_, L_, D_, layers, threads,
                                           use);
  }

  const TensorReader reader_;
  const Cell &cell_;
  const Level &level_;
  const Size C_, H_, L_, D_, each_;

 private:
  template <class T> Size tape_size(Size rows, Size total) const {
    return Tape<T>::elements(cell_, padded_units(kernels_of<T>(level_), H_), L_ * D_, rows, total);
  }
};

}  // namespace pyrnnfast
