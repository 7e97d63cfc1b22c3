// Threads: the team, its barrier, and how many there are. Its source is the only file that names OpenMP.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "../dispatch/kernel_table.hpp"

namespace pyrnnfast {

double now();  // seconds, of a clock that only goes forward

// Where a team meets. Spins about as long as waking a sleeper takes (50 us), then sleeps. The last one to
// arrive decides for all, so that every thread leaves with the same verdict.
class Barrier {
 public:
  enum class Verdict { go, solo, stop };

  // `threads` meet. With `left` (when the calling thread last left this barrier, zero for never; set anew)
  // the wait is one between equal shares: after eight in which a thread slept and waited for longer than it
  // had worked (or two of over 1 ms), and if such waits are a third of the time since the barrier was made,
  // the machine is busy elsewhere, and the verdict is `solo`: thread 0 goes on alone. (A long call meets a
  // few of them on a quiet machine, too.) If a stop was requested, it is `stop`.
  Verdict wait(int threads, double *left);
  void request_stop() { stop_.store(true, std::memory_order_relaxed); }
  bool stop_requested() const { return stop_.load(std::memory_order_relaxed); }

 private:
  Verdict decide(double arrived) const;

  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> generation_{0};
  std::atomic<int> sleepers_{0}, slow_{0};
  std::atomic<int64_t> lost_{0};  // nanoseconds of slow waits
  const double made_ = now();
  std::atomic<bool> stop_{false};
  Verdict verdict_ = Verdict::go;
};

// One thread's place in the team.
struct Member {
  int id, threads;
};

// Runs `work` once on each of `threads` (usable) threads, or on one, subnormals flushed to zero. The calling
// thread is number 0. Serial when another caller, or a call that this one interrupts, has the team; after a
// fork; or when the system grants fewer threads. `work` must not throw.
void run_team(int threads, const std::function<void(Member)> &work);

// At most so many as a team may have; what a call is planned for must have passed through this.
int usable_threads(int wanted);
int default_threads();         // set_default_threads, then OMP_NUM_THREADS, then affinity and cgroups
void set_default_threads(int threads);
void set_team(int threads);  // from here on a team is as large as that of another library in this process
void after_fork_in_child();  // from here on everything is serial
bool in_forked_child();
std::string openmp_runtime();  // the library that is loaded

// Calls `check` (which may take the GIL) at most every 50 ms; remembers that it asked to stop.
class Poll {
 public:
  explicit Poll(std::function<bool()> check);
  bool operator()();

 private:
  std::function<bool()> check_;
  double next_;
  bool stop_ = false;
};

}  // namespace pyrnnfast
