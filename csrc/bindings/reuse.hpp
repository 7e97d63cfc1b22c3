// Packed weights that are kept between calls as long as it is certain that the weights are the same.
#pragma once

#include <atomic>
#include <vector>

#include "dlpack.hpp"
#include "handles.hpp"

namespace pyrnnfast {

template <class T> struct Weight {
  const T *data;
  Size count;
};

constexpr Size kHashBlock = 64 << 10;
constexpr Size kSharedHash = 1 << 20;  // bytes that are worth waking the other threads for

template <class T>
uint64_t hash_of(const KernelTable<T> &kernels, const std::vector<Weight<T>> &weights, int threads) {
  std::vector<Weight<char>> blocks;
  Size all = 0;
  for (const Weight<T> &weight : weights) {
    const Size bytes = weight.count * Size(sizeof(T));
    for (Size at = 0; at < bytes; at += kHashBlock)
      blocks.push_back({reinterpret_cast<const char *>(weight.data) + at, std::min(kHashBlock, bytes - at)});
    all += bytes;
  }
  std::vector<uint64_t> hashes(blocks.size());
  std::atomic<std::size_t> next{0};
  run_team(all < kSharedHash ? 1 : threads, [&](Member) {
    for (std::size_t i = next++; i < blocks.size(); i = next++)
      hashes[i] = kernels.hash(blocks[i].data, blocks[i].count, i);
  });
  return kernels.hash(hashes.data(), Size(hashes.size() * sizeof(uint64_t)), 0);
}

class Reuse : public Handle {
 public:
  bool frozen = false;  // the values are taken to stay while places and versions do

  // The kept pack if it serves `use`, is of the same network, as fits(pack) tells, and of these places,
  // versions and values; else make(which use), which is kept. Values are compared by their hash, read by all
  // threads where there are many; a new pack would read the same bytes and write them.
  template <class T, class Fits, class Make>
  PackPtr<T> current(const KernelTable<T> &kernels, const std::vector<Weight<T>> &weights,
                     const py::list &tensors, int threads, Use use, const Fits &fits, const Make &make) {
    std::vector<int64_t> versions = versions_of(tensors);
    std::vector<const void *> places;
    places.reserve(weights.size());
    for (const Weight<T> &weight : weights) places.push_back(weight.data);
    const auto *kept = std::get_if<PackPtr<T>>(&pack_);
    // the same parameters may be those of another network: tied, or a module whose nonlinearity was changed
    const bool any = kept != nullptr && *kept && fits(**kept),
               serves = any && ((*kept)->use == use || (*kept)->use == Use::both);
    const bool candidate = serves && places_ == places && versions_ == versions;
    const Use next = any && (*kept)->use != use ? Use::both : use;
    PackPtr<T> pack = candidate ? *kept : nullptr;
    if (candidate && frozen) return pack;
    const uint64_t before = hash_;
    uint64_t hash = 0;
    {
      py::gil_scoped_release nogil;  // large weights take milliseconds
      hash = hash_of(kernels, weights, threads);
      if (!candidate || hash != before) pack = make(next);
    }
    places_ = std::move(places);
    versions_ = std::move(versions);
    hash_ = hash;
    pack_ = pack;
    return pack;
  }

 private:
  // A tensor of inference mode has none: -1.
  static std::vector<int64_t> versions_of(const py::list &tensors) {
    std::vector<int64_t> versions;
    versions.reserve(tensors.size());
    for (const py::handle &t : tensors)
      versions.push_back(says(t, Name::is_inference) ? -1 : t.attr(interned(Name::version)).cast<int64_t>());
    return versions;
  }

  std::vector<const void *> places_;
  std::vector<int64_t> versions_;
  uint64_t hash_ = 0;
  std::variant<PackPtr<float>, PackPtr<double>> pack_;
};

}  // namespace pyrnnfast
