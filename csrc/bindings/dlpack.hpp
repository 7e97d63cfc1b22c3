// Tensors of another library, read where they lie, by DLPack's exchange API (version 1): the table of
// functions that the library's tensor class offers as __dlpack_c_exchange_api__. Its C structs are declared
// here as the standard gives them, as far as they are read.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "arrays.hpp"
#include "handles.hpp"

namespace pyrnnfast {

struct DLTensor {
  void *data;
  struct {
    int32_t type, id;
  } device;
  int32_t dims;
  struct {
    uint8_t code, bits;
    uint16_t lanes;
  } dtype;
  int64_t *shape, *strides;  // strides in elements
  uint64_t byte_offset;
};

struct DLManagedTensor {
  struct {
    uint32_t major, minor;
  } version;
  void *owner;
  void (*release)(DLManagedTensor *);
  uint64_t flags;
  DLTensor tensor;
};

struct DLPackExchange {
  struct {
    uint32_t major, minor;
  } version;
  DLPackExchange *older;
  void (*unused[2])();
  int (*adopt)(DLManagedTensor *tensor, void **out);  // 0, or a Python error; takes the tensor over
  int (*view)(void *tensor, DLTensor *out);  // 0, or a Python error; `out` lives as long as the tensor
};

inline Size count_of(const Extents &shape) {
  return std::accumulate(shape.begin(), shape.end(), Size{1}, std::multiplies<Size>());
}

// Names of what tensors are asked, made once.
enum class Name { is_neg, is_inference, version };
inline PyObject *interned(Name name) {
  static PyObject *const names[] = {PyUnicode_InternFromString("is_neg"),
                                    PyUnicode_InternFromString("is_inference"),
                                    PyUnicode_InternFromString("_version")};
  return names[int(name)];
}

// What a method without arguments answers.
inline bool says(const py::handle &tensor, Name method) {
  const auto answer =
      py::reinterpret_steal<py::object>(PyObject_CallMethodNoArgs(tensor.ptr(), interned(method)));
  if (!answer) throw py::error_already_set();
  return answer.ptr() == Py_True;
}

class TensorReader : public Handle {
 public:
  // tensor_class: what offers the API; only objects of it and of `parameter_class` are read.
  TensorReader(const py::handle &tensor_class, const py::handle &parameter_class)
      : tensor_(tensor_class.ptr()), parameter_(parameter_class.ptr()) {
    const py::object capsule = tensor_class.attr("__dlpack_c_exchange_api__");
    const void *api = PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api");
    if (api == nullptr) throw py::error_already_set();
    exchange_ = static_cast<const DLPackExchange *>(api);
    while (exchange_ != nullptr && exchange_->version.major != 1) exchange_ = exchange_->older;
    if (exchange_ == nullptr || exchange_->view == nullptr || exchange_->adopt == nullptr)
      throw py::import_error("pyrnnfast reads tensors by version 1 of DLPack's exchange API, which this "
                             "PyTorch lacks");
  }

  // Whether `value` is a tensor in the processor's memory of type T, of no subclass.
  template <class T> bool read(const py::handle &value, DLTensor &out) const {
    const auto *type = reinterpret_cast<const PyObject *>(Py_TYPE(value.ptr()));
    if (type != tensor_ && type != parameter_) return false;
    if (exchange_->view(value.ptr(), &out) != 0) {
      PyErr_Clear();
      return false;
    }
    // a tensor whose storage was freed has elements and no memory
    if (out.data == nullptr && std::find(out.shape, out.shape + out.dims, 0) == out.shape + out.dims)
      return false;
    out.data = static_cast<char *>(out.data) + out.byte_offset;
    return out.device.type == kProcessor && out.dtype.code == code_of<T>() &&
           out.dtype.bits == 8 * sizeof(T) && out.dtype.lanes == 1 && !says(value, Name::is_neg);
  }

  // The same of this shape and C-contiguous; null where it is not.
  template <class T> T *find(const py::handle &value, const Extents &shape) const {
    DLTensor t;
    if (!read<T>(value, t) || t.dims != int(shape.size()) || !std::equal(shape.begin(), shape.end(), t.shape))
      return nullptr;
    const Size count = count_of(shape);
    Size expected = 1;
    for (int i = t.dims - 1; i >= 0 && count > 0; --i) {
      if (t.shape[i] != 1 && t.strides[i] != expected) return nullptr;
      expected *= t.shape[i];
    }
    return count == 0 ? nothing<T>() : static_cast<T *>(t.data);
  }

  // A new tensor that takes the memory over.
  template <class T> py::object make(const Extents &shape, Buffer<T> memory) const {
    struct Owner {
      DLManagedTensor managed;
      Extents shape, strides;
      Buffer<T> memory;
    };
    auto owner = std::make_unique<Owner>(Owner{{}, shape, shape, std::move(memory)});
    Size stride = 1;
    for (std::size_t i = shape.size(); i-- > 0; stride *= shape[i]) owner->strides[i] = stride;
    DLManagedTensor &managed = owner->managed;
    managed.version = {1, 0};
    managed.owner = owner.get();
    managed.release = [](DLManagedTensor *tensor) { delete static_cast<Owner *>(tensor->owner); };
    managed.tensor.data = owner->memory.data() == nullptr ? nothing<T>() : owner->memory.data();
    managed.tensor.device = {kProcessor, 0};
    managed.tensor.dims = int(shape.size());
    managed.tensor.dtype = {code_of<T>(), 8 * sizeof(T), 1};
    managed.tensor.shape = owner->shape.data();
    managed.tensor.strides = owner->strides.data();
    void *tensor = nullptr;
    if (exchange_->adopt(&owner.release()->managed, &tensor) != 0) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(static_cast<PyObject *>(tensor));
  }

 private:
  static constexpr int kProcessor = 1;
  template <class T> static T *nothing() {  // where an empty tensor lies
    alignas(kAlignment) static T here;
    return &here;
  }
  template <class T> static constexpr uint8_t code_of() { return std::is_integral_v<T> ? 0 : 2; }

  const PyObject *tensor_, *parameter_;  // classes that live as long as their module
  const DLPackExchange *exchange_;
};

}  // namespace pyrnnfast
