// What a program's logits say: the prediction, how sure it is, what was explained and its score.
#pragma once

#include <cstdint>
#include <vector>

#include "saccade/contract.h"
#include "targets.h"

namespace saccade {

/// Memory of a call's verdicts, kept from call to call; see saccade_result in saccade.h.
struct Verdicts {
    std::vector<int64_t> prediction, explained;
    std::vector<float> confidence, score;

    /// Fills all of them from the logits of `count` images, as Spec.predicted, Spec.confidence and `explained` of
    /// engine/execute/asking.py. `explained` and `score` are left empty where the kind of target has none.
    void find(const Contract& contract, int64_t count, const float* logits, const Asked& asked);

  private:
    void find_class(const Contract& contract, int64_t image, const float* logits, const Asked& asked);
    void find_region(const Contract& contract, int64_t image, const float* logits, const Asked& asked);
    double region_score(const Contract& contract, const float* logits, int64_t index, const uint8_t* mask);

    std::vector<int64_t> order_, winners_, areas_;
    std::vector<float> best_;
    std::vector<double> narrow_;
};

}  // namespace saccade
