// One function for each subject of the module.
#pragma once

#include <pybind11/pybind11.h>

namespace pyrnnfast {

void register_dense(pybind11::module_ &m);
void register_pack(pybind11::module_ &m);
void register_probe(pybind11::module_ &m);
void register_rnn(pybind11::module_ &m);
void register_runtime(pybind11::module_ &m);
void register_sample(pybind11::module_ &m);
void register_stream(pybind11::module_ &m);
void register_tensors(pybind11::module_ &m);

}  // namespace pyrnnfast
