// What the bindings of recurrent calls share: the handle of packed weights, and how a long call runs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "../driver/parallel.hpp"
#include "../driver/problem.hpp"
#include "arrays.hpp"

namespace pyrnnfast {

// What Python holds of ours. An object of such a class that Python made without its constructor
// (`T.__new__(T)`) holds nothing; it is a TypeError wherever it is passed.
struct Handle {};

inline const Cell &find_cell(const std::string &name) {
  for (const Cell &cell : kCells)
    if (name == cell.name) return cell;
  throw py::value_error("cell: got '" + name +
                        "', expected rnn_tanh, rnn_relu, lstm, gru, gru_reset_before or jordan");
}

constexpr const char *kFunctionNames[kFunctions] = {
    "sigmoid",          "tanh",        "relu",  "hard_sigmoid", "softsign", "softplus", "elu", "leaky_relu",
    "thresholded_relu", "scaled_tanh", "affine"};

inline Function find_function(const std::string &name) {
  for (int i = 0; i < kFunctions; ++i)
    if (name == kFunctionNames[i]) return Function(i);
  throw py::value_error("activation: got '" + name + "', expected sigmoid, tanh, relu or another one");
}

inline Merge find_merge(const std::string &name) {
  constexpr const char *kNames[] = {"concat", "sum", "mean", "mul"};
  for (int i = 0; i < 4; ++i)
    if (name == kNames[i]) return Merge(i);
  throw py::value_error("merge: got '" + name + "', expected concat, sum, mean or mul");
}

template <class T> using PackPtr = std::shared_ptr<const Pack<T>>;

struct PyPack : Handle {
  std::variant<PackPtr<float>, PackPtr<double>> pack;
  bool bias;
  std::string isa;
  py::object options;  // as Python gave them; None: plain

  template <class F> auto read(const F &f) const {
    return std::visit([&](const auto &p) { return f(*p); }, pack);
  }
};

inline std::function<bool()> signal_check() {
  return [] {
    py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
  };
}

// Runs the driver without the GIL: it touches no Python object, and calls last up to minutes.
template <class F> auto run_driver(const F &call) {
  try {
    py::gil_scoped_release nogil;
    return call();
  } catch (const Interrupted &) {
    throw py::error_already_set();  // the signal's handler has set it
  }
}

inline int threads_of(int threads) { return usable_threads(threads > 0 ? threads : default_threads()); }

}  // namespace pyrnnfast

template <class T>
class pybind11::detail::type_caster<T, std::enable_if_t<std::is_base_of_v<pyrnnfast::Handle, T>>>
    : public type_caster_base<T> {
 public:
  bool load(handle source, bool convert) { return this->template load_impl<type_caster>(source, convert); }
  void load_value(value_and_holder &&held) {  // load_impl calls it
    if (!held.holder_constructed())
      throw type_error("expected an object that its constructor has made, got an empty " +
                       std::string(this->typeinfo->type->tp_name));
    type_caster_base<T>::load_value(std::move(held));
  }
};
