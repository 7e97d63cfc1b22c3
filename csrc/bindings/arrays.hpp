// NumPy arrays in and out. The Python layer has checked what users gave; these checks hold for any caller, so
// that no pointer is followed on trust.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <vector>

#include "../dispatch/kernel_table.hpp"

namespace pyrnnfast {

namespace py = pybind11;

using Extents = std::vector<py::ssize_t>;

inline std::string show(const Extents &shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

inline std::string text_of(const py::handle &value) { return std::string(py::str(value)); }

inline Extents extents_of(const py::array &a) { return Extents(a.shape(), a.shape() + a.ndim()); }

// The array behind `value`: of exactly this type, C-contiguous, aligned, and of this shape.
template <class T> py::array_t<T> expect_array(const py::handle &value, const Extents &shape,
                                               const std::string &name) {
  if (!py::isinstance<py::array_t<T>>(value))
    throw py::type_error(name + ": got " + text_of(py::type::handle_of(value)) + ", expected an array of " +
                         text_of(py::dtype::of<T>()));
  auto a = py::reinterpret_borrow<py::array_t<T>>(value);
  if (extents_of(a) != shape)
    throw py::value_error(name + ": got shape " + show(extents_of(a)) + ", expected " + show(shape));
  constexpr int wanted = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if ((a.flags() & wanted) != wanted)
    throw py::value_error(name + ": expected a C-contiguous, aligned array");
  return a;
}

template <class T> const T *optional_data(const py::object &value, const Extents &shape,
                                          const std::string &name) {
  return value.is_none() ? nullptr : expect_array<T>(value, shape, name).data();
}

// NumPy's own zeros: fresh memory comes zeroed from the system, and its pages are touched first by the
// threads.
template <class T> py::array_t<T> zeros(const Extents &shape) {
  return py::module_::import("numpy").attr("zeros")(py::tuple(py::cast(shape)), py::dtype::of<T>());
}

}  // namespace pyrnnfast
