#include "parallel.hpp"

#include <dlfcn.h>
#include <linux/futex.h>
#include <omp.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <string>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "cgroup.hpp"

namespace pyrnnfast {

namespace {

constexpr double kSpin = 50e-6, kLong = 1e-3, kPollEvery = 50e-3, kLostShare = 1.0 / 3;
constexpr int kSlowWaits = 8;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

long futex(std::atomic<int> *word, int operation, int value) {
  return syscall(SYS_futex, reinterpret_cast<int *>(word), operation | FUTEX_PRIVATE_FLAG, value, nullptr,
                 nullptr, 0);
}

// Subnormals count as zero while it lives.
class FlushSubnormals {
 public:
#if defined(__x86_64__)
  FlushSubnormals() : saved_(_mm_getcsr()) {
    _mm_setcsr(saved_ | 0x8040);
  }  // flush to zero, denormals are zero
  ~FlushSubnormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#elif defined(__aarch64__)
  FlushSubnormals() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" ::"r"(saved_ | (1ul << 24)));
  }
  ~FlushSubnormals() { asm volatile("msr fpcr, %0" ::"r"(saved_)); }

 private:
  unsigned long saved_;
#endif
};

std::atomic<bool> team_taken{false};
std::atomic<bool> forked{false};
std::atomic<int> chosen_threads{0}, chosen_team{0};

int positive_integer(const char *text) {
  if (text == nullptr) return 0;
  char *end = nullptr;
  const long value = std::strtol(text, &end, 10);
  return end != text && value > 0 && value <= INT_MAX ? static_cast<int>(value) : 0;
}

int machine_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::max(1, std::min(cpus, cgroup_processors()));
}

}  // namespace

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// More would only wait for each other; a few times the processors still let tests split work further.
int usable_threads(int wanted) {
  static const int most = 4 * std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
  return std::clamp(wanted, 1, most);
}

Barrier::Verdict Barrier::decide(double arrived) const {
  if (stop_requested()) return Verdict::stop;
  const double lost = 1e-9 * double(lost_.load(std::memory_order_relaxed));
  const bool busy =
      slow_.load(std::memory_order_relaxed) >= kSlowWaits && lost > kLostShare * (arrived - made_);
  return busy ? Verdict::solo : Verdict::go;
}

Barrier::Verdict Barrier::wait(int threads, double *left) {
  if (threads == 1) return stop_requested() ? Verdict::stop : Verdict::go;
  const double arrived = now();
  const int generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
    arrived_.store(0, std::memory_order_relaxed);
    verdict_ = decide(arrived);
    generation_.store(generation + 1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) futex(&generation_, FUTEX_WAKE, INT_MAX);
    if (left != nullptr) *left = arrived;
    return verdict_;
  }
  do {
    for (int i = 0; i < 64; ++i) {
      if (generation_.load(std::memory_order_acquire) != generation) {
        if (left != nullptr) *left = arrived;
        return verdict_;
      }
      pause();
    }
  } while (now() < arrived + kSpin);
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (generation_.load(std::memory_order_seq_cst) == generation)
    futex(&generation_, FUTEX_WAIT, generation);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
  if (left == nullptr) return verdict_;
  const double leaving = now(), worked = *left > 0 ? arrived - *left : 0;
  const double waited = leaving - arrived;
  if (*left > 0 && waited > worked) {
    slow_.fetch_add(waited > kLong ? kSlowWaits / 2 : 1, std::memory_order_relaxed);
    lost_.fetch_add(int64_t(1e9 * waited), std::memory_order_relaxed);
  }
  *left = leaving;
  return verdict_;
}

void run_team(int threads, const std::function<void(Member)> &work) {
  const FlushSubnormals flush;
  if (threads <= 1 || forked.load() || team_taken.exchange(true)) return work({0, 1});
  // calls of fewer threads take the same team: libgomp thrashes when its size alternates
  const int chosen = chosen_team.load(), common = chosen > 0 ? chosen : default_threads();
  const int team = std::max(threads, usable_threads(common));
  Barrier
      end;  // libgomp's own spins for milliseconds, on the processor that a late thread may be waiting for
  // libgomp hands over to the team unseen by the thread sanitizer, which would report all that threads share
  team_taken.store(true, std::memory_order_release);
#pragma omp parallel num_threads(team)
  {
    (void)team_taken.load(std::memory_order_acquire);
    const FlushSubnormals flush_worker;
    const int id = omp_get_thread_num(), granted = omp_get_num_threads() < threads ? 1 : threads;
    if (id < granted) work({id, granted});
    end.wait(omp_get_num_threads(), nullptr);
  }
  team_taken.store(false);
}

int default_threads() {
  if (const int chosen = chosen_threads.load()) return chosen;
  static const int automatic = [] {
    const int from_environment = positive_integer(std::getenv("OMP_NUM_THREADS"));
    return from_environment > 0 ? from_environment : machine_threads();
  }();
  return automatic;
}

void set_default_threads(int threads) { chosen_threads.store(threads); }

void set_team(int threads) { chosen_team.store(threads); }

void after_fork_in_child() { forked.store(true); }

bool in_forked_child() { return forked.load(); }

std::string openmp_runtime() {
  Dl_info info;
  return dladdr(reinterpret_cast<void *>(&omp_get_num_threads), &info) != 0 && info.dli_fname ? info.dli_fname
                                                                                              : "unknown";
}

Poll::Poll(std::function<bool()> check) : check_(std::move(check)), next_(now() + kPollEvery) {}

bool Poll::operator()() {
  if (stop_ || !check_ || now() < next_) return stop_;
  stop_ = check_();
  next_ = now() + kPollEvery;
  return stop_;
}

}  // namespace pyrnnfast
