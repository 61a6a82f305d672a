// Shares the nodes of all cases among threads and puts the proof together.
//
// Cases have their turns, so that a violation that is easy to find is found. Where a thread has
// nothing to do, another one hands over a node. Verdicts do not depend on who visits what; which
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
    Scheduler(std::shared_ptr<const Net> net, const Spec& spec, bool attack, StopToken& stop,
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
        ProofText proof;
        bool refuted = false;
        // What is stated after the first `begun` bytes of its first piece, once for all cases that
        // share it.
        std::shared_ptr<const std::string> stated;
        size_t begun = 0;
    };

    // A case and its nodes that one thread has.
    struct Active {
        size_t number = 0;
        std::shared_ptr<const CaseProblem> problem;
        std::unique_ptr<CaseSearch> search;
        NodeQueue queue;
    };

    bool open_next(Task& task, bool wait);
    bool step(Active& one);
    void try_waiting(Active& one);
    void end_with(size_t number, Witness& witness);
    std::shared_ptr<const CaseProblem> open_case(size_t number);
    void finish(size_t number, std::shared_ptr<ProofPart> part, int place, std::string text);
    void offer(Task&& task);

    const std::shared_ptr<const Net> net_;
    const Spec& spec_;
    const bool attack_;
    StopToken& stop_;
    std::atomic<int64_t>* progress_;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Task> offered_;
    std::shared_ptr<const LocalBox> box_;  // of the case opened last
    size_t opened_ = 0;                    // cases
    int threads_ = 0, idle_ = 0;
    std::atomic<bool> done_{false};
    std::atomic<bool> hungry_{false};
    std::vector<Case> cases_;
    VerifyResult result_;
    std::mutex proof_mutex_;
};

}  // namespace plv
