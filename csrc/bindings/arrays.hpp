// NumPy arrays in and out. The Python layer has checked what users gave; these checks hold for any caller, so
// that no pointer is followed on trust.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "../driver/workspace.hpp"

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

// Whether `value` is an array (of no subclass) that kernels can read as it is, of this shape; -1 is any
// extent. For calls of microseconds: it makes no message, so validation has the say where it is false.
template <class T> bool is_plain(const py::handle &value, std::initializer_list<Size> shape) {
  const auto &numpy = py::detail::npy_api::get();
  if (Py_TYPE(value.ptr()) != numpy.PyArray_Type_) return false;
  const auto *array = py::detail::array_proxy(value.ptr());
  constexpr int wanted = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  return (array->flags & wanted) == wanted && array->nd == int(shape.size()) &&
         std::equal(shape.begin(), shape.end(), array->dimensions,
                    [](Size want, Size got) { return want == got || want == -1; }) &&
         numpy.PyArray_EquivTypes_(array->descr, py::dtype::of<T>().ptr());
}
template <class T> const T *plain_data(const py::handle &value) {
  return reinterpret_cast<const T *>(py::detail::array_proxy(value.ptr())->data);
}

template <class T> const T *optional_data(const py::object &value, const Extents &shape,
                                          const std::string &name) {
  return value.is_none() ? nullptr : expect_array<T>(value, shape, name).data();
}

// An array for results. A large one takes its memory from the pool and gives it back: a training step finds
// that of the step before.
template <class T> py::array_t<T> new_array(const Extents &shape, bool zero = false) {
  const Size count = std::accumulate(shape.begin(), shape.end(), Size{1}, std::multiplies<Size>());
  if (count < kPooled / Size(sizeof(T))) {
    py::array_t<T> array(shape);
    if (zero) std::fill_n(array.mutable_data(), count, T(0));
    return array;
  }
  auto memory = std::make_unique<Buffer<T>>(count, zero);
  T *data = memory->data();
  const py::capsule owner(memory.get(), [](void *buffer) { delete static_cast<Buffer<T> *>(buffer); });
  memory.release();
  return py::array_t<T>(shape, data, owner);
}

}  // namespace pyrnnfast
