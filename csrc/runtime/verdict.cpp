#include "verdict.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace saccade {
namespace {

/// Whether `value` takes the place of `best` as the largest so far: as NumPy's argmax the first of equals, the first
/// NaN before all.
bool beats(float value, float best) { return value > best || (std::isnan(value) && !std::isnan(best)); }

int64_t argmax(const float* values, int64_t count) {
    int64_t best = 0;
    for (int64_t i = 1; i < count; ++i) {
        if (beats(values[i], values[best])) best = i;
    }
    return best;
}

/// The softmax of the largest, in float64.
float confidence_of(const float* logits, int64_t count, float largest) {
    double sum = 0.0;
    for (int64_t i = 0; i < count; ++i) sum += std::exp(static_cast<double>(logits[i]) - static_cast<double>(largest));
    return static_cast<float>(1.0 / sum);
}

}  // namespace

void Verdicts::find(const Contract& contract, int64_t count, const float* logits, const Asked& asked) {
    const bool places = contract.output_height > 0;
    const int64_t k = contract.num_outputs;
    const int64_t stride = places ? k * contract.output_height * contract.output_width : k;
    const auto images = static_cast<size_t>(count);
    prediction.resize(images);
    confidence.assign(images, std::numeric_limits<float>::quiet_NaN());
    explained.clear();
    score.clear();
    for (int64_t n = 0; n < count; ++n, logits += stride) {
        if (places) {
            find_region(contract, n, logits, asked);
            continue;
        }
        prediction[n] = argmax(logits, k);
        if (contract.softmax && k > 1) confidence[n] = confidence_of(logits, k, logits[prediction[n]]);
        if (contract.target == TargetKind::kClass) find_class(contract, n, logits, asked);
        if (contract.target == TargetKind::kOutputs) {
            const float* weights = asked.weights.data() + n * k;
            score.push_back(static_cast<float>(
                std::inner_product(logits, logits + k, weights, 0.0, std::plus<>(),
                                   [](float a, float b) { return static_cast<double>(a) * static_cast<double>(b); })));
        }
    }
}

void Verdicts::find_class(const Contract& contract, int64_t image, const float* logits, const Asked& asked) {
    const int64_t count = contract.target_count;
    const int64_t* target = asked.target.data() + image * count;
    if (count == 1) {
        explained.push_back(target[0] >= 0 ? target[0] : prediction[image]);
    } else {
        // The likeliest first, the earlier of equals first, NaN last.
        order_.resize(static_cast<size_t>(contract.num_outputs));
        std::iota(order_.begin(), order_.end(), int64_t{0});
        const auto before = [&](int64_t a, int64_t b) {
            if (logits[a] > logits[b]) return true;
            if (logits[a] < logits[b]) return false;
            const bool nan_a = std::isnan(logits[a]), nan_b = std::isnan(logits[b]);
            return nan_a != nan_b ? nan_b : a < b;
        };
        std::partial_sort(order_.begin(), order_.begin() + count, order_.end(), before);
        for (int64_t i = 0; i < count; ++i) explained.push_back(target[i] >= 0 ? target[i] : order_[i]);
    }
    for (int64_t i = 0; i < count; ++i) score.push_back(logits[explained[image * count + i]]);
}

void Verdicts::find_region(const Contract& contract, int64_t image, const float* logits, const Asked& asked) {
    const int64_t k = contract.num_outputs, places = contract.output_height * contract.output_width;
    winners_.assign(static_cast<size_t>(places), 0);
    areas_.assign(static_cast<size_t>(k), 0);
    if (k == 1) {
        for (int64_t i = 0; i < places; ++i) winners_[i] = logits[i] > 0.0f ? 0 : -1;
    } else {
        best_.assign(logits, logits + places);
        for (int64_t c = 1; c < k; ++c) {
            const float* plane = logits + c * places;
            for (int64_t i = 0; i < places; ++i) {
                if (!beats(plane[i], best_[i])) continue;
                best_[i] = plane[i];
                winners_[i] = c;
            }
        }
    }
    for (const int64_t winner : winners_) {
        if (winner >= 0) ++areas_[winner];
    }
    prediction[image] = std::max_element(areas_.begin(), areas_.end()) - areas_.begin();
    if (contract.target != TargetKind::kRegion) return;

    const int64_t wanted = asked.target[image];
    const int64_t index = wanted >= 0 ? wanted : prediction[image];
    const int64_t pixels = contract.preprocessing.height * contract.preprocessing.width;
    const uint8_t* mask = asked.regions.data() + image * pixels;
    const bool given = std::find(mask, mask + pixels, 1) != mask + pixels;
    explained.push_back(index);
    score.push_back(static_cast<float>(region_score(contract, logits + index * places, index, given ? mask : nullptr)));
}

/// The sum of a class's logits over its region; with a mask each place counts by the share of it that is marked, as
/// adaptive average pooling finds it.
double Verdicts::region_score(const Contract& contract, const float* logits, int64_t index, const uint8_t* mask) {
    const int64_t h = contract.output_height, w = contract.output_width;
    const int64_t height = contract.preprocessing.height, width = contract.preprocessing.width;
    double sum = 0.0;
    if (mask == nullptr) {
        for (int64_t i = 0; i < h * w; ++i) sum += winners_[i] == index ? static_cast<double>(logits[i]) : 0.0;
        return sum;
    }
    // Rows first and columns then: the shares of a place's rows, for every column of the mask.
    narrow_.resize(static_cast<size_t>(width));
    for (int64_t y = 0; y < h; ++y) {
        const int64_t top = y * height / h, bottom = ((y + 1) * height + h - 1) / h;
        std::fill(narrow_.begin(), narrow_.end(), 0.0);
        for (int64_t row = top; row < bottom; ++row) {
            for (int64_t x = 0; x < width; ++x) narrow_[x] += mask[row * width + x];
        }
        for (int64_t x = 0; x < w; ++x) {
            const int64_t left = x * width / w, right = ((x + 1) * width + w - 1) / w;
            const double marked = std::accumulate(narrow_.begin() + left, narrow_.begin() + right, 0.0);
            const double share = marked / static_cast<double>((bottom - top) * (right - left));
            sum += static_cast<double>(logits[y * w + x]) * static_cast<double>(static_cast<float>(share));
        }
    }
    return sum;
}

}  // namespace saccade
