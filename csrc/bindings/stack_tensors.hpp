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

class StackTensors : public Handle {
 public:
  StackTensors(const TensorReader &reader, const std::string &cell, Size inputs, Size hidden, Size layers,
               bool bidirectional, bool bias, const std::optional<std::string> &isa)
      : reader_(reader), cell_(find_cell(cell)), level_(find_level(isa.value_or(""))), C_(inputs), H_(hidden),
        L_(layers), D_(bidirectional ? 2 : 1), each_(bias ? 4 : 2) {
    if (cell_.output_layer) throw py::value_error("cell: got '" + cell + "', expected one without outputs");
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

  // Of weight i of the list: weight_ih, weight_hh, and with biases bias_ih and bias_hh.
  Extents weight_shape(Size i) const {
    const Size units = cell_.gates * H_, below = i / each_ < D_ ? C_ : D_ * H_;
    if (i % each_ > 1) return {units};
    return {units, i % each_ == 0 ? below : H_};
  }
  // Empty where one is not of its shape.
  template <class T> std::vector<Weight<T>> read_weights(const py::list &list) const {
    std::vector<Weight<T>> found;
    if (Size(list.size()) != L_ * D_ * each_) return found;
    found.reserve(list.size());
    for (Size i = 0; i < L_ * D_ * each_; ++i) {
      const Extents shape = weight_shape(i);
      const T *data = reader_.find<T>(PyList_GET_ITEM(list.ptr(), i), shape);
      if (data == nullptr) return {};
      found.push_back({data, count_of(shape)});
    }
    return found;
  }

  Extents state_shape(const Sizes &sizes) const {
    if (sizes.form == Form::C) return {H_};
    if (sizes.form == Form::NC) return {sizes.rows, H_};
    if (sizes.form == Form::TC) return {L_ * D_, H_};
    return {L_ * D_, sizes.rows, H_};
  }
  Extents sequence_shape(const Sizes &sizes, Size width) const {
    if (sizes.form == Form::C) return {width};
    if (sizes.form == Form::TNC) return {sizes.steps, sizes.rows, width};
    if (sizes.form == Form::NTC) return {sizes.rows, sizes.steps, width};
    return {sizes.total, width};
  }
  template <class T> Size tape_size(Size rows, Size total) const {
    return Tape<T>::elements(cell_, padded_units(kernels_of<T>(level_), H_), L_ * D_, rows, total);
  }
  // Whether some of its elements are written by no kernel.
  template <class T> bool tape_has_gaps() const {
    const Size padded = padded_units(kernels_of<T>(level_), H_), slots = cell_.slots;
    return row_stride<T>(padded) != H_ || row_stride<T>(slots * padded) != slots * H_;
  }

  // None is null; what is not of this shape makes `good` false.
  template <class T> const T *optional(const py::object &value, const Extents &shape, bool &good) const {
    if (value.is_none()) return nullptr;
    const T *data = reader_.find<T>(value, shape);
    good = good && data != nullptr;
    return data;
  }
  // A new tensor for results, and where it lies.
  template <class T> std::pair<py::object, T *> result(const Extents &shape, bool zero = false) const {
    Buffer<T> memory(count_of(shape), zero);
    T *data = memory.data();
    return {reader_.make<T>(shape, std::move(memory)), data};
  }

  template <class T> PackPtr<T> make_pack(const std::vector<Weight<T>> &weights, Use use, int threads) const {
    std::vector<LayerWeights<T>> layers;
    for (auto w = weights.begin(); w != weights.end(); w += each_)
      layers.push_back({w[0].data, w[1].data, each_ == 4 ? w[2].data : nullptr,
                        each_ == 4 ? w[3].data : nullptr, nullptr});
    return std::make_shared<const Pack<T>>(kernels_of<T>(level_), cell_, C_, H_, L_, D_, layers, threads,
                                           use);
  }
  // The pack that is kept for these weights, or a new one that is kept now; null without `reuse`.
  template <class T>
  PackPtr<T> kept_pack(const std::vector<Weight<T>> &found, const py::list &weights, Use use, int threads,
                       Reuse *reuse) const {
    if (reuse == nullptr) return nullptr;
    const auto fits = [&](const Pack<T> &pack) {
      return &pack.kernels == &kernels_of<T>(level_) && pack.cell.kind == cell_.kind && pack.inputs == C_ &&
             pack.hidden == H_ && pack.layers == L_ && pack.directions == D_;
    };
    return reuse->current(kernels_of<T>(level_), found, weights, threads, use, fits,
                          [&](Use serves) { return make_pack(found, serves, threads); });
  }

  const TensorReader reader_;
  const Cell &cell_;
  const Level &level_;
  const Size C_, H_, L_, D_, each_;
};

}  // namespace pyrnnfast
