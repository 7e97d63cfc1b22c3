// What the bindings of recurrent calls share: the handle of packed weights, and how a long call runs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "../driver/parallel.hpp"
#include "../driver/problem.hpp"
#include "arrays.hpp"

namespace pyrnnfast {

inline const Cell &find_cell(const std::string &name) {
  for (const Cell &cell : kCells)
    if (name == cell.name) return cell;
  throw py::value_error("cell: got '" + name +
                        "', expected rnn_tanh, rnn_relu, lstm, gru or gru_reset_before");
}

template <class T> using PackPtr = std::shared_ptr<const Pack<T>>;

struct PyPack {
  std::variant<PackPtr<float>, PackPtr<double>> pack;
  bool bias;
  std::string isa;

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
