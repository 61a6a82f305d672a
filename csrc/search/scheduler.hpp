// Shares the nodes of all cases among threads and puts the proof together.
//
// A thread walks its own nodes depth first. Where another one has nothing to do, it hands over its
// oldest node, which is likely the largest. Verdicts do not depend on who visits what; which
// violation is found first may.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "search/case.hpp"
#include "search/verify.hpp"

namespace plv {

class Scheduler {
public:
    Scheduler(std::shared_ptr<const Net> net, const Spec& spec, int threads, StopToken& stop,
              std::atomic<int64_t>* progress);

    // What one thread does. Throws Stopped when stopped; what else it throws ends the others too.
    void work();
    void abandon() noexcept;  // ends all threads
    VerifyResult result();

private:
    struct Task {
        size_t number = 0;
        std::shared_ptr<const CaseProblem> problem;
        Node node;
    };
    struct Case {
        std::string proof;
        bool refuted = false;
    };

    bool next(Task& task);
    std::shared_ptr<const CaseProblem> open_case(size_t number);
    void finish(size_t number, std::shared_ptr<ProofPart> part, int place, std::string text);
    void offer(Task&& task);

    const std::shared_ptr<const Net> net_;
    const Spec& spec_;
    const int threads_;
    StopToken& stop_;
    std::atomic<int64_t>* progress_;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Task> offered_;
    std::shared_ptr<const LocalBox> box_;  // of the case opened last
    size_t opened_ = 0;                    // cases
    int idle_ = 0;
    std::atomic<bool> done_{false};
    std::atomic<bool> hungry_{false};
    std::vector<Case> cases_;
    VerifyResult result_;
    std::mutex proof_mutex_;
};

}  // namespace plv
